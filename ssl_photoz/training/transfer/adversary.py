"""A discriminator that tells two surveys apart by pairs of features, and is to be fooled."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ssl_photoz.core.errors import ShapeError
from ssl_photoz.training.supervised.captured import width_of
from ssl_photoz.training.supervised.network import Network
from ssl_photoz.training.transfer.reversal import ramp, reverse_gradient

MEMORY = 0.98


class PairDiscriminator(nn.Module):
    """Says of two galaxies, one of each survey, whether the first is of the source.

    Args:
        width: Features of one galaxy, F.
        hidden: Units of the two hidden layers.
    """

    def __init__(self, width: int, *, hidden: int = 128) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *(nn.Linear(2 * width, hidden), nn.ReLU()),
            *(nn.Linear(hidden, hidden), nn.ReLU()),
            nn.Linear(hidden, 1),
        )

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Return logits, (B,), for features (B, F) of the two galaxies of each pair."""
        answer: Tensor = self.layers(torch.cat([first, second], dim=1)).squeeze(1)
        return answer


class Adversary(nn.Module):
    """The adversarial loss: the discriminator learns to tell, the trunk not to be told.

    Each pair is shown both ways round. The features' gradient is reversed and grows with `ramp`.

    Args:
        width: Features of one galaxy, F.
        strength: Of the reversed gradient at the end of the training.
        steps: Of the training.
        seed: Of the discriminator's weights; the global random state is left as it was.

    Attributes:
        told_apart: Share of pairs told right, averaged over about the last 50 steps; 0.5 by chance.
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
        """Return the discriminator's mean cross-entropy; ln 2 by chance.

        Args:
            features: Of the galaxies of both surveys, (2 B, F).
            known: Which are of the source, (2 B,); the n-th of them and the n-th of the others
                are a pair.
            step: Of the training.

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


def make_adversary(network: Network, steps: int, *, strength: float, seed: int) -> Adversary:
    """Make an adversary that fits a network's trunk, on its device."""
    adversary = Adversary(width_of(network), strength=strength, steps=steps, seed=seed)
    return adversary.to(next(network.parameters()).device)
