"""Networks for any number of bands that give out the map of every stage."""

from __future__ import annotations

import re
from typing import Any

from torch import Tensor, nn

from ssl_photoz.core import extras
from ssl_photoz.core.errors import ConfigError
from ssl_photoz.encoders.multimodal import MultimodalStages, make_multimodal
from ssl_photoz.encoders.settings import EncoderConfig
from ssl_photoz.encoders.small_maps import use_on_small_maps
from ssl_photoz.encoders.torchvision_import import import_torchvision

STAGE_WIDTHS = {"resnet18": (64, 128, 256, 512), "resnet50": (256, 512, 1024, 2048)}


def make_backbone(
    config: EncoderConfig, *, bands: int
) -> ResNetStages | TimmStages | MultimodalStages:
    """Build a backbone with random weights.

    Args:
        config: The architecture.
        bands: Number of input bands C.

    Raises:
        ConfigError: If timm is wanted and is not there, or has no such network; if a modality has
            more bands than there are.
    """
    if config.backbone == "multimodal":
        return make_multimodal(config.modalities, bands=bands, stem=config.stem)
    source, _, network = config.backbone.partition("/")
    if source == "timm":
        return TimmStages(network, bands=bands)
    return ResNetStages(config.backbone, bands=bands, stem=config.stem)


class ResNetStages(nn.Module):
    """A torchvision ResNet without its classifier.

    Args:
        name: ``resnet18`` or ``resnet50``.
        bands: Number of input bands C.
        stem: ``standard``, or ``small``: 3x3 stride 1 and no pooling, as for 32 px images in
            He et al. 2016 (arXiv:1512.03385).
    """

    def __init__(self, name: str, *, bands: int, stem: str) -> None:
        super().__init__()
        import_torchvision()
        from torchvision.models import resnet18, resnet50

        net = {"resnet18": resnet18, "resnet50": resnet50}[name](zero_init_residual=True)
        small = stem == "small"
        first = nn.Conv2d(
            bands,
            64,
            kernel_size=3 if small else 7,
            stride=1 if small else 2,
            padding=1 if small else 3,
            bias=False,
        )
        nn.init.kaiming_normal_(first.weight, mode="fan_out", nonlinearity="relu")
        pool = nn.Identity() if small else net.maxpool
        self.stem = nn.Sequential(first, net.bn1, net.relu, pool)
        self.stages = nn.ModuleList([net.layer1, net.layer2, net.layer3, net.layer4])
        use_on_small_maps(self.stages[-1])
        self.widths: tuple[int, ...] = STAGE_WIDTHS[name]

    def forward(self, image: Tensor) -> list[Tensor]:
        """Map an image (B, C, H, W) to four stage maps (B, width, h, w), h and w halving."""
        features = self.stem(image)
        maps = []
        for stage in self.stages:
            features = stage(features)
            maps.append(features)
        return maps


class TimmStages(nn.Module):
    """A timm network that gives out the map of every stage.

    Weights are random: nothing is downloaded.

    Args:
        name: Its name in timm: ``convnext_nano``.
        bands: Number of input bands C.

    Attributes:
        widths: Channels of each stage's map.

    Raises:
        ConfigError: If timm is not installed, or has no such network whose stages are maps.
    """

    def __init__(self, name: str, *, bands: int) -> None:
        super().__init__()
        extras.require("timm", f"backbone timm/{name}")
        import_torchvision()
        import timm

        # Anything but a plain name would have timm look for weights elsewhere.
        if not re.fullmatch(r"\w+", name) or not timm.is_model(name):
            raise ConfigError(
                f"timm has no network {name!r}; timm.list_models() has their names, without a tag"
            )
        try:
            net: Any = timm.create_model(name, pretrained=False, features_only=True, in_chans=bands)
        except (RuntimeError, TypeError, AttributeError) as error:
            raise ConfigError(f"timm/{name} does not give out its stages: {error}") from None
        if str(getattr(net, "output_fmt", "NCHW")).rpartition(".")[2] != "NCHW":
            raise ConfigError(f"timm/{name} gives maps with channels last; choose another network")
        self.net = net
        self.widths: tuple[int, ...] = tuple(net.feature_info.channels())

    def forward(self, image: Tensor) -> list[Tensor]:
        """Map an image (B, C, H, W) to its stages' maps (B, width, h, w)."""
        maps: list[Tensor] = self.net(image)
        return maps
