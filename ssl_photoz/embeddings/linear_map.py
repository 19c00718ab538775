"""Linear maps that bring the embeddings of one survey to those of another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ssl_photoz.catalog.identity import identity_of, pair_galaxies
from ssl_photoz.core.errors import DataError, MismatchError, ShapeError
from ssl_photoz.core.types import Array, Doubles, Floats, Ints
from ssl_photoz.embeddings.store import (
    HOW_MADE,
    Embeddings,
    EmbeddingsCard,
    finish,
    is_whole,
    read_account,
    write_arrow_shard,
)

Method = Literal["shift", "coral", "procrustes"]
FEWEST_PAIRS = 10
AT_MOST, ROWS_AT_ONCE = 50_000, 65_536
HANDED_ON = (
    *HOW_MADE,
    *("blocks", "ebv_typical_mag", "split", "simulated", "trained_steps", "labels_seen"),
)


def require_same_encoder(target: Embeddings, reference: Embeddings) -> None:
    """Refuse embeddings that were not made alike, or are harmonized already.

    Raises:
        MismatchError: Naming both sides.
    """
    for name in (*HOW_MADE, "harmonized"):
        one, other = target.card.how_made(name), reference.card.how_made(name)
        if one != other or (name == "harmonized" and one):
            raise MismatchError(
                f"{target.folder} has {name} {one!r}, {reference.folder} has {other!r}; give plain "
                f"embeddings of two surveys, made with one encoder and one read-out"
            )


def fit_map(
    target: Embeddings, reference: Embeddings, *, method: Method, ridge: float
) -> LinearMap:
    """Fit a map to what lies outside the test skies; no redshift is looked at.

    Args:
        target: Embeddings to map.
        reference: Embeddings to map them to.
        method: ``shift``, ``coral``, or ``procrustes``, for which galaxies are paired by id
            and position.
        ridge: Ridge of `fit_coral`.

    Raises:
        DataError: If there are too few galaxies, or pairs.
    """
    both = (target, reference)
    rows = [np.flatnonzero(some.column("split").astype(str) != "test") for some in both]
    if method == "procrustes":
        rows = _paired(target, reference, rows)
    one, other = (_vectors(some, _spread(r)) for some, r in zip(both, rows, strict=True))
    if method == "shift":
        return fit_shift(one, other)
    return fit_coral(one, other, ridge=ridge) if method == "coral" else fit_procrustes(one, other)


def _spread(rows: Ints, size: int = AT_MOST) -> Ints:
    """At most ``size`` of the rows, evenly spaced: more say nothing new of a covariance."""
    return rows[np.linspace(0, max(len(rows) - 1, 0), min(size, len(rows))).astype(np.int64)]


def write_mapped(
    folder: Path,
    target: Embeddings,
    mapped: LinearMap,
    *,
    config: object,
    parents: Mapping[str, str],
    harmonized: Mapping[str, object],
) -> EmbeddingsCard:
    """Write embeddings with every vector mapped and all else as it was; go on if interrupted.

    Args:
        folder: Folder to write.
        target: The embeddings.
        mapped: The map.
        config: Settings, for the card.
        parents: sha256 of both embeddings.
        harmonized: Method and reference, for the card.
    """
    for number, shard in enumerate(target.account_files()):
        rows_in, rejects = read_account(shard)
        if is_whole(folder / f"part-{number:05d}.parquet", rows_in):
            continue
        table = pq.read_table(shard)
        if table.num_rows:
            table = _with_mapped(table, mapped)
        write_arrow_shard(folder, number, table, rejects=rejects)
    return finish(
        folder,
        rows_in=target.card.rows_in,
        config=config,
        parents=parents,
        harmonized=dict(harmonized),
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
    """Rows of the galaxies that are in both, in one order."""
    names = ("id", "ra", "dec")
    mine = {name: target.column(name)[rows[0]] for name in names}
    theirs = {name: reference.column(name)[rows[1]] for name in names}
    here, there = pair_galaxies(identity_of(mine), identity_of(theirs))
    if len(here) < FEWEST_PAIRS:
        raise DataError(
            f"{len(here)} galaxies outside the test skies are in both {target.folder} and "
            f"{reference.folder}, expected at least {FEWEST_PAIRS} pairs; use method=coral, which "
            f"needs none"
        )
    return [rows[0][here], rows[1][there]]


def _vectors(embeddings: Embeddings, rows: Ints) -> Floats:
    """Vectors of rows, in the order given, without holding all others."""
    found = np.empty((len(rows), embeddings.dim), np.float32)
    first = 0
    for batch in embeddings.batches(ROWS_AT_ONCE):
        here = np.flatnonzero((rows >= first) & (rows < first + len(batch)))
        found[here] = batch[rows[here] - first]
        first += len(batch)
    return found


@dataclass(frozen=True)
class LinearMap:
    """``(vector - before) @ matrix + after``.

    Attributes:
        before: Shape (D,).
        matrix: Shape (D, D).
        after: Shape (D,).
    """

    before: Doubles
    matrix: Doubles
    after: Doubles

    def __call__(self, vectors: Array) -> Floats:
        """Map vectors, shape (N, D)."""
        mapped = (np.asarray(vectors, np.float64) - self.before) @ self.matrix + self.after
        return mapped.astype(np.float32)


def fit_shift(target: Array, reference: Array) -> LinearMap:
    """Bring the mean of the target, (N, D), to that of the reference, (M, D)."""
    one, other = _checked(target, reference)
    return LinearMap(one.mean(0), np.eye(one.shape[1]), other.mean(0))


def fit_coral(target: Array, reference: Array, *, ridge: float) -> LinearMap:
    """Bring mean and covariance of the target to those of the reference [1].

    The target is whitened with its own covariance and coloured with the reference's. The paper
    moves the labelled survey to the unlabelled one; here it is the other way round, so that
    whatever was fitted to the reference can stay.

    Args:
        target: Vectors, shape (N, D).
        reference: Vectors, shape (M, D).
        ridge: Added to both covariances, times the mean variance of the reference: directions in
            which neither survey varies stay as they are.

    Raises:
        ShapeError: If the shapes are not (N, D) and (M, D).
        DataError: If there are fewer than two vectors, or one is not finite.

    References:
        [1] Sun, Feng & Saenko 2016, AAAI, arXiv:1511.05547.
    """
    one, other = _checked(target, reference)
    covariances = [np.cov(some, rowvar=False).reshape(2 * some.shape[1:]) for some in (one, other)]
    floor = ridge * np.trace(covariances[1]) / one.shape[1] * np.eye(one.shape[1])
    whiten, colour = _power(covariances[0] + floor, -0.5), _power(covariances[1] + floor, 0.5)
    return LinearMap(one.mean(0), whiten @ colour, other.mean(0))


def fit_procrustes(target: Array, reference: Array) -> LinearMap:
    """Turn, mirror, scale and shift the target so that it falls on its pairs as well as it can [1].

    Args:
        target: Vectors, shape (N, D).
        reference: Vectors of the same galaxies in the same order, shape (N, D).

    Raises:
        ShapeError: If the shapes are not the same (N, D).
        DataError: If there are fewer than two vectors, or one is not finite.

    References:
        [1] Schönemann 1966, Psychometrika 31, 1.
    """
    one, other = _checked(target, reference)
    if one.shape != other.shape:
        raise ShapeError(f"{one.shape} and {other.shape} are no pairs of vectors")
    first, second = one - one.mean(0), other - other.mean(0)
    left, stretches, right = np.linalg.svd(first.T @ second)
    scale = stretches.sum() / np.sum(first**2)
    return LinearMap(one.mean(0), scale * left @ right, other.mean(0))


def _power(covariance: Doubles, exponent: float) -> Doubles:
    """Power of a symmetric matrix; directions without variance are left out."""
    values, vectors = np.linalg.eigh(covariance)
    kept = values > values.max() * len(values) * np.finfo(np.float64).eps
    powers = np.zeros_like(values)
    powers[kept] = values[kept] ** exponent
    return np.asarray((vectors * powers) @ vectors.T)


def _checked(target: Array, reference: Array) -> tuple[Doubles, Doubles]:
    one, other = np.asarray(target, np.float64), np.asarray(reference, np.float64)
    if one.ndim != 2 or one.shape[1:] != other.shape[1:]:
        raise ShapeError(f"vectors are {one.shape} and {other.shape}, expected (N, D) and (M, D)")
    if min(len(one), len(other)) < 2:
        raise DataError(f"{len(one)} and {len(other)} vectors to align, expected two or more")
    if not (np.isfinite(one).all() and np.isfinite(other).all()):
        raise DataError("vectors to align hold NaN or infinity; embed again")
    return one, other
