"""Photometric cuts that keep nearby galaxies.

References:
    Darragh-Ford et al. 2023, arXiv:2212.07433 (the LOW-Z survey).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ssl_photoz.core.errors import ShapeError
from ssl_photoz.core.types import Array, Bools, Doubles

Z_MAX = 0.03
FROM_R_MAG = 14
REDDEST_GR_MAG, GR_PER_R = 0.99, 0.06  # at r = 14, and its fall per magnitude
BRIGHTEST_MU, MU_PER_R = 16.8, 0.7  # mag/arcsec^2 at r = 14, and its rise per magnitude
SURFACE_BRIGHTNESS, COLOUR = "surface brightness", "colour"


@dataclass(frozen=True)
class Selection:
    """Galaxies that pass the cuts.

    Attributes:
        selected: Shape (N,).
        cuts: Which cuts were applied: colour, and surface brightness where sizes are known.
    """

    selected: Bools
    cuts: tuple[str, ...]


def select_lowz(
    r_mag: Array,
    gr_mag: Array,
    radius_arcsec: Array | None,
    *,
    mu_error: Array | float = 0.0,
    gr_error: Array | float = 0.0,
) -> Selection:
    """Apply the cuts for z < 0.03.

    With mu = r + 2.5 log10(2 pi radius^2), a galaxy passes if
    ``mu + mu_error - 0.7 (r - 14) > 16.8`` and ``gr - gr_error + 0.06 (r - 14) < 0.99``. It
    does not if one of its values is NaN, or its radius is zero.

    Args:
        r_mag: r magnitude, corrected for extinction, shape (N,).
        gr_mag: Colour g-r, corrected for extinction, shape (N,).
        radius_arcsec: Half-light radius, shape (N,); None: the colour alone is cut on.
        mu_error: Error of the mean surface brightness within the radius, mag/arcsec^2.
        gr_error: Error of the colour, mag.

    Raises:
        ShapeError: If the columns are not equally long.
    """
    given = [np.asarray(column) for column in (r_mag, gr_mag, radius_arcsec) if column is not None]
    if len({column.shape for column in given}) > 1 or given[0].ndim != 1:
        raise ShapeError(f"columns have shapes {[c.shape for c in given]}, expected (N,) for all")
    fainter = given[0].astype(np.float64) - FROM_R_MAG
    blue = given[1] - gr_error + GR_PER_R * fainter < REDDEST_GR_MAG
    if radius_arcsec is None:
        return Selection(blue, (COLOUR,))
    with np.errstate(divide="ignore", invalid="ignore"):
        mu = given[0] + 2.5 * np.log10(2 * np.pi * np.square(given[2], dtype=np.float64))
        diffuse = mu + mu_error - MU_PER_R * fainter > BRIGHTEST_MU
    return Selection(diffuse & blue, (SURFACE_BRIGHTNESS, COLOUR))


def reddest_kept(r_mag: Array) -> Doubles:
    """Colour g-r above which the cuts leave galaxies out, shape of ``r_mag``."""
    return np.asarray(REDDEST_GR_MAG - GR_PER_R * (r_mag - FROM_R_MAG))


def smallest_kept(r_mag: Array) -> Doubles:
    """Half-light radius, arcsec, below which the cuts leave galaxies out, shape of ``r_mag``."""
    mu = BRIGHTEST_MU + MU_PER_R * (r_mag - FROM_R_MAG)
    return np.asarray(np.sqrt(10 ** (0.4 * (mu - r_mag)) / (2 * np.pi)))


def select_by_columns(names: Sequence[str], column: Callable[[str], Array]) -> Bools | None:
    """Apply the cuts to columns of a catalogue; None where no columns are named.

    Args:
        names: Names of r and g, corrected for extinction, and maybe of the radius, arcsec.
        column: Gives a column, shape (N,), by its name.
    """
    if not names:
        return None
    r_mag, g_mag, *radius = map(column, names)
    return select_lowz(r_mag, g_mag - r_mag, radius[0] if radius else None).selected
