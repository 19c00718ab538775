"""Parquet: HATS catalogues such as the Multimodal Universe, version 2; folders of files; one file.

``image`` is ``struct<band, flux, psf_fwhm, scale>``, each a list with one entry per band, and
``flux`` nested lists (band, side, side). HATS keeps a file per cell of the sky; margin catalogues
beside the main one repeat its rows and are passed over.

A row is reached through all rows before it in its row group: read by blocks, not at random.
"""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ssl_photoz.core.errors import DataError
from ssl_photoz.core.types import Array, Ints
from ssl_photoz.cutouts.formats.catalogue import without_sentinels
from ssl_photoz.cutouts.formats.listing import kept, list_files
from ssl_photoz.cutouts.formats.nested import as_array, shape_of_first
from ssl_photoz.cutouts.formats.parquet_schema import (
    Pixels,
    find_columns,
    image_column,
    look_at_pixels,
)
from ssl_photoz.cutouts.formats.row_groups import Groups, RowGroups, look_at_groups
from ssl_photoz.cutouts.formats.stored import PerProcess, Stored
from ssl_photoz.cutouts.schema import Overrides, Source, describe, require_images, stated_truth

SUFFIXES = (".parquet", ".parq", ".pq")
TILE = re.compile(r"(^|/)Npix=\d+(/|\.)")
THUMBNAIL = "data_thumbnail.parquet"  # HATS repeats a row of each tile in it
PRIMARY = re.compile(r"^hats_primary_table_url\s*[=:]\s*([\w-][\w.-]*)\s*$", re.MULTILINE)
PROPERTIES_BYTES = 1 << 16


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
        found = kept(f"parquet1{identity}", lambda: look_at_groups(paths), files=len(paths))
        with pq.ParquetFile(paths[0]) as file:
            schema, pixels = file.schema_arrow, look_at_pixels(file)
    except DataError as error:
        raise DataError(f"{paths[0]}: {error}") from None
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        detail = " ".join(str(error).split())[:300]
        raise DataError(f"{path} cannot be read: damaged or truncated ({detail})") from None
    groups = Groups(**found)
    source = _describe(path, groups, pixels, overrides)
    try:
        columns, left_out = find_columns(schema, pixels, source.bands)
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    return ParquetCutouts(source, paths, groups, pixels, columns=columns, left_out=left_out)


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
        parts = [self._read_leaf(leaf) for leaf in self._leaves[name]]
        column = parts[0] if len(parts) == 1 else np.stack(parts, axis=1)
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

    def _read_leaf(self, leaf: str) -> Array:
        parts = []
        for path in self._paths:
            with pq.ParquetFile(path) as file:
                table = file.read(columns=[leaf], use_threads=False)
            if not table.num_columns:
                raise OSError(f"{path.name} has no column {leaf}")
            parts.append(_plain(table.column(0)))
        if sum(map(len, parts)) != self.source.rows:
            raise OSError(f"{leaf} has {sum(map(len, parts))} rows, expected {self.source.rows}")
        as_text = any(part.dtype.kind == "U" for part in parts)
        return np.concatenate([part.astype(str) if as_text else part for part in parts])


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


def _plain(column: pa.ChunkedArray) -> Array:
    """Column as numbers or text; where it says nothing: NaN, -1 (0), or the empty text."""
    values = column.combine_chunks()
    if pa.types.is_nested(values.type):
        return as_array(values, shape_of_first(values))
    if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
        return np.array(pc.fill_null(values, "").to_pylist(), str)
    if pa.types.is_integer(values.type):
        unsigned = pa.types.is_unsigned_integer(values.type)
        values = pc.fill_null(values, 0 if unsigned else -1)
    elif pa.types.is_boolean(values.type):
        values = pc.fill_null(values, False)
    plain: Array = values.to_numpy(zero_copy_only=False)
    return plain
