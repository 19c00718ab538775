"""Parquet: HATS, such as release 1.5 of the Multimodal Universe; folders of files; one file.

``image`` is ``struct<band, flux, psf_fwhm, scale>``, each a list with one entry per band, and
``flux`` nested lists (band, side, side). HATS keeps a file per cell of the sky; margin catalogues
beside the main one repeat its rows and are passed over.

A row is reached through all rows before it in its row group: read by blocks, not at random.
"""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ssl_photoz.core.errors import DataError
from ssl_photoz.core.types import Array, Ints
from ssl_photoz.cutouts.formats.catalogue import ID_COLUMNS, without_sentinels
from ssl_photoz.cutouts.formats.concat import concatenated
from ssl_photoz.cutouts.formats.ids import exact_ids, lost_digits
from ssl_photoz.cutouts.formats.listing import kept, list_files
from ssl_photoz.cutouts.formats.nested import as_array, shape_of_first
from ssl_photoz.cutouts.formats.parquet_schema import (
    FLOATS,
    TEXT,
    Pixels,
    column_kinds,
    find_columns,
    image_column,
    kind_of,
    look_at_pixels,
)
from ssl_photoz.cutouts.formats.row_groups import Groups, RowGroups, look_at_groups
from ssl_photoz.cutouts.formats.stored import PerProcess, Stored
from ssl_photoz.cutouts.schema import Overrides, Source, describe, require_images, stated_truth

SUFFIXES = (".parquet", ".parq", ".pq")
TILE = re.compile(r"(^|/)Npix=\d+(/|\.)")
WHOLE_TILE = re.compile(r"^(.*/)?Norder=\d+/Dir=\d+/Npix=\d+(/|\.[^/]*$)")
THUMBNAIL = "data_thumbnail.parquet"  # HATS repeats a row of each tile in it
PRIMARY = re.compile(r"^hats_primary_table_url\s*[=:]\s*([\w-][\w.-]*)\s*$", re.MULTILINE)
PROPERTIES_BYTES = 1 << 16
NUMBERS = ("ra", "dec", "z", "ebv")
NOTHING: dict[str, Any] = {"f": np.nan, "i": -1, "u": 0, "U": "", "b": False}
MOST_NOTES = 8


def recognise(path: Path) -> str | None:
    """Recognise Parquet with a column `image` or `images` of lists."""
    paths, _ = _files(path)
    column = image_column(pq.read_schema(paths[0])) if paths else None
    if column is None:
        return None
    tiles = sum(bool(TILE.search(one.as_posix())) for one in paths)
    what = f"HATS catalogue of {tiles} tiles" if tiles else f"{len(paths)} Parquet file(s)"
    return f"{what} with `{column}`"


def open_stored(path: Path, overrides: Overrides) -> Stored:
    """Open Parquet; of each file only the footer is read.

    Raises:
        DataError: If there are no files, or they hold no cutouts.
    """
    paths, identity = _files(path)
    if not paths:
        raise DataError(f"{path} holds no Parquet files")
    try:
        found = kept(f"parquet2{identity}", lambda: look_at_groups(paths), files=len(paths))
        groups = Groups(**{name: found[name] for name in ("file", "number", "rows")})
        schemas = [pa.ipc.read_schema(pa.py_buffer(bytes.fromhex(s))) for s in found["schemas"]]
        first = paths[groups.file[0]] if len(groups.file) else paths[0]  # of those with rows
        with pq.ParquetFile(first) as file:
            pixels = look_at_pixels(file)
    except DataError as error:
        raise DataError(f"{first}: {error}") from None
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        detail = " ".join(str(error).split())[:300]
        raise DataError(f"{path} cannot be read: damaged or truncated ({detail})") from None
    source = _describe(path, groups, pixels, overrides)
    try:
        kinds = column_kinds(schemas)
        kinds, lost = _without_rounded_ids(kinds, paths)
        columns, left_out = find_columns(kinds, pixels, source.bands)
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    files = found["files"]
    notes = [
        f"{name} is not in {missing} of {len(paths)} files: unknown there"
        for name in kinds
        if (missing := sum(files[n] for n, one in enumerate(schemas) if name not in one.names))
    ]
    texts = [columns[name][0] for name in NUMBERS if name in columns]
    texts = [leaf for leaf in texts if kinds.get(leaf) == TEXT]
    notes = [*notes[:MOST_NOTES], *filter(None, (_no_numbers(paths, leaf) for leaf in texts))]
    source = replace(source, notes=(*source.notes, *notes))
    left_out = (*left_out, *lost)
    return ParquetCutouts(source, paths, groups, pixels, columns=columns, left_out=left_out)


def _without_rounded_ids(
    kinds: dict[str, str], paths: list[Path]
) -> tuple[dict[str, str], tuple[str, ...]]:
    """Columns without ids that lost digits, and what those are."""
    lost: dict[str, str] = {}
    for name, kind in kinds.items():
        if name.lower() in ID_COLUMNS and kind == FLOATS:
            values = _read_leaf(paths, name, numbers=False)
            mixed = "floats beside whole numbers that no float holds; not used"
            why = mixed if values.dtype.kind == "U" else lost_digits(values)
            lost |= {name: f"{name} ({why})"} if why else {}
    return {name: kind for name, kind in kinds.items() if name not in lost}, tuple(lost.values())


class ParquetCutouts:
    """Stored cutouts in Parquet; see `stored.Stored`.

    Args:
        source: What is known of them.
        paths: The files.
        groups: Their row groups.
        pixels: Description of the column that holds the pixels.
        columns: Paths in the schema of each column.
        left_out: Columns that are no plain values.
    """

    def __init__(
        self,
        source: Source,
        paths: list[Path],
        groups: Groups,
        pixels: Pixels,
        *,
        columns: dict[str, tuple[str, ...]],
        left_out: tuple[str, ...],
    ) -> None:
        self.source, self.columns, self.left_out = source, tuple(columns), left_out
        self.attributes: dict[str, Any] = {}
        self._paths, self._leaves = paths, columns
        self._faults: dict[int, str] = {}
        self._opened = PerProcess(partial(RowGroups, paths, groups, pixels.leaf, pixels.lengths))

    def column(self, name: str) -> Array:
        """Read a column from all files."""
        numbers = name in NUMBERS
        parts = [_read_leaf(self._paths, leaf, numbers=numbers) for leaf in self._leaves[name]]
        column = parts[0] if len(parts) == 1 else np.stack(parts, axis=1)
        if len(column) != self.source.rows:
            raise OSError(f"{name} has {len(column)} rows, expected {self.source.rows}")
        if name == "id":
            return exact_ids(column)
        return without_sentinels(column) if name == "z" else column

    def read(self, rows: Ints, pixels: Array, crop: slice) -> None:
        """Read rows into an array; one that is no cutout is at fault from then on."""
        self._opened.get().read(rows, pixels, crop, self._faults)

    def faults(self, rows: Ints) -> dict[int, str]:
        """Say what is wrong with those of the rows that are known to be bad."""
        return {int(row): self._faults[int(row)] for row in rows if int(row) in self._faults}

    def close(self) -> None:
        """Close the file that is open."""
        self._opened.close()


def _read_leaf(paths: list[Path], leaf: str, *, numbers: bool) -> Array:
    """Column of all files, one after the other; files without it say nothing."""
    parts: list[Array | int] = []
    for path in paths:
        with pq.ParquetFile(path) as file:
            table = file.read(columns=[leaf], use_threads=False)
            rows = file.metadata.num_rows
        nothing = not table.num_columns or pa.types.is_null(table.column(0).type)
        parts.append(rows if nothing else _plain(table.column(0), numbers=numbers))
    known = [part for part in parts if not isinstance(part, int)]
    if not known:
        raise OSError(f"none of the files has a column {leaf}")
    joint = concatenated([part[:0] for part in known])
    shape, fill = known[0].shape[1:], NOTHING[joint.dtype.kind]
    return concatenated(
        [np.full((p, *shape), fill, joint.dtype) if isinstance(p, int) else p for p in parts]
    )


def _no_numbers(paths: list[Path], leaf: str) -> str:
    """Say how many texts of a column of numbers are none; empty if all are."""
    words = [word for word in _read_leaf(paths, leaf, numbers=False).tolist() if word.strip()]
    odd = np.flatnonzero(np.isnan(as_numbers(words)))
    strange = [words[n] for n in odd if words[n].strip().lower() != "nan"]
    if not strange:
        return ""
    return (
        f"{leaf} has {len(strange)} texts that are no numbers, such as {strange[0][:40]!a}: unknown"
    )


def _files(path: Path) -> tuple[list[Path], str]:
    """Files with rows, in order, and what changes if they do."""
    if path.is_file():
        return ([path] if path.suffix.lower() in SUFFIXES else []), ""
    collection = path / "collection.properties"
    if collection.is_file():
        with collection.open(encoding="utf-8", errors="replace") as file:
            primary = PRIMARY.search(file.read(PROPERTIES_BYTES))
        path = path / primary[1] if primary else path
    path = path / "dataset" if (path / "dataset").is_dir() else path
    listed = list_files(path, SUFFIXES)
    tiles = [name for name in listed.names if TILE.search(name)]
    names = tiles or [name for name in listed.names if not name.endswith(THUMBNAIL)]
    return [path / name for name in names], listed.identity


def tile_paths(path: Path) -> dict[str, list[str]]:
    """Tiles of a HATS catalogue of cutouts, in the order of their rows.

    Returns:
        Path of each tile, a file or a folder of files, to its files, relative to ``path``; empty
        for any other data.
    """
    found: dict[str, list[str]] = {}
    if not path.is_dir():
        return found
    for one in _files(path)[0]:
        name = one.relative_to(path).as_posix()
        tile = WHOLE_TILE.search(name)
        if tile is None:
            return {}
        found.setdefault(tile[0], []).append(name)
    return found


def _describe(path: Path, groups: Groups, pixels: Pixels, overrides: Overrides) -> Source:
    require_images(path, (groups.total, *pixels.shape), pixels.dtype, pixels.leaf)
    usually = pixels.dtype != np.uint8
    return describe(
        path,
        overrides,
        shape=(groups.total, pixels.shape[0], pixels.shape[1]),
        dtype=pixels.dtype.name,
        bands=pixels.bands,
        pixscale_arcsec=pixels.pixscale_arcsec,
        usual_pixscale_arcsec=np.nan if "pixscale_arcsec" in pixels.stated else None,
        calibrated=stated_truth(path, pixels.stated, "calibrated", default=usually),
        simulated=stated_truth(path, pixels.stated, "simulated", default=False),
    )


def _plain(column: pa.ChunkedArray, *, numbers: bool) -> Array:
    """Column as numbers or text; where it says nothing: NaN, -1 (0), or the empty text.

    Args:
        column: The column.
        numbers: Whether it is a position or the like: then NaN is nothing, and text is read.
    """
    values = column.combine_chunks()
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if pa.types.is_nested(values.type):
        return as_array(values, shape_of_first(values))
    if kind_of(values.type) == TEXT:
        words = [_word(word) for word in values.to_pylist()]
        return as_numbers(words) if numbers else np.array(words, str)
    if pa.types.is_decimal(values.type):
        whole = values.type.scale <= 0 and not numbers
        return _whole(values.to_pylist()) if whole else values.cast(pa.float64()).to_numpy(False)
    if numbers and pa.types.is_integer(values.type):
        values = values.cast(pa.float64(), safe=False)
    if pa.types.is_integer(values.type):
        unsigned = pa.types.is_unsigned_integer(values.type)
        values = pc.fill_null(values, 0 if unsigned else -1)
    elif pa.types.is_boolean(values.type):
        values = pc.fill_null(values, False)
    plain: Array = values.to_numpy(zero_copy_only=False)
    return plain


def _word(value: str | bytes | None) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value or ""


def as_numbers(words: list[str]) -> Array:
    """Numbers that texts spell, (N,) float64; NaN for any other text."""

    def number(word: str) -> float:
        try:
            return float(word)
        except ValueError:
            return float("nan")

    return np.array([number(word) for word in words], np.float64)


def _whole(values: list[Any]) -> Array:
    """Whole numbers of any length, as text if 64 bits do not hold them; -1 for nothing."""
    numbers = [-1 if value is None else int(value) for value in values]
    fits = all(abs(number) < 1 << 63 for number in numbers)
    return np.array(numbers, np.int64) if fits else np.array([str(one) for one in numbers])
