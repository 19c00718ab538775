"""Which galaxies of two surveys are like each other: partners, and importance weights."""

from __future__ import annotations

import numpy as np

from ssl_photoz.core.errors import DataError
from ssl_photoz.core.types import Array, Doubles, Ints

HALF_WIDTH_MAG = 0.1
NEIGHBOURS = 20


def match_magnitudes(
    wanted_mag: Array,
    offered_mag: Array,
    *,
    rng: np.random.Generator,
    half_width_mag: float = HALF_WIDTH_MAG,
) -> Ints:
    """Draw, for every magnitude wanted, one of the offered galaxies close to it.

    Where none lies within the half-width, the nearest is taken. One galaxy can be drawn several
    times.

    Args:
        wanted_mag: Magnitudes to match, shape (B,).
        offered_mag: Magnitudes to choose among, shape (M,).
        rng: Source of randomness.
        half_width_mag: Greatest distance from the magnitude wanted.

    Returns:
        Places among the offered, shape (B,).

    Raises:
        DataError: If nothing is offered, or a magnitude is not finite.
    """
    wanted = np.asarray(wanted_mag, dtype=np.float64)
    offered = np.asarray(offered_mag, dtype=np.float64)
    if not len(offered) or not (np.isfinite(wanted).all() and np.isfinite(offered).all()):
        raise DataError(
            f"cannot match {len(wanted)} magnitudes among {len(offered)}; give some, all finite"
        )
    order = np.argsort(offered, kind="stable")
    ranked = offered[order]
    low = np.searchsorted(ranked, wanted - half_width_mag, side="left")
    high = np.searchsorted(ranked, wanted + half_width_mag, side="right")
    drawn = low + np.floor(rng.random(len(wanted)) * (high - low)).astype(np.int64)
    return np.asarray(order[np.where(high > low, drawn, _nearest(ranked, wanted))], dtype=np.int64)


def _nearest(ranked: Array, wanted: Array) -> Ints:
    above = np.searchsorted(ranked, wanted).clip(max=len(ranked) - 1)
    below = (above - 1).clip(min=0)
    closer = np.abs(ranked[below] - wanted) < np.abs(ranked[above] - wanted)
    return np.where(closer, below, above)


def importance_weights(
    source: Array, target: Array, *, neighbours: int = NEIGHBOURS, at_most: float = 10.0
) -> Doubles:
    """Ratio of the two surveys' densities at every source galaxy [1].

    Within the distance of a galaxy's k-th neighbour in the source, the galaxies of the target are
    counted; features are first brought to unit scatter in the source.

    Args:
        source: Photometry, shape (N, F).
        target: Photometry of the same kind, shape (M, F).
        neighbours: Number of neighbours, k.
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
    """Number of galaxies of equal weight that would be as good: (sum w)^2 / sum w^2."""
    return float(np.sum(weights) ** 2 / np.sum(np.square(weights)))
