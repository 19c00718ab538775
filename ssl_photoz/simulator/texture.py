"""What a smooth profile lacks: star-forming knots, and the graininess of unresolved stars."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ssl_photoz.core.types import Doubles
from ssl_photoz.simulator.colours import BLUEST_TYPE, ColourTable
from ssl_photoz.simulator.conditions import flux_of
from ssl_photoz.simulator.population import Galaxies

KNOT_SIGMA_KPC = 0.15
MOST_KNOT_LIGHT = 0.5
GIANT_COLOURS_MAG = np.array([1.6, 0.5, -0.3])
"""Fluctuation magnitude in g, r, z minus that in i: the colours of red giants."""


class Knots(NamedTuple):
    """Star-forming regions.

    Attributes:
        x_arcsec: Offsets from the galaxy's centre, shape (N,).
        y_arcsec: Shape (N,).
        share: Each knot's share of the knots' light, shape (N,), sum 1.
        flux_nmgy: Flux of all knots together, per band, shape (3,).
        sigma_arcsec: Size of one, as a Gaussian.
    """

    x_arcsec: Doubles
    y_arcsec: Doubles
    share: Doubles
    flux_nmgy: Doubles
    sigma_arcsec: float


def draw_knots(
    rng: np.random.Generator, galaxy: Galaxies, angle_rad: float, colours: ColourTable
) -> Knots:
    """Scatter knots, with the bluest spectrum, over the galaxy's exponential disc.

    They hold 8 % of the r light per unit of spectral type (none in early types), and never
    more than half the light of a band.
    """
    light = 0.0 if galaxy.early else float(np.clip(0.08 * galaxy.sed_type, 0.0, 0.3))
    light *= rng.uniform(0.3, 1.0)
    number = 1 + rng.poisson(np.interp(-galaxy.abs_mag_r, [14.0, 21.0], [6.0, 60.0]))
    radius = rng.gamma(2.0, galaxy.radius_arcsec / 1.678, size=number)
    radius = np.minimum(radius, 3.0 * galaxy.radius_arcsec)
    phi = rng.uniform(0, 2 * np.pi, size=number)
    stretch = np.sqrt(galaxy.axis_ratio)
    along, across = radius * np.cos(phi) / stretch, radius * np.sin(phi) * stretch
    cos, sin = np.cos(angle_rad), np.sin(angle_rad)
    share = rng.exponential(size=number)
    young = colours.mag(np.array([BLUEST_TYPE]), np.array([galaxy.redshift]))[0]
    total = flux_of(galaxy.mag)
    flux = light * total[1] * 10 ** (-0.4 * (young - young[1]))
    return Knots(
        x_arcsec=along * cos - across * sin,
        y_arcsec=along * sin + across * cos,
        share=share / share.sum(),
        flux_nmgy=np.minimum(flux, MOST_KNOT_LIGHT * total),
        sigma_arcsec=KNOT_SIGMA_KPC / float(galaxy.kpc_per_arcsec),
    )


def fluctuation_flux_nmgy(rest_mag: Doubles, distance_modulus: float) -> Doubles:
    """Give the flux of the "mean giant star", which sets surface-brightness fluctuations.

    It falls as the square of the distance, as any star's does.

    Args:
        rest_mag: Rest-frame g, r, z of the galaxy; only its colours matter. Shape (3,).
        distance_modulus: Mag.

    Returns:
        Flux per band, nanomaggies, shape (3,).

    References:
        i band: Kim & Lee 2021, ApJ 923, 152: M = -2.65 + 1.28 (g - i).
    """
    g_i = (rest_mag[0] - rest_mag[1]) + 0.55 * (rest_mag[1] - rest_mag[2])
    return flux_of(-2.65 + 1.28 * g_i + GIANT_COLOURS_MAG + distance_modulus)


def draw_grain(rng: np.random.Generator, profile: Doubles) -> Doubles:
    """Draw the common pattern of fluctuations.

    The number of stars in a pixel is Poissonian, so the variance of its flux is the mean flux
    times that of the mean giant (Tonry & Schneider 1988, AJ 96, 807). Scaled by
    ``sqrt(total flux * fluctuation flux)`` and added to the galaxy before the PSF.

    Args:
        rng: Source of the pattern; the same stars make it in every band.
        profile: Unit-flux image of the galaxy before the PSF, any shape.

    Returns:
        ``sqrt(profile) * N(0, 1)``, same shape.
    """
    return np.asarray(np.sqrt(np.maximum(profile, 0.0)) * rng.standard_normal(profile.shape))
