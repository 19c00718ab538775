"""Trained networks in their folders: ``weights.safetensors`` and what the card says of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from ssl_photoz.core import artefact
from ssl_photoz.core.errors import ArtefactError, MismatchError
from ssl_photoz.core.inputs import differences
from ssl_photoz.core.types import Doubles, PathLike
from ssl_photoz.cutouts.reader import Cutouts
from ssl_photoz.encoders.encoder import AS_STORED, WITH_EBV
from ssl_photoz.training.supervised.build import build
from ssl_photoz.training.supervised.heads import Head, head_from
from ssl_photoz.training.supervised.network import Network
from ssl_photoz.training.supervised.predict import answer

WEIGHTS = "weights.safetensors"


class NetworkCard(artefact.Card):
    """What the card of a trained network says; a classifier's has the kind ``classifier``."""

    @property
    def plan(self) -> dict[str, Any]:
        """What the network is built from; empty for a folder without a network."""
        return dict(self.get("network") or {})

    @property
    def training(self) -> dict[str, Any]:
        """How the training went: ``best_epoch``, ``seconds``, ``parameters`` ..."""
        return dict(self.get("training") or {})

    @property
    def label(self) -> str:
        """What it is called in tables and figures."""
        return str(self.get("label", ""))

    @property
    def without(self) -> list[str]:
        """Bands that the network does not see."""
        config = self.config
        return list(config.get("without") or config.get("model", {}).get("without") or ())

    @property
    def interval(self) -> Mapping[str, Any]:
        """The calibrated intervals of its redshifts; a classifier has none."""
        return dict(self["interval"])


@dataclass(frozen=True)
class TrainedNetwork:
    """A network, or an ensemble of networks that answer together, read from its folder.

    Attributes:
        folder: The folder that `supervise` or `transfer` wrote.
        members: The networks, in evaluation mode.
        head: What they were asked for.
        card: The folder's card.
    """

    folder: Path
    members: list[Network]
    head: Head
    card: NetworkCard

    @property
    def size_px(self) -> int:
        """Side of the crops that it sees, pixels."""
        return self.members[0].input_shape[-1]

    @property
    def extinction_corrected(self) -> bool:
        """Whether it takes flux that is corrected for Galactic extinction."""
        return bool(self.card.plan.get("about", {}).get("extinction_corrected", False))

    @property
    def metrics(self) -> dict[str, Any]:
        """Its scores, as in ``metrics.json``."""
        return artefact.read_json(self.folder / "metrics.json")

    def answer(self, crops: Iterable[Tensor], *, orientations: int = 8) -> Doubles:
        """Mean answers for plain central crops; see `ssl_photoz.training.supervised.predict`."""
        return answer(self.members, crops, head=self.head, orientations=orientations)

    def predict(self, crops: Iterable[Tensor], *, orientations: int = 8) -> Doubles:
        """Estimated ln(1+z) of plain central crops, (N,)."""
        return self.head.ln_one_plus_z(self.answer(crops, orientations=orientations))

    def require(self, *, size_px: int, about: Mapping[str, Any]) -> None:
        """Check that the network can be asked about cutouts.

        Args:
            size_px: Side of the cutouts.
            about: ``bands``, ``pixscale_arcsec``, ``calibrated`` and ``extinction_corrected`` of
                the cutouts.

        Raises:
            ArtefactError: If the folder is of an earlier version, which did not say.
            MismatchError: If they are not of the kind it was trained on.
        """
        mine = self.card.plan.get("about")
        if mine is None:
            raise ArtefactError(
                f"{self.folder} does not say what cutouts it was trained on; train it again"
            )
        mine = {"extinction_corrected": False, **mine}
        about = {"extinction_corrected": False, **about}
        for name in differences(mine, about):
            remedy = ""
            if name == "extinction_corrected":
                remedy = f"; {AS_STORED if about[name] else WITH_EBV}"
            raise MismatchError(
                f"{self.folder} was trained on cutouts with {name} = {mine[name]}, these have "
                f"{about[name]}{remedy}"
            )
        if size_px < self.size_px:
            raise MismatchError(
                f"{self.folder} sees {self.size_px} px a side, these cutouts are {size_px} px"
            )


def load_network(
    folder: PathLike | TrainedNetwork, *, device: torch.device | str = "cpu"
) -> TrainedNetwork:
    """Read a trained network, all members of an ensemble.

    Args:
        folder: Folder that `supervise` or `transfer` wrote, or a network, which is given back.
        device: Where to put it; weights trained on a GPU load on a CPU.

    Raises:
        ArtefactError: If the card or the weights are missing, damaged, or disagree.
        MismatchError: If the folder holds something else.
    """
    if isinstance(folder, TrainedNetwork):
        for member in folder.members:
            member.to(device)
        return folder
    folder = Path(folder)
    card = NetworkCard(artefact.read_card(folder, "probe", "classifier"))
    if not card.plan:
        raise ArtefactError(f"{folder} holds no network: expected a folder that supervise wrote")
    trainings = card.training.get("members")
    if trainings is None:
        members = [_read(folder, card, card.training)]
    else:
        members = [
            _read(folder / f"member-{number}", card, training)
            for number, training in enumerate(trainings)
        ]
    placed = [member.to(device).eval() for member in members]
    return TrainedNetwork(folder, placed, head_from(card.plan["head"]), card)


def _read(folder: Path, card: NetworkCard, training: Mapping[str, Any]) -> Network:
    path = folder / WEIGHTS
    if artefact.sha256_of(path) != training["weights_sha256"]:
        raise ArtefactError(
            f"{path} is not the file its card describes (checksum differs): it was damaged or "
            f"replaced; copy the whole folder again"
        )
    try:
        network = build(card.plan)
        network.load_state_dict(load_file(path))
    except (KeyError, TypeError, ValueError, RuntimeError, SafetensorError) as error:
        raise ArtefactError(f"{folder} does not describe a network: {error}") from None
    return network


def whole_path(cutouts: PathLike | Cutouts) -> Path:
    """Path of whole cutouts, by which a training is told from others.

    Raises:
        MismatchError: If they are some of the rows of a file.
    """
    if not isinstance(cutouts, Cutouts):
        return Path(cutouts)
    path = cutouts.source.path
    if cutouts.is_subset:
        raise MismatchError(
            f"these cutouts are some rows of {path}, which a training could not be told by; give "
            f"the whole file with labels= or mask=, or write the rows to a file with convert"
        )
    return path


def save_weights(folder: Path, network: nn.Module) -> str:
    """Write the weights as float32 from any device; return the file's sha256."""
    weights = {
        name: tensor.detach().to("cpu", copy=True).contiguous()
        for name, tensor in network.state_dict().items()
    }
    with artefact.atomic_path(folder / WEIGHTS) as scratch:
        scratch.write_bytes(save(weights))
    return artefact.sha256_of(folder / WEIGHTS)
