"""The same SIMULATED galaxies for every format: discs on noise, with the columns of a survey."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ssl_photoz.core.types import Array

NOISE_NMGY = {"u": 0.02, "g": 0.0031, "r": 0.0044, "i": 0.006, "z": 0.0117}
PIXSCALE_ARCSEC = 0.262
SIGMA_PER_FWHM = 1 / 2.3548
SOFTENING_NMGY = 0.02


class Galaxies(NamedTuple):
    """N galaxies and what is known of them.

    Attributes:
        images: Flux, nanomaggies/px, float32, (N, C, side, side).
        bands: Their names, length C.
        id: Integers too long for floating point, (N,).
        ra: Degrees, (N,).
        dec: Degrees, (N,).
        z: Redshift, NaN for every third, float32, (N,).
        ebv: Mag, float32, (N,).
        psfsize: FWHM, arcsec, float32, (N, C).
        psfdepth: Depth for a point source, 1/nanomaggies², float32, (N, C).
        flux_r: A column like any other, float32, (N,).
    """

    images: Array
    bands: tuple[str, ...]
    id: Array
    ra: Array
    dec: Array
    z: Array
    ebv: Array
    psfsize: Array
    psfdepth: Array
    flux_r: Array

    @property
    def pictures(self) -> Array:
        """The last three bands as 8-bit colour pictures, (N, side, side, 3), red first."""
        stretched = np.arcsinh(self.images[:, :-4:-1].clip(0) / SOFTENING_NMGY) / 6
        return (255 * stretched.clip(0, 1)).astype(np.uint8).transpose(0, 2, 3, 1)


def draw(count: int, *, size_px: int = 128, bands: str = "grz", seed: int = 0) -> Galaxies:
    """Draw galaxies: exponential discs with a companion, so that no two sides are alike."""
    draws = np.random.default_rng(seed)
    y, x = np.mgrid[:size_px, :size_px] - (size_px - 1) / 2
    scale_px = draws.uniform(1, 5, (count, 1, 1, 1))
    peak = 10 ** draws.uniform(-1.5, 0.5, (count, len(bands), 1, 1))
    noise = np.array([NOISE_NMGY[band] for band in bands])[:, None, None]
    disc = np.exp(-np.hypot(x, y) / scale_px) + 0.3 * np.exp(-np.hypot(x - 4, y + 2))
    images = peak * disc + noise * draws.normal(size=(count, len(bands), size_px, size_px))
    z = draws.uniform(0.01, 0.5, count)
    psfsize = draws.uniform(1.1, 1.8, (count, len(bands)))
    spread_px = 4 * np.pi * (psfsize * SIGMA_PER_FWHM / PIXSCALE_ARCSEC) ** 2
    return Galaxies(
        images=images.astype(np.float32),
        bands=tuple(bands),
        id=39_627_000_000_000_001 + np.arange(count) * 7,
        ra=draws.uniform(0, 360, count),
        dec=draws.uniform(-30, 80, count),
        z=np.where(np.arange(count) % 3 == 2, np.nan, z).astype(np.float32),
        ebv=draws.uniform(0.01, 0.1, count).astype(np.float32),
        psfsize=psfsize.astype(np.float32),
        psfdepth=(1 / (noise.ravel() ** 2 * spread_px)).astype(np.float32),
        flux_r=images[:, bands.index("r")].sum(axis=(1, 2)).astype(np.float32),
    )
