"""Look-alikes: of one galaxy, of several, or of these but not of those; each object once."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from tqdm import tqdm

from ssl_photoz.catalog.identity import IDENTITY_ARCSEC, means_none
from ssl_photoz.catalog.sky import arcsec_of, chord_of
from ssl_photoz.core.errors import ConfigError, DataError
from ssl_photoz.core.types import Array, Doubles, Floats, Ints
from ssl_photoz.similarity.catalogue import SAME_OBJECT_ARCSEC, Catalogue
from ssl_photoz.similarity.index import Index
from ssl_photoz.similarity.settings import FeedbackConfig

BATCH = 64
SHORT = 1e-6  # a direction this short is rounding error
NONE: Ints = np.empty(0, np.int64)


@dataclass(frozen=True)
class RelevanceFeedback:
    """What is wanted, as directions in which an answer should lie; the best of them counts.

    From likes and dislikes as Rocchio's relevance feedback [1] makes a query.

    The distance of a galaxy is ``1 - max_i w_i cos_i``, with cos_i its cosine to direction i.

    Attributes:
        directions: Unit vectors, shape (m, P).
        weights: w_i, positive, shape (m,).

    References:
        [1] Rocchio 1971, in The SMART Retrieval System, 313.
    """

    directions: Floats
    weights: Doubles

    @classmethod
    def at(cls, unit: Floats) -> RelevanceFeedback:
        """What is like one unit vector, shape (P,): the distance is 1 - cosine."""
        return cls(unit[None], np.ones(1))

    @classmethod
    def combine(
        cls, likes: Floats, unlikes: Floats | None = None, config: FeedbackConfig = FeedbackConfig()
    ) -> RelevanceFeedback:
        """Look for galaxies like some, and unlike others.

        With u the unit vector of a galaxy, l_i those of the likes, and L and D the means of the
        likes and of the dislikes, scaled to unit length, the score of a galaxy is

            centroid:  u·L - w u·D        any:  max_i u·l_i - w u·D

        and its distance is 1 - score: 1 - cosine without dislikes, from -w to 2 + w with them.

        Args:
            likes: Unit vectors, shape (m, P), at least one.
            unlikes: Unit vectors to keep away from, shape (n, P).
            config: How they are combined; w is ``unlike_weight``.

        Raises:
            DataError: If a direction vanishes, because likes cancel each other or the dislikes.
        """
        wanted = _centre(likes)[None] if config.mode == "centroid" else likes.astype(np.float64)
        if unlikes is not None:
            wanted = wanted - config.unlike_weight * _centre(unlikes)
        weights = np.linalg.norm(wanted, axis=1)
        if (weights < SHORT).any():
            raise DataError(
                "likes and dislikes point the same way, so that nothing is left to look for; give "
                "other dislikes, or a smaller unlike_weight="
            )
        return cls((wanted / weights[:, None]).astype(np.float32), weights)

    def nearest(self, index: Index, k: int) -> tuple[Ints, Floats, bool]:
        """Rows that are the nearest, as surely as the index finds them, in order.

        A row that no direction found is no nearer than the last that each direction found, so that
        rows up to the nearest of these last ones are complete.


        Returns:
            Rows (n,), each once, their distances (n,), increasing, and whether there are no more.
        """
        cosines, rows = self._search(index, min(k, max(len(index), 1)))
        distances = 1 - self.weights[:, None] * np.clip(cosines, -1, 1).astype(np.float64)
        ended = (rows[:, -1] < 0) | (k >= len(index))
        limit = np.where(ended, np.inf, distances[:, -1]).min()
        sure = (rows >= 0) & (distances <= limit)
        order = np.argsort(distances[sure], kind="stable")
        distances, rows = distances[sure][order], rows[sure][order]
        first = np.sort(np.unique(rows, return_index=True)[1])
        return rows[first], distances[first].astype(np.float32), bool(ended.all())

    def _search(self, index: Index, k: int) -> tuple[Floats, Ints]:
        starts = range(0, len(self.directions), BATCH)
        with tqdm(starts, desc="searching", leave=False, disable=len(starts) < 4) as progress:
            parts = [
                index.searcher.search(self.directions[start : start + BATCH], k)
                for start in progress
            ]
        return np.concatenate([one for one, _ in parts]), np.concatenate([one for _, one in parts])


def _centre(units: Floats) -> Doubles:
    """Mean of unit vectors (m, P), scaled to unit length, (P,)."""
    mean = units.mean(axis=0, dtype=np.float64)
    length = np.linalg.norm(mean)
    if length < SHORT:
        raise DataError(f"these {len(units)} galaxies cancel each other; give some that are alike")
    centre: Doubles = mean / length
    return centre


@dataclass(frozen=True)
class LookAlikes:
    """The answer to one query.

    Attributes:
        catalogue: Galaxies among which it was searched.
        query: Row of the query in the catalogue; None if it came from outside or is a list.
        rows: Catalogue rows, nearest first, shape (K,).
        distances: 1 - cosine, shape (K,); for lists, as `ssl_photoz.similarity.query` says.
        repeats: How many nearer rows were passed over because they are the query itself again,
            or a galaxy already listed (same id, or within 2 arcsec).
        picture: Picture of a query from outside, (H, W, 3) uint8.
        likes: Rows of the examples, where the query is a list.
        unlikes: Rows of the examples to keep away from.
        notes: Remarks: galaxies skipped, other matches, the filter.
    """

    catalogue: Catalogue
    query: int | None
    rows: Ints
    distances: Floats
    repeats: int
    picture: Array | None = None
    likes: Ints = field(default_factory=NONE.copy)
    unlikes: Ints = field(default_factory=NONE.copy)
    notes: tuple[str, ...] = ()

    @property
    def ids(self) -> Array:
        """Ids of the galaxies, nearest first, shape (K,)."""
        return self.catalogue.id[self.rows]

    def table(self) -> dict[str, Array]:
        """Columns of the answer.

        Returns:
            ``rank, id, ra, dec, z_spec``; ``z_phot, z_lo, z_hi`` where the catalogue has them;
            ``distance`` and, for a query that is in the catalogue, ``separation_arcsec``.
        """
        found = self.catalogue.take(self.rows)
        columns = {
            "rank": np.arange(1, len(found) + 1),
            "id": found.id,
            "ra": found.ra,
            "dec": found.dec,
            "z_spec": found.z,
            **found.photoz,
            "distance": self.distances,
        }
        if self.query is not None:
            here = self.catalogue.take(np.array([self.query]))
            columns["separation_arcsec"] = _separation_arcsec(found, here)
        return columns

    def describe(self) -> str:
        """The answer as lines of text."""
        found = self.catalogue.take(self.rows)
        phot = found.photoz.get("z_phot")
        lines = [
            f"{'rank':>4} {'id':>20} {'z_spec':>7}{'' if phot is None else '  z_phot'} distance"
        ]
        for place, (name, z, distance) in enumerate(
            zip(found.id, found.z, self.distances, strict=True)
        ):
            z_phot = "" if phot is None else f" {phot[place]:7.4f}"
            lines.append(f"{place + 1:>4} {name!s:>20} {z:7.4f}{z_phot} {distance:8.4f}")
        if self.repeats:
            lines.append(
                f"{self.repeats} passed over: the same object again (same id, or within "
                f'{SAME_OBJECT_ARCSEC:g}" of the query or of a galaxy already listed)'
            )
        return "\n".join([*lines, *self.notes])


def look_alikes(
    index: Index, catalogue: Catalogue, vector: Floats, *, k: int, row: int | None = None
) -> LookAlikes:
    """Find the k galaxies most like a vector, each object once.

    Args:
        index: Index to search.
        catalogue: Catalogue of the rows.
        vector: Embedding, shape (D,).
        k: Galaxies wanted; fewer come back only if there are no more.
        row: The query's own row, which is left out together with its repeats.

    Returns:
        The galaxies, nearest first.

    Raises:
        ConfigError: If k is less than 1.
    """
    wanted = RelevanceFeedback.at(index.reduction.apply(vector[None])[0])
    own = NONE if row is None else np.array([row])
    return replace(best_of(index, catalogue, wanted, k=k, leave_out=own), query=row)


def best_of(
    index: Index, catalogue: Catalogue, wanted: RelevanceFeedback, *, k: int, leave_out: Ints = NONE
) -> LookAlikes:
    """Find the k galaxies nearest to what is wanted, each object once.

    Args:
        index: Index to search.
        catalogue: Catalogue of the rows.
        wanted: Directions of it.
        k: Galaxies wanted; fewer come back only if there are no more.
        leave_out: Rows that are no answers, nor are their repeats: the query, the examples.

    Raises:
        ConfigError: If k is less than 1.
    """
    if k < 1:
        raise ConfigError(f"k is {k}, expected at least 1 look-alike")
    asked = k + 8
    while True:
        rows, distances, no_more = wanted.nearest(index, asked)
        kept, repeats = _without_repeats(catalogue, rows, k=k, leave_out=leave_out)
        if len(kept) == k or no_more:
            return LookAlikes(catalogue, None, rows[kept], distances[kept], repeats)
        asked *= 4


def spread_in_redshift(catalogue: Catalogue, count: int, *, seed: int) -> Ints:
    """Choose labelled test galaxies spread in redshift, one in each of ``count`` equal parts.

    Where no test galaxy is labelled, any rows, evenly through the catalogue.
    """
    labelled = catalogue.rows_where("test", labelled=True)
    ordered = labelled[np.argsort(catalogue.z[labelled], kind="stable")]
    pool = ordered if len(ordered) else np.arange(len(catalogue))
    parts = np.array_split(pool, min(count, len(pool)))
    rng = np.random.default_rng(seed)
    return np.array([rng.choice(part) for part in parts], np.int64)


def _without_repeats(
    catalogue: Catalogue, rows: Ints, *, k: int, leave_out: Ints
) -> tuple[list[int], int]:
    """Which of some rows to keep, at most k, and how many before the last are repeats."""
    near = catalogue.take(rows)
    own = np.isin(rows, leave_out)
    seen = own | near.is_any_of(catalogue.take(leave_out))
    none = means_none(near.id)
    kept: list[int] = []
    repeats = 0
    for place in range(len(rows)):
        if len(kept) == k:
            break
        if seen[place]:
            repeats += int(not own[place])
            continue
        kept.append(place)
        apart = np.linalg.norm(near.points - near.points[place], axis=1)
        seen |= apart < chord_of(SAME_OBJECT_ARCSEC)
        close = (apart <= chord_of(IDENTITY_ARCSEC)) | (np.isnan(apart) & ~none)
        seen |= (near.id == near.id[place]) & close
    return kept, repeats


def _separation_arcsec(found: Catalogue, here: Catalogue) -> Doubles:
    away = arcsec_of(np.linalg.norm(found.points - here.points, axis=1))
    return np.where(np.isnan(away), np.inf, away)
