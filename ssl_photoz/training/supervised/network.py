"""Networks from pixels to redshifts: what they share, an encoder with a head, and a small CNN."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ssl_photoz.core.errors import ShapeError
from ssl_photoz.encoders.encoder import Encoder
from ssl_photoz.encoders.stretch import Stretch
from ssl_photoz.training.supervised.heads import Head, RegressionHead
from ssl_photoz.training.supervised.settings import SmallCNNConfig

SIDE_PX = 32
MARGIN = 0.05
DROPOUT = 0.5


class Network(nn.Module):
    """Flux (B, C, size, size) in; the answers that its head asks for out, (B,) or (B, outputs).

    Attributes:
        input_shape: Bands and side of the input, (C, size, size).
        trunk: The part whose learning rate may differ.
        plan: What `build` builds it from, but for its weights.
        seen: Whether it sees each band; None: all. `build` blanks the others in front of the
            stretch; code that reads flux elsewhere blanks it there.
    """

    input_shape: tuple[int, int, int]
    trunk: nn.Module
    plan: dict[str, Any]
    seen: Sequence[bool] | None = None

    def loss(self, flux: Tensor, z: Tensor, head: Head) -> Tensor:
        """Mean loss for redshifts (B,), those that are NaN left out.

        A network may add terms of its own.
        """
        answer, known = self(flux), z.isfinite()
        return head.loss(answer[known], z[known])

    def require_shape(self, flux: Tensor) -> Tensor:
        """Check that flux has the network's bands and side.

        Raises:
            ShapeError: If it has not.
        """
        if flux.ndim != 4 or tuple(flux.shape[1:]) != self.input_shape:
            raise ShapeError(f"network takes (B, {self.input_shape}), got {tuple(flux.shape)}")
        return flux


def blank(flux: Tensor, seen: Sequence[bool] | None) -> Tensor:
    """Set the bands of flux (B, C, H, W) that are not seen to zero; None: all are seen."""
    return flux if seen is None else flux * torch.tensor(seen).to(flux)[:, None, None]


@contextmanager
def forward_hook(module: nn.Module) -> Iterator[list[Tensor]]:
    """Collect what a module returns within this block, flattened to (B, F), with its gradients."""
    made: list[Tensor] = []

    def keep(_: nn.Module, __: Any, output: Tensor) -> None:  # noqa: ANN401 (torch's own type)
        made.append(output.flatten(1))

    hook = module.register_forward_hook(keep)
    try:
        yield made
    finally:
        hook.remove()


@torch.inference_mode()
def trunk_width(network: Network) -> int:
    """Number of features F of a network's trunk; the network ends up in evaluation mode."""
    network.eval()
    with forward_hook(network.trunk) as made:
        network(torch.zeros(1, *network.input_shape, device=next(network.parameters()).device))
    return made[0].shape[1]


class Regressor(Network):
    """An encoder, dropout, and a linear head that starts at the training redshifts alone.

    Where the encoder measures, the head sees the measurements beside the features.

    Args:
        encoder: A fresh encoder, or a pretrained one to fine-tune.
        head: What is asked for.
        dropout: Chance of a feature to be left out in front of the head, in training.
    """

    def __init__(self, encoder: Encoder, *, head: Head, dropout: float = 0.1) -> None:
        super().__init__()
        self.trunk: Encoder = encoder
        # Not used here, and no process may wait for gradients of it that never come.
        encoder.bottleneck.requires_grad_(False)
        self.input_shape = encoder.input_shape
        self.dropout = nn.Dropout(dropout)
        measured = 0 if encoder.measurements is None else len(encoder.measurements)
        self.standardise = nn.BatchNorm1d(measured, affine=False) if measured else None
        self.output = nn.Linear(encoder.width + measured, head.outputs)
        nn.init.zeros_(self.output.weight)
        self.output.bias.data.copy_(head.start())

    def forward(self, flux: Tensor) -> Tensor:
        """Answers, (B,) or (B, outputs), for flux (B, C, crop, crop).

        Raises:
            ShapeError: If the input is not what the encoder was made for.
        """
        features = self.dropout(self.trunk(flux))
        # 8 bits of a bfloat16 would show in the redshift.
        with torch.autocast(flux.device.type, enabled=False):
            features = features.float()
            if self.standardise is not None and self.trunk.measurements is not None:
                measured = self.trunk.measurements(blank(flux, self.seen))
                features = torch.cat([features, self.standardise(measured)], dim=1)
            answer: Tensor = self.output(features).squeeze(1)
        return answer


class SmallCNN(Network):
    """The small network of the SDSS papers: two convolutions, two hidden layers, a sigmoid.

    Convolution 5x5 to 32 channels, maximum over 2x2, convolution 5x5 to 64, maximum over 2x2
    (both without padding), dense 220, dropout, dense 64, dropout, and one sigmoid times the
    greatest redshift that can be answered: 421,725 weights for 32x32 px in five bands. The
    answer is given as standardised ln(1+z), so that it is trained with the same loss as any
    other network: on the sigmoid itself, a squared error would favour distant galaxies. With any
    other head, it ends in a linear layer instead.

    Args:
        config: Its own settings.
        softening: Softening of the stretch, per band, in the unit of the input.
        calibrated: Whether the input is flux or display values.
        head: What is asked for. The network starts from the mean of the training redshifts, and
            its sigmoid reaches 5 % beyond their greatest.
    """

    def __init__(
        self,
        config: SmallCNNConfig,
        *,
        softening: Sequence[float],
        calibrated: bool,
        head: Head,
    ) -> None:
        super().__init__()
        self.head = head if isinstance(head, RegressionHead) else None
        self.binning = config.binning
        self.input_shape = (len(softening), SIDE_PX * self.binning, SIDE_PX * self.binning)
        self.stretch = Stretch(softening, calibrated=calibrated)
        self.trunk = nn.Sequential(
            *(nn.Conv2d(len(softening), 32, 5), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(32, 64, 5), nn.ReLU(), nn.MaxPool2d(2)),
            nn.Flatten(),
        )
        side = ((SIDE_PX - 4) // 2 - 4) // 2
        self.hidden = nn.Sequential(
            *(nn.Linear(64 * side**2, 220), nn.ReLU(), nn.Dropout(DROPOUT)),
            *(nn.Linear(220, 64), nn.ReLU(), nn.Dropout(DROPOUT)),
        )
        self.output = nn.Linear(64, head.outputs)
        if self.head is None:
            self.output.bias.data.copy_(head.start())
        else:
            self.z_top = (1 + MARGIN) * math.expm1(self.head.high)
            typical = math.expm1(self.head.centre) / self.z_top
            nn.init.constant_(self.output.bias, math.log(typical / (1 - typical)))

    def forward(self, flux: Tensor) -> Tensor:
        """Answers, (B,) or (B, outputs), for flux (B, C, 32 binning, 32 binning).

        Raises:
            ShapeError: If the input has other bands or another size.
        """
        binned = F.avg_pool2d(self.require_shape(flux), self.binning)
        hidden = self.hidden(self.trunk(self.stretch(binned)))
        # 8 bits of a bfloat16 would show in the redshift.
        with torch.autocast(flux.device.type, enabled=False):
            answer: Tensor = self.output(hidden.float()).squeeze(1)
            if self.head is None:
                return answer
            return self.head.standardised(self.z_top * torch.sigmoid(answer))
