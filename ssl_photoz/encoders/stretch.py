"""The one place where flux becomes network input."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Stretch(nn.Module):
    """Compress the dynamic range of flux, fixed once and kept with the encoder.

    Calibrated flux goes through ``asinh(flux / softening)``: linear in the noise, logarithmic
    in the bright parts (Lupton et al. 1999, AJ 118, 1406). Display values of an 8-bit source
    have been stretched already and are only divided by the softening.

    Args:
        softening: One positive value per band, in the unit of the input.
        calibrated: Whether the input is flux (asinh) or display values (linear).
    """

    softening: Tensor

    def __init__(self, softening: Sequence[float], *, calibrated: bool) -> None:
        super().__init__()
        self.calibrated = calibrated
        values = torch.tensor(list(softening), dtype=torch.float32)
        self.register_buffer("softening", values.view(1, -1, 1, 1))

    def forward(self, flux: Tensor) -> Tensor:
        """Stretch flux (B, C, H, W); same shape."""
        scaled = flux / self.softening
        return torch.asinh(scaled) if self.calibrated else scaled
