"""An encoder from a checkpoint of ssl-legacysurvey, the same to the last bit that matters.

Its images reach its network with rows and columns exchanged and with the bands as z, r, g [1].
Ours keep the axes and the band order of the file: exchanging the axes of every kernel, and
reversing the bands of the first, gives the same features for the same galaxy.

References:
    [1] Stein et al. 2021, arXiv:2110.13151; decals_dataloader.py and class ToRGB of its code.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from ssl_photoz.core.errors import ArtefactError
from ssl_photoz.encoders.encoder import Encoder, fresh_encoder
from ssl_photoz.encoders.foreign_checkpoint import read_checkpoint
from ssl_photoz.encoders.settings import EncoderConfig

BANDS = ("g", "r", "z")
PIXSCALE_ARCSEC = 0.262
CROP_PX = 96
PREFIXES = ("encoder_q.", "backbone.")  # as pretrained, and as fine-tuned
FIRST = "conv1.weight"
NAMES = ((r"^conv1\.", "stem.0."), (r"^bn1\.", "stem.1."))


def import_legacysurvey(path: Path) -> tuple[Encoder, dict[str, Any]]:
    """Read a MoCo v2 checkpoint of ssl-legacysurvey.

    The query network is taken; key network, queue and projection head are left out. Read with
    ``stages=last, orientations=1`` the encoder gives the representations that its authors publish.

    Args:
        path: Such as ``bs256_lr0.24_tau0.2_epoch=1499.ckpt``.

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
        EncoderConfig(
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
    """Return their weights under our names, for images with our axes and bands."""
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
