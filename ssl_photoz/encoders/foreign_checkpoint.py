"""Tensors and settings out of a checkpoint that somebody else made; nothing in it is run.

A checkpoint is a pickle, and a pickle names what is to be called while it is read. Torch's
restricted reader makes tensors and plain containers alone and refuses every other name. Lightning's
own containers are the one exception: where a checkpoint names them, a plain mapping is made in
their place, and Lightning is not even imported.
"""

from __future__ import annotations

import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ssl_photoz.core.errors import ArtefactError

LIGHTNING = ("pytorch_lightning.", "lightning_fabric.", "lightning.")
PLAIN = (str, int, float, bool, type(None))


def read_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read a Lightning checkpoint.

    Args:
        path: The ``.ckpt`` file, in torch's zipped format (torch 1.6 and later).

    Returns:
        The weights by name, on the CPU; and what else it says that is plain: ``epoch``,
        ``global_step``, and its hyper-parameters.

    Raises:
        ArtefactError: If it is not such a file, or names anything but tensors, plain containers
            and Lightning's; nothing has been run then.
    """
    if not path.is_file():
        raise ArtefactError(f"{path} is not a file; expected a Lightning checkpoint (.ckpt)")
    try:
        unknown = torch.serialization.get_unsafe_globals_in_checkpoint(path)
        harmless = [name for name in unknown if name.startswith(LIGHTNING)]
        if refused := sorted(set(unknown) - set(harmless)):
            raise ArtefactError(
                f"{path} asks for {', '.join(refused)} to be called while it is read; expected "
                f"tensors and plain containers. It was not read: get it from those who made it, or "
                f"ask them for its state_dict alone"
            )
        stand_ins: list[Any] = [(OrderedDict, name) for name in harmless]
        with torch.serialization.safe_globals(stand_ins):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except (
        pickle.UnpicklingError,
        RuntimeError,
        ValueError,
        TypeError,
        EOFError,
        KeyError,
    ) as error:
        raise ArtefactError(
            f"{path} cannot be read as a checkpoint ({' '.join(str(error).split())[:200]}); "
            f"expected the zipped format of torch 1.6 and later"
        ) from None
    if not isinstance(content, dict) or not isinstance(content.get("state_dict"), dict):
        raise ArtefactError(f"{path} has no state_dict; expected a Lightning checkpoint")
    weights = {
        str(name): value for name, value in content["state_dict"].items() if torch.is_tensor(value)
    }
    facts = {name: content.get(name) for name in ("epoch", "global_step")}
    settings = content.get("hyper_parameters")
    return weights, {**facts, **_plain(settings if isinstance(settings, dict) else {})}


def _plain(settings: dict[Any, Any]) -> dict[str, Any]:
    return {str(name): value for name, value in settings.items() if isinstance(value, PLAIN)}
