"""The tiles of a run: what each is to be made from, and how many rows it has."""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ssl_photoz.core import artefact
from ssl_photoz.core.errors import ArtefactError, DataError, MismatchError
from ssl_photoz.core.types import Ints
from ssl_photoz.cutouts.formats.parquet import tile_paths
from ssl_photoz.cutouts.quality import has_position, row_reasons
from ssl_photoz.cutouts.reader import Cutouts
from ssl_photoz.embeddings.store import Embeddings, EmbeddingsShard, Reject
from ssl_photoz.scaleout.hats import Cell, divide, spatial_index
from ssl_photoz.scaleout.settings import TilesConfig

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = re.compile(r"Norder=(\d+)/Dir=\d+/Npix=(\d+)")
PLAN, ROWS, UNPLACED = "plan/tiles.parquet", "plan/rows.npy", "plan/unplaced.parquet"
NO_POSITION = "no position"


@dataclass(frozen=True)
class Tile:
    """The unit of work.

    Attributes:
        cell: Its cell of the sky.
        rows: Rows of the input that are in it.
        first: Number of the first of them: in the input, or in the plan's list of rows.
        source: Path of the tile in an input that has tiles; empty for one that has none.
    """

    cell: Cell
    rows: int
    first: int
    source: str = ""

    @property
    def name(self) -> str:
        """Path of its cell, which names it."""
        return self.cell.name


@dataclass(frozen=True)
class Plan:
    """All tiles of a run.

    Attributes:
        tiles: The tiles, in the order of the sky.
        unplaced: Rows that are in none, for want of a position.
    """

    tiles: tuple[Tile, ...]
    unplaced: tuple[Reject, ...] = ()

    @property
    def rows(self) -> int:
        """Rows of the input."""
        return sum(tile.rows for tile in self.tiles) + len(self.unplaced)


def cell_of(name: str) -> Cell | None:
    """Cell that a path names; None if it names none."""
    found = NAME.search(name)
    return None if found is None else Cell(int(found[1]), int(found[2]))


def plan_embeddings(embeddings: Embeddings) -> Plan:
    """The tiles of embeddings that are a HATS catalogue.

    Raises:
        MismatchError: If they are not.
    """
    tiles, first = [], 0
    for shard in embeddings.shards:
        cell = cell_of(shard.name)
        if cell is None:
            raise MismatchError(
                f"{embeddings.folder} has no tiles (its shards are {shard.name} ...), expected a "
                f"HATS catalogue such as `distribute work=embed` makes; make one, or use the plain "
                f"command for these embeddings"
            )
        tiles.append(Tile(cell, len(shard), first, shard.name))
        first += len(shard)
    return Plan(_sorted(tiles))


def plan_cutouts(data: Path, out: Path, config: TilesConfig) -> Plan:
    """The tiles of cutouts: those that a HATS catalogue has, or those its rows are divided into.

    A plan that was made stands in ``plan/`` of the output. Several processes may make it at once:
    all make the same.

    Args:
        data: Cutouts of any format.
        out: Folder of the output.
        config: Size of the tiles.

    Raises:
        DataError: If no row has a position, or the cutouts cannot be read.
    """
    if (out / PLAN).exists():
        return _read_plan(out)
    found = tile_paths(data) if config.as_they_are else {}
    if found:
        tiles, first = [], 0
        for source in found:
            cell = cell_of(source)
            assert cell is not None
            rows = sum(_rows_of(data / path) for path in found[source])
            if rows:
                tiles.append(Tile(cell, rows, first, source))
            first += rows
        plan = Plan(_sorted(tiles))
    else:
        plan = _divided(data, out, config)
    _write_plan(out, plan)
    return plan


def _rows_of(path: Path) -> int:
    try:
        return int(pq.read_metadata(path).num_rows)
    except (OSError, pa.ArrowException) as error:
        detail = " ".join(str(error).split())[:200]
        raise DataError(
            f"{path} cannot be read: damaged or truncated ({detail}); copy it again, or take it "
            f"out of the catalogue"
        ) from None


def _divided(data: Path, out: Path, config: TilesConfig) -> Plan:
    with Cutouts.open(data) as cutouts:
        ra, dec, ids = (cutouts.column(name) for name in ("ra", "dec", "id"))
    reasons = row_reasons(ra, dec).astype(object)
    reasons[~has_position(ra, dec)] = NO_POSITION
    placed = np.flatnonzero(reasons == "")
    if not len(placed):
        raise DataError(
            f"{data}: none of {len(ids)} rows has a position (ra, dec), by which tiles are made"
        )
    index = spatial_index(ra[placed], dec[placed])
    order = np.argsort(index, kind="stable")
    with artefact.atomic_path(out / ROWS) as scratch:
        np.save(scratch, placed[order])
    unplaced = np.flatnonzero(reasons != "").tolist()
    return Plan(
        tuple(
            Tile(cell, rows.stop - rows.start, rows.start)
            for cell, rows in divide(index[order], config).items()
        ),
        tuple(Reject(row, str(ids[row]), reasons[row]) for row in unplaced),
    )


def _sorted(tiles: Iterable[Tile]) -> tuple[Tile, ...]:
    return tuple(sorted(tiles, key=lambda tile: (tile.cell.start, tile.cell.order)))


def _write_plan(out: Path, plan: Plan) -> None:
    rejects = {"row": pa.int64(), "id": pa.string(), "reason": pa.string()}
    tables = {
        UNPLACED: pa.Table.from_pylist(
            [one._asdict() for one in plan.unplaced], pa.schema(rejects)
        ),
        PLAN: pa.table(
            {
                "order": [tile.cell.order for tile in plan.tiles],
                "pixel": [tile.cell.pixel for tile in plan.tiles],
                "rows": [tile.rows for tile in plan.tiles],
                "first": [tile.first for tile in plan.tiles],
                "source": [tile.source for tile in plan.tiles],
            }
        ),
    }
    for name, table in tables.items():
        with artefact.atomic_path(out / name) as scratch:
            pq.write_table(table, scratch)


def _read_plan(out: Path) -> Plan:
    try:
        rows = pq.read_table(out / PLAN).to_pylist()
        unplaced = pq.read_table(out / UNPLACED).to_pylist()
    except (OSError, pa.ArrowException) as error:
        raise ArtefactError(
            f"{out / PLAN} cannot be read ({type(error).__name__}); delete {out} and start anew"
        ) from None
    tiles = (
        Tile(Cell(one["order"], one["pixel"]), one["rows"], one["first"], one["source"])
        for one in rows
    )
    return Plan(tuple(tiles), tuple(Reject(**one) for one in unplaced))


@dataclass(frozen=True)
class TileCutouts:
    """The cutouts of one tile.

    Attributes:
        cutouts: Cutouts that hold them.
        rows: Which of those they are, shape (n,).
        shift: What is to be added to a row for its number in the whole input.
    """

    cutouts: Cutouts
    rows: Ints
    shift: int


@contextmanager
def open_tile(data: Path, out: Path, tile: Tile) -> Iterator[TileCutouts]:
    """Open the cutouts of a tile; those of an input without tiles stay open in this process.

    Raises:
        DataError: If the input has other rows than the plan says.
    """
    if tile.source:
        with Cutouts.open(data / tile.source) as cutouts:
            _require_rows(data / tile.source, len(cutouts), tile.rows)
            yield TileCutouts(cutouts, np.arange(tile.rows), tile.first)
        return
    cutouts = _opened(data)
    rows = np.load(out / ROWS, mmap_mode="r")[tile.first : tile.first + tile.rows]
    _require_rows(out / ROWS, len(rows), tile.rows)
    yield TileCutouts(cutouts, np.array(rows), 0)


@lru_cache(maxsize=1)
def _opened(data: Path) -> Cutouts:
    return Cutouts.open(data)


def open_shard(embeddings: Embeddings, tile: Tile) -> EmbeddingsShard:
    """The embeddings of a tile."""
    return next(shard for shard in embeddings.shards if shard.name == tile.source)


def _require_rows(path: Path, found: int, planned: int) -> None:
    if found != planned:
        raise DataError(
            f"{path} has {found} rows, {planned} when the run began; its input has changed: start "
            f"anew with another out="
        )
