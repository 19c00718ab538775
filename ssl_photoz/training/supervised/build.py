"""Networks with the weights they start from, and networks from their plans."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import torch
from torch import Tensor, nn

from ssl_photoz.core.errors import ConfigError, MismatchError
from ssl_photoz.core.types import Floats
from ssl_photoz.encoders.encoder import DISPLAY_SOFTENING, Encoder, fresh_encoder
from ssl_photoz.encoders.stretch import Stretch, ViewerSlip
from ssl_photoz.training.supervised.capsules import CapsuleNetwork
from ssl_photoz.training.supervised.heads import Head, describe, head_from
from ssl_photoz.training.supervised.network import Network, Regressor, SmallCNN, blank
from ssl_photoz.training.supervised.settings import (
    ENCODERS,
    CapsuleConfig,
    ModelConfig,
    SmallCNNConfig,
)

# Networks that are no encoder with a head, and the dataclass that each takes.
NETWORKS: dict[str, tuple[type[Any], type[Any]]] = {
    "small_cnn": (SmallCNN, SmallCNNConfig),
    "capsules": (CapsuleNetwork, CapsuleConfig),
}


def make_network(
    model: ModelConfig,
    head: Head,
    *,
    about: Mapping[str, Any],
    size_px: int,
    noise: Floats,
    seed: int,
    pretrained: Encoder | None = None,
) -> Network:
    """Make a network for cutouts.

    Args:
        model: The network.
        head: What is asked for.
        about: ``bands``, ``pixscale_arcsec``, ``calibrated`` and ``extinction_corrected`` of the
            cutouts.
        size_px: Side of the cutouts.
        noise: Typical noise per pixel of each band, shape (C,), in the unit of the cutouts; the
            softening of a fresh network's stretch is given in units of it.
        seed: Seed of fresh weights; the global random state is left as it was.
        pretrained: The encoder to put the head on; None: a fresh one.

    Raises:
        MismatchError: If the cutouts are not what the network is made for.
        ConfigError: If there is no such band to leave out.
    """
    kind = model.network
    if kind in ENCODERS:
        if pretrained is None:
            built = replace(model.encoder, backbone=ENCODERS[kind] or model.encoder.backbone)
            pretrained = fresh_encoder(built, noise=noise, seed=seed, **about)
        pretrained.require(size_px=size_px, **about)
        if ENCODERS[kind] not in (None, pretrained.description["backbone"]):
            raise MismatchError(
                f"the encoder to start from has the backbone {pretrained.description['backbone']}, "
                f"network={kind} has {ENCODERS[kind]}; give network=resnet, or another encoder"
            )
        arguments = pretrained.description
    else:
        calibrated, softening = about["calibrated"], (model.encoder.softening * noise).tolist()
        if not calibrated:
            softening = [DISPLAY_SOFTENING] * len(softening)
        own = asdict(getattr(model, kind))
        arguments = {"softening": softening, "calibrated": calibrated, **own}
    plan: dict[str, Any] = {"kind": kind, "arguments": arguments, "head": describe(head)}
    plan["about"] = {**about, "bands": list(about["bands"])}
    if not math.isfinite(about["pixscale_arcsec"]):  # not known
        del plan["about"]["pixscale_arcsec"]
    if model.without:
        plan["seen"] = _seen(list(about["bands"]), model.without)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = build(plan, encoder=pretrained)
    if size_px < network.input_shape[-1]:
        raise MismatchError(
            f"{kind} sees {network.input_shape[-1]} px a side, these cutouts are {size_px} px; use "
            f"larger cutouts, or other settings (model.{kind})"
        )
    return network


def build(plan: Mapping[str, Any], *, encoder: Encoder | None = None) -> Network:
    """Build a network with random weights.

    Args:
        plan: ``kind``, ``arguments`` and ``head``, as in a network's ``plan``; ``seen``, which
            bands it sees, where it does not see all; and what its cutouts are, ``about``.
        encoder: The encoder to put the head on, for a network that has one; None: a fresh one.
    """
    kind, arguments, head = plan["kind"], dict(plan["arguments"]), head_from(plan["head"])
    network: Network
    if kind in ENCODERS:
        network = Regressor(encoder or Encoder.from_description(arguments), head=head)
    else:
        made, config = NETWORKS[kind]
        pixels = {name: arguments.pop(name) for name in ("softening", "calibrated")}
        network = made(config(**arguments), head=head, **pixels)
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
