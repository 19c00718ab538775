"""Networks with the weights they start from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from ssl_photoz.baselines.predict import Network
from ssl_photoz.baselines.regressor import Regressor
from ssl_photoz.baselines.small_cnn import SmallCNN
from ssl_photoz.baselines.target import Target
from ssl_photoz.encoders.encoder import DISPLAY_SOFTENING, Encoder, fresh_encoder
from ssl_photoz.errors import MismatchError
from ssl_photoz.types import Floats


def make_network(
    kind: str,
    *,
    about: Mapping[str, Any],
    size_px: int,
    noise: Floats,
    target: Target,
    pretrained: Encoder | None = None,
    encoder: Mapping[str, Any],
    binning: int,
    seed: int,
) -> Network:
    """Make a network for cutouts.

    Args:
        kind: ``resnet``, an encoder with a head, or ``small_cnn``.
        about: ``bands``, ``pixscale_arcsec`` and ``calibrated`` of the cutouts.
        size_px: Their side.
        noise: Typical noise per pixel of each band, shape (C,), in their unit.
        target: The scale of the training redshifts.
        pretrained: The encoder to put the head on; None: a fresh one. Not for ``small_cnn``.
        encoder: ``backbone``, ``stem`` and ``crop_px`` of a fresh one, and the ``softening`` of a
            fresh network's stretch, in units of the noise.
        binning: Of the small network.
        seed: Of fresh weights; the global random state is left as it was.

    Raises:
        MismatchError: If the cutouts are not what the network is made for.
    """
    softening = (encoder["softening"] * noise).tolist()
    if kind == "resnet" and pretrained is None:
        given = {**encoder, **about, "softening": softening}
        pretrained = fresh_encoder(seed=seed, **given)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        if pretrained is not None:
            pretrained.require(size_px=size_px, **about)
            return Regressor(pretrained)
        network = SmallCNN(
            softening=softening if about["calibrated"] else [DISPLAY_SOFTENING] * len(softening),
            calibrated=about["calibrated"],
            target=target,
            binning=binning,
        )
    if size_px < network.input_shape[-1]:
        raise MismatchError(
            f"the small network sees {network.input_shape[-1]} px (32 times binning {binning}), "
            f"these cutouts are {size_px} px; use larger cutouts, or a smaller binning"
        )
    return network
