"""What every function of this room accepts: checked once, in the same words."""

from __future__ import annotations

import torch
from torch import Tensor

from ssl_photoz.core.errors import DataError, ShapeError


def as_flux(flux: Tensor) -> Tensor:
    """Check a batch of cutouts and bring it to single precision.

    Args:
        flux: Shape (B, C, H, W), floating point; half precision is promoted.

    Returns:
        The same tensor if it is float32, a float32 copy otherwise.

    Raises:
        ShapeError: If flux is not (B, C, H, W).
        DataError: If flux is not floating point.
    """
    if flux.ndim != 4:
        raise ShapeError(f"flux has shape {tuple(flux.shape)}, expected (B, C, H, W)")
    if not flux.is_floating_point():
        raise DataError(
            f"flux is {flux.dtype}, expected floating point; divide 8-bit display values by 255"
        )
    return flux.to(torch.float32)


def require_shape(name: str, values: Tensor, expected: tuple[int, ...]) -> None:
    """Refuse a tensor of the wrong shape, by name.

    Raises:
        ShapeError: If ``values`` does not have the expected shape.
    """
    if tuple(values.shape) != expected:
        raise ShapeError(f"{name} has shape {tuple(values.shape)}, expected {expected}")
