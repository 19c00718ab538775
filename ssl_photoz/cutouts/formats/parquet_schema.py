"""What the schema and the first row of a Parquet file say of the cutouts in it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ssl_photoz.core.errors import DataError
from ssl_photoz.core.types import Array
from ssl_photoz.cutouts.formats.catalogue import ID_COLUMNS, REDSHIFTS
from ssl_photoz.cutouts.formats.nested import number_type, shape_of_first
from ssl_photoz.cutouts.schema import parse_bands

NOTHING, TEXT, WHOLE, FLOATS, TRUTH, LISTS = "null", "text", "whole", "floats", "truth", "lists"
IMAGES, PIXELS = ("image", "images"), ("flux", "array")


class Pixels(NamedTuple):
    """The column of pixels.

    Attributes:
        column: Its name.
        leaf: Path of the pixels in the schema.
        lengths: Lengths of its nested lists.
        shape: Shape of a cutout: (bands, side, side).
        dtype: Type of a pixel.
        bands: Their names, if stated.
        pixscale_arcsec: Pixel scale, arcsec/px; None if it is not stated, NaN if it varies.
        psf_leaf: Path of the widths of the PSF, if there are any.
        stated: What else the file states of itself, by name in lower case.
    """

    column: str
    leaf: str
    lengths: tuple[int, ...]
    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]
    bands: tuple[str, ...] | None
    pixscale_arcsec: float | None
    psf_leaf: str | None
    stated: Mapping[str, Any]


def image_column(schema: pa.Schema) -> str | None:
    """Column that pixels can be in: lists, or a struct that holds lists."""
    for name in IMAGES:
        if name in schema.names and pa.types.is_nested(_storage(schema.field(name).type)):
            return name
    return None


def look_at_pixels(file: pq.ParquetFile) -> Pixels:
    """Find the pixels of a file.

    Raises:
        DataError: If there are none, or of a shape that is no cutout's.
    """
    schema = file.schema_arrow
    column = image_column(schema)
    if column is None:
        raise DataError(f"no column `image` of pixels among {', '.join(schema.names[:20])}")
    paths = [file.schema.column(number).path for number in range(len(file.schema.names))]
    leaf = next((found for name in PIXELS if (found := _path(paths, column, name))), column)
    first = _first(file, leaf)
    stated = _stated(schema)
    bands = _bands(file, _path(paths, column, "band"), stated)
    lengths = shape_of_first(first)
    return Pixels(
        column=column,
        leaf=leaf,
        lengths=lengths,
        shape=_cutout_shape(lengths, bands),
        dtype=number_type(first),
        bands=bands,
        pixscale_arcsec=_pixscale(file, _path(paths, column, "scale"), stated),
        psf_leaf=_path(paths, column, "psf_fwhm"),
        stated=stated,
    )


def column_kinds(schemas: Sequence[pa.Schema]) -> dict[str, str]:
    """Kind of every column over all files: what `kind_of` says of those that have values.

    A type of null says nothing, and a column may be missing. Empty: no column.
    """
    kinds: dict[str, set[str]] = {}
    for schema in schemas:
        for field in schema:
            kinds.setdefault(field.name, set()).add(kind_of(field.type))
    return {name: _joint(found - {NOTHING}) for name, found in kinds.items()}


def _joint(kinds: set[str]) -> str:
    if len(kinds) == 1:
        return next(iter(kinds))
    plain = kinds and kinds <= {TEXT, WHOLE, FLOATS, TRUTH}
    return "" if not plain else (FLOATS if FLOATS in kinds else TEXT if TEXT in kinds else WHOLE)


def find_columns(
    kinds: Mapping[str, str], pixels: Pixels, bands: Sequence[str]
) -> tuple[dict[str, tuple[str, ...]], tuple[str, ...]]:
    """Map canonical names to paths in the schema; return also what can be no column.

    Args:
        kinds: Kind of every column; see `column_kinds`.
        pixels: The column of pixels.
        bands: Names of the bands.

    Several paths are the bands of one column: ``psfdepth_g``, ``psfdepth_r`` ... are ``psfdepth``.

    Raises:
        DataError: If names of identity, position or redshift differ in nothing but their case.
    """
    _require_one_meaning(list(kinds))
    plain = {
        name.lower(): name
        for name in reversed(list(kinds))
        if name != pixels.column and kinds[name]
    }
    columns: dict[str, tuple[str, ...]] = {
        name: (column,) for name, column in reversed(plain.items())
    }
    for canonical, names in (("id", ID_COLUMNS), ("z", REDSHIFTS)):
        found = next((name for name in names if name in columns), None)
        if found is not None and found != canonical:
            if canonical in columns:
                columns[f"catalogue_{canonical}"] = columns.pop(canonical)
            columns[canonical] = columns.pop(found)
    if pixels.psf_leaf:
        columns["psfsize"] = (pixels.psf_leaf,)
    for name in ("psfsize", "psfdepth", "noise"):
        parts = [f"{name}_{band}" for band in bands]
        if name not in columns and all(part in columns for part in parts):
            columns[name] = tuple(columns.pop(part)[0] for part in parts)
    left_out = tuple(name for name in kinds if name not in plain.values() and name != pixels.column)
    return columns, left_out


def _require_one_meaning(names: Sequence[str]) -> None:
    seen: dict[str, str] = {}
    for name in names:
        other = seen.setdefault(name.lower(), name)
        if other is not name and name.lower() in ("ra", "dec", *ID_COLUMNS, *REDSHIFTS):
            raise DataError(
                f"columns `{other}` and `{name}` both mean {name.lower()!r}; rename one of them, "
                f"such as a magnitude `z` to `mag_z`"
            )


def _stated(schema: pa.Schema) -> dict[str, Any]:
    """What this package's own copies state of themselves."""
    try:
        stated = json.loads((schema.metadata or {}).get(b"ssl_photoz", b"{}"))
    except ValueError:
        return {}
    return stated if isinstance(stated, dict) else {}


def _path(paths: Sequence[str], column: str, name: str) -> str | None:
    """Path of a field of the image: a struct of lists, or a list of structs."""
    pattern = re.compile(rf"({re.escape(column)}\.(?:list\.\w+\.)?{name})(?:\.|$)")
    return next((found[1] for path in paths if (found := pattern.match(path))), None)


def _first(file: pq.ParquetFile, leaf: str) -> pa.Array:
    batches = file.iter_batches(batch_size=1, columns=[leaf], use_threads=False)
    batch = next(iter(batches), None)
    if batch is None or not batch.num_columns:
        raise DataError(f"it holds zero cutouts, or nothing in `{leaf}`")
    return batch.column(0)


def _bands(
    file: pq.ParquetFile, leaf: str | None, stated: Mapping[str, Any]
) -> tuple[str, ...] | None:
    if "bands" in stated:
        return parse_bands(stated["bands"])
    if leaf is None:
        return None
    names = _flat(_first(file, leaf)).to_pylist()
    return tuple(str(name).rpartition("-")[2].lower() for name in names)


def _pixscale(file: pq.ParquetFile, leaf: str | None, stated: Mapping[str, Any]) -> float | None:
    if "pixscale_arcsec" in stated:
        known = stated["pixscale_arcsec"]
        return float(known) if isinstance(known, int | float) else None
    if leaf is None:
        return None
    column = file.read(columns=[leaf], use_threads=False).column(0).combine_chunks()
    scales: Array = np.unique(_flat(column).to_numpy(zero_copy_only=False))
    if not len(scales) or not (scales > 0).all():
        return None
    return round(float(scales[0]), 6) if len(scales) == 1 else float("nan")


def _flat(column: pa.Array) -> pa.Array:
    while pa.types.is_nested(column.type):
        column = column.field(0) if pa.types.is_struct(column.type) else column.flatten()
    return column


def _cutout_shape(lengths: tuple[int, ...], bands: Sequence[str] | None) -> tuple[int, ...]:
    """Shape (bands, side, side) of lists of lists, of a list per band, or of one list."""
    if len(lengths) == 3:
        return lengths
    count = lengths[0] if len(lengths) == 2 else len(bands or ())
    side = int(np.sqrt(np.prod(lengths) / count)) if count else 0
    if len(lengths) not in (1, 2) or not side or count * side**2 != np.prod(lengths):
        raise DataError(f"pixels in lists of lengths {lengths}, expected (bands, side, side)")
    return count, side, side


def kind_of(kind: pa.DataType) -> str:
    """What a type holds, however it is stored; empty: nothing that a column can be."""
    types = pa.types
    if types.is_null(kind):
        return NOTHING
    if types.is_dictionary(kind):
        return kind_of(kind.value_type)
    if types.is_fixed_size_list(kind):
        numbers = types.is_integer(kind.value_type) or types.is_floating(kind.value_type)
        return LISTS if numbers else ""
    if types.is_decimal(kind):
        return WHOLE if kind.scale <= 0 else FLOATS
    texts: list[Any] = [types.is_string, types.is_large_string, types.is_string_view]
    texts += [types.is_binary, types.is_large_binary, types.is_binary_view]
    texts += [types.is_fixed_size_binary]
    if any(is_text(kind) for is_text in texts):
        return TEXT
    if types.is_integer(kind):
        return WHOLE
    if types.is_floating(kind):
        return FLOATS
    return TRUTH if types.is_boolean(kind) else ""


def _storage(kind: pa.DataType) -> pa.DataType:
    return kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind
