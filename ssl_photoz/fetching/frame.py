"""What every cutout of a file has in common, and which pixels may not go into it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ssl_photoz.core.types import Floats
from ssl_photoz.cutouts.quality import reject_reasons
from ssl_photoz.cutouts.schema import LEGACY_SURVEYS_PIXSCALE_ARCSEC

FLOAT_BYTES = 4


@dataclass(frozen=True)
class Frame:
    """Shape and scale of a cutout.

    Attributes:
        bands: Names, one letter each.
        size_px: Side.
        pixscale_arcsec: Pixel scale, arcsec/px.
        max_blank: Greatest share of pixels of a band that may be exactly zero.
    """

    bands: tuple[str, ...]
    size_px: int
    pixscale_arcsec: float
    max_blank: float

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of a cutout: (C, H, W)."""
        return len(self.bands), self.size_px, self.size_px

    @property
    def nbytes(self) -> int:
        """Of a cutout in float32."""
        return FLOAT_BYTES * len(self.bands) * self.size_px**2

    @property
    def native(self) -> bool:
        """Whether pixels are those of the coadds, so that their unit is nanomaggies per pixel."""
        return abs(self.pixscale_arcsec / LEGACY_SURVEYS_PIXSCALE_ARCSEC - 1) < 1e-3

    def fault(self, pixels: Floats) -> str:
        """Say why pixels of the right shape cannot be used; the empty string if they can."""
        reason = str(reject_reasons(pixels[None])[0])
        blank = (pixels == 0).mean(axis=(1, 2))
        worst = int(np.argmax(blank))
        if not reason and blank[worst] > self.max_blank:
            reason = f"{100 * blank[worst]:.0f} % of band {self.bands[worst]} is blank"
        return reason
