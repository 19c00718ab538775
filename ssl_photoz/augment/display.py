"""Mild augmentations of 8-bit pictures, whose zero point, PSF and noise nobody knows."""

from __future__ import annotations

import torch
from torch import Tensor

from ssl_photoz.augment.draws import uniform
from ssl_photoz.augment.noise import add_noise
from ssl_photoz.augment.psf import widen
from ssl_photoz.augment.shapes import as_flux


def jitter_display(
    flux: Tensor,
    *,
    gain: float,
    blur_sigma_px: float,
    noise: float,
    generator: torch.Generator,
    colour: float = 0.0,
) -> Tensor:
    """Change gain, sharpness and noise of display values a little.

    Display values are already stretched, so a gain is no longer a change of flux alone;
    keep it small. Values are not clipped to 0..1 afterwards.

    Args:
        flux: Display values, 0 to 1, shape (B, C, H, W).
        gain: Gains are uniform in 1 ± gain, one per object, common to its bands.
        blur_sigma_px: Gaussian sigmas are uniform in 0..blur_sigma_px, one per object.
        noise: Sigmas of white noise are uniform in 0..noise, one per object.
        generator: Source of randomness.
        colour: Further gains, uniform in 1 ± colour, one per object and band.

    Returns:
        Same shape, float32; a new tensor.

    Raises:
        ShapeError: If flux is not (B, C, H, W).
    """
    flux = as_flux(flux)
    batch, bands = flux.shape[:2]
    gains = 1.0 + uniform(-gain, gain, (batch, 1), generator=generator)
    gains = gains * (1.0 + uniform(-colour, colour, (batch, bands), generator=generator))
    sigma_px = uniform(0.0, blur_sigma_px, (batch, 1), generator=generator).expand(-1, bands)
    sigma = uniform(0.0, noise, (batch, 1), generator=generator).expand(-1, bands)
    if blur_sigma_px > 0:
        flux = widen(flux, extra_sigma_px=sigma_px)
    flux = flux * gains.to(flux)[..., None, None]
    return add_noise(flux, sigma=sigma, generator=generator) if noise > 0 else flux
