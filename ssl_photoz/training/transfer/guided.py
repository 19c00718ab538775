"""Guided selection: partners of like magnitude, so that surveys differ by their looks alone."""

from __future__ import annotations

import numpy as np

from ssl_photoz.core.errors import DataError
from ssl_photoz.core.types import Array, Ints

HALF_WIDTH_MAG = 0.1


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
        wanted_mag: Magnitudes, shape (B,).
        offered_mag: Magnitudes to choose among, shape (M,).
        rng: Source of randomness.
        half_width_mag: How far from the magnitude wanted.

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
