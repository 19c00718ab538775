"""An encoder with a redshift head on it, trained as one."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ssl_photoz.encoders.encoder import Encoder
from ssl_photoz.training.supervised.heads import Head
from ssl_photoz.training.supervised.network import Network


class Regressor(Network):
    """Encoder, dropout, and a linear head that starts at what the training redshifts tell.

    Args:
        encoder: Fresh, or pretrained to be fine-tuned.
        head: What is asked for.
        dropout: Before the head.
    """

    def __init__(self, encoder: Encoder, *, head: Head, dropout: float = 0.1) -> None:
        super().__init__()
        self.trunk: Encoder = encoder
        self.input_shape = encoder.input_shape
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(encoder.width, head.outputs)
        nn.init.zeros_(self.output.weight)
        self.output.bias.data.copy_(head.start())

    def forward(self, flux: Tensor) -> Tensor:
        """Return answers, (B,) or (B, outputs), for flux (B, C, crop, crop).

        Raises:
            ShapeError: If the input is not what the encoder was made for.
        """
        features = self.dropout(self.trunk(flux))
        # 8 bits of a bfloat16 would show in the redshift.
        with torch.autocast(flux.device.type, enabled=False):
            answer: Tensor = self.output(features.float()).squeeze(1)
        return answer
