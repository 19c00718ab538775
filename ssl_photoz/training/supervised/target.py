"""What a network is asked for: ln(1+z), standardised."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ssl_photoz.core.types import Array, Doubles

HUBER_BETA = 0.1


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

    @property
    def outputs(self) -> int:
        """One number."""
        return 1

    def start(self) -> Tensor:
        """Return the mean's, zero, (1,)."""
        return torch.zeros(1)

    def standardised(self, z: Tensor) -> Tensor:
        """Return what a network should answer for redshifts, any shape."""
        return (z.log1p() - self.centre) / self.scale

    def loss(self, answer: Tensor, z: Tensor) -> Tensor:
        """Return Huber's loss (beta 0.1) of answers (B,) for redshifts (B,)."""
        return F.smooth_l1_loss(answer, self.standardised(z), beta=HUBER_BETA)

    def averaged(self, answers: Tensor) -> Tensor:
        """Return the mean along the first axis, float64."""
        return answers.double().mean(dim=0)

    def ln_one_plus_z(self, answer: Array) -> Doubles:
        """Return ln(1+z) of a network's answers, kept within what the training galaxies have."""
        known = np.asarray(answer, dtype=np.float64) * self.scale + self.centre
        return np.clip(known, self.low, self.high)
