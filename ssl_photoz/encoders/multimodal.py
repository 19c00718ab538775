"""Parallel branches that each see some of the bands, merged on the way: a multimodal CNN."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import combinations, pairwise

import torch
from torch import Tensor, nn

from ssl_photoz.core.errors import ConfigError
from ssl_photoz.encoders.settings import ModalityConfig
from ssl_photoz.encoders.small_maps import use_on_small_maps
from ssl_photoz.encoders.torchvision_import import import_torchvision

STAGES = 4
FUSED_AFTER = {"early": 1, "middle": 2, "late": STAGES}  # stages of a branch


def modalities_of(bands: int, *, size: int, order: int) -> list[tuple[int, ...]]:
    """Subsets of bands that are a modality each.

    Args:
        bands: Number of bands, in order of wavelength.
        size: Bands in a modality.
        order: Places that its neighbouring bands may be apart; 1: next to each other.

    Raises:
        ConfigError: If there are fewer bands than a modality has.
    """
    if size > bands:
        raise ConfigError(f"modalities of {size} bands each, but the cutouts have {bands}")
    subsets = combinations(range(bands), size)
    return [one for one in subsets if all(b - a <= order for a, b in pairwise(one))]


def make_multimodal(
    config: ModalityConfig, *, bands: int, stem: str = "standard"
) -> MultimodalStages:
    """Make a multimodal network, or its twin of one branch and as many weights.

    The twin is one branch that sees all bands, with the width that brings it nearest to the number
    of weights of the network with branches.

    Args:
        config: The branches; ``one_branch`` asks for the twin.
        bands: Number of input bands C.
        stem: ``standard`` or ``small``, see `MultimodalStages`.

    Raises:
        ConfigError: If there are fewer bands than a modality has.
    """
    subsets = modalities_of(bands, size=config.size, order=config.order)
    if not config.one_branch:
        return MultimodalStages(subsets, config, stem=stem)
    everything, late = [tuple(range(bands))], replace(config, fusion="late")
    wanted = _weights(subsets, config, stem)
    # Weights grow nearly as the square of the width.
    near = int(config.width * (wanted / _weights(everything, late, stem)) ** 0.5)
    twins = [replace(late, width=width) for width in range(max(1, near - 1), near + 3)]
    twin = min(twins, key=lambda one: abs(_weights(everything, one, stem) - wanted))
    return MultimodalStages(everything, twin, stem=stem)


class MultimodalStages(nn.Module):
    """Residual branches, one per modality; from the fusion on, one residual network.

    A branch has a stem and one to four stages of one basic block each. Their maps are
    concatenated, brought back to the width of a branch by a 1x1 convolution, and go through the
    stages that are left; fused late, there are none.

    Args:
        modalities: The bands that each branch sees.
        config: Fusion (after the first, second or last stage), width, and dropout: of the
            modalities of a galaxy one is always kept, and those kept make up for the rest.
        stem: ``standard`` (7x7 stride 2, then pooling) or ``small`` (3x3 stride 1).

    Attributes:
        widths: Channels of each stage's map; before the fusion, of all branches together.
    """

    def __init__(
        self,
        modalities: Sequence[tuple[int, ...]],
        config: ModalityConfig,
        *,
        stem: str = "standard",
    ) -> None:
        super().__init__()
        self.modalities, self.dropout = tuple(modalities), config.dropout
        self.heard: tuple[int, ...] | None = None
        own, width = FUSED_AFTER[config.fusion], config.width
        wide = [width * 2**number for number in range(STAGES)]
        self.branches = nn.ModuleList(
            nn.ModuleList([_stem(len(bands), width, stem), *_stages([width, *wide[:own]])])
            for bands in self.modalities
        )
        joint = len(self.modalities) * wide[own - 1]
        self.merge = _merge(joint, wide[own - 1]) if own < STAGES else nn.Identity()
        self.shared = nn.ModuleList(_stages(wide[own - 1 :]))
        use_on_small_maps(self.shared[-1] if own < STAGES else self.branches)
        self.widths = tuple([len(self.modalities) * one for one in wide[:own]] + wide[own:])

    def forward(self, image: Tensor) -> list[Tensor]:
        """Map an image (B, C, H, W) to four stage maps (B, width, h, w), h and w halving."""
        per_branch = []
        for bands, branch in zip(self.modalities, self.branches, strict=True):
            features, of_branch = image[:, list(bands)], []
            for part in branch.children():  # the stem, then stages
                features = part(features)
                of_branch.append(features)
            per_branch.append(of_branch[1:])
        maps = [torch.cat(of_stage, dim=1) for of_stage in zip(*per_branch, strict=True)]
        maps[-1] = self._without_the_unheard(maps[-1])
        features = self.merge(maps[-1])
        for stage in self.shared:
            features = stage(features)
            maps.append(features)
        return maps

    @contextmanager
    def hearing(self, numbers: Sequence[int]) -> Iterator[None]:
        """Within this block, only the modalities of these numbers reach the fusion."""
        self.heard = tuple(numbers)
        try:
            yield
        finally:
            self.heard = None

    def _without_the_unheard(self, joint: Tensor) -> Tensor:
        count = len(self.modalities)
        if self.heard is not None:
            kept = torch.zeros(1, count, device=joint.device)
            kept[:, list(self.heard)] = 1
        elif self.training and self.dropout:
            drawn = torch.rand(len(joint), count, device=joint.device)
            kept = ((drawn >= self.dropout) | (drawn == drawn.amax(1, keepdim=True))).float()
        else:
            return joint
        weight = kept * count / kept.sum(dim=1, keepdim=True)
        each = weight.to(joint.dtype).repeat_interleave(joint.shape[1] // count, dim=1)
        return joint * each[:, :, None, None]


def _stem(bands: int, width: int, kind: str) -> nn.Sequential:
    small = kind == "small"
    side, stride = (3, 1) if small else (7, 2)
    first = nn.Conv2d(bands, width, side, stride, padding=side // 2, bias=False)
    pool = nn.Identity() if small else nn.MaxPool2d(3, stride=2, padding=1)
    return nn.Sequential(first, nn.BatchNorm2d(width), nn.ReLU(inplace=True), pool)


def _stages(widths: Sequence[int]) -> list[nn.Module]:
    """Basic blocks (He et al. 2016) from each width to the next; a wider one halves."""
    import_torchvision()
    from torchvision.models.resnet import BasicBlock

    blocks = []
    for before, after in pairwise(widths):
        stride = 1 if before == after else 2
        shortcut = None
        if stride == 2:
            projection = nn.Conv2d(before, after, kernel_size=1, stride=2, bias=False)
            shortcut = nn.Sequential(projection, nn.BatchNorm2d(after))
        blocks.append(BasicBlock(before, after, stride, shortcut))
    return blocks


def _merge(before: int, after: int) -> nn.Sequential:
    conv = nn.Conv2d(before, after, kernel_size=1, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(after), nn.ReLU(inplace=True))


def _weights(modalities: Sequence[tuple[int, ...]], config: ModalityConfig, stem: str) -> int:
    with torch.device("meta"):
        network = MultimodalStages(modalities, config, stem=stem)
    return sum(parameter.numel() for parameter in network.parameters())
