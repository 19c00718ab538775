"""Whatever else is in the cutout: other galaxies and stars, as common as on the sky."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ssl_photoz.core.legacy_surveys import PIXSCALE_ARCSEC
from ssl_photoz.core.types import Doubles
from ssl_photoz.simulator.colours import ColourTable
from ssl_photoz.simulator.conditions import flux_of

GALAXY_SLOPE, STAR_SLOPE = 0.37, 0.17
"""Number counts rise as ``10 ** (slope * mag)``."""
GALAXY_MAG_RANGE, STAR_MAG_RANGE = (18.0, 23.5), (15.5, 23.0)


class Field(NamedTuple):
    """Objects beside the target; offsets from the centre in arcsec, fluxes (N, 3) in nmgy.

    Galaxies are exponential discs; a radius of zero is a star.
    """

    x_arcsec: Doubles
    y_arcsec: Doubles
    flux_nmgy: Doubles
    radius_arcsec: Doubles
    axis_ratio: Doubles
    angle_rad: Doubles


def draw_field(
    rng: np.random.Generator,
    colours: ColourTable,
    *,
    size_px: int,
    galaxies_per_arcmin2: float,
    stars_per_arcmin2: float,
) -> Field:
    """Draw neighbours, uniformly over the cutout.

    Args:
        rng: Source of randomness.
        colours: Table of colours for the neighbours.
        size_px: Side of the cutout.
        galaxies_per_arcmin2: Density of galaxies with 18 < r < 23.5.
        stars_per_arcmin2: Density of stars with 15.5 < r < 23.
    """
    side_arcsec = size_px * PIXSCALE_ARCSEC
    n_galaxies = rng.poisson(galaxies_per_arcmin2 * (side_arcsec / 60) ** 2)
    n_stars = rng.poisson(stars_per_arcmin2 * (side_arcsec / 60) ** 2)
    n = n_galaxies + n_stars
    x, y = rng.uniform(-side_arcsec / 2, side_arcsec / 2, size=(2, n))
    mag = np.concatenate(
        [_draw_galaxy_mags(rng, colours, n_galaxies), _draw_star_mags(rng, n_stars)]
    )
    radius = 0.45 * 10 ** (-0.12 * (mag[:, 1] - 22.0)) * np.exp(0.3 * rng.standard_normal(n))
    radius[n_galaxies:] = 0.0
    return Field(
        x_arcsec=x,
        y_arcsec=y,
        flux_nmgy=flux_of(mag),
        radius_arcsec=radius,
        axis_ratio=rng.uniform(0.3, 1.0, size=n),
        angle_rad=rng.uniform(0, np.pi, size=n),
    )


def _draw_r(
    rng: np.random.Generator, n: int, slope: float, mag_range: tuple[float, float]
) -> Doubles:
    low, high = (10 ** (slope * edge) for edge in mag_range)
    return np.asarray(np.log10(rng.uniform(low, high, size=n)) / slope)


def _draw_galaxy_mags(rng: np.random.Generator, colours: ColourTable, n: int) -> Doubles:
    r = _draw_r(rng, n, GALAXY_SLOPE, GALAXY_MAG_RANGE)
    median_z = 0.1 + 0.085 * (r - 18.0)
    z = np.clip(rng.gamma(3.0, median_z / 2.67), 0.02, 1.1)
    early = rng.uniform(size=n) < 0.3
    sed_type = np.where(early, 0.0, rng.uniform(0.8, 3.2, size=n))
    relative = colours.mag(sed_type, z)
    return np.asarray(r[:, None] + relative - relative[:, 1:2])


def _draw_star_mags(rng: np.random.Generator, n: int) -> Doubles:
    """Draw stars along the stellar locus (after Covey et al. 2007, AJ 134, 2398)."""
    r = _draw_r(rng, n, STAR_SLOPE, STAR_MAG_RANGE)
    is_m_dwarf = rng.uniform(size=n) < 0.5
    turn_off = rng.normal(0.5, 0.15, size=n)
    r_z_m = rng.uniform(0.8, 2.8, size=n)
    g_r = np.where(is_m_dwarf, rng.normal(1.42, 0.06, size=n), turn_off)
    r_z = np.where(is_m_dwarf, r_z_m, 0.55 * turn_off - 0.07)
    return np.stack([r + g_r, r, r - r_z], axis=1)
