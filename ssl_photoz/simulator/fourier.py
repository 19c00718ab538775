"""Profiles in Fourier space, where convolution is a product and a shift is a phase."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from ssl_photoz.core.legacy_surveys import PIXSCALE_ARCSEC
from ssl_photoz.core.types import Doubles

Transform = NDArray[np.complex128]
MOFFAT_BETA = 3.5
TRUNCATION_RADII = 8.0
_MAX_KR = 400.0


class Plane:
    """The half plane of frequencies of a P x P periodic image; objects sit around its centre.

    Args:
        period_px: P, even.

    Attributes:
        kx: rad/arcsec, shape (1, P/2 + 1).
        ky: rad/arcsec, shape (P, 1).
    """

    def __init__(self, period_px: int) -> None:
        self.period_px = period_px
        self.kx = 2 * np.pi * fft.rfftfreq(period_px, PIXSCALE_ARCSEC)[None, :]
        self.ky = 2 * np.pi * fft.fftfreq(period_px, PIXSCALE_ARCSEC)[:, None]
        self.k = np.hypot(self.kx, self.ky)
        self.pixel = np.sinc(self.kx * PIXSCALE_ARCSEC / (2 * np.pi)) * np.sinc(
            self.ky * PIXSCALE_ARCSEC / (2 * np.pi)
        )

    def k_radius(self, radius: float, axis_ratio: float, angle_rad: float) -> Doubles:
        """K times the radius of an ellipse of that circularised radius, (P, P/2 + 1)."""
        cos, sin = np.cos(angle_rad), np.sin(angle_rad)
        stretch = np.sqrt(axis_ratio)
        along = (self.kx * cos + self.ky * sin) / stretch
        across = (self.ky * cos - self.kx * sin) * stretch
        return np.asarray(radius * np.hypot(along, across))

    def points(self, x_arcsec: Doubles, y_arcsec: Doubles, weight: Doubles) -> Transform:
        """Transform point sources.

        Args:
            x_arcsec: Offsets from the centre, shape (N,).
            y_arcsec: Shape (N,).
            weight: Fluxes, shape (N,).
        """
        along_x = np.exp(-1j * self.kx * self._shifted(x_arcsec))
        along_y = np.exp(-1j * self.ky.T * self._shifted(y_arcsec)) * np.asarray(weight)[:, None]
        # einsum without BLAS: the sum's order, hence its bits, must not depend on threads.
        return np.asarray(np.einsum("ny,nx->yx", along_y, along_x))

    def image(self, transform: Transform) -> Doubles:
        """Real image of a transform, (P, P)."""
        return np.asarray(fft.irfft2(transform, s=(self.period_px, self.period_px)))

    def transform(self, image: Doubles) -> Transform:
        """Transform of a real (P, P) image."""
        return np.asarray(fft.rfft2(image))

    def cut(self, image: Doubles, size_px: int) -> Doubles:
        """Cut the central size x size pixels."""
        start = (self.period_px - size_px) // 2
        return image[start : start + size_px, start : start + size_px]

    def _shifted(self, offset_arcsec: Doubles) -> Doubles:
        centre_px = (self.period_px - 1) / 2
        return np.asarray(offset_arcsec)[:, None] + centre_px * PIXSCALE_ARCSEC


@lru_cache(maxsize=4)
def plane(period_px: int) -> Plane:
    """Plane of a period, shared by all who ask for it."""
    return Plane(period_px)


def sersic(kr: Doubles, index: float) -> Doubles:
    """Evaluate the transform of a unit-flux Sersic profile, cut off at 8 half-light radii.

    Args:
        kr: Frequency times half-light radius, any shape.
        index: Sersic index.
    """
    grid, value = _sersic_table(float(index))
    return np.asarray(np.interp(kr, grid, value, right=0.0))


def exponential(kr: Doubles) -> Doubles:
    """Evaluate the transform of a unit-flux exponential disc; ``kr`` uses its half-light radius."""
    return np.asarray((1.0 + (kr / 1.67834699) ** 2) ** -1.5)


def moffat(k: Doubles, fwhm_arcsec: float) -> Doubles:
    """Evaluate the transform of a unit-flux Moffat of beta = 3.5, which has a closed form."""
    scale = fwhm_arcsec / (2.0 * np.sqrt(2.0 ** (1.0 / MOFFAT_BETA) - 1.0))
    x = k * scale
    return np.asarray((1.0 + x + x**2 / 3.0) * np.exp(-x))


@lru_cache(maxsize=64)
def _sersic_table(index: float) -> tuple[Doubles, Doubles]:
    import galsim

    profile = galsim.Sersic(index, half_light_radius=1.0, trunc=TRUNCATION_RADII)
    kr = np.concatenate([np.linspace(0, 5, 1000), np.geomspace(5, _MAX_KR, 1000)[1:]])
    return kr, np.array([profile.kValue(k, 0.0).real for k in kr])
