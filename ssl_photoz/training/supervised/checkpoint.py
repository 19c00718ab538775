"""The state of a training, and the weights it ends with; a kill leaves no half of either."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import nn

from ssl_photoz.core import artefact
from ssl_photoz.core.errors import ArtefactError
from ssl_photoz.core.sealed import read_sealed, write_sealed

NAME = "training.ckpt"
WEIGHTS = "weights.safetensors"


def save_checkpoint(folder: Path, state: dict[str, Any]) -> None:
    """Write beside the target, then rename."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    write_sealed(folder / NAME, buffer.getbuffer())


def load_checkpoint(folder: Path, *, device: torch.device) -> dict[str, Any] | None:
    """Read the state of an interrupted training; None if there is none.

    Raises:
        ArtefactError: If it cannot be read.
    """
    path = folder / NAME
    if not path.exists():
        return None
    try:
        content = io.BytesIO(read_sealed(path))
        state: dict[str, Any] = torch.load(content, weights_only=True, map_location=device)
    except Exception as error:  # whatever a torn archive may raise
        detail = str(error) if isinstance(error, ArtefactError) else type(error).__name__
        raise ArtefactError(f"cannot read {path} ({detail}); delete it to train anew") from None
    return state


def save_weights(folder: Path, network: nn.Module) -> str:
    """Write the weights as float32 from any device; return the file's sha256."""
    weights = {
        name: tensor.detach().to("cpu", copy=True).contiguous()
        for name, tensor in network.state_dict().items()
    }
    with artefact.atomic_path(folder / WEIGHTS) as scratch:
        scratch.write_bytes(save(weights))
    return artefact.sha256_of(folder / WEIGHTS)
