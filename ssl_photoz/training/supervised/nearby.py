"""A head that says whether a galaxy is nearby, where few are."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ssl_photoz.core.errors import DataError
from ssl_photoz.core.types import Array, Doubles

Balance = Literal["focal", "weighted", "none"]


@dataclass(frozen=True)
class Nearby:
    """One answer: the logit of z < z_max.

    Attributes:
        z_max: What is nearby.
        share: Part of the training galaxies that are, before which the network starts.
        near: Mean ln(1+z) of those.
        far: Of the others.
        balance: Against the few: ``focal`` turns down what is answered rightly already [1],
            ``weighted`` gives both kinds the same weight in sum, ``none`` is the plain
            cross-entropy.
        gamma: Of ``focal``: the power of one minus the probability of the right answer.

    References:
        [1] Lin et al. 2017, arXiv:1708.02002.
    """

    z_max: float
    share: float
    near: float
    far: float
    balance: Balance = "focal"
    gamma: float = 2.0

    @classmethod
    def of(cls, z: Array, *, z_max: float, balance: Balance, gamma: float) -> Self:
        """Measure it on the training redshifts, shape (N,).

        Raises:
            DataError: If all or none of them are nearby.
        """
        known = np.asarray(z, dtype=np.float64)
        inside = known < z_max
        if inside.all() or not inside.any():
            raise DataError(
                f"{int(inside.sum())} of {len(known)} training galaxies have z < {z_max:g}: "
                f"expected some, not all; change z_max or give more labelled cutouts"
            )
        near, far = (float(np.log1p(known[some]).mean()) for some in (inside, ~inside))
        return cls(z_max, float(inside.mean()), near, far, balance, gamma)

    @property
    def outputs(self) -> int:
        """One."""
        return 1

    def start(self) -> Tensor:
        """Return the log-odds of the training galaxies; none if they are weighted evenly."""
        odds = 1.0 if self.balance == "weighted" else self.share / (1 - self.share)
        return torch.tensor([math.log(odds)])

    def loss(self, answer: Tensor, z: Tensor) -> Tensor:
        """Return the mean loss of answers (B,) for redshifts (B,)."""
        wanted = (z < self.z_max).float()
        answer = answer.float()
        each = F.binary_cross_entropy_with_logits(answer, wanted, reduction="none")
        if self.balance == "focal":
            each = (1 - torch.exp(-each)) ** self.gamma * each
        if self.balance == "weighted":
            each = each * torch.where(wanted > 0, 0.5 / self.share, 0.5 / (1 - self.share))
        return each.mean()

    def averaged(self, answers: Tensor) -> Tensor:
        """Average probabilities over the first axis of answers, float64."""
        return answers.double().sigmoid().mean(dim=0)

    def ln_one_plus_z(self, answer: Array) -> Doubles:
        """Return the mean ln(1+z) of galaxies, (N,), of which a part ``answer`` are nearby."""
        share = np.asarray(answer, dtype=np.float64)
        return share * self.near + (1 - share) * self.far
