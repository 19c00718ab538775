"""What the sky and the telescope add: dust, seeing, noise, as distributed over the survey."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ssl_photoz.types import Doubles

BANDS = ("g", "r", "z")
PIXSCALE_ARCSEC = 0.262
EXTINCTION_PER_EBV = np.array([3.214, 2.165, 1.211])
"""A_band / E(B-V) on the Schlegel, Finkbeiner & Davis (1998) scale, Legacy Surveys DR9."""

FWHM_PER_SIGMA = 2.0 * np.sqrt(2.0 * np.log(2.0))
ZEROPOINT_MAG = 22.5


class LogNormal(NamedTuple):
    """A shifted log-normal: ``loc + scale * exp(shape * N(0, 1))``, in SciPy's naming."""

    shape: float
    loc: float
    scale: float

    def draw(self, rng: np.random.Generator) -> float:
        """Draw once; values below a tenth of the median, unphysical tails, become that."""
        median = self.loc + self.scale
        value = self.loc + self.scale * np.exp(self.shape * rng.standard_normal())
        return float(max(value, 0.1 * median))


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


class Conditions(NamedTuple):
    """How one patch of sky was observed.

    Attributes:
        ebv_mag: Milky-Way colour excess E(B-V).
        psf_fwhm_arcsec: Per band, shape (3,).
        noise_nmgy: Standard deviation of a sky pixel, per band, shape (3,).
    """

    ebv_mag: float
    psf_fwhm_arcsec: Doubles
    noise_nmgy: Doubles


def draw_conditions(rng: np.random.Generator) -> Conditions:
    """Draw dust, seeing and noise, independently of each other and between bands."""
    sigma_px = np.array([band.draw(rng) for band in PSF_SIGMA_PX])
    return Conditions(
        ebv_mag=EBV_MAG.draw(rng),
        psf_fwhm_arcsec=sigma_px * FWHM_PER_SIGMA * PIXSCALE_ARCSEC,
        noise_nmgy=np.array([band.draw(rng) for band in NOISE_NMGY]),
    )


def dim_by_dust(flux_nmgy: Doubles, ebv_mag: float) -> Doubles:
    """Put fluxes, shape (..., 3), behind the Milky Way's dust."""
    return np.asarray(flux_nmgy * 10.0 ** (-0.4 * EXTINCTION_PER_EBV * ebv_mag))


def flux_of(mag: Doubles) -> Doubles:
    """Convert AB magnitudes to nanomaggies."""
    return np.asarray(10.0 ** (-0.4 * (np.asarray(mag) - ZEROPOINT_MAG)))
