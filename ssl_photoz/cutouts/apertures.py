"""Aperture photometry on whole batches: pretext targets, and the reference for embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from ssl_photoz.core.errors import DataError, ShapeError
from ssl_photoz.core.types import Floats
from ssl_photoz.encoders.measurements import MAG_PER_LN

RADII_ARCSEC = (1.0, 1.5, 2.5, 4.0, 6.0, 9.0, 12.0)
# Medians of the Legacy Surveys' noise at 0.262 arcsec/px; `OTHER_BAND` where none is known.
NOISE_NMGY = {"g": 0.0031, "r": 0.0044, "z": 0.0117}
NOISE_OTHER_BAND_NMGY = 0.005
NOISE_DISPLAY = 0.02
SUBPIXELS = 16


class ApertureFluxes:
    """Magnitudes in circular apertures, colours and concentrations of every cutout.

    Magnitudes are asinh magnitudes [1]: ``zero - 2.5/ln(10) (asinh(f / 2b) + ln b)``, which
    are linear in flux around zero, so that noise and negative fluxes do no harm. Their softening
    b is the noise of the aperture, from the survey's typical noise per pixel, not the object's,
    so that equal galaxies have equal features. No sky is subtracted: cutouts of flux have none,
    and on 8-bit pictures of real galaxies subtracting the border cost redshift precision. The
    zero point is 22.5 mag for flux, 0 for display units.

    Args:
        bands: Band names, in the order of the pixels.
        size_px: Side of the central crop that is measured; larger cutouts are cropped to it.
        pixscale_arcsec: Pixel scale, arcsec/px.
        calibrated: Whether pixels are flux, nanomaggies/px, or display units.
        radii_arcsec: Aperture radii; those that reach beyond the crop are left out.

    Attributes:
        radii_arcsec: The radii in use.
        names: Name of each feature: ``mag_r_2.5`` (r band within 2.5 arcsec), ``g-r_2.5``,
            ``conc_r_2.5`` (magnitudes from 2.5 arcsec to the next radius).

    Raises:
        DataError: If the pixel scale is unknown, or no radius fits the crop.

    References:
        [1] Lupton, Gunn & Szalay 1999, AJ 118, 1406.
    """

    def __init__(
        self,
        bands: Sequence[str],
        *,
        size_px: int,
        pixscale_arcsec: float,
        calibrated: bool,
        radii_arcsec: Sequence[float] = RADII_ARCSEC,
    ) -> None:
        if not pixscale_arcsec > 0:
            raise DataError(
                f"aperture photometry needs a pixel scale, got {pixscale_arcsec}; state "
                f"pixscale_arcsec in the file or in the settings"
            )
        half_side = size_px * pixscale_arcsec / 2
        self.radii_arcsec = tuple(radius for radius in radii_arcsec if radius <= half_side)
        if not self.radii_arcsec:
            raise DataError(
                f"no aperture fits a crop of {size_px} px at {pixscale_arcsec} arcsec/px; radii "
                f"are {', '.join(f'{radius:g}' for radius in radii_arcsec)} arcsec"
            )
        self.names = _names(bands, self.radii_arcsec)
        self._size_px = size_px
        self._calibrated = calibrated
        radii_px = np.array(self.radii_arcsec) / pixscale_arcsec
        masks = np.stack([disc(size_px, radius) for radius in radii_px])
        self._masks = torch.from_numpy(masks.reshape(len(radii_px), -1))
        typical = [NOISE_NMGY.get(band, NOISE_OTHER_BAND_NMGY) for band in bands]
        noise = np.array(typical if calibrated else [NOISE_DISPLAY] * len(bands))
        softening = noise[:, None] * np.sqrt(np.pi) * radii_px
        self._softening = torch.from_numpy(softening.astype(np.float32))

    def __call__(self, flux: Tensor) -> Tensor:
        """Measure a batch.

        Args:
            flux: Pixels, shape (B, C, H, W), H and W at least ``size_px``; nanomaggies/px, or
                display units from 0 to 1.

        Returns:
            Features in the order of ``names``, float32, shape (B, F).

        Raises:
            ShapeError: If the shape is another.
        """
        n_bands = len(self._softening)
        if flux.ndim != 4 or flux.shape[1] != n_bands or min(flux.shape[2:]) < self._size_px:
            raise ShapeError(
                f"flux has shape {tuple(flux.shape)}, expected (B, {n_bands}, H, W) with H and W "
                f"at least {self._size_px}"
            )
        mags = self._magnitudes(self._fluxes(flux))
        colours = mags[:, :-1] - mags[:, 1:]
        concentrations = mags[:, :, :-1] - mags[:, :, 1:]
        return torch.cat([part.flatten(1) for part in (mags, colours, concentrations)], dim=1)

    def _fluxes(self, flux: Tensor) -> Tensor:
        low = [(side - self._size_px) // 2 for side in flux.shape[2:]]
        rows, columns = (slice(start, start + self._size_px) for start in low)
        crop = flux[:, :, rows, columns].float()
        # This way round the product takes less than half of the time.
        sums = self._masks.to(crop.device) @ crop.flatten(0, 1).flatten(1).T
        return sums.T.reshape(*crop.shape[:2], len(self._masks))

    def _magnitudes(self, fluxes: Tensor) -> Tensor:
        softening = self._softening.to(fluxes.device)
        zero = 22.5 if self._calibrated else 0.0
        return zero - MAG_PER_LN * (torch.asinh(fluxes / (2 * softening)) + softening.log())


def disc(size_px: int, radius_px: float) -> Floats:
    """Share of each pixel that lies in a centred disc, shape (size_px, size_px)."""
    offsets = (np.arange(size_px * SUBPIXELS) + 0.5) / SUBPIXELS - size_px / 2
    inside = offsets[:, None] ** 2 + offsets**2 <= radius_px**2
    blocks = inside.reshape(size_px, SUBPIXELS, size_px, SUBPIXELS)
    share: Floats = blocks.mean(axis=(1, 3)).astype(np.float32)
    return share


def _names(bands: Sequence[str], radii: Sequence[float]) -> tuple[str, ...]:
    mags = [f"mag_{band}_{radius:g}" for band in bands for radius in radii]
    pairs = pairwise(bands)
    colours = [f"{one}-{two}_{radius:g}" for one, two in pairs for radius in radii]
    concentrations = [f"conc_{band}_{radius:g}" for band in bands for radius in radii[:-1]]
    return (*mags, *colours, *concentrations)
