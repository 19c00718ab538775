"""Checkpoints, checked by their sha256.

A damaged file is passed over, which is why the one before the newest is kept too.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch

from ssl_photoz.core.artefact import read_sealed, write_sealed
from ssl_photoz.core.errors import ArtefactError

PATTERN = "step-*.ckpt"
KEPT = 2


def checkpoint_path(folder: Path, step: int) -> Path:
    """Path of the checkpoint that is written after so many steps."""
    return folder / f"step-{step:09d}.ckpt"


def write_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write beside the target, then rename; a full disk is an OSError, as everywhere."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    write_sealed(path, buffer.getbuffer())


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint into memory of the CPU; nothing but tensors and plain values is unpickled.

    Raises:
        ArtefactError: If it is not, byte for byte, what was written.
    """
    content = io.BytesIO(read_sealed(path))
    state: dict[str, Any] = torch.load(content, weights_only=True, map_location="cpu")
    return state


def latest_checkpoint(folder: Path) -> tuple[Path, int] | None:
    """Find the newest whole checkpoint and its step; a damaged one is passed over with a message.

    Raises:
        ArtefactError: If checkpoints are there and none is whole.
    """
    found = sorted(folder.glob(PATTERN), reverse=True)
    for path in found:
        try:
            return path, int(read_checkpoint(path)["global_step"])
        except Exception as error:  # whatever a damaged archive may raise
            print(f"passing over damaged checkpoint {path} ({error or type(error).__name__})")
    if found:
        raise ArtefactError(f"no checkpoint in {folder} is whole; delete them to start anew")
    return None


def forget_checkpoints(folder: Path, *, keep: int = KEPT) -> None:
    """Delete all but the newest."""
    found = sorted(folder.glob(PATTERN))
    for old in found[: len(found) - keep]:
        old.unlink()
