"""Networks with the weights they start from, and networks read back; one place for their names."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from ssl_photoz.core.errors import ConfigError, MismatchError
from ssl_photoz.core.types import Floats
from ssl_photoz.encoders.encoder import DISPLAY_SOFTENING, Encoder, fresh_encoder
from ssl_photoz.encoders.settings import EncoderConfig
from ssl_photoz.encoders.stretch import Stretch
from ssl_photoz.encoders.viewer_slip import ViewerSlip
from ssl_photoz.training.supervised.capsules import CapsuleNetwork
from ssl_photoz.training.supervised.heads import Head, describe, head_from
from ssl_photoz.training.supervised.network import Network, blank
from ssl_photoz.training.supervised.regressor import Regressor
from ssl_photoz.training.supervised.settings import ENCODERS
from ssl_photoz.training.supervised.small_cnn import SmallCNN

# Called with softening, calibrated, head, and the settings of the network's own group.
MAKERS: dict[str, Callable[..., Network]] = {"small_cnn": SmallCNN, "capsules": CapsuleNetwork}


def make_network(
    kind: str,
    *,
    about: Mapping[str, Any],
    size_px: int,
    noise: Floats,
    head: Head,
    pretrained: Encoder | None = None,
    encoder: EncoderConfig,
    settings: Mapping[str, Mapping[str, Any]],
    without: Sequence[str] = (),
    seed: int,
) -> Network:
    """Make a network for cutouts.

    Args:
        kind: A name of `MAKERS`, or of `ENCODERS`: an encoder with a head.
        about: ``bands``, ``pixscale_arcsec`` and ``calibrated`` of the cutouts.
        size_px: Their side.
        noise: Typical noise per pixel of each band, shape (C,), in their unit.
        head: What is asked for.
        pretrained: The encoder to put the head on; None: a fresh one.
        encoder: How to build a fresh encoder; any fresh network takes the ``softening`` of its
            stretch, in units of the noise.
        settings: Name to the settings of that network alone.
        without: Bands that it is not to see, in training or later.
        seed: Of fresh weights; the global random state is left as it was.

    Raises:
        MismatchError: If the cutouts are not what the network is made for.
        ConfigError: If there is no such band to leave out.
    """
    softening = (encoder.softening * noise).tolist()
    if kind in ENCODERS:
        if pretrained is None:
            built = replace(encoder, backbone=ENCODERS[kind] or encoder.backbone)
            pretrained = fresh_encoder(built, noise=noise, seed=seed, **about)
        pretrained.require(size_px=size_px, **about)
        if ENCODERS[kind] not in (None, pretrained.description["backbone"]):
            raise MismatchError(
                f"the encoder to start from has the backbone {pretrained.description['backbone']}, "
                f"network={kind} has {ENCODERS[kind]}; give network=resnet, or another encoder"
            )
        arguments = pretrained.description
    else:
        calibrated = about["calibrated"]
        fitting = softening if calibrated else [DISPLAY_SOFTENING] * len(softening)
        arguments = {"softening": fitting, "calibrated": calibrated, **settings[kind]}
    plan: dict[str, Any] = {"kind": kind, "arguments": arguments, "head": describe(head)}
    plan["about"] = {**about, "bands": list(about["bands"])}
    if not math.isfinite(about["pixscale_arcsec"]):  # not known
        del plan["about"]["pixscale_arcsec"]
    if without:
        plan["seen"] = _seen(list(about["bands"]), without)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = build(plan, encoder=pretrained)
    if size_px < network.input_shape[-1]:
        raise MismatchError(
            f"{kind} sees {network.input_shape[-1]} px a side, these cutouts are {size_px} px; use "
            f"larger cutouts, or other settings (networks.{kind})"
        )
    return network


def build(plan: Mapping[str, Any], *, encoder: Encoder | None = None) -> Network:
    """Build a network with random weights.

    Args:
        plan: ``kind``, ``arguments`` and ``head``, as in a network's ``plan``; ``seen``, which
            bands it sees, where it does not see all; and what its cutouts are, ``about``.
        encoder: To put the head on, if it is a kind with one; None: a fresh one.
    """
    kind, head = plan["kind"], head_from(plan["head"])
    network: Network
    if kind in ENCODERS:
        network = Regressor(encoder or Encoder.from_description(plan["arguments"]), head=head)
    else:
        network = MAKERS[kind](head=head, **plan["arguments"])
    network.plan = dict(plan)
    network.seen = plan.get("seen")
    if network.seen is not None:
        for module in network.modules():
            if isinstance(module, Stretch | ViewerSlip):
                module.register_forward_pre_hook(_Blank(network.seen))
    return network


def _seen(bands: Sequence[str], without: Sequence[str]) -> list[bool]:
    seen = [band not in without for band in bands]
    if unknown := [band for band in without if band not in bands] or not any(seen):
        raise ConfigError(
            f"without is {', '.join(without)}: expected some, not all, of the bands "
            f"{', '.join(bands)} (wrong: {unknown})"
        )
    return seen


class _Blank:
    """Sets to zero, in front of the stretch, the bands of flux that a network is not to see."""

    def __init__(self, seen: Sequence[bool]) -> None:
        self.seen = seen

    def __call__(self, stretch: nn.Module, arguments: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        flux, *rest = arguments
        return blank(flux, self.seen), *rest
