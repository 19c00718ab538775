"""From a galaxy and its surroundings to a cutout in three bands."""

from __future__ import annotations

import numpy as np

from ssl_photoz.core.legacy_surveys import PIXSCALE_ARCSEC
from ssl_photoz.core.types import Doubles
from ssl_photoz.simulator import fourier
from ssl_photoz.simulator.conditions import Conditions, dim_by_dust, flux_of
from ssl_photoz.simulator.field import Field
from ssl_photoz.simulator.fourier import Plane, Transform
from ssl_photoz.simulator.population import Galaxies
from ssl_photoz.simulator.texture import Knots, draw_grain, fluctuation_flux_nmgy


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
