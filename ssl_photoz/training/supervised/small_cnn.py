"""The small convolutional network of the SDSS photometric-redshift papers."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ssl_photoz.core.errors import ShapeError
from ssl_photoz.encoders.stretch import Stretch
from ssl_photoz.training.supervised.heads import Head
from ssl_photoz.training.supervised.network import Network
from ssl_photoz.training.supervised.target import Target

SIDE_PX = 32
MARGIN = 0.05


class SmallCNN(Network):
    """Two convolutions, two hidden layers, and a sigmoid that gives the redshift.

    Convolution 5x5 to 32 channels, maximum over 2x2, convolution 5x5 to 64, maximum over 2x2
    (both without padding), dense 220, dropout, dense 64, dropout, and one sigmoid times the
    greatest redshift that can be answered: 421,725 weights for 32x32 px in five bands. The
    answer is given as standardised ln(1+z), so that it is trained with the same loss as any
    other network: on the sigmoid itself, a squared error would favour distant galaxies. Asked for
    anything else, it ends in a linear layer instead.

    Args:
        softening: Of the stretch, per band, in the unit of the input.
        calibrated: Whether the input is flux or display values.
        head: What is asked for. The network starts from the mean of the training redshifts, and
            its sigmoid reaches 5 % beyond their greatest.
        binning: Pixels, along each side, whose mean makes one pixel of the 32.
        dropout: After each hidden layer.
    """

    def __init__(
        self,
        *,
        softening: Sequence[float],
        calibrated: bool,
        head: Head,
        binning: int = 1,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        self.target = head if isinstance(head, Target) else None
        self.binning = binning
        self.input_shape = (len(softening), SIDE_PX * binning, SIDE_PX * binning)
        self.stretch = Stretch(softening, calibrated=calibrated)
        self.trunk = nn.Sequential(
            *(nn.Conv2d(len(softening), 32, 5), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(32, 64, 5), nn.ReLU(), nn.MaxPool2d(2)),
            nn.Flatten(),
        )
        side = ((SIDE_PX - 4) // 2 - 4) // 2
        self.hidden = nn.Sequential(
            *(nn.Linear(64 * side**2, 220), nn.ReLU(), nn.Dropout(dropout)),
            *(nn.Linear(220, 64), nn.ReLU(), nn.Dropout(dropout)),
        )
        self.output = nn.Linear(64, head.outputs)
        if self.target is None:
            self.output.bias.data.copy_(head.start())
        else:
            self.z_top = (1 + MARGIN) * math.expm1(self.target.high)
            typical = math.expm1(self.target.centre) / self.z_top
            nn.init.constant_(self.output.bias, math.log(typical / (1 - typical)))

    def forward(self, flux: Tensor) -> Tensor:
        """Return answers, (B,) or (B, outputs), for flux (B, C, 32 binning, 32 binning).

        Raises:
            ShapeError: If the input has other bands or another size.
        """
        if flux.ndim != 4 or tuple(flux.shape[1:]) != self.input_shape:
            raise ShapeError(f"network takes (B, {self.input_shape}), got {tuple(flux.shape)}")
        binned = F.avg_pool2d(flux, self.binning)
        hidden = self.hidden(self.trunk(self.stretch(binned)))
        # 8 bits of a bfloat16 would show in the redshift.
        with torch.autocast(flux.device.type, enabled=False):
            answer: Tensor = self.output(hidden.float()).squeeze(1)
            if self.target is None:
                return answer
            return self.target.standardised(self.z_top * torch.sigmoid(answer))
