"""The queue of negative keys, and the loss that is taken against it."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ssl_photoz.core.errors import ShapeError


class KeyQueue(nn.Module):
    """A ring of past keys; keys and pointer are buffers, so a checkpoint holds them.

    Args:
        size: Keys kept.
        dim: Length of a key.
        generator: Draws the unit vectors it starts with.
    """

    keys: Tensor
    pointer: Tensor

    def __init__(self, size: int, dim: int, *, generator: torch.Generator) -> None:
        super().__init__()
        start = F.normalize(torch.randn(size, dim, generator=generator), dim=1)
        self.register_buffer("keys", start)
        self.register_buffer("pointer", torch.zeros((), dtype=torch.long))

    @torch.no_grad()
    def push(self, keys: Tensor) -> None:
        """Replace the oldest keys by new ones, (B, dim).

        Raises:
            ShapeError: If the queue's size is not a multiple of B.
        """
        if len(self.keys) % len(keys):
            raise ShapeError(
                f"queue of {len(self.keys)} keys is not a multiple of the batch of {len(keys)}"
            )
        rows = self.pointer + torch.arange(len(keys), device=keys.device)
        self.keys[rows] = keys.to(self.keys.dtype)
        self.pointer.copy_((self.pointer + len(keys)) % len(self.keys))


def info_nce(
    queries: Tensor, keys: Tensor, negatives: Tensor, *, temperature: float
) -> tuple[Tensor, Tensor]:
    """Contrast each query's own key with the queue.

    Args:
        queries: Unit vectors (B, dim).
        keys: The other view's unit vectors (B, dim), row by row; no gradient flows into them.
        negatives: Unit vectors (K, dim).
        temperature: Of the softmax.

    Returns:
        The mean loss, and the share of queries whose own key is the most similar.

    References:
        He et al. 2020, arXiv:1911.05722, equation 1.
    """
    positive = (queries * keys.detach()).sum(dim=1, keepdim=True)
    logits = torch.cat([positive, queries @ negatives.T], dim=1) / temperature
    target = torch.zeros(len(logits), dtype=torch.long, device=logits.device)
    accuracy = (logits.argmax(dim=1) == 0).float().mean()
    return F.cross_entropy(logits, target), accuracy
