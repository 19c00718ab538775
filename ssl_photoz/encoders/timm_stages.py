"""Backbones from timm, such as ConvNeXt, with random weights and the map of every stage."""

from __future__ import annotations

import importlib.util
import re
from typing import Any

from torch import Tensor, nn

from ssl_photoz.core.errors import ConfigError
from ssl_photoz.encoders.torchvision_import import import_torchvision


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
        if importlib.util.find_spec("timm") is None:
            raise ConfigError(f"backbone timm/{name} needs timm: pip install 'ssl-photoz[timm]'")
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
