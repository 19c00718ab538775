"""Stretches: the one place where flux becomes network input."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ssl_photoz.core.errors import ConfigError

SCALES = {"u": 1.5, "g": 6.0, "r": 3.4, "i": 1.0, "z": 2.2}
FLOOR, Q = 0.03, 20.0
NO_LIGHT = 1e-6


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
        return asinh(scaled) if self.calibrated else scaled


def asinh(x: Tensor) -> Tensor:
    """Inverse hyperbolic sine as `torch.asinh`, to the last bit or two.

    On a CPU that one goes number by number; this one, in whole vectors, is four times as fast.
    Beyond 1e19, where a square overflows, it is 2 % too small. Exporters get torch's.
    """
    if x.device.type != "cpu" or x.requires_grad or torch.compiler.is_compiling():
        return torch.asinh(x)
    size = x.abs()
    root = size.square().add_(1).sqrt_().add_(1)
    return (size / root).mul_(size).add_(size).log1p_().copysign_(x)


def softening_of(bands: Sequence[str]) -> list[float]:
    """One over the viewer's scale of each band, nanomaggies per pixel.

    Raises:
        ConfigError: If the viewer has no scale for a band.
    """
    if unknown := [band for band in bands if band not in SCALES]:
        raise ConfigError(
            f"stretch viewer_slip has no scale for bands {unknown}; it has for {', '.join(SCALES)}"
        )
    return [1 / SCALES[band] for band in bands]


class ViewerSlip(nn.Module):
    """The colour stretch that ssl-legacysurvey trained with, slip included.

    The Legacy Surveys' viewer compresses the brightness of a colour picture: each band becomes
    ``(s x + m) f(I) / I``, with ``I`` the mean over bands of ``s x + m`` where positive, and
    ``f(I) = asinh(Q I) / sqrt(Q)``. In ssl-legacysurvey [1] a slip of operator precedence ties the
    compression to the floor ``m`` alone: each band becomes ``x (s + m f(I) / I)``, cut to 0 to 1.
    That is almost linear, and bright cores are cut off; networks trained behind it have to be fed
    so.

    Args:
        softening: One over the scale of each band, see `softening_of`.

    References:
        [1] Stein et al. 2021, arXiv:2110.13151; class ToRGB of its code.
    """

    softening: Tensor

    def __init__(self, softening: Sequence[float]) -> None:
        super().__init__()
        values = torch.tensor(list(softening), dtype=torch.float32)
        self.register_buffer("softening", values.view(1, -1, 1, 1))

    def forward(self, flux: Tensor) -> Tensor:
        """Stretch flux (B, C, H, W), nanomaggies per pixel; same shape, values 0 to 1."""
        scaled = flux / self.softening
        light = (scaled + FLOOR).clamp_min(0).mean(dim=1, keepdim=True)
        compressed = asinh(Q * light) / math.sqrt(Q)
        ratio = compressed / torch.where(light == 0, NO_LIGHT, light)
        return (scaled + flux * FLOOR * ratio).clamp(0, 1)
