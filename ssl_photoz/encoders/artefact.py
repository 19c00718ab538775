"""The encoder artefact: ``weights.safetensors`` and a card that says what it may be fed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from ssl_photoz.core import artefact
from ssl_photoz.core.errors import ArtefactError
from ssl_photoz.core.types import PathLike
from ssl_photoz.encoders.encoder import Encoder, EncoderCard

WEIGHTS = "weights.safetensors"


def save_encoder(
    folder: Path, encoder: Encoder, *, config: object, parents: Mapping[str, str], **facts: object
) -> artefact.Card:
    """Write an encoder artefact.

    Args:
        folder: Folder to write.
        encoder: The encoder; its weights are saved as float32 from any device.
        config: Settings that it was trained with.
        parents: Fingerprint of the cutout file.
        **facts: ``simulated``, ``split``, ``steps`` ...
    """
    weights = {
        name: tensor.detach().to("cpu", copy=True).contiguous()
        for name, tensor in encoder.state_dict().items()
    }
    with artefact.atomic_path(folder / WEIGHTS) as scratch:
        scratch.write_bytes(save(weights))
    return artefact.write_card(
        folder,
        "encoder",
        config=config,
        parents=parents,
        encoder=encoder.description,
        weights_sha256=artefact.sha256_of(folder / WEIGHTS),
        **facts,
    )


def load_encoder(folder: PathLike | Encoder, *, device: torch.device | str = "cpu") -> Encoder:
    """Read an encoder artefact, in evaluation mode.

    Args:
        folder: The artefact, or an encoder, which is given back.
        device: Device to put it on; weights trained on a GPU load on a CPU.

    Returns:
        The encoder, its ``card`` and ``sha256`` set.

    Raises:
        ArtefactError: If the card or the weights are missing, damaged, or disagree.
    """
    if isinstance(folder, Encoder):
        return folder.to(device)
    folder = Path(folder)
    card = EncoderCard(artefact.read_card(folder, "encoder"))
    path = folder / WEIGHTS
    if artefact.sha256_of(path) != card.get("weights_sha256"):
        raise ArtefactError(
            f"{path} is not the file its card describes (checksum differs): it was damaged or "
            f"replaced; copy the whole folder again"
        )
    try:
        encoder = Encoder.from_description(card["encoder"])
        encoder.load_state_dict(load_file(path))
    except (KeyError, TypeError, ValueError, RuntimeError, SafetensorError) as error:
        raise ArtefactError(f"{folder} does not describe an encoder: {error}") from None
    encoder.card, encoder.sha256 = card, artefact.sha256_of(folder)
    return encoder.to(device).eval()
