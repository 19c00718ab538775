"""Encoders from checkpoints of ssl-legacysurvey, with the same features.

Its images reach its network with rows and columns exchanged and with the bands as z, r, g [1].
Ours keep the axes and the band order of the file: exchanging the axes of every kernel, and
reversing the bands of the first, gives the same features for the same galaxy.

A checkpoint is a pickle, and a pickle names what is to be called while it is read. Torch's
restricted reader makes tensors and plain containers alone and refuses every other name. Lightning's
own containers are the one exception: where a checkpoint names them, a plain mapping is made in
their place, and Lightning is not even imported.

References:
    [1] Stein et al. 2021, arXiv:2110.13151; decals_dataloader.py and class ToRGB of its code.
"""

from __future__ import annotations

import pickle
import re
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ssl_photoz.core.errors import ArtefactError
from ssl_photoz.encoders.encoder import Encoder, fresh_encoder
from ssl_photoz.encoders.settings import plain

BANDS = ("g", "r", "z")
PIXSCALE_ARCSEC = 0.262
CROP_PX = 96
PREFIXES = ("encoder_q.", "backbone.")  # as pretrained, and as fine-tuned
FIRST = "conv1.weight"
LIGHTNING = ("pytorch_lightning.", "lightning_fabric.", "lightning.")
PLAIN = (str, int, float, bool, type(None))
NAMES = ((r"^conv1\.", "stem.0."), (r"^bn1\.", "stem.1."))


def import_legacysurvey(path: Path) -> tuple[Encoder, dict[str, Any]]:
    """Read a MoCo v2 checkpoint of ssl-legacysurvey.

    The query network is taken; key network, queue and projection head are left out. Read with
    ``stages=last, orientations=1`` the encoder gives the representations that its authors publish.

    Args:
        path: Checkpoint, such as ``bs256_lr0.24_tau0.2_epoch=1499.ckpt``.

    Returns:
        The encoder, in evaluation mode, for 96 px of g, r, z flux at 0.262 arcsec/px; and what
        the checkpoint says about itself.

    Raises:
        ArtefactError: If it asks for code to be run, or holds no ResNet-18 or ResNet-50 of three
            bands.
    """
    weights, facts = read_checkpoint(path)
    prefix = next((p for p in PREFIXES if p + FIRST in weights), None)
    if prefix is None:
        some = ", ".join(sorted(weights)[:3]) or "nothing"
        raise ArtefactError(
            f"{path} holds no weights {' or '.join(p + FIRST for p in PREFIXES)}; it has {some} ..."
        )
    theirs = {
        name.removeprefix(prefix): value
        for name, value in weights.items()
        if name.startswith(prefix) and not name.startswith(f"{prefix}fc.")
    }
    encoder = fresh_encoder(
        plain(
            backbone="resnet50" if "layer1.0.conv3.weight" in theirs else "resnet18",
            crop_px=CROP_PX,
            stretch="viewer_slip",
        ),
        bands=BANDS,
        pixscale_arcsec=PIXSCALE_ARCSEC,
        calibrated=True,
        seed=0,
    )
    try:
        encoder.backbone.load_state_dict(_turned(theirs))
    except RuntimeError as error:
        detail = " ".join(str(error).split())[:300]
        raise ArtefactError(
            f"{path} holds another network than a {BANDS} ResNet: {detail}"
        ) from None
    return encoder.eval(), facts


def _turned(theirs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Their weights under our names, for images with our axes and bands."""
    ours = {}
    for name, value in theirs.items():
        if value.ndim == 4:
            value = value.transpose(2, 3)
        if name == FIRST:
            value = value.flip(1)
        for old, new in NAMES:
            name = re.sub(old, new, name)
        name = re.sub(r"^layer(\d)\.", lambda found: f"stages.{int(found[1]) - 1}.", name)
        ours[name] = value.contiguous()
    return ours


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
