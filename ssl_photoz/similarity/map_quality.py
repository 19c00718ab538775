"""How far a map can be trusted: whether neighbours on it are neighbours in the embedding."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from ssl_photoz.core.errors import DataError
from ssl_photoz.core.types import Floats

DISTANCES_HELD = 1 << 24


class Trust(NamedTuple):
    """Trustworthiness and continuity of a map, each at most 1.

    Attributes:
        trustworthiness: Low where neighbours on the map are strangers in the embedding.
        trustworthiness_error: Of the mean over the galaxies asked; 0 if all were.
        continuity: Low where neighbours in the embedding are torn apart on the map.
        continuity_error: Likewise.
        neighbours: How many of each galaxy's neighbours were looked at.
        asked: Galaxies whose neighbours were looked at, among all on the map.
    """

    trustworthiness: float
    trustworthiness_error: float
    continuity: float
    continuity_error: float
    neighbours: int
    asked: int

    def __str__(self) -> str:
        return (
            f"trustworthiness {self.trustworthiness:.3f} \N{PLUS-MINUS SIGN} "
            f"{self.trustworthiness_error:.3f}, continuity {self.continuity:.3f} at "
            f"{self.neighbours} neighbours"
        )


def measure_trust(
    vectors: Floats, places: Floats, *, neighbours: int = 15, asked: int = 500, seed: int = 0
) -> Trust:
    """Compare neighbourhoods on the map with those in the embedding [1].

    Neighbours and ranks are taken among all galaxies; only the mean is over a random sample.

    Args:
        vectors: Unit vectors that were laid out, shape (N, P).
        places: Where everything lies on the map, shape (N, 2).
        neighbours: K; fewer if there are not more than twice as many galaxies.
        asked: Galaxies that the mean is taken over, drawn with ``seed``; all if there are fewer.
        seed: Of the draw.

    Raises:
        DataError: If there are fewer than four galaxies.

    References:
        [1] Venna & Kaski 2001, Proc. ICANN, LNCS 2130, 485.
    """
    count = len(vectors)
    if count < 4:
        raise DataError(f"{count} galaxies are too few to measure a map by; at least 4")
    k = min(neighbours, (count - 1) // 2)
    rows = np.random.default_rng(seed).choice(count, min(asked, count), replace=False)
    step = max(1, DISTANCES_HELD // count)
    strayed, (x, y) = np.empty((2, len(rows))), np.ascontiguousarray(places.T)
    for start in tqdm(range(0, len(rows), step), desc="measuring the map", leave=False):
        some = rows[start : start + step]
        for place, (row, cosines) in enumerate(
            zip(some, vectors[some] @ vectors.T, strict=True), start
        ):
            alike, close = -cosines, (x - x[row]) ** 2 + (y - y[row]) ** 2
            alike[row] = close[row] = np.inf
            strayed[:, place] = _ranks_off(alike, close, k), _ranks_off(close, alike, k)
    scores = 1 - 2 / (k * (2 * count - 3 * k - 1)) * strayed
    mean = scores.mean(axis=1)
    error = scores.std(axis=1, ddof=1) * np.sqrt((1 - len(rows) / count) / len(rows))
    return Trust(float(mean[0]), float(error[0]), float(mean[1]), float(error[1]), k, len(rows))


def _ranks_off(truth: Floats, shown: Floats, k: int) -> int:
    """Return by how many ranks, in sum, the k nearest as shown miss the k nearest in truth.

    Args:
        truth: Distance of every galaxy from one of them, whose own is infinity, shape (N,).
        shown: Likewise, shape (N,).
        k: Neighbours.
    """
    near = truth[np.argpartition(shown, k - 1)[:k]]
    ranks = [1 + int(np.count_nonzero(truth < distance)) for distance in near]
    return sum(rank - k for rank in ranks if rank > k)
