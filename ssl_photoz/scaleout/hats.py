"""HATS catalogues [1]: a Parquet file per tile of the sky, read by LSDB and the Rubin platform.

Rows of a tile are sorted by ``_healpix_29``, the number of their HEALPix cell of order 29.

References:
    [1] Hierarchical Adaptive Tiling Scheme, https://www.ivoa.net/documents/Notes/HATS/
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ssl_photoz.core import extras
from ssl_photoz.core.errors import ArtefactError, DataError
from ssl_photoz.core.types import Array, Ints
from ssl_photoz.embeddings.store import Embeddings, finish_shards, shard_table, write_accounted
from ssl_photoz.scaleout.settings import FINEST, TilesConfig

if TYPE_CHECKING:
    from hats import HealpixPixel

INDEX = "_healpix_29"
DATASET = "dataset"
DIRECTORY = 10_000  # tiles of one folder
# What a reader of catalogues does not ask for unless it says so.
LARGE = ("embedding", "aperture", "thumbnail", "image", "pdf")


class Cell(NamedTuple):
    """A HEALPix cell in the nested scheme.

    Attributes:
        order: Order; the cell is one of ``12 * 4**order``.
        pixel: Number among them.
    """

    order: int
    pixel: int

    @property
    def name(self) -> str:
        """Path of the cell, as HATS has it: ``Norder=3/Dir=0/Npix=12``."""
        directory = self.pixel // DIRECTORY * DIRECTORY
        return f"Norder={self.order}/Dir={directory}/Npix={self.pixel}"

    @property
    def word(self) -> str:
        """Name without slashes: HATS takes ``Norder=3/Dir=0/Npix=12`` anywhere for a tile."""
        return f"Norder={self.order}_Npix={self.pixel}"

    @property
    def path(self) -> str:
        """Path of its file in a catalogue."""
        return f"{DATASET}/{self.name}.parquet"

    @property
    def start(self) -> int:
        """Number of its first cell of order 29."""
        return self.pixel << 2 * (FINEST - self.order)


def spatial_index(ra: Array, dec: Array) -> Ints:
    """Numbers of the HEALPix cells of order 29 of positions on the sky.

    Args:
        ra: Right ascension, degrees, shape (N,), finite.
        dec: Declination, degrees, shape (N,), within -90 to 90.
    """
    extras.require("scaleout", "a HATS catalogue")
    from hats.pixel_math import compute_spatial_index

    if not len(ra):
        return np.empty(0, np.int64)
    found = compute_spatial_index(np.asarray(ra, np.float64), np.asarray(dec, np.float64))
    return np.asarray(found, np.int64)


def divide(index: Ints, config: TilesConfig = TilesConfig()) -> dict[Cell, slice]:
    """Divide rows into cells that hold no more than so many.

    >>> [(*cell, rows.stop - rows.start) for cell, rows in divide(
    ...     np.array([0, 1, 2, 5]) << 56, TilesConfig(most_rows=2, finest=2)).items()]
    [(1, 0, 1), (1, 1, 1), (1, 2, 1), (0, 1, 1)]

    Args:
        index: Result of `spatial_index`, increasing, shape (N,).
        config: Size of the cells.

    Returns:
        Cell to its rows, in the order of the sky; cells without rows are not there.
    """
    found: dict[Cell, slice] = {}
    parts = [slice(0, len(index))] if len(index) else []
    for order in range(config.coarsest, config.finest + 1):
        large: list[slice] = []
        for part in parts:
            pixels, first = np.unique(index[part] >> 2 * (FINEST - order), return_index=True)
            edges = [*(first + part.start).tolist(), part.stop]
            for pixel, start, stop in zip(pixels.tolist(), edges, edges[1:], strict=False):
                if stop - start <= config.most_rows or order == config.finest:
                    found[Cell(order, pixel)] = slice(start, stop)
                else:
                    large.append(slice(start, stop))
        parts = large
    return dict(sorted(found.items(), key=lambda item: item[0].start))


def finish_hats(
    folder: Path,
    cells: Sequence[Cell],
    *,
    name: str,
    provenance: Mapping[str, object] = {},
) -> int:
    """Write what makes tiles a catalogue: its properties, list of tiles and joint metadata.

    Done again, it gives the same. Properties are written last.

    Args:
        folder: The catalogue, all tiles written.
        cells: Its tiles.
        name: Name of the catalogue.
        provenance: What made it, for its properties; each name gets ``ssl_photoz_`` in front.

    Returns:
        Rows of all tiles.

    Raises:
        ArtefactError: If tiles have other columns than the first.
        DataError: If there is no tile.
    """
    extras.require("scaleout", "a HATS catalogue")
    from hats import HealpixPixel
    from hats.catalog import PartitionInfo, TableProperties
    from hats.io import write_parquet_metadata

    if not cells:
        raise DataError(f"{folder} would be a catalogue without rows")
    schema = _require_one_schema(folder, cells)
    pixels: list[HealpixPixel] = [HealpixPixel(*cell) for cell in cells]
    _without_others(folder, cells)
    rows = int(write_parquet_metadata(folder))
    PartitionInfo.from_healpix(pixels).write_to_file(catalog_path=folder)
    properties: dict[str, Any] = {
        "catalog_name": name,
        "catalog_type": "object",
        "total_rows": rows,
        "ra_column": "ra",
        "dec_column": "dec",
        "healpix_column": INDEX,
        "healpix_order": FINEST,
        "hats_order": max(cell.order for cell in cells),
        "default_columns": [one for one in schema.names if one not in (INDEX, *LARGE)],
        **{f"ssl_photoz_{key}": _one_line(value) for key, value in provenance.items()},
    }
    TableProperties(**properties).to_properties_file(folder)
    return rows


def write_hats_embeddings(
    folder: Path,
    columns: Mapping[str, Array | Sequence[bytes]],
    vectors: Array,
    *,
    tiles: TilesConfig = TilesConfig(),
    parents: Mapping[str, str] | None = None,
    **facts: object,
) -> Embeddings:
    """Write a whole embeddings artefact that is a HATS catalogue, from arrays.

    Args:
        folder: Folder to write.
        columns: ``id``, ``ra``, ``dec``, ``z``, ``split`` and any other, each (N, ...).
        vectors: Shape (N, D); stored in its own dtype (float16 or float32).
        tiles: Size of the tiles.
        parents: sha256 of what it was made from.
        **facts: For the card; ``simulated`` and ``calibrated`` default to False and True.
    """
    index = spatial_index(np.asarray(columns["ra"]), np.asarray(columns["dec"]))
    order = np.argsort(index, kind="stable")
    table = shard_table({"row": np.arange(len(vectors)), **columns, "embedding": vectors})
    table = table.add_column(0, INDEX, pa.array(index)).take(pa.array(order))
    cells = divide(index[order], tiles)
    for cell, rows in cells.items():
        write_accounted(folder / cell.path, table.slice(rows.start, rows.stop - rows.start))
    facts = {"simulated": False, "calibrated": True, "encoder": "", **facts}
    finish_hats(folder, list(cells), name=folder.name, provenance=facts)
    shards = [folder / cell.path for cell in cells]
    finish_shards(folder, shards, facts, rows_in=len(vectors), config={}, parents=parents or {})
    return Embeddings.open(folder)


def _require_one_schema(folder: Path, cells: Iterable[Cell]) -> pa.Schema:
    first: pa.Schema | None = None
    for cell in cells:
        schema = pq.read_schema(folder / cell.path).remove_metadata()
        first = schema if first is None else first
        if not schema.equals(first):
            odd = sorted(set(map(str, schema)) ^ set(map(str, first)))
            raise ArtefactError(
                f"{folder / cell.path} differs from the other tiles in {', '.join(odd[:6])}; their "
                f"input has other columns"
            )
    assert first is not None
    return first


def _without_others(folder: Path, cells: Iterable[Cell]) -> None:
    """Remove what interrupted writes have left among the tiles."""
    known = {folder / cell.path for cell in cells}
    for path in (folder / DATASET).rglob("*.parquet"):
        if path not in known:
            path.unlink()


def _one_line(value: object) -> str:
    return " ".join(str(value).split())
