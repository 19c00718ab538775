"""A SIMULATED field: one image of the sky with known galaxies and stars, as FITS with a table.

Galaxies of the simulated survey, with their redshifts, among fainter galaxies and stars: what
`ssl_photoz.simulator` puts into a cutout, here on one image with one seeing, noise and dust.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS

from ssl_photoz.core.legacy_surveys import PIXSCALE_ARCSEC, ZEROPOINT_MAG
from ssl_photoz.core.types import Array, Doubles, Floats
from ssl_photoz.simulator import fourier
from ssl_photoz.simulator.colours import ColourTable
from ssl_photoz.simulator.conditions import (
    BANDS,
    NOISE_NMGY,
    PSF_SIGMA_PX,
    Conditions,
    dim_by_dust,
)
from ssl_photoz.simulator.population import Universe
from ssl_photoz.simulator.scene import Field, draw_field, draw_knots, render

EMPTY = Field(*(np.zeros(0) for _ in range(2)), np.zeros((0, 3)), *(np.zeros(0) for _ in range(3)))
BRIGHT_NMGY = 30.0
FWHM_PER_SIGMA = 2.3548


@dataclass(frozen=True)
class FieldConfig:
    """A field; the defaults are DECaLS at high Galactic latitude.

    Attributes:
        seed: Seed of everything.
        side_px: Side of the image.
        surveyed_per_arcmin2: Density of galaxies of the simulated survey, r < 21.2, with knots,
            grain and redshifts.
        galaxies_per_arcmin2: Density of other galaxies, 18 < r < 23.5.
        stars_per_arcmin2: Density of stars, 15.5 < r < 23.
        ra_deg: Right ascension of the middle.
        dec_deg: Declination of the middle.
        rotation_deg: Turn of the image.
        distortion: Second-order distortion (SIP), relative, at the corners.
        ebv_mag: Dust.
    """

    seed: int = 0
    side_px: int = 1000
    surveyed_per_arcmin2: float = 2.0
    galaxies_per_arcmin2: float = 10.0
    stars_per_arcmin2: float = 1.2
    ra_deg: float = 150.0
    dec_deg: float = 2.0
    rotation_deg: float = 0.0
    distortion: float = 0.0
    ebv_mag: float = 0.02


def simulate_field(config: FieldConfig) -> tuple[Floats, dict[str, Array]]:
    """Make a field.

    Returns:
        Flux, nanomaggies per pixel, (3, side, side), and the truth: columns ``x``, ``y`` (pixels
        from 0), ``mag_g``, ``mag_r``, ``mag_z`` (behind the dust), ``radius_arcsec`` (0: a star)
        and ``z`` (NaN where it has none), brightest first.
    """
    rng = np.random.default_rng(config.seed)
    colours = ColourTable.build()
    conditions = Conditions(
        config.ebv_mag,
        np.array([band.median for band in PSF_SIGMA_PX]) * FWHM_PER_SIGMA * PIXSCALE_ARCSEC,
        np.array([band.median for band in NOISE_NMGY]),
    )
    flux = np.zeros((3, config.side_px, config.side_px))
    truth = [*_surveyed(rng, config, colours, conditions, flux)]
    truth += _field(rng, config, colours, conditions, flux)
    flux += conditions.noise_nmgy[:, None, None] * rng.standard_normal(flux.shape)
    rows = np.array(truth)
    rows = rows[np.argsort(-rows[:, 3])]
    mags = ZEROPOINT_MAG - 2.5 * np.log10(dim_by_dust(rows[:, 2:5], config.ebv_mag))
    columns = {"x": rows[:, 0], "y": rows[:, 1]}
    columns |= {f"mag_{band}": mags[:, n] for n, band in enumerate(BANDS)}
    return flux.astype(np.float32), {**columns, "radius_arcsec": rows[:, 5], "z": rows[:, 6]}


def _surveyed(
    rng: np.random.Generator,
    config: FieldConfig,
    colours: ColourTable,
    conditions: Conditions,
    flux: Doubles,
) -> list[tuple[float, ...]]:
    universe = Universe(colours, r_limit_mag=21.2)
    rows = []
    for _ in range(rng.poisson(config.surveyed_per_arcmin2 * _arcmin2(config))):
        galaxy = universe.draw(rng, int(rng.integers(3)))
        x, y = rng.uniform(-0.5, config.side_px - 0.5, 2)
        angle_rad = rng.uniform(0, np.pi)
        reach_px = 6 * galaxy.radius_arcsec / np.sqrt(galaxy.axis_ratio) / PIXSCALE_ARCSEC
        side = int(np.clip(2 ** np.ceil(np.log2(2 * reach_px)), 64, 512))
        offset, corner = _within(x, y, side)
        stamp = render(
            rng,
            galaxy,
            draw_knots(rng, galaxy, angle_rad, colours),
            EMPTY,
            conditions,
            angle_rad=angle_rad,
            offset_arcsec=offset,
            size_px=side,
        )
        _add(flux, stamp, corner)
        observed = 10 ** (-0.4 * (galaxy.mag - ZEROPOINT_MAG))
        rows.append((x, y, *observed, float(galaxy.radius_arcsec), float(galaxy.redshift)))
    return rows


def _field(
    rng: np.random.Generator,
    config: FieldConfig,
    colours: ColourTable,
    conditions: Conditions,
    flux: Doubles,
) -> list[tuple[float, ...]]:
    field = draw_field(
        rng,
        colours,
        size_px=config.side_px,
        galaxies_per_arcmin2=config.galaxies_per_arcmin2,
        stars_per_arcmin2=config.stars_per_arcmin2,
    )
    dimming = dim_by_dust(np.ones(3), config.ebv_mag)
    middle, rows = (config.side_px - 1) / 2, []
    for n in range(len(field.x_arcsec)):
        x = middle + field.x_arcsec[n] / PIXSCALE_ARCSEC
        y = middle + field.y_arcsec[n] / PIXSCALE_ARCSEC
        plane = fourier.plane(256 if field.flux_nmgy[n].max() > BRIGHT_NMGY else 64)
        offset, corner = _within(x, y, plane.period_px)
        kr = plane.k_radius(field.radius_arcsec[n], field.axis_ratio[n], field.angle_rad[n])
        light = fourier.exponential(kr) if field.radius_arcsec[n] else 1.0
        light = light * plane.points(offset[:1], offset[1:], np.ones(1)) * plane.pixel
        stamp = [
            plane.image(light * dimming[b] * field.flux_nmgy[n, b] * fourier.moffat(plane.k, fwhm))
            for b, fwhm in enumerate(conditions.psf_fwhm_arcsec)
        ]
        _add(flux, np.array(stamp), corner)
        rows.append((x, y, *field.flux_nmgy[n], float(field.radius_arcsec[n]), np.nan))
    return rows


def _arcmin2(config: FieldConfig) -> float:
    return float((config.side_px * PIXSCALE_ARCSEC / 60) ** 2)


def _within(x: float, y: float, side: int) -> tuple[Doubles, tuple[int, int]]:
    """Offset from the centre of a stamp, arcsec, and the corner of the stamp in the image."""
    corner = int(np.rint(x - (side - 1) / 2)), int(np.rint(y - (side - 1) / 2))
    offset = np.array([x - corner[0], y - corner[1]]) - (side - 1) / 2
    return offset * PIXSCALE_ARCSEC, corner


def _add(flux: Doubles, stamp: Doubles, corner: tuple[int, int]) -> None:
    """Add what of a stamp is inside the image."""
    (left, low), side = corner, flux.shape[-1]
    x, y = slice(max(left, 0), left + stamp.shape[2]), slice(max(low, 0), low + stamp.shape[1])
    into = flux[:, y, x]
    from_y, from_x = max(-low, 0), max(-left, 0)
    into += stamp[:, from_y : from_y + into.shape[1], from_x : from_x + into.shape[2]]
    assert into.shape[2] <= side


def wcs_of(config: FieldConfig) -> WCS:
    """World coordinates of a field."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [config.ra_deg, config.dec_deg]
    wcs.wcs.crpix = [config.side_px / 2 + 0.5] * 2
    scale, turn = PIXSCALE_ARCSEC / 3600, np.radians(config.rotation_deg)
    turned = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    wcs.wcs.cd = scale * turned @ np.diag([-1.0, 1.0])
    if config.distortion:
        from astropy.wcs import Sip

        wcs.wcs.ctype = ["RA---TAN-SIP", "DEC--TAN-SIP"]
        a, b = np.zeros((3, 3)), np.zeros((3, 3))
        a[2, 0] = b[0, 2] = a[1, 1] = 2 * config.distortion / config.side_px
        wcs.sip = Sip(a, b, None, None, wcs.wcs.crpix)
    return wcs


def header_of(config: FieldConfig, **cards: Any) -> fits.Header:  # noqa: ANN401
    """Header of a field: world coordinates, bands, unit."""
    header = wcs_of(config).to_header(relax=True)
    header.update({"BANDS": "".join(BANDS), "BUNIT": "nanomaggy", "SIMULATE": True, **cards})
    return header


def write_field(path: Path, config: FieldConfig) -> dict[str, Array]:
    """Write a field as a FITS cube; return its truth."""
    flux, truth = simulate_field(config)
    fits.PrimaryHDU(flux, header_of(config)).writeto(path)
    return truth
