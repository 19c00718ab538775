"""Seeing, noise and dust of the Legacy Surveys, as shifted lognormals.

Figures for DR9 at 0.262 arcsec per pixel, as fitted by ssl-legacysurvey [1]; bands are
drawn independently. DR9 has no such figures for u and i: they borrow those of g and r.

References:
    [1] Stein et al. 2021, arXiv:2110.13151, and its code.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Self, TypeVar

import numpy as np
import torch
from torch import Tensor

from ssl_photoz.augment.draws import normal, uniform
from ssl_photoz.core.errors import ConfigError, DataError
from ssl_photoz.core.extinction import transmission
from ssl_photoz.core.statistics import FWHM_PER_SIGMA as FWHM_PER_SIGMA
from ssl_photoz.core.types import Array

PIXSCALE_ARCSEC = 0.262


class Lognormal(NamedTuple):
    """``loc + scale * exp(shape * N(0, 1))``; field order is scipy's."""

    shape: float
    loc: float
    scale: float

    @property
    def median(self) -> float:
        """The value that half of the draws exceed."""
        return self.loc + self.scale

    def times(self, zoom: float) -> Self:
        """Distribution of the quantity times a constant."""
        return self._replace(loc=self.loc * zoom, scale=self.scale * zoom)


class Uniform(NamedTuple):
    """Equally likely from ``low`` to ``high``."""

    low: float
    high: float

    def times(self, zoom: float) -> Self:
        """Distribution of the quantity times a constant."""
        return self._replace(low=self.low * zoom, high=self.high * zoom)


Distribution = TypeVar("Distribution", Lognormal, Uniform)
PerBand = tuple[Lognormal, ...] | tuple[Uniform, ...]
Drawn = tuple[PerBand, PerBand]  # PSF, noise

EBV_MAG = Lognormal(0.67306, 0.001146, 0.03338)
PSF_SIGMA_PX = {
    "g": Lognormal(0.2109966, 1.0807153, 1.3153171),
    "r": Lognormal(0.3008485, 1.2394326, 0.9164757),
    "z": Lognormal(0.3471172, 1.1928363, 0.8233702),
}
NOISE_NMGY = {
    "g": Lognormal(0.2264926, -0.0006735, 0.0037602),
    "r": Lognormal(0.2431146, -0.0023663, 0.0067417),
    "z": Lognormal(0.1334844, -0.0143416, 0.0260779),
}
# Least and greatest that the survey has [1]; drawn from evenly they dwell on its tails.
PSF_RANGE_PX = {
    "g": Uniform(1.3233109, 5.0),
    "r": Uniform(1.2667341, 4.5),
    "z": Uniform(1.2126263, 4.25),
}
NOISE_RANGE_NMGY = {
    "g": Uniform(0.001094, 0.013),
    "r": Uniform(0.001094, 0.018),
    "z": Uniform(0.001094, 0.061),
}
BORROWS = {"u": "g", "i": "r"}


class SurveyConditions(NamedTuple):
    """Seeing, noise and dust of the cutouts of a survey.

    Attributes:
        psf_sigma_px: Distribution of the PSF's Gaussian sigma, px, per band.
        noise_nmgy: Distribution of the noise per pixel, nmgy, per band.
        ebv_mag: Distribution of E(B-V), mag.
    """

    psf_sigma_px: tuple[Lognormal, ...]
    noise_nmgy: tuple[Lognormal, ...]
    ebv_mag: Lognormal


def dr9(
    bands: tuple[str, ...], *, pixscale_arcsec: float, extinction_corrected: bool = False
) -> SurveyConditions:
    """Conditions of the Legacy Surveys' DR9 in these bands, at this pixel scale.

    Args:
        bands: Names, length C.
        pixscale_arcsec: Arcsec per pixel.
        extinction_corrected: Whether noise is that of flux corrected for the survey's median dust.

    Raises:
        ConfigError: If a band has no figures.
    """
    return SurveyConditions(
        of_bands(PSF_SIGMA_PX, bands, pixscale_arcsec=pixscale_arcsec, power=-1),
        _noise(NOISE_NMGY, bands, pixscale_arcsec, extinction_corrected),
        EBV_MAG,
    )


def ranges(
    bands: tuple[str, ...], *, pixscale_arcsec: float, extinction_corrected: bool = False
) -> tuple[tuple[Uniform, ...], tuple[Uniform, ...]]:
    """Ranges of PSF sigma, px, and noise per pixel, nmgy, for uniform draws; as in `dr9`.

    Raises:
        ConfigError: If a band has no figures.
    """
    return (
        of_bands(PSF_RANGE_PX, bands, pixscale_arcsec=pixscale_arcsec, power=-1),
        _noise(NOISE_RANGE_NMGY, bands, pixscale_arcsec, extinction_corrected),
    )


def _noise(
    table: Mapping[str, Distribution],
    bands: tuple[str, ...],
    pixscale_arcsec: float,
    extinction_corrected: bool,
) -> tuple[Distribution, ...]:
    found = of_bands(table, bands, pixscale_arcsec=pixscale_arcsec, power=1)
    if not extinction_corrected:
        return found
    passed = transmission(np.array([EBV_MAG.median]), bands)[0].tolist()
    return tuple(one.times(1 / some) for one, some in zip(found, passed, strict=True))


def fit_conditions(
    psf_fwhm_arcsec: Array, noise_nmgy: Array, ebv_mag: Array, *, pixscale_arcsec: float
) -> SurveyConditions:
    """Fit the conditions of a survey to those known of its cutouts; NaN is left out.

    Args:
        psf_fwhm_arcsec: Width of the PSF, shape (N, C).
        noise_nmgy: Noise per pixel, shape (N, C).
        ebv_mag: E(B-V), shape (N,).
        pixscale_arcsec: Arcsec per pixel.

    Raises:
        DataError: If one of them is never known.
    """
    sigma_px = np.asarray(psf_fwhm_arcsec) / (FWHM_PER_SIGMA * pixscale_arcsec)
    return SurveyConditions(
        tuple(_fitted(band, "psfsize") for band in sigma_px.T),
        tuple(_fitted(band, "noise") for band in np.asarray(noise_nmgy).T),
        _fitted(np.asarray(ebv_mag), "ebv"),
    )


def _fitted(values: Array, name: str) -> Lognormal:
    """Lognormal of their median and of the scatter of their logarithm."""
    known = values[np.isfinite(values) & (values > 0)]
    if not len(known):
        raise DataError(
            f"not one cutout has a known {name}, so that a survey cannot be imitated; give a file "
            f"with the columns ebv, psfsize and noise"
        )
    return Lognormal(float(np.log(known).std()), 0.0, float(np.median(known)))


def of_bands(
    table: Mapping[str, Distribution],
    bands: tuple[str, ...],
    *,
    pixscale_arcsec: float,
    power: int,
) -> tuple[Distribution, ...]:
    """Pick each band's distribution and bring it to a pixel scale.

    Args:
        table: `PSF_SIGMA_PX`, `NOISE_NMGY`, or one of their ranges.
        bands: Names, length C.
        pixscale_arcsec: Arcsec per pixel of the cutouts.
        power: Exponent of the quantity's growth with pixel scale: -1 for a width in pixels, 1 for
            the sigma of sky noise per pixel (its variance grows with the pixel's area).

    Returns:
        One distribution per band.

    Raises:
        ConfigError: If a band is not in the table.
    """
    zoom = (pixscale_arcsec / PIXSCALE_ARCSEC) ** power
    found = []
    for band in bands:
        name = BORROWS.get(band, band)
        if name not in table:
            known = ", ".join(sorted({*table, *BORROWS}))
            raise ConfigError(f"no survey figures for band {band!r}; there are for {known}")
        found.append(table[name].times(zoom))
    return tuple(found)


def medians(bands: tuple[Lognormal, ...], *, device: torch.device) -> Tensor:
    """Median of each band's distribution, shape (C,)."""
    return torch.tensor([band.median for band in bands], device=device)


def draw(
    bands: tuple[Lognormal, ...] | tuple[Uniform, ...], batch: int, *, generator: torch.Generator
) -> Tensor:
    """Draw one value per object and band; never negative.

    Args:
        bands: One distribution per band, length C.
        batch: Number of objects B.
        generator: Source of randomness; the result is on its device.

    Returns:
        Shape (B, C).
    """
    if isinstance(bands[0], Uniform):
        low, high = torch.tensor(bands, device=generator.device).unbind(1)
        unit = uniform(0.0, 1.0, (batch, len(bands)), generator=generator)
        return low + (high - low) * unit
    shape, loc, scale = torch.tensor(bands, device=generator.device).unbind(1)
    deviates = normal((batch, len(bands)), generator=generator)
    return (loc + scale * torch.exp(shape * deviates)).clamp_min(0.0)
