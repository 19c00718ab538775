"""Gradient reversal: what helps the discriminator is taken out of the features."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

STEEPNESS = 10.0


class _Reversal(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, features: Tensor, strength: float) -> Tensor:  # noqa: ANN401 (torch's)
        ctx.strength = strength
        return features.view_as(features)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # noqa: ANN401
        return -ctx.strength * gradient, None


def reverse_gradient(features: Tensor, strength: float) -> Tensor:
    """Return features as they are; their gradient comes back times ``-strength`` [1].

    Args:
        features: Any shape.
        strength: 0 keeps the gradient from passing.

    References:
        [1] Ganin et al. 2016, JMLR 17, 59.
    """
    reversed_: Tensor = _Reversal.apply(features, strength)  # type: ignore[no-untyped-call]
    return reversed_


def ramp(done: float) -> float:
    """Return the share of the full strength, ``2 / (1 + exp(-10 done)) - 1`` [1].

    The discriminator is noise at first: its gradient comes in as the training goes on.

    Args:
        done: Share of the training, 0 to 1.

    References:
        [1] Ganin et al. 2016, JMLR 17, 59.
    """
    return 2 / (1 + math.exp(-STEEPNESS * done)) - 1
