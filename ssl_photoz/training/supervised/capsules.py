"""A compact deep capsule network: a galaxy's capsule tells its redshift and draws its cutout.

The features of capsules are vectors: their length says how sure they are, their direction what they
look like.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ssl_photoz.encoders.stretch import Stretch
from ssl_photoz.training.supervised.heads import Head
from ssl_photoz.training.supervised.network import Network, blank
from ssl_photoz.training.supervised.settings import CapsuleConfig

CELLS = 4
INNER, OUTER = 1 / 16, 1 / 4  # radii, in sides of the crop
ENOUGH, LITTLE, OTHERS = 0.9, 0.1, 0.5
TINY = 1e-7


def squash(vectors: Tensor) -> Tensor:
    """Bring the length x of vectors (..., D) to x^2 / (1 + x^2) (Sabour et al. 2017, eq. 1)."""
    square = vectors.square().sum(dim=-1, keepdim=True)
    return vectors * square / (1 + square) / (square + TINY).sqrt()


def route(votes: Tensor, *, routings: int) -> Tensor:
    """Route by agreement: capsules that vote alike gain weight (Sabour et al. 2017, proc. 1).

    Args:
        votes: Vote of each of N capsules for each of J, shape (B, N, J, D).
        routings: Number of rounds, at least one.

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
    """Loss that makes the right capsule long and the others short (Sabour et al. 2017, eq. 4).

    Args:
        length: Length of each class's capsule, shape (B, J).
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
        types: Number of capsules at each place.
        atoms: Length of each capsule.
        stride: Stride of the convolution.
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
    """A cell of DeepCaps: it halves a map, and adds one and two convolutions of the half.

    Rajasegaran et al. 2019 (CVPR, 10725) build their network of such cells.

    Args:
        before: Input channels.
        types: Number of capsules at each place.
        atoms: Length of each capsule.
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
    """A capsule for each class, routed from capsules with a matrix of their own for each class.

    Args:
        count: Number of input capsules N.
        atoms: Length of each input capsule.
        classes: Number of classes J.
        dim: Length of the capsule of a class.
        routings: Number of rounds of routing.
    """

    def __init__(self, *, count: int, atoms: int, classes: int, dim: int, routings: int) -> None:
        super().__init__()
        self.routings = routings
        self.weight = nn.Parameter(torch.randn(count, classes, atoms, dim) * count**-0.5)

    def forward(self, capsules: Tensor) -> Tensor:
        """Map capsules (B, N, atoms) to (B, J, dim)."""
        votes = torch.einsum("bna,njad->bnjd", capsules, self.weight)
        return route(votes, routings=self.routings)


def concentration(flux: Tensor) -> Tensor:
    """Fraction of the light that is near the centre, (B,), of flux (B, C, side, side).

    Flux within 1/16 of the side from the centre, over that within 1/4, all bands together. Early
    types are the more concentrated (Strateva et al. 2001, AJ 122, 1861, who compare radii).
    """
    side = flux.shape[-1]
    place = torch.arange(side, device=flux.device) - (side - 1) / 2
    radius = (place[:, None].square() + place.square()).sqrt() / side
    light = flux.float().sum(dim=1)
    inner, outer = ((light * (radius < reach)).sum(dim=(1, 2)) for reach in (INNER, OUTER))
    return inner / outer.abs().clamp(min=1e-12)


def classes_of(flux: Tensor, *, classes: int) -> Tensor:
    """Number of the equally large class of its batch that each galaxy is in, (B,).

    By `concentration`, the least concentrated first.
    """
    rank = concentration(flux).argsort().argsort()
    return rank * classes // len(flux)


class CapsuleNetwork(Network):
    """Capsules of ever larger parts, routed to one per class, which gives redshift and picture.

    A convolution, four cells of squashed convolutions, each half the size of the one before, and
    from the capsules of the last two a capsule for each class. Its length tells whether a galaxy
    is of the class; the longest, in training that of the galaxy's own class, is given to the
    redshift's layers and to a decoder, which draws the stretched cutout.

    Args:
        config: Its own settings.
        softening: Softening of the stretch, per band, in the unit of the input.
        calibrated: Whether the input is flux or display values.
        head: What is asked for.
    """

    def __init__(
        self,
        config: CapsuleConfig,
        *,
        softening: Sequence[float],
        calibrated: bool,
        head: Head,
    ) -> None:
        super().__init__()
        types, atoms, crop_px = config.types, config.atoms, config.crop_px
        bands, width = len(softening), types * atoms
        self.input_shape = (bands, crop_px, crop_px)
        self.config = config
        self.stretch = Stretch(softening, calibrated=calibrated)
        self.trunk: nn.ModuleList = nn.ModuleList(
            [
                nn.Sequential(
                    nn.Conv2d(bands, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU()
                ),
                *(CapsuleCell(width, types=types, atoms=atoms) for _ in range(CELLS)),
            ]
        )
        last = (crop_px // 2**CELLS) ** 2
        self.galaxy = ClassCapsules(
            count=types * 5 * last,
            atoms=atoms,
            classes=config.classes,
            dim=config.dim,
            routings=config.routings,
        )
        self.hidden = nn.Sequential(
            nn.Linear(config.dim, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU()
        )
        self.output = nn.Linear(32, head.outputs)
        nn.init.zeros_(self.output.weight)
        self.output.bias.data.copy_(head.start())
        self.decoder = _decoder(config.dim, bands, side=crop_px // 8)

    def forward(self, flux: Tensor) -> Tensor:
        """Answers, (B,) or (B, outputs), for flux (B, C, crop, crop).

        Raises:
            ShapeError: If the input has other bands or another size.
        """
        capsules = self.capsules(self.stretch(self.require_shape(flux)))
        return self.answer(_chosen(capsules, capsules.norm(dim=2).argmax(dim=1)))

    def loss(self, flux: Tensor, z: Tensor, head: Head) -> Tensor:
        """The head's loss plus those of class and picture, for redshifts (B,)."""
        stretched = self.stretch(self.require_shape(flux))
        capsules = self.capsules(stretched)
        label = classes_of(blank(flux, self.seen), classes=self.config.classes)
        own = _chosen(capsules, label)
        drawn = F.mse_loss(self.draw(own), stretched.float())
        told = margin_loss(capsules.norm(dim=2), label)
        asked = head.loss(self.answer(own), z)
        return asked + self.config.margin * told + self.config.reconstruction * drawn

    def capsules(self, stretched: Tensor) -> Tensor:
        """Capsules of the classes, (B, J, dim), of stretched cutouts."""
        stem, *cells = self.trunk
        maps = [stem(stretched)]
        for cell in cells:
            maps.append(cell(maps[-1]))
        lists = [
            one.unflatten(1, (-1, self.config.atoms)).movedim(2, -1).flatten(1, 3)
            for one in maps[-2:]
        ]
        with torch.autocast(stretched.device.type, enabled=False):
            galaxy: Tensor = self.galaxy(torch.cat(lists, dim=1).float())
        return galaxy

    def answer(self, capsule: Tensor) -> Tensor:
        """Answers of capsules (B, dim)."""
        with torch.autocast(capsule.device.type, enabled=False):
            answer: Tensor = self.output(self.hidden(capsule)).squeeze(1)
        return answer

    def draw(self, capsule: Tensor) -> Tensor:
        """Stretched cutouts drawn from capsules (B, dim), (B, C, crop, crop)."""
        picture: Tensor = self.decoder(capsule)
        return picture.float()


def _chosen(capsules: Tensor, which: Tensor) -> Tensor:
    return capsules[torch.arange(len(capsules), device=capsules.device), which]


def _decoder(dim: int, bands: int, *, side: int) -> nn.Sequential:
    """Layers that draw 8 side pixels a side, beginning with a map of side pixels."""
    layers: list[nn.Module] = [
        nn.Linear(dim, 32 * side**2),
        nn.ReLU(),
        nn.Unflatten(1, (32, side, side)),
    ]
    for before, after in ((32, 32), (32, 16), (16, 8)):
        layers += [nn.Upsample(scale_factor=2), nn.Conv2d(before, after, 3, padding=1), nn.ReLU()]
    return nn.Sequential(*layers, nn.Conv2d(8, bands, 3, padding=1))
