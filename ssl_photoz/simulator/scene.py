"""From a galaxy, its knots and grain, and its neighbours to a cutout in three bands."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ssl_photoz.core.legacy_surveys import PIXSCALE_ARCSEC
from ssl_photoz.core.types import Doubles
from ssl_photoz.simulator import fourier
from ssl_photoz.simulator.colours import BLUEST_TYPE, ColourTable
from ssl_photoz.simulator.conditions import Conditions, dim_by_dust, flux_of
from ssl_photoz.simulator.fourier import Plane, Transform
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


def render(
    rng: np.random.Generator,
    galaxy: Galaxies,
    knots: Knots,
    field: Field,
    conditions: Conditions,
    *,
    angle_rad: float,
    offset_arcsec: Doubles,
    size_px: int,
) -> Doubles:
    """Render the scene without sky noise.

    Args:
        rng: Source of the fluctuations' pattern.
        galaxy: The target.
        knots: Its knots.
        field: Its neighbours.
        conditions: Dust, PSF and passbands.
        angle_rad: Position angle of the major axis, from the x axis.
        offset_arcsec: The target's x and y from the centre of the cutout, shape (2,).
        size_px: Side of the cutout, even.

    Returns:
        Flux, nanomaggies per pixel, shape (3, size, size).
    """
    plane = fourier.plane(_period_px(galaxy, size_px))
    kr = plane.k_radius(float(galaxy.radius_arcsec), float(galaxy.axis_ratio), angle_rad)
    smooth = fourier.sersic(kr, float(galaxy.sersic)) * plane.pixel
    smooth = smooth * plane.points(offset_arcsec[:1], offset_arcsec[1:], np.ones(1))
    grain = plane.transform(draw_grain(rng, plane.image(smooth)))
    clumps = _knots_transform(plane, knots, offset_arcsec)
    others = _field_transform(plane, field)
    diffuse = flux_of(galaxy.mag) - knots.flux_nmgy
    giant = fluctuation_flux_nmgy(galaxy.rest_mag, float(galaxy.distance_modulus))
    dimming = dim_by_dust(conditions.gain, conditions.ebv_mag)
    flux = np.empty((3, size_px, size_px))
    for band, fwhm_arcsec in enumerate(conditions.psf_fwhm_arcsec):
        scene = diffuse[band] * smooth + np.sqrt(diffuse[band] * giant[band]) * grain
        scene += knots.flux_nmgy[band] * clumps + others[band]
        scene *= dimming[band] * fourier.moffat(plane.k, fwhm_arcsec)
        flux[band] = plane.cut(plane.image(scene), size_px)
    return flux


def _period_px(galaxy: Galaxies, size_px: int) -> int:
    """Choose the periodic image so large that light leaving one side hardly re-enters."""
    reach_px = 5 * float(galaxy.radius_arcsec / np.sqrt(galaxy.axis_ratio)) / PIXSCALE_ARCSEC
    return 2 * size_px if reach_px < 1.5 * size_px else 4 * size_px


def _knots_transform(plane: Plane, knots: Knots, offset_arcsec: Doubles) -> Transform:
    x, y = knots.x_arcsec + offset_arcsec[0], knots.y_arcsec + offset_arcsec[1]
    blur = np.exp(-0.5 * (plane.k * knots.sigma_arcsec) ** 2)
    return np.asarray(plane.points(x, y, knots.share) * blur * plane.pixel)


def _field_transform(plane: Plane, field: Field) -> Transform:
    transform = np.zeros((3, *plane.k.shape), complex)
    for n in range(len(field.x_arcsec)):
        kr = plane.k_radius(field.radius_arcsec[n], field.axis_ratio[n], field.angle_rad[n])
        one = plane.points(field.x_arcsec[n : n + 1], field.y_arcsec[n : n + 1], np.ones(1))
        one = one * fourier.exponential(kr) * plane.pixel
        transform += field.flux_nmgy[n][:, None, None] * one
    return transform
