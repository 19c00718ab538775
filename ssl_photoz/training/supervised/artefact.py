"""Read a trained network back from its folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from ssl_photoz.core import artefact
from ssl_photoz.core.compatible import differences
from ssl_photoz.core.errors import ArtefactError, MismatchError
from ssl_photoz.training.supervised.build import build
from ssl_photoz.training.supervised.checkpoint import WEIGHTS
from ssl_photoz.training.supervised.heads import Head, head_from
from ssl_photoz.training.supervised.network import Network


def load_network(
    folder: Path,
    *,
    member: int = 0,
    device: torch.device | str = "cpu",
) -> tuple[Network, Head, artefact.Card]:
    """Read a network, in evaluation mode.

    Args:
        folder: Folder that `supervise`, `transfer` or `classify` wrote.
        member: Which network of a committee.
        device: Where to put it; weights trained on a GPU load on a CPU.

    Returns:
        The network, what it was asked for (see `predict.py` beside this), and the card.

    Raises:
        ArtefactError: If the card or the weights are missing, damaged, or disagree.
    """
    card = artefact.read_card(folder, "probe", "classifier")
    if "network" not in card:
        raise ArtefactError(f"{folder} holds no network: expected a folder that supervise wrote")
    path, training = folder / WEIGHTS, card["training"]
    if "members" in training:
        path, training = folder / f"member-{member}" / WEIGHTS, training["members"][member]
    if artefact.sha256_of(path) != training["weights_sha256"]:
        raise ArtefactError(
            f"{path} is not the file its card describes (checksum differs): it was damaged or "
            f"replaced; copy the whole folder again"
        )
    try:
        network = build(card["network"])
        network.load_state_dict(load_file(path))
    except (KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise ArtefactError(f"{folder} does not describe a network: {error}") from None
    return network.to(device).eval(), head_from(card["network"]["head"]), card


def load_members(
    folder: Path, *, device: torch.device | str = "cpu"
) -> tuple[list[Network], Head, artefact.Card]:
    """Read every network of a folder: the one, or those of a committee; see `load_network`."""
    first, head, card = load_network(folder, device=device)
    members = range(1, len(card["training"].get("members", [first])))
    others = [load_network(folder, member=number, device=device)[0] for number in members]
    return [first, *others], head, card


def require_cutouts(
    folder: Path, card: artefact.Card, network: Network, *, size_px: int, about: Mapping[str, Any]
) -> None:
    """Check that a network can be asked about cutouts.

    Args:
        folder: Of the network, for the message.
        card: Its card.
        network: The network.
        size_px: Side of the cutouts.
        about: Their ``bands``, ``pixscale_arcsec`` and ``calibrated``.

    Raises:
        ArtefactError: If the folder is of an earlier version, which did not say.
        MismatchError: If they are not of the kind it was trained on.
    """
    if "about" not in card["network"]:
        raise ArtefactError(f"{folder} does not say what cutouts it was trained on; train it again")
    mine = card["network"]["about"]
    for name in differences(mine, about):
        raise MismatchError(
            f"{folder} was trained on cutouts with {name} = {mine[name]}, these have {about[name]}"
        )
    if size_px < network.input_shape[-1]:
        raise MismatchError(
            f"{folder} sees {network.input_shape[-1]} px a side, these cutouts are {size_px} px"
        )
