"""The last step of a run, in one process: account for every tile, then make a catalogue of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ssl_photoz.core import artefact
from ssl_photoz.core.errors import ArtefactError, DataError
from ssl_photoz.core.version import __version__
from ssl_photoz.embeddings.store import EMPTY, finish_shards, read_account, write_accounted
from ssl_photoz.scaleout.hats import finish_hats
from ssl_photoz.scaleout.tiles import Plan, Tile
from ssl_photoz.scaleout.work import FAILED, EmbedTiles, Work, finished_path, tile_facts

MOST_NAMED = 5
PROVENANCE = ("encoder", "simulated", "calibrated", "bands", "pixscale_arcsec", "work")


def finish_run(
    work: Work, plan: Plan, *, config: object, parents: Mapping[str, str], leave_holes: bool = False
) -> artefact.Card:
    """Make the tiles of a run one HATS catalogue and one artefact; done again, it gives the same.

    Args:
        work: What was done to them.
        plan: The tiles.
        config: Settings, for the card.
        parents: Checksums of what they were made from.
        leave_holes: Whether tiles that are not there are left out, and the card says which.

    Returns:
        The card, written last.

    Raises:
        ArtefactError: If tiles are missing, or of different columns.
        DataError: If no tile has a row.
    """
    paths = {tile: finished_path(work.out, tile) for tile in plan.tiles}
    missing = [tile for tile, path in paths.items() if path is None]
    if missing and not leave_holes:
        raise ArtefactError(_holes(work.out, missing))
    there = {tile: path for tile, path in paths.items() if path is not None}
    cells = [tile.cell for tile, path in there.items() if path == work.out / tile.cell.path]
    if not cells:
        raise DataError(f"not one of {plan.rows} rows is left: {_first_reason(plan, there)}")
    facts = _facts(work, there)
    said = {name: facts[name] for name in PROVENANCE if name in facts}
    made_by = {"made_by": f"ssl_photoz {__version__}", **said, **parents}
    finish_hats(work.out, cells, name=work.out.resolve().name, provenance=made_by)
    if missing:
        facts |= {"tiles_missing": [tile.name for tile in missing]}
        facts |= {"rows_missing": sum(tile.rows for tile in missing)}
    given: dict[str, Any] = {"config": config, "parents": parents}
    rows_in = plan.rows - facts.get("rows_missing", 0)
    if isinstance(work, EmbedTiles):
        shards = [*there.values(), *_write_unplaced(work.out, plan)]
        return finish_shards(work.out, shards, facts, rows_in=rows_in, **given)
    names = [cell.path for cell in cells]
    rows = sum(pq.read_metadata(work.out / name).num_rows for name in names)
    facts |= {"rows_in": rows_in, "rows_written": rows, "rows_rejected": rows_in - rows}
    facts |= {"tiles": names}
    return artefact.write_card(work.out, work.KIND, **given, **facts)


def _write_unplaced(out: Path, plan: Plan) -> list[Path]:
    """Account for rows that are in no tile, as a tile without rows does."""
    if not plan.unplaced:
        return []
    path = out / EMPTY / "unplaced.parquet"
    write_accounted(path, pa.table({"row": pa.array([], pa.int64())}), rejects=plan.unplaced)
    return [path]


def _facts(work: Work, there: Mapping[Tile, Path]) -> dict[str, Any]:
    """What the card says of all tiles."""
    facts = work.card_facts(next(iter(there)))
    each = [tile_facts(path) for path in there.values()]
    simulated = [one["simulated"] for one in each if "simulated" in one]
    if simulated:
        facts["simulated"] = any(simulated)
    medians = [one["ebv_typical_mag"] for one in each if one.get("ebv_typical_mag") is not None]
    if medians:
        facts["ebv_typical_mag"] = float(np.median(medians))
    return facts


def _first_reason(plan: Plan, there: Mapping[Tile, Path]) -> str:
    rejects = [*plan.unplaced, *(one for path in there.values() for one in read_account(path)[1])]
    return rejects[0].reason if rejects else "there are none"


def _holes(out: Path, missing: Sequence[Tile]) -> str:
    names = ", ".join(tile.name for tile in missing[:MOST_NAMED])
    more = f" and {len(missing) - MOST_NAMED} more" if len(missing) > MOST_NAMED else ""
    return (
        f"{out} lacks {len(missing)} tiles ({sum(tile.rows for tile in missing)} rows): {names}"
        f"{more}; {out / FAILED} says why those failed that did. The same command makes what is "
        f"missing; holes=leave finishes without it"
    )
