"""Embeddings of one survey, brought by a linear map to where those of another lie."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ssl_photoz.core import artefact
from ssl_photoz.core.errors import DataError, MismatchError
from ssl_photoz.core.types import Floats, Ints
from ssl_photoz.embeddings.linear_map import LinearMap, fit_coral, fit_procrustes, fit_shift
from ssl_photoz.embeddings.store import (
    Embeddings,
    finish,
    is_whole,
    read_account,
    write_arrow_shard,
)

Method = Literal["shift", "coral", "procrustes"]
FEWEST_PAIRS = 10
AT_MOST, ROWS_AT_ONCE = 50_000, 65_536
HOW_MADE = (
    "encoder",
    "stages",
    "orientations",
    "crop_px",
    "bands",
    "pixscale_arcsec",
    "calibrated",
)
HANDED_ON = (*HOW_MADE, "split", "simulated", "trained_steps", "labels_seen")


def require_same_encoder(target: Embeddings, reference: Embeddings) -> None:
    """Refuse embeddings that were not made alike, or are adapted already.

    Raises:
        MismatchError: Naming both sides.
    """
    for name in (*HOW_MADE, "adapted"):
        one, other = target.card.get(name), reference.card.get(name)
        if one != other or (name == "adapted" and one):
            raise MismatchError(
                f"{target.folder} has {name} {one!r}, {reference.folder} has {other!r}; give plain "
                f"embeddings of two surveys, made with one encoder and one read-out"
            )


def fit(target: Embeddings, reference: Embeddings, *, method: Method, ridge: float) -> LinearMap:
    """Fit a map to what lies outside the test skies; no redshift is looked at.

    Args:
        target: To be mapped.
        reference: Where to.
        method: ``shift``, ``coral``, or ``procrustes``, for which galaxies are paired by ``id``.
        ridge: See `fit_coral`.

    Raises:
        DataError: If there are too few galaxies, or pairs.
    """
    both = (target, reference)
    rows = [np.flatnonzero(some.column("split").astype(str) != "test") for some in both]
    if method == "procrustes":
        rows = _paired(target, reference, rows)
    one, other = (_vectors(some, spread(r)) for some, r in zip(both, rows, strict=True))
    if method == "shift":
        return fit_shift(one, other)
    return fit_coral(one, other, ridge=ridge) if method == "coral" else fit_procrustes(one, other)


def spread(rows: Ints, size: int = AT_MOST) -> Ints:
    """Return at most ``size`` of the rows, evenly spaced: more say nothing new of a covariance."""
    return rows[np.linspace(0, max(len(rows) - 1, 0), min(size, len(rows))).astype(np.int64)]


def write_mapped(
    folder: Path,
    target: Embeddings,
    mapped: LinearMap,
    *,
    config: object,
    parents: Mapping[str, str],
    adapted: Mapping[str, object],
) -> artefact.Card:
    """Write embeddings with every vector mapped and all else as it was; go on if interrupted.

    Args:
        folder: Where to.
        target: The embeddings.
        mapped: The map.
        config: The settings.
        parents: sha256 of both embeddings.
        adapted: For the card: what was done.
    """
    for shard in sorted(target.folder.glob("part-*.parquet")):
        rows_in, rejects = read_account(shard)
        if is_whole(folder / shard.name, rows_in):
            continue
        number, table = int(shard.stem.removeprefix("part-")), pq.read_table(shard)
        if table.num_rows:
            table = _with_mapped(table, mapped)
        write_arrow_shard(folder, number, table, rejects=rejects)
    return finish(
        folder,
        rows_in=int(target.card["rows_in"]),
        config=config,
        parents=parents,
        adapted=dict(adapted),
        **{name: target.card[name] for name in HANDED_ON if name in target.card},
    )


def _with_mapped(table: pa.Table, mapped: LinearMap) -> pa.Table:
    column = table.column("embedding").combine_chunks()
    kind = column.type
    flat = column.flatten().to_numpy(zero_copy_only=False)
    vectors = mapped(flat.reshape(-1, kind.list_size)).astype(flat.dtype)
    new = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), kind.list_size)
    return table.set_column(table.schema.get_field_index("embedding"), "embedding", new)


def _paired(target: Embeddings, reference: Embeddings, rows: list[Ints]) -> list[Ints]:
    """Return the rows of galaxies that are in both, in one order."""
    mine, theirs = target.column("id")[rows[0]], reference.column("id")[rows[1]]
    shared, here, there = np.intersect1d(mine, theirs, return_indices=True)
    if len(shared) < FEWEST_PAIRS:
        raise DataError(
            f"{len(shared)} galaxies outside the test skies are in both {target.folder} and "
            f"{reference.folder}, expected at least {FEWEST_PAIRS} pairs; use method=coral, which "
            f"needs none"
        )
    return [rows[0][here], rows[1][there]]


def _vectors(embeddings: Embeddings, rows: Ints) -> Floats:
    """Return the vectors of rows, in the order given, without holding all others."""
    found = np.empty((len(rows), embeddings.dim), np.float32)
    first = 0
    for batch in embeddings.batches(ROWS_AT_ONCE):
        here = np.flatnonzero((rows >= first) & (rows < first + len(batch)))
        found[here] = batch[rows[here] - first]
        first += len(batch)
    return found
