"""Noise: what smoothing took away is put back, and a shallower exposure may be drawn."""

from __future__ import annotations

import torch
from torch import Tensor

from ssl_photoz.augment import survey
from ssl_photoz.augment.draws import normal
from ssl_photoz.augment.psf import frequencies
from ssl_photoz.augment.shapes import as_flux, require_shape

FREQUENCIES = 64


def noise_after_widening(
    own_sigma: Tensor, extra_sigma_px: Tensor, *, resampled: bool = False
) -> Tensor:
    """Pixel noise that survives smoothing, for noise that was white before.

    The power that passes is averaged over frequency; in two dimensions the factor on the
    variance is the square of the one-dimensional one, so the latter is the factor on sigma.
    For a Gaussian alone it is ``erf(pi s) / (2 sqrt(pi) s)``.

    Args:
        own_sigma: Noise per pixel before, shape (B, C).
        extra_sigma_px: Sigma of the Gaussian given to `widen`, px, shape (B, C).
        resampled: Whether a free rotation went before: bilinear interpolation at random
            phases leaves noise with the covariance (1/6, 2/3, 1/6) along each axis.

    Returns:
        Noise per pixel after, the unit of own_sigma, shape (B, C).

    Raises:
        ShapeError: If the shapes differ.
    """
    require_shape("extra_sigma_px", extra_sigma_px, tuple(own_sigma.shape))
    # Midpoints of equal intervals: the plain average over frequency.
    omega = frequencies(2 * FREQUENCIES, device=own_sigma.device)[1::2]
    power = torch.exp(-(extra_sigma_px[..., None] * omega).square())
    if resampled:
        power = power * (2 + torch.cos(omega)) / 3
    return own_sigma * power.mean(-1)


def draw_noise(
    own_sigma: Tensor,
    *,
    bands: tuple[survey.Lognormal, ...] | tuple[survey.Uniform, ...],
    generator: torch.Generator,
    strength: float = 1.0,
) -> Tensor:
    """Draw the noise that a view shall have: the survey's, but never less than its own.

    Args:
        own_sigma: Noise per pixel of the cutout, nmgy, shape (B, C).
        bands: Distribution of the noise, one per band.
        generator: Source of randomness.
        strength: Fraction of the extra variance, 0 to 1.

    Returns:
        Noise per pixel, nmgy, shape (B, C).

    Raises:
        ShapeError: If own_sigma is not (B, C).
    """
    require_shape("own_sigma", own_sigma, (len(own_sigma), len(bands)))
    drawn = survey.draw(bands, len(own_sigma), generator=generator).to(own_sigma)
    extra = (drawn.square() - own_sigma.square()).clamp_min(0.0)
    return (own_sigma.square() + strength * extra).sqrt()


def noise_deficit(target_sigma: Tensor, present_sigma: Tensor) -> Tensor:
    """Sigma of the noise to add to reach a target; 0 where it is exceeded."""
    return (target_sigma.square() - present_sigma.square()).clamp_min(0.0).sqrt()


def add_noise(flux: Tensor, *, sigma: Tensor, generator: torch.Generator) -> Tensor:
    """Add white Gaussian noise with a sigma per object and band.

    Args:
        flux: Shape (B, C, H, W), any unit.
        sigma: Sigma in the unit of flux, shape (B, C).
        generator: Source of randomness.

    Returns:
        Shape (B, C, H, W), float32; a new tensor.

    Raises:
        ShapeError: If sigma is not (B, C).
    """
    flux = as_flux(flux)
    require_shape("sigma", sigma, tuple(flux.shape[:2]))
    deviates = normal(tuple(flux.shape), generator=generator).to(flux.device)
    return torch.addcmul(flux, deviates, sigma.to(flux)[..., None, None], out=deviates)
