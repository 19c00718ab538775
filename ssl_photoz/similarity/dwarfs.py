"""Nearby dwarfs: rank unlabelled galaxies by the labelled ones that look like them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ssl_photoz.embeddings.store import Embeddings
from ssl_photoz.errors import ConfigError, DataError
from ssl_photoz.similarity.catalogue import Catalogue
from ssl_photoz.similarity.index import Index, search_rows
from ssl_photoz.types import Array, Bools, Doubles, Floats, Ints

NAMED = 3


def nearby_dwarfs(
    embeddings: Embeddings,
    *,
    z_max: float,
    flag: str | None = None,
    stellar_mass_max: float | None = None,
) -> Bools:
    """Say which galaxies are labelled nearby dwarfs, shape (N,); unlabelled ones are not.

    Args:
        embeddings: With redshifts.
        z_max: Nearby means z < z_max.
        flag: A column that must be true (not zero, not NaN) as well, such as ``is_dwarf``.
        stellar_mass_max: Column ``stellar_mass`` must be less than this as well, in its own unit.

    Raises:
        ArtefactError: If a column asked for is not there.
    """
    dwarf: Bools = embeddings.column("z") < z_max
    if flag is not None:
        value = embeddings.column(flag)
        dwarf = dwarf & (value == value) & (value != 0)
    if stellar_mass_max is not None:
        dwarf = dwarf & (embeddings.column("stellar_mass") < stellar_mass_max)
    return dwarf


class Votes(NamedTuple):
    """What the neighbours of n galaxies say.

    Attributes:
        score: Distance-weighted fraction of dwarfs among the K neighbours, shape (n,).
        dwarfs: How many of them are dwarfs, shape (n,).
        nearest: Rows of the three nearest dwarfs among them, shape (n, 3); -1 where fewer.
        distance: To the nearest of them, 1 - cosine, shape (n,); infinity where there is none.
    """

    score: Doubles
    dwarfs: Ints
    nearest: Ints
    distance: Floats


def count_votes(distances: Floats, rows: Ints, dwarf: Bools) -> Votes:
    """Score galaxies by their labelled neighbours, each weighted by 1/distance.

    Args:
        distances: Increasing along K, shape (n, K).
        rows: Catalogue rows of the neighbours, shape (n, K); -1 where there are fewer.
        dwarf: Which catalogue rows are dwarfs, shape (N,).
    """
    hit = dwarf[rows] & (rows >= 0)
    weight = np.where(rows >= 0, 1 / np.maximum(distances, 1e-6), 0).astype(np.float64)
    score = (weight * hit).sum(axis=1) / np.maximum(weight.sum(axis=1), 1e-12)
    width = min(NAMED, rows.shape[1])
    first = np.argsort(~hit, axis=1, kind="stable")[:, :width]
    named = np.take_along_axis(hit, first, axis=1)
    nearest = np.where(named, np.take_along_axis(rows, first, axis=1), -1)
    distance = np.where(hit, distances, np.inf).min(axis=1).astype(np.float32)
    return Votes(score, hit.sum(axis=1), nearest, distance)


@dataclass(frozen=True)
class DwarfSearch:
    """Ranks galaxies by the labelled train galaxies around them; sees no other label to rank.

    Attributes:
        index: Over the labelled train rows.
        dwarf: Which catalogue rows are labelled nearby dwarfs, shape (N,).
        k: Neighbours that vote.
        validation: Average precision of each k tried on the validation split; empty where no
            choice could be made there.
    """

    index: Index
    dwarf: Bools
    k: int
    validation: dict[int, float]

    @classmethod
    def fit(
        cls, index: Index, embeddings: Embeddings, dwarf: Bools, *, ks: Sequence[int]
    ) -> DwarfSearch:
        """Keep the labelled train rows; choose k by average precision on the validation split.

        Args:
            index: Built from the embeddings.
            embeddings: With splits and redshifts.
            dwarf: From `nearby_dwarfs`.
            ks: Numbers of neighbours to try; the middle one is taken where the validation split
                has no labelled dwarf.

        Raises:
            ConfigError: If ks is empty or holds a number below 1.
            DataError: If the train split has no labelled dwarf.
        """
        if not ks or min(ks) < 1:
            raise ConfigError(f"ks is {list(ks)}, expected at least one number of neighbours >= 1")
        catalogue = Catalogue.read(embeddings)
        train = catalogue.rows_where("train", labelled=True)
        if not dwarf[train].any():
            lowest = f"the lowest redshift is {catalogue.z[train].min():.4f}" if len(train) else ""
            raise DataError(
                f"none of {len(train)} labelled train galaxies is a nearby dwarf by this "
                f"definition; {lowest or 'none has a redshift'}; raise z_max= or add redshifts"
            )
        near = index.restricted_to(train)
        ks = sorted({min(k, len(train)) for k in ks})
        val = catalogue.rows_where("val", labelled=True)
        if not dwarf[val].any() or dwarf[val].all():
            return cls(near, dwarf, ks[len(ks) // 2], {})
        tried = _average_precisions(near, embeddings, val, dwarf, ks)
        return cls(near, dwarf, max(tried, key=lambda k: (tried[k], -k)), tried)

    def rank(self, embeddings: Embeddings, rows: Ints) -> Votes:
        """Return the votes for some catalogue rows, which must be increasing."""
        return count_votes(*search_rows(self.index, embeddings, rows, self.k), self.dwarf)


def candidate_rows(catalogue: Catalogue) -> tuple[Ints, str]:
    """Return the rows to rank and what they are: unlabelled galaxies, or else the test split.

    Raises:
        DataError: If there are neither.
    """
    unlabelled = np.flatnonzero(~np.isfinite(catalogue.z))
    if len(unlabelled):
        return unlabelled, "unlabelled galaxies"
    test = catalogue.rows_where("test", labelled=True)
    if not len(test):
        raise DataError(
            "nothing to rank: every galaxy has a redshift and none is in the test split"
        )
    return test, "test galaxies (every galaxy has a redshift)"


def candidate_table(catalogue: Catalogue, rows: Ints, votes: Votes) -> dict[str, Array]:
    """Return columns of the candidates, best first.

    Args:
        catalogue: Who the rows are.
        rows: Catalogue rows of the candidates, shape (n,).
        votes: For those rows.

    Returns:
        ``rank, id, ra, dec, z, score, n_dwarf_neighbours, nearest_dwarf_distance``,
        ``nearest_dwarf_ids`` (up to three in one text), ``row`` in the embeddings; each of
        shape (n,). Equal scores are in the order of the distance.
    """
    order = np.lexsort((votes.distance, -votes.score))
    best = catalogue.take(rows[order])
    nearest = [
        " ".join(str(catalogue.id[one]) for one in some if one >= 0)
        for some in votes.nearest[order]
    ]
    return {
        "rank": np.arange(1, len(rows) + 1),
        "id": best.id,
        "ra": best.ra,
        "dec": best.dec,
        "z": best.z,
        "score": votes.score[order].astype(np.float32),
        "n_dwarf_neighbours": votes.dwarfs[order],
        "nearest_dwarf_distance": votes.distance[order],
        "nearest_dwarf_ids": np.array(nearest, dtype=str),
        "row": rows[order],
    }


def _average_precisions(
    index: Index, embeddings: Embeddings, rows: Ints, dwarf: Bools, ks: Sequence[int]
) -> dict[int, float]:
    from sklearn.metrics import average_precision_score

    distances, found = search_rows(index, embeddings, rows, max(ks))
    tried = {}
    for k in ks:
        votes = count_votes(distances[:, :k], found[:, :k], dwarf)
        tried[k] = float(average_precision_score(dwarf[rows], votes.score))
    return tried
