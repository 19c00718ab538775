"""Seeing can only get worse: Gaussian widening with a width per object and band.

The convolution is a product in the cosine transform, whose boundary condition is reflection
at the edge. The Gaussian's own transfer function is used, not sampled taps, so that widths
add in quadrature however small they are. As transform, factor and transform back make one small
matrix per image, the convolution is a matrix product per axis: faster than taps for a batch in
which every image has its own kernel.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ssl_photoz.augment import survey
from ssl_photoz.augment.precision import exact_products
from ssl_photoz.augment.shapes import as_flux, require_shape


def frequencies(size: int, *, device: torch.device | str = "cpu") -> Tensor:
    """Frequencies of a cosine transform, radian per pixel, shape (size,)."""
    return torch.arange(size, device=device) * (math.pi / size)


def widen(flux: Tensor, *, extra_sigma_px: Tensor) -> Tensor:
    """Convolve each object and band with its own round Gaussian.

    Flux is conserved: what would leave over an edge is reflected. NaN pixels spread.

    Args:
        flux: Shape (B, C, H, W), any unit.
        extra_sigma_px: Gaussian sigma, px, shape (B, C); 0 leaves an image unchanged up to
            rounding.

    Returns:
        Shape (B, C, H, W), float32; a new tensor.

    Raises:
        ShapeError: If extra_sigma_px is not (B, C).
    """
    return widen_(as_flux(flux).clone(), extra_sigma_px=extra_sigma_px)


def widen_(flux: Tensor, *, extra_sigma_px: Tensor) -> Tensor:
    """`widen`, but flux (B, C, H, W), float32 and contiguous, may be overwritten.

    Raises:
        ShapeError: If extra_sigma_px is not (B, C).
    """
    require_shape("extra_sigma_px", extra_sigma_px, tuple(flux.shape[:2]))
    images, sigma_px = flux.flatten(0, 1), extra_sigma_px.to(flux).flatten()
    if flux.device.type != "cpu":  # to ask which ones are to be widened would stall a GPU
        return _blurred(images, sigma_px).view_as(flux)
    (chosen,) = torch.nonzero(sigma_px, as_tuple=True)
    images.index_copy_(0, chosen, _blurred(images[chosen], sigma_px[chosen]))
    return images.view_as(flux)


def draw_extra_sigma(
    own_sigma_px: Tensor,
    *,
    bands: tuple[survey.Lognormal, ...] | tuple[survey.Uniform, ...],
    generator: torch.Generator,
    strength: float = 1.0,
) -> Tensor:
    """Draw how much to widen, so that the seeing becomes a draw from the survey's own.

    Widths subtract in quadrature; where the drawn seeing is better than the object's own,
    nothing is done.

    Args:
        own_sigma_px: Gaussian sigma of the PSF now, px, shape (B, C).
        bands: Distribution of sigma in px, one per band.
        generator: Source of randomness.
        strength: Fraction of the drawn extra variance, 0 to 1.

    Returns:
        Sigma to convolve with, px, shape (B, C).

    Raises:
        ShapeError: If own_sigma_px is not (B, C).
    """
    require_shape("own_sigma_px", own_sigma_px, (len(own_sigma_px), len(bands)))
    target_px = survey.draw(bands, len(own_sigma_px), generator=generator).to(own_sigma_px)
    extra = (target_px.square() - own_sigma_px.square()).clamp_min(0.0)
    return (strength * extra).sqrt()


def _blurred(images: Tensor, sigma_px: Tensor) -> Tensor:
    """Convolve images (N, H, W) with Gaussians (N,)."""
    height, width = images.shape[1:]
    with exact_products(images.device.type):
        along_columns = _blur_matrices(sigma_px, height)
        along_rows = along_columns if width == height else _blur_matrices(sigma_px, width)
        return along_columns @ images @ along_rows


def _blur_matrices(sigma_px: Tensor, size: int) -> Tensor:
    """Gaussian convolutions of a line of pixels, symmetric: (N, size, size)."""
    cosines = _cosines(size, device=sigma_px.device)
    passed = torch.exp(
        -0.5 * (sigma_px[:, None] * frequencies(size, device=sigma_px.device)).square()
    )
    return (cosines.T * passed[:, None]) @ cosines


def _cosines(size: int, *, device: torch.device) -> Tensor:
    """Orthonormal cosine transform, frequencies along rows: (size, size)."""
    pixels = torch.arange(size, device=device) + 0.5
    waves = torch.cos(frequencies(size, device=device)[:, None] * pixels)
    waves[0] *= math.sqrt(0.5)
    return waves * math.sqrt(2 / size)
