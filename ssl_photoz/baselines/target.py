"""What a network is asked for: ln(1+z), standardised."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from torch import Tensor

from ssl_photoz.types import Array, Doubles


@dataclass(frozen=True)
class Target:
    """The scale of ln(1+z) among the training galaxies; residuals count relative to 1+z.

    Attributes:
        centre: Mean of ln(1+z).
        scale: Its standard deviation.
        low: Its least value.
        high: Its greatest.
    """

    centre: float
    scale: float
    low: float
    high: float

    @classmethod
    def of(cls, z: Array) -> Self:
        """Measure it on redshifts, shape (N,)."""
        target = np.log1p(np.asarray(z, dtype=np.float64))
        centre, scale = float(target.mean()), float(target.std()) or 1.0
        return cls(centre, scale, float(target.min()), float(target.max()))

    def standardised(self, z: Tensor) -> Tensor:
        """Return what a network should answer for redshifts, any shape."""
        return (z.log1p() - self.centre) / self.scale

    def ln_one_plus_z(self, answer: Array) -> Doubles:
        """Return ln(1+z) of a network's answers, kept within what the training galaxies have."""
        known = np.asarray(answer, dtype=np.float64) * self.scale + self.centre
        return np.clip(known, self.low, self.high)
