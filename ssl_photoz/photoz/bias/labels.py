"""What a head is taught: soft labels, described by their centres and widths in bins."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ssl_photoz.core.types import Array, Doubles

HARD = 0.1  # bins; a narrower label is that of one bin


@dataclass(frozen=True)
class Labels:
    """Labels of N galaxies in K channels.

    Attributes:
        centre: Where the label of each channel lies, in bins, shape (N, K).
        member: Which channels a galaxy teaches, 0 or 1, shape (N, K).
        weight: How much a galaxy counts, shape (N,).
    """

    centre: Doubles
    member: Doubles
    weight: Doubles

    @classmethod
    def plain(cls, place: Array, member: Doubles, weight: Doubles | None = None) -> Labels:
        """Return labels that lie where the redshifts do.

        Args:
            place: Of the spectroscopic redshifts, in bins, shape (N,).
            member: See `Labels`.
            weight: Likewise; 1 if None.
        """
        centre = np.repeat(np.asarray(place, dtype=np.float64)[:, None], member.shape[1], axis=1)
        return cls(centre, member, np.ones(len(centre)) if weight is None else weight)

    def take(self, rows: Array) -> Labels:
        """Return those of some galaxies."""
        return Labels(self.centre[rows], self.member[rows], self.weight[rows])

    def tensor(self) -> Tensor:
        """Return all of it, shape (N, 2K + 1), float32."""
        together = [self.centre, self.member, self.weight[:, None]]
        return torch.from_numpy(np.concatenate(together, axis=1)).float()


def soft(centre: Tensor, width: Tensor, count: int) -> Tensor:
    """Return Gaussians over bins, normalised, shape (..., K, G); one bin where width is < 0.1.

    Args:
        centre: In bins, shape (..., K); one beyond the bins falls in the outermost.
        width: Standard deviation in bins, shape (K,).
        count: G.
    """
    nearest = torch.where(width < HARD, centre.round().clamp(0, count - 1), centre)[..., None]
    off = (torch.arange(count, dtype=centre.dtype) - nearest) / width.clamp(min=HARD)[:, None]
    return torch.softmax(-0.5 * off**2, dim=-1)


def cross_entropy(answers: Tensor, labels: Tensor, *, width: Tensor) -> Tensor:
    """Return the loss of a multi-channel head, summed over members, a mean over galaxies.

    Each channel of which a galaxy is a member is taught its soft label, every other channel to
    answer evenly over bins; the last K outputs are taught which channels those are [1].

    Args:
        answers: Logits, shape (members, B, K G + K).
        labels: `Labels.tensor`, shape (B, 2K + 1).
        width: Of the soft labels, bins, shape (K,).

    References:
        [1] Lin et al. 2022, A&A 662, A36, sec. 3, and their published code.
    """
    channels = len(width)
    in_bins, in_channels = split_logits(answers, channels)
    centre, member, weight = torch.split(labels, [channels, channels, 1], dim=1)
    count = in_bins.shape[-1]
    one = member[..., None]
    wanted = one * soft(centre, width, count) + (1 - one) / count
    lost = -(wanted * torch.log_softmax(in_bins, dim=-1)).sum(dim=(-2, -1))
    shares = member / member.sum(dim=1, keepdim=True)
    lost = lost - (shares * torch.log_softmax(in_channels, dim=-1)).sum(dim=-1)
    total: Tensor = (weight[:, 0] * lost).mean(dim=1).sum()
    return total


def split_logits(answers: Tensor, channels: int) -> tuple[Tensor, Tensor]:
    """Return logits over bins, (..., K, G), and over channels, (..., K)."""
    in_bins = answers[..., :-channels].reshape(*answers.shape[:-1], channels, -1)
    return in_bins, answers[..., -channels:]
