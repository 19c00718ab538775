"""How the cutouts were observed, beside how the Legacy Surveys observe."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from ssl_photoz.core.legacy_surveys import PIXSCALE_ARCSEC, ZEROPOINT_MAG
from ssl_photoz.core.statistics import FWHM_PER_SIGMA
from ssl_photoz.core.types import Array, Doubles, Ints
from ssl_photoz.cutouts.quality import border_noise
from ssl_photoz.cutouts.reader import Cutouts
from ssl_photoz.qa.pixels import read_blocks
from ssl_photoz.simulator.conditions import (
    BANDS,
    NOISE_NMGY,
    PSF_SIGMA_PX,
    LogNormal,
)


class Conditions(NamedTuple):
    """Noise, seeing and dust of some cutouts; NaN where unknown.

    Attributes:
        bands: Length C.
        noise_stated: Per pixel, as the file says or derived from its depths, shape (M, C).
        noise_measured: Per pixel, from the border of each cutout, shape (M, C).
        fwhm_arcsec: FWHM of the PSF, shape (M, C).
        depth_mag: Five sigma, point source, AB, shape (M, C).
        ebv_mag: E(B-V), shape (M,).
    """

    bands: tuple[str, ...]
    noise_stated: Doubles
    noise_measured: Doubles
    fwhm_arcsec: Doubles
    depth_mag: Doubles
    ebv_mag: Doubles


def observe(cutouts: Cutouts, rows: Ints) -> Conditions:
    """Gather how some rows were observed; noise is measured on their borders.

    Raises:
        DataError: If the file cannot be read.
    """
    source, rows_in = cutouts.source, len(cutouts)
    per_band = (rows_in, len(source.bands))
    measured = [border_noise(images) for _, images in read_blocks(cutouts, rows, says="noise")]
    stated, fwhm = (
        cutouts.column_or_nan(name, per_band)[rows].astype(float) for name in ("noise", "psfsize")
    )
    found = np.concatenate(measured).astype(float) if measured else stated
    known = np.where(np.isfinite(stated), stated, found)
    depth = depth_mag(known, fwhm, pixscale_arcsec=source.pixscale_arcsec)
    return Conditions(
        bands=source.bands,
        noise_stated=stated,
        noise_measured=found,
        fwhm_arcsec=fwhm,
        depth_mag=depth if source.calibrated else np.full_like(depth, np.nan),
        ebv_mag=cutouts.column_or_nan("ebv", (rows_in,))[rows].astype(float),
    )


def depth_mag(noise: Array, fwhm_arcsec: Array, *, pixscale_arcsec: float) -> Doubles:
    """Magnitude of a point source at five sigma.

    A Gaussian PSF of width s pixels spreads it over ``4 pi s**2`` pixels of noise.

    Args:
        noise: Per pixel, nanomaggies.
        fwhm_arcsec: FWHM of the PSF, the same shape.
        pixscale_arcsec: Pixel scale.
    """
    width_px = fwhm_arcsec / FWHM_PER_SIGMA / pixscale_arcsec
    with np.errstate(divide="ignore", invalid="ignore"):
        mag = ZEROPOINT_MAG - 2.5 * np.log10(5 * noise * math.sqrt(4 * math.pi) * width_px)
    return np.where(np.isfinite(mag), mag, np.nan)


def survey_noise(band: str, *, pixscale_arcsec: float) -> LogNormal | None:
    """The survey's noise per pixel, nanomaggies; None for a band it has no figures of."""
    if band not in BANDS:
        return None
    return NOISE_NMGY[BANDS.index(band)].scaled(pixscale_arcsec / PIXSCALE_ARCSEC)


def survey_fwhm(band: str) -> LogNormal | None:
    """The survey's widths of the PSF, arcsec; None for a band it has no figures of."""
    if band not in BANDS:
        return None
    return PSF_SIGMA_PX[BANDS.index(band)].scaled(FWHM_PER_SIGMA * PIXSCALE_ARCSEC)


def density(one: LogNormal, values: Array) -> Doubles:
    """Density of a distribution at values."""
    from scipy.stats import lognorm

    return np.asarray(lognorm(one.shape, one.loc, one.scale).pdf(values))
