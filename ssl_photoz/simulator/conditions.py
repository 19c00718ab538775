"""What the sky and the telescope add: dust, seeing, noise, passbands, as a survey has them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ssl_photoz.core.extinction import r_band_of
from ssl_photoz.core.legacy_surveys import PIXSCALE_ARCSEC, ZEROPOINT_MAG
from ssl_photoz.core.statistics import FWHM_PER_SIGMA
from ssl_photoz.core.types import Doubles

BANDS = ("g", "r", "z")
EXTINCTION = np.array(r_band_of(BANDS))
"""A_band / E(B-V) on the Schlegel, Finkbeiner & Davis (1998) scale, shape (3,)."""


class LogNormal(NamedTuple):
    """A shifted log-normal: ``loc + scale * exp(shape * N(0, 1))``, in SciPy's naming."""

    shape: float
    loc: float
    scale: float

    @property
    def median(self) -> float:
        """Value that half of it exceeds."""
        return self.loc + self.scale

    def scaled(self, factor: float) -> LogNormal:
        """Distribution of its values multiplied."""
        return LogNormal(self.shape, self.loc * factor, self.scale * factor)

    def with_median(self, median: float) -> LogNormal:
        """Distribution of its values multiplied so that it has this median."""
        return self.scaled(median / self.median)

    def draw(self, rng: np.random.Generator) -> float:
        """Draw once; values below a tenth of the median, unphysical tails, become that."""
        value = self.loc + self.scale * np.exp(self.shape * rng.standard_normal())
        return float(max(value, 0.1 * self.median))


EBV_MAG = LogNormal(0.67306, 0.001146, 0.03338)
PSF_SIGMA_PX = (
    LogNormal(0.2109966, 1.0807153, 1.3153171),
    LogNormal(0.3008485, 1.2394326, 0.9164757),
    LogNormal(0.3471172, 1.1928363, 0.8233702),
)
NOISE_NMGY = (
    LogNormal(0.2264926, -0.0006735, 0.0037602),
    LogNormal(0.2431146, -0.0023663, 0.0067417),
    LogNormal(0.1334844, -0.0143416, 0.0260779),
)


class Survey(NamedTuple):
    """How a survey sees the sky.

    Attributes:
        ebv_mag: Distribution of the dust over its footprint.
        psf_sigma_px: Distribution of the seeing, per band.
        noise_nmgy: Distribution of the noise per pixel, per band.
        passbands: Magnitudes in it less those in the south, per band, as a polynomial in g-i,
            lowest power first, shape (3, 4).
    """

    ebv_mag: LogNormal
    psf_sigma_px: tuple[LogNormal, ...]
    noise_nmgy: tuple[LogNormal, ...]
    passbands: Doubles


def _like_south(
    *, ebv_mag: float, fwhm_arcsec: Sequence[float], depth_mag: Sequence[float], passbands: Doubles
) -> Survey:
    """Make a survey of other medians than the south's and the same relative scatter."""
    sigma_px = np.array(fwhm_arcsec) / (FWHM_PER_SIGMA * PIXSCALE_ARCSEC)
    point_nmgy = 10.0 ** (-0.4 * (np.array(depth_mag) - ZEROPOINT_MAG)) / 5
    noise_nmgy = point_nmgy / np.sqrt(4 * np.pi) / sigma_px
    return Survey(
        ebv_mag=EBV_MAG.with_median(ebv_mag),
        psf_sigma_px=tuple(map(LogNormal.with_median, PSF_SIGMA_PX, sigma_px)),
        noise_nmgy=tuple(map(LogNormal.with_median, NOISE_NMGY, noise_nmgy)),
        passbands=passbands,
    )


# From Pan-STARRS1 to the instruments, as zero points of DR9 were set (its description page).
_DECAM = np.array(
    [
        [0.00062, 0.03604, 0.01028, -0.00613],
        [0.00495, -0.08435, 0.03222, -0.01140],
        [0.02583, -0.07690, 0.02824, -0.00898],
    ]
)
_90PRIME_AND_MOSAIC3 = np.array(
    [
        [0.00464, 0.08672, -0.00668, -0.00255],
        [0.00110, -0.06875, 0.02480, -0.00855],
        [0.03664, -0.11084, 0.04477, -0.01223],
    ]
)
COLOUR_TERMS_HOLD = (0.4, 2.7)
"""Range of g-i for which the colour terms were measured."""

SURVEYS = {
    "south": Survey(EBV_MAG, PSF_SIGMA_PX, NOISE_NMGY, np.zeros((3, 4))),
    "north": _like_south(
        ebv_mag=0.02,
        fwhm_arcsec=(1.9, 1.7, 1.2),
        depth_mag=(24.2, 23.6, 23.0),
        passbands=_90PRIME_AND_MOSAIC3 - _DECAM,
    ),
}
"""DECaLS, and BASS with MzLS; where the numbers are from: `docs/simulated-survey.md`."""


class Conditions(NamedTuple):
    """How one patch of sky was observed.

    Attributes:
        ebv_mag: Milky-Way colour excess E(B-V).
        psf_fwhm_arcsec: Per band, shape (3,).
        noise_nmgy: Standard deviation of a sky pixel, per band, shape (3,).
        gain: Flux in the survey's passbands over that in the south's, per band, shape (3,).
    """

    ebv_mag: float
    psf_fwhm_arcsec: Doubles
    noise_nmgy: Doubles
    gain: Doubles = np.ones(3)


def draw_conditions(rng: np.random.Generator, survey: Survey = SURVEYS["south"]) -> Conditions:
    """Draw dust, seeing and noise, independently of each other and between bands."""
    sigma_px = np.array([band.draw(rng) for band in survey.psf_sigma_px])
    return Conditions(
        ebv_mag=survey.ebv_mag.draw(rng),
        psf_fwhm_arcsec=sigma_px * FWHM_PER_SIGMA * PIXSCALE_ARCSEC,
        noise_nmgy=np.array([band.draw(rng) for band in survey.noise_nmgy]),
    )


def passband_gain(mag: Doubles, survey: Survey) -> Doubles:
    """Flux in a survey's passbands over flux in the south's.

    Args:
        mag: g, r, z in the south's, shape (3,); g-i is taken as (g-r) + 0.55 (r-z).
        survey: Survey that has the passbands.

    Returns:
        Per band, shape (3,).
    """
    g_minus_i = (mag[0] - mag[1]) + 0.55 * (mag[1] - mag[2])
    powers = np.clip(g_minus_i, *COLOUR_TERMS_HOLD) ** np.arange(4)
    return np.asarray(10.0 ** (-0.4 * survey.passbands @ powers))


def dim_by_dust(flux_nmgy: Doubles, ebv_mag: float) -> Doubles:
    """Put fluxes, shape (..., 3), behind the Milky Way's dust."""
    return np.asarray(flux_nmgy * 10.0 ** (-0.4 * EXTINCTION * ebv_mag))


def flux_of(mag: Doubles) -> Doubles:
    """Convert AB magnitudes to nanomaggies."""
    return np.asarray(10.0 ** (-0.4 * (np.asarray(mag) - ZEROPOINT_MAG)))
