"""Orientation, jitter and crop in one resampling pass.

Bilinear resampling is itself a small convolution. Averaged over sub-pixel phases it widens
a source by 1/6 px**2 of variance per axis and multiplies the sigma of white noise by 2/3;
`psf` and `noise` account for both. Quarter turns with whole-pixel shifts do neither.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from ssl_photoz.augment.draws import uniform
from ssl_photoz.augment.precision import exact_products
from ssl_photoz.augment.settings import Rotation
from ssl_photoz.augment.shapes import as_flux, require_shape
from ssl_photoz.core.errors import ShapeError

BILINEAR_VARIANCE_PX2 = 1 / 6


class Orientation(NamedTuple):
    """One placement per object: ``angle_rad`` (B,), ``flip`` (B,) bool, ``shift_px`` (B, 2)."""

    angle_rad: Tensor
    flip: Tensor
    shift_px: Tensor


def largest_jitter_px(size_px: int, crop_px: int) -> float:
    """Largest jitter per axis that leaves no corner empty at any rotation.

    Args:
        size_px: Side of the cutout.
        crop_px: Side of the crop.

    Returns:
        ``size / (2 sqrt 2) - crop / 2``; 0 if even an unshifted crop would have to be padded.
    """
    return max(size_px / (2 * math.sqrt(2)) - crop_px / 2, 0.0)


def plain_crop(flux: Tensor, crop_px: int) -> Tensor:
    """Cut out the centre, as it is; half a pixel up and left of it if parities differ.

    Args:
        flux: Shape (B, C, H, W).
        crop_px: Side of the crop.

    Returns:
        A view of shape (B, C, crop_px, crop_px).

    Raises:
        ShapeError: If the cutouts are smaller than the crop.
    """
    if flux.ndim != 4 or not 0 < crop_px <= min(flux.shape[2:]):
        raise ShapeError(
            f"cannot crop {crop_px} px from flux of shape {tuple(flux.shape)}; "
            "expected (B, C, H, W) with H and W at least the crop"
        )
    top, left = ((side - crop_px) // 2 for side in flux.shape[2:])
    return flux[..., top : top + crop_px, left : left + crop_px]


def orient(
    flux: Tensor,
    *,
    crop_px: int,
    angle_rad: Tensor,
    flip: Tensor,
    shift_px: Tensor,
    magnification: Tensor | None = None,
) -> Tensor:
    """Flip, rotate, shift and crop with one bilinear interpolation.

    The cutout is flipped left to right where asked, then turned about its centre; pi/2 is
    ``torch.rot90(flux, 1, (-2, -1))``. The crop is centred ``shift_px`` from that centre.
    What lies outside the cutout is its reflection, so there are no empty corners.

    Args:
        flux: Shape (B, C, H, H), any unit.
        crop_px: Side of the result.
        angle_rad: Shape (B,).
        flip: Shape (B,), bool.
        shift_px: Columns and rows, shape (B, 2).
        magnification: Factor by which objects appear larger, pixel values kept, shape (B,).

    Returns:
        Shape (B, C, crop_px, crop_px), float32; a new tensor.

    Raises:
        ShapeError: If the cutouts are not square or smaller than the crop, or if an
            argument does not have one row per object.
    """
    flux = as_flux(flux)
    batch, _, size, width = flux.shape
    if size != width or not 0 < crop_px <= size:
        raise ShapeError(f"flux is {size} x {width} px, expected square and at least {crop_px} px")
    require_shape("angle_rad", angle_rad, (batch,))
    require_shape("flip", flip, (batch,))
    require_shape("shift_px", shift_px, (batch, 2))
    size -= (size - crop_px) % 2  # so that both centres are the same point, as in plain_crop
    with exact_products(flux.device.type):
        turn = _turns(angle_rad, flip)
        if magnification is not None:
            turn = turn / magnification.to(turn).view(-1, 1, 1)
        offset = turn @ (shift_px * (2.0 / size)).unsqueeze(-1)
        grid = _positions(turn.to(flux), offset.to(flux), crop_px=crop_px, size=size)
    return functional.grid_sample(
        flux[..., :size, :size], grid, padding_mode="reflection", align_corners=False
    )


def _positions(turn: Tensor, offset: Tensor, *, crop_px: int, size: int) -> Tensor:
    """Positions of a crop's pixels in the cutout, from -1 to 1: (B, crop, crop, 2).

    The same as ``affine_grid``, which takes three times as long.
    """
    pixels = torch.arange(crop_px, device=turn.device) - (crop_px - 1) / 2
    steps = (pixels * (2.0 / size)).view(-1, 1) * turn.transpose(1, 2).unsqueeze(2)
    along_rows, along_columns = steps.unbind(1)
    return along_rows.unsqueeze(1) + (along_columns + offset.transpose(1, 2)).unsqueeze(2)


def _turns(angle_rad: Tensor, flip: Tensor) -> Tensor:
    """Matrices from a point (column, row) of a view to the cutout's: (B, 2, 2)."""
    cosine, sine = torch.cos(angle_rad), torch.sin(angle_rad)
    mirror = 1.0 - 2.0 * flip.to(cosine)
    rows = (cosine * mirror, -sine * mirror, sine, cosine)
    return torch.stack(rows, 1).view(-1, 2, 2)


def draw_orientation(
    batch: int, *, max_shift_px: float, generator: torch.Generator, rotation: Rotation = "free"
) -> Orientation:
    """Draw a placement per object.

    Args:
        batch: Number of objects B.
        max_shift_px: Largest shift along each axis.
        generator: Source of randomness; the result is on its device.
        rotation: ``free``: any angle and sub-pixel shift; ``quarter``: multiples of 90
            degrees and whole pixels, which copies pixels; ``none``: whole-pixel shifts only.

    Returns:
        The placements.
    """
    angle_rad = uniform(0.0, 2 * math.pi, (batch,), generator=generator)
    flip = uniform(0.0, 1.0, (batch,), generator=generator) < 0.5
    shift_px = uniform(-1.0, 1.0, (batch, 2), generator=generator)
    if rotation == "free":
        return Orientation(angle_rad, flip, shift_px * max_shift_px)
    quarter_rad = math.pi / 2
    angle_rad = torch.floor(angle_rad / quarter_rad) * quarter_rad
    whole = math.floor(max_shift_px)
    shift_px = torch.floor((shift_px + 1.0) / 2.0 * (2 * whole + 1)).clamp_max(2 * whole) - whole
    if rotation == "none":
        angle_rad, flip = torch.zeros_like(angle_rad), torch.zeros_like(flip)
    return Orientation(angle_rad, flip, shift_px)
