"""Read a trained network back from its probe folder."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from ssl_photoz import runs
from ssl_photoz.baselines.build import build
from ssl_photoz.baselines.checkpoint import WEIGHTS
from ssl_photoz.baselines.heads import Head, head_from
from ssl_photoz.baselines.network import Network
from ssl_photoz.errors import ArtefactError


def load_network(
    folder: Path,
    *,
    member: int = 0,
    device: torch.device | str = "cpu",
    kind: str = "probe",
) -> tuple[Network, Head, runs.Card]:
    """Read a network, in evaluation mode.

    Args:
        folder: Probe folder that `supervise` wrote.
        member: Which network of a committee.
        device: Where to put it; weights trained on a GPU load on a CPU.
        kind: ``probe``, or ``classifier`` for a folder that `classify` wrote.

    Returns:
        The network, what it was asked for (see `ssl_photoz.baselines.predict`), and the card.

    Raises:
        ArtefactError: If the card or the weights are missing, damaged, or disagree.
    """
    card = runs.read_card(folder, kind)
    if "network" not in card:
        raise ArtefactError(f"{folder} holds no network: expected a folder that supervise wrote")
    path, training = folder / WEIGHTS, card["training"]
    if "members" in training:
        path, training = folder / f"member-{member}" / WEIGHTS, training["members"][member]
    if runs.sha256_of(path) != training["weights_sha256"]:
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
