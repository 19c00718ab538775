"""What a query is after: the like of one galaxy, of several, or of these but not of those."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from tqdm import tqdm

from ssl_photoz.core.errors import ConfigError, DataError
from ssl_photoz.core.types import Doubles, Floats, Ints
from ssl_photoz.similarity.index import Index

Mode = Literal["centroid", "any"]
BATCH = 64
SHORT = 1e-6  # a direction this short is rounding error


@dataclass(frozen=True)
class Aim:
    """Directions that an answer should lie in; the best of them counts.

    The distance of a galaxy is ``1 - max_i w_i cos_i``, with cos_i its cosine to direction i.

    Attributes:
        directions: Unit vectors, shape (m, P).
        weights: w_i, positive, shape (m,).
    """

    directions: Floats
    weights: Doubles

    @classmethod
    def at(cls, unit: Floats) -> Aim:
        """Aim at one unit vector, shape (P,): the distance is 1 - cosine."""
        return cls(unit[None], np.ones(1))

    def nearest(self, index: Index, k: int) -> tuple[Ints, Floats, bool]:
        """Return rows that are the nearest, as surely as the index finds them, in order.

        A row that no direction found is no nearer than the last that each direction found, so that
        rows up to the nearest of these last ones are complete.

        Args:
            index: Where to search.
            k: Neighbours to look for in each direction.

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


def aim_at(
    likes: Floats,
    *,
    mode: Mode = "centroid",
    unlikes: Floats | None = None,
    unlike_weight: float = 1.0,
) -> Aim:
    """Aim at galaxies like some, and unlike others.

    With u the unit vector of a galaxy, l_i those of the likes, and L and D the means of the likes
    and of the dislikes, scaled to unit length, the score of a galaxy is

        centroid:  u·L - w u·D        any:  max_i u·l_i - w u·D

    and its distance is 1 - score: 1 - cosine without dislikes, from -w to 2 + w with them.

    Args:
        likes: Unit vectors, shape (m, P), at least one.
        mode: ``centroid``: like their mean; ``any``: like at least one of them.
        unlikes: Unit vectors to keep away from, shape (n, P).
        unlike_weight: w, how much they count.

    Raises:
        ConfigError: If the weight is not a number from 0 on.
        DataError: If a direction vanishes, because likes cancel each other or the dislikes.
    """
    if not 0 <= unlike_weight < np.inf:
        raise ConfigError(f"unlike_weight is {unlike_weight}, expected 0 or more")
    wanted = _centre(likes)[None] if mode == "centroid" else likes.astype(np.float64)
    if unlikes is not None:
        wanted = wanted - unlike_weight * _centre(unlikes)
    weights = np.linalg.norm(wanted, axis=1)
    if (weights < SHORT).any():
        raise DataError(
            "likes and dislikes point the same way, so that nothing is left to look for; give "
            "other dislikes, or a smaller unlike_weight="
        )
    return Aim((wanted / weights[:, None]).astype(np.float32), weights)


def _centre(units: Floats) -> Doubles:
    """Return the mean of unit vectors (m, P), scaled to unit length, (P,)."""
    mean = units.mean(axis=0, dtype=np.float64)
    length = np.linalg.norm(mean)
    if length < SHORT:
        raise DataError(f"these {len(units)} galaxies cancel each other; give some that are alike")
    centre: Doubles = mean / length
    return centre
