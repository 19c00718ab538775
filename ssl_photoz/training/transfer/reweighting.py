"""Importance weights: galaxies of the source count as often as their like are in the target."""

from __future__ import annotations

import numpy as np

from ssl_photoz.core.errors import DataError
from ssl_photoz.core.types import Array, Doubles

NEIGHBOURS = 20


def importance_weights(
    source: Array, target: Array, *, neighbours: int = NEIGHBOURS, at_most: float = 10.0
) -> Doubles:
    """Return the ratio of the two densities at every source galaxy [1].

    Within the distance of a galaxy's k-th neighbour in the source, the galaxies of the target are
    counted; features are first brought to unit scatter in the source.

    Args:
        source: Photometry, shape (N, F).
        target: The same photometry, shape (M, F).
        neighbours: k.
        at_most: Largest weight, in units of the mean.

    Returns:
        Weights, shape (N,), of mean 1 before the largest were cut, and after.

    Raises:
        DataError: If there are no more than k galaxies in the source, or the weights would rest on
            fewer than k.

    References:
        [1] Lima et al. 2008, MNRAS 390, 118.
    """
    from scipy.spatial import cKDTree

    if len(source) <= neighbours:
        raise DataError(f"{len(source)} galaxies to weight, expected more than {neighbours}")
    scale = np.asarray(source, dtype=np.float64).std(axis=0)
    here, there = source / np.where(scale > 0, scale, 1.0), target / np.where(scale > 0, scale, 1.0)
    reach = cKDTree(here).query(here, k=[neighbours + 1])[0][:, 0]
    counts = cKDTree(there).query_ball_point(here, reach, return_length=True)
    weights = np.minimum(counts / max(counts.mean(), 1e-12), at_most)
    if not counts.any() or effective_number(weights) < neighbours:
        raise DataError(
            f"only {np.count_nonzero(counts)} of {len(source)} galaxies have their like in the "
            f"target, too few to be weighted; do without reweighting"
        )
    return np.asarray(weights / weights.mean(), dtype=np.float64)


def effective_number(weights: Array) -> float:
    """Return how many galaxies of equal weight would be as good: (sum w)^2 / sum w^2."""
    return float(np.sum(weights) ** 2 / np.sum(np.square(weights)))
