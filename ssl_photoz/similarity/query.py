"""Look-alikes of a galaxy: its neighbours without itself and without repeats."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ssl_photoz.errors import ConfigError
from ssl_photoz.similarity.catalogue import Catalogue
from ssl_photoz.types import Array, Floats, Ints, Neighbours


@dataclass(frozen=True)
class LookAlikes:
    """The answer to one query.

    Attributes:
        query: Row of the query in the catalogue; None if it came from outside.
        rows: Catalogue rows, nearest first, shape (K,).
        distances: 1 - cosine, shape (K,).
        repeats: How many nearer rows were passed over because they are the query itself again,
            or a galaxy already listed (same id, or within 2 arcsec).
        picture: Of a query from outside, (H, W, 3) uint8.
    """

    query: int | None
    rows: Ints
    distances: Floats
    repeats: int
    picture: Array | None = None

    def table(self, catalogue: Catalogue) -> dict[str, Array]:
        """Return columns ``rank, id, ra, dec, z, distance`` and ``separation_arcsec``."""
        columns = {
            "rank": np.arange(1, len(self.rows) + 1),
            "id": catalogue.id[self.rows],
            "ra": catalogue.ra[self.rows],
            "dec": catalogue.dec[self.rows],
            "z": catalogue.z[self.rows],
            "distance": self.distances,
        }
        if self.query is not None:
            away = catalogue.separation_arcsec(catalogue.ra[self.query], catalogue.dec[self.query])
            columns["separation_arcsec"] = away[self.rows]
        return columns

    def describe(self, catalogue: Catalogue) -> str:
        """Return the answer as lines of text."""
        lines = [f"{'rank':>4} {'id':>20} {'z':>7} {'distance':>9}"]
        for rank, (row, distance) in enumerate(zip(self.rows, self.distances, strict=True), 1):
            lines.append(
                f"{rank:>4} {catalogue.id[row]!s:>20} {catalogue.z[row]:7.4f} {distance:9.4f}"
            )
        if self.repeats:
            lines.append(f"{self.repeats} passed over: the same object again")
        return "\n".join(lines)


def look_alikes(
    neighbours: Neighbours,
    catalogue: Catalogue,
    vector: Floats,
    *,
    k: int,
    row: int | None = None,
) -> LookAlikes:
    """Find the k galaxies most like a vector, each object once.

    Args:
        neighbours: Where to search.
        catalogue: Who the rows are.
        vector: In embedding space, shape (D,).
        k: Galaxies wanted; fewer come back only if the catalogue has no more.
        row: The query's own row, which is left out together with its repeats.

    Returns:
        The galaxies, nearest first.

    Raises:
        ConfigError: If k is less than 1.
    """
    if k < 1:
        raise ConfigError(f"k is {k}, expected at least 1 look-alike")
    asked = k + 8
    while True:
        distances, found = neighbours.search(vector[None], min(asked, len(catalogue)))
        answer = _without_repeats(catalogue, found[0], distances[0], k=k, row=row)
        if len(answer.rows) == k or asked >= len(catalogue):
            return answer
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
    catalogue: Catalogue, found: Ints, distances: Floats, *, k: int, row: int | None
) -> LookAlikes:
    near = catalogue.take(found[found >= 0])
    seen = np.zeros(len(near), bool) if row is None else near.same_object(catalogue, row)
    kept: list[int] = []
    passed = 0
    for position, one in enumerate(found[: len(near)]):
        if len(kept) == k:
            break
        if seen[position]:
            passed += int(one != row)
            continue
        kept.append(position)
        seen |= near.same_object(near, position)
    return LookAlikes(row, found[kept], distances[kept], passed)
