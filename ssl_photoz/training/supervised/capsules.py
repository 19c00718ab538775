"""A compact deep capsule network: one capsule of a galaxy tells its redshift and its picture."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ssl_photoz.core.errors import ShapeError
from ssl_photoz.encoders.stretch import Stretch
from ssl_photoz.training.supervised.capsule_layers import CapsuleCell, ClassCapsules, margin_loss
from ssl_photoz.training.supervised.heads import Head
from ssl_photoz.training.supervised.network import Network, blank

CELLS = 4
INNER, OUTER = 1 / 16, 1 / 4  # radii, in sides of the crop


def concentration(flux: Tensor) -> Tensor:
    """Return the part of the light that is near the centre, (B,), of flux (B, C, side, side).

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
    """Return which of equally large classes of its batch each galaxy is in, (B,).

    By `concentration`, the least concentrated first.
    """
    rank = concentration(flux).argsort().argsort()
    return rank * classes // len(flux)


class CapsuleNetwork(Network):
    """Capsules of ever larger parts, routed to one for each class; redshift and picture from it.

    A convolution, four cells of squashed convolutions, each half the size of the one before, and
    from the capsules of the last two a capsule for each class. Its length tells whether a galaxy
    is of the class; the longest, in training that of the galaxy's own class, is given to the
    redshift's layers and to a decoder, which draws the stretched cutout.

    Args:
        softening: Of the stretch, per band, in the unit of the input.
        calibrated: Whether the input is flux or display values.
        head: What is asked for.
        crop_px: Side of the input.
        types: Kinds of capsules at each place.
        atoms: Numbers in each.
        classes: Classes of galaxies, see `classes_of`.
        dim: Numbers in the capsule of a class.
        routings: Rounds of routing.
        margin: Weight of `margin_loss`.
        reconstruction: Weight of the mean square error of the picture.
    """

    def __init__(
        self,
        *,
        softening: Sequence[float],
        calibrated: bool,
        head: Head,
        crop_px: int = 64,
        types: int = 8,
        atoms: int = 8,
        classes: int = 2,
        dim: int = 16,
        routings: int = 3,
        margin: float = 0.5,
        reconstruction: float = 0.1,
    ) -> None:
        super().__init__()
        bands, width = len(softening), types * atoms
        self.input_shape = (bands, crop_px, crop_px)
        self.classes, self.atoms = classes, atoms
        self.margin, self.reconstruction = margin, reconstruction
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
            count=types * 5 * last, atoms=atoms, classes=classes, dim=dim, routings=routings
        )
        self.hidden = nn.Sequential(nn.Linear(dim, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU())
        self.output = nn.Linear(32, head.outputs)
        nn.init.zeros_(self.output.weight)
        self.output.bias.data.copy_(head.start())
        self.decoder = _decoder(dim, bands, side=crop_px // 8)

    def forward(self, flux: Tensor) -> Tensor:
        """Return answers, (B,) or (B, outputs), for flux (B, C, crop, crop).

        Raises:
            ShapeError: If the input has other bands or another size.
        """
        capsules = self.capsules(self.stretch(self._checked(flux)))
        return self.answer(_chosen(capsules, capsules.norm(dim=2).argmax(dim=1)))

    def loss(self, flux: Tensor, z: Tensor, head: Head) -> Tensor:
        """Return the head's loss plus those of class and picture, for redshifts (B,)."""
        stretched = self.stretch(self._checked(flux))
        capsules = self.capsules(stretched)
        label = classes_of(blank(flux, self.seen), classes=self.classes)
        own = _chosen(capsules, label)
        drawn = F.mse_loss(self.draw(own), stretched.float())
        told = margin_loss(capsules.norm(dim=2), label)
        asked = head.loss(self.answer(own), z)
        return asked + self.margin * told + self.reconstruction * drawn

    def capsules(self, stretched: Tensor) -> Tensor:
        """Return the capsules of the classes, (B, J, dim), of stretched cutouts."""
        stem, *cells = self.trunk
        maps = [stem(stretched)]
        for cell in cells:
            maps.append(cell(maps[-1]))
        lists = [
            one.unflatten(1, (-1, self.atoms)).movedim(2, -1).flatten(1, 3) for one in maps[-2:]
        ]
        with torch.autocast(stretched.device.type, enabled=False):
            galaxy: Tensor = self.galaxy(torch.cat(lists, dim=1).float())
        return galaxy

    def answer(self, capsule: Tensor) -> Tensor:
        """Return the answers that capsules (B, dim) tell."""
        with torch.autocast(capsule.device.type, enabled=False):
            answer: Tensor = self.output(self.hidden(capsule)).squeeze(1)
        return answer

    def draw(self, capsule: Tensor) -> Tensor:
        """Return the stretched cutouts that capsules (B, dim) tell, (B, C, crop, crop)."""
        picture: Tensor = self.decoder(capsule)
        return picture.float()

    def _checked(self, flux: Tensor) -> Tensor:
        if flux.ndim != 4 or tuple(flux.shape[1:]) != self.input_shape:
            raise ShapeError(f"network takes (B, {self.input_shape}), got {tuple(flux.shape)}")
        return flux


def _chosen(capsules: Tensor, which: Tensor) -> Tensor:
    return capsules[torch.arange(len(capsules), device=capsules.device), which]


def _decoder(dim: int, bands: int, *, side: int) -> nn.Sequential:
    """Return layers that draw 8 side pixels a side, beginning with a map of side pixels."""
    layers: list[nn.Module] = [
        nn.Linear(dim, 32 * side**2),
        nn.ReLU(),
        nn.Unflatten(1, (32, side, side)),
    ]
    for before, after in ((32, 32), (32, 16), (16, 8)):
        layers += [nn.Upsample(scale_factor=2), nn.Conv2d(before, after, 3, padding=1), nn.ReLU()]
    return nn.Sequential(*layers, nn.Conv2d(8, bands, 3, padding=1))
