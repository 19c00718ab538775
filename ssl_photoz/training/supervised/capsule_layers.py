"""Layers whose features are vectors: length says how sure, direction says what it looks like."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

ENOUGH, LITTLE, OTHERS = 0.9, 0.1, 0.5
TINY = 1e-7


def squash(vectors: Tensor) -> Tensor:
    """Bring the length x of vectors (..., D) to x^2 / (1 + x^2) (Sabour et al. 2017, eq. 1)."""
    square = vectors.square().sum(dim=-1, keepdim=True)
    return vectors * square / (1 + square) / (square + TINY).sqrt()


def route(votes: Tensor, *, routings: int) -> Tensor:
    """Route by agreement: capsules that vote alike are listened to (Sabour et al. 2017, proc. 1).

    Args:
        votes: Of each of N capsules for each of J, shape (B, N, J, D).
        routings: Rounds, at least one.

    Returns:
        The J capsules, shape (B, J, D).
    """
    agreement = votes.new_zeros(votes.shape[:3])
    capsules = votes.new_empty(0)
    for number in range(routings):
        share = agreement.softmax(dim=2)
        capsules = squash(torch.einsum("bnj,bnjd->bjd", share, votes))
        if number < routings - 1:
            agreement = agreement + torch.einsum("bnjd,bjd->bnj", votes, capsules)
    return capsules


def margin_loss(length: Tensor, label: Tensor) -> Tensor:
    """Have the right capsule be long and the others short (Sabour et al. 2017, eq. 4).

    Args:
        length: Of each class's capsule, shape (B, J).
        label: The right class, shape (B,).
    """
    right = F.one_hot(label, length.shape[1])
    short, long = (ENOUGH - length).clamp(min=0), (length - LITTLE).clamp(min=0)
    each = right * short.square() + OTHERS * (1 - right) * long.square()
    return each.sum(dim=1).mean()


class CapsuleConv(nn.Module):
    """A 3x3 convolution whose output channels are capsules, normalised, then squashed.

    Args:
        before: Input channels.
        types: Capsules at each place.
        atoms: Numbers in each.
        stride: Of the convolution.
    """

    def __init__(self, before: int, *, types: int, atoms: int, stride: int = 1) -> None:
        super().__init__()
        self.types = types
        self.conv = nn.Conv2d(before, types * atoms, 3, stride, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(types * atoms)

    def forward(self, maps: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, types atoms, h, w), the numbers of a capsule side by side."""
        vectors = self.norm(self.conv(maps)).unflatten(1, (self.types, -1))
        return squash(vectors.float().movedim(2, -1)).movedim(-1, 2).flatten(1, 2)


class CapsuleCell(nn.Module):
    """Halve a map, then add what one and what two convolutions make of it (DeepCaps).

    Rajasegaran et al. 2019 (CVPR, 10725) build their network of such cells.

    Args:
        before: Input channels.
        types: Capsules at each place.
        atoms: Numbers in each.
    """

    def __init__(self, before: int, *, types: int, atoms: int) -> None:
        super().__init__()
        after = types * atoms
        self.halve = CapsuleConv(before, types=types, atoms=atoms, stride=2)
        self.skip, self.first, self.second = (
            CapsuleConv(after, types=types, atoms=atoms) for _ in range(3)
        )

    def forward(self, maps: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, types atoms, H/2, W/2)."""
        halved = self.halve(maps)
        together: Tensor = self.skip(halved) + self.second(self.first(halved))
        return together


class ClassCapsules(nn.Module):
    """A capsule for each class, from capsules that each have a matrix of their own for each.

    Args:
        count: Input capsules N.
        atoms: Numbers in each.
        classes: Classes J.
        dim: Numbers in the capsule of a class.
        routings: Rounds of routing.
    """

    def __init__(self, *, count: int, atoms: int, classes: int, dim: int, routings: int) -> None:
        super().__init__()
        self.routings = routings
        self.weight = nn.Parameter(torch.randn(count, classes, atoms, dim) * count**-0.5)

    def forward(self, capsules: Tensor) -> Tensor:
        """Map capsules (B, N, atoms) to (B, J, dim)."""
        votes = torch.einsum("bna,njad->bnjd", capsules, self.weight)
        return route(votes, routings=self.routings)
