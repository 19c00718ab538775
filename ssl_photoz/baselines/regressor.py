"""An encoder with a redshift head on it, trained as one."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ssl_photoz.encoders.encoder import Encoder


class Regressor(nn.Module):
    """Encoder, dropout, and a linear head that starts at zero: the mean of ln(1+z).

    Args:
        encoder: Fresh, or pretrained to be fine-tuned.
        dropout: Before the head.
    """

    def __init__(self, encoder: Encoder, *, dropout: float = 0.1) -> None:
        super().__init__()
        self.trunk = encoder
        self.input_shape = encoder.input_shape
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(encoder.width, 1)
        nn.init.zeros_(self.output.weight)
        nn.init.zeros_(self.output.bias)

    def forward(self, flux: Tensor) -> Tensor:
        """Return standardised ln(1+z), (B,), for flux (B, C, crop, crop).

        Raises:
            ShapeError: If the input is not what the encoder was made for.
        """
        features = self.dropout(self.trunk(flux))
        # 8 bits of a bfloat16 would show in the redshift.
        with torch.autocast(flux.device.type, enabled=False):
            answer: Tensor = self.output(features.float()).squeeze(1)
        return answer
