"""A discriminator that tells two surveys apart by pairs of features, and a trunk that fools it."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ssl_photoz.core.errors import ShapeError
from ssl_photoz.training.supervised.network import Network, trunk_width
from ssl_photoz.training.transfer.settings import AdaptationConfig

MEMORY = 0.98
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
    """Features as they are, whose gradient comes back times ``-strength`` [1].

    Args:
        features: Features of any shape.
        strength: Factor of the reversed gradient; 0 keeps the gradient from passing.

    References:
        [1] Ganin et al. 2016, JMLR 17, 59.
    """
    reversed_: Tensor = _Reversal.apply(features, strength)  # type: ignore[no-untyped-call]
    return reversed_


def ramp(done: float) -> float:
    """Fraction of the full strength, ``2 / (1 + exp(-10 done)) - 1`` [1].

    The discriminator is noise at first: its gradient comes in as the training goes on.

    Args:
        done: Fraction of the training that is done, 0 to 1.

    References:
        [1] Ganin et al. 2016, JMLR 17, 59.
    """
    return 2 / (1 + math.exp(-STEEPNESS * done)) - 1


class PairDiscriminator(nn.Module):
    """A network that tells which of two galaxies, one of each survey, is of the source.

    Args:
        width: Number of features of one galaxy, F.
        hidden: Number of units of the two hidden layers.
    """

    def __init__(self, width: int, *, hidden: int = 128) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *(nn.Linear(2 * width, hidden), nn.ReLU()),
            *(nn.Linear(hidden, hidden), nn.ReLU()),
            nn.Linear(hidden, 1),
        )

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Logits, (B,), for features (B, F) of the two galaxies of each pair."""
        answer: Tensor = self.layers(torch.cat([first, second], dim=1)).squeeze(1)
        return answer


class Adversary(nn.Module):
    """The adversarial loss: the discriminator learns to tell surveys apart, the trunk to hide them.

    Each pair is shown both ways round. The features' gradient is reversed and grows with `ramp`.

    Args:
        width: Number of features of one galaxy, F.
        strength: Factor of the reversed gradient at the end of the training.
        steps: Number of steps of the training.
        seed: Seed of the discriminator's weights; the global random state is left as it was.

    Attributes:
        told_apart: Fraction of pairs told right, averaged over about the last 50 steps; 0.5 by
            chance.
    """

    told_apart: Tensor

    def __init__(self, width: int, *, strength: float, steps: int, seed: int) -> None:
        super().__init__()
        self.strength, self.steps = strength, steps
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.discriminator = PairDiscriminator(width)
        self.register_buffer("told_apart", torch.tensor(0.5))

    def forward(self, features: Tensor, known: Tensor, *, step: int) -> Tensor:
        """Mean cross-entropy of the discriminator; ln 2 by chance.

        Args:
            features: Features of the galaxies of both surveys, (2 B, F).
            known: Whether each is of the source, (2 B,); the n-th of them and the n-th of the
                others are a pair.
            step: Number of the step.

        Raises:
            ShapeError: If there are not as many of the one as of the other.
        """
        reversed_ = reverse_gradient(features, self.strength * ramp(step / self.steps))
        source, target = reversed_[known], reversed_[~known]
        if len(source) != len(target):
            raise ShapeError(f"{len(source)} galaxies and {len(target)} partners make no pairs")
        logits = torch.cat(
            [self.discriminator(source, target), -self.discriminator(target, source)]
        )
        right = (logits.detach() > 0).float().mean()
        self.told_apart.lerp_(right, 1 - MEMORY)
        return F.softplus(-logits).mean()


def make_adversary(
    network: Network, steps: int, *, config: AdaptationConfig, seed: int
) -> Adversary:
    """Make an adversary that fits a network's trunk, on its device."""
    width = trunk_width(network)
    adversary = Adversary(width, strength=config.strength, steps=steps, seed=seed)
    return adversary.to(next(network.parameters()).device)
