"""Foreground dust: one factor per band, from the colour excess."""

from __future__ import annotations

import torch
from torch import Tensor

from ssl_photoz.augment import survey
from ssl_photoz.augment.draws import normal, uniform
from ssl_photoz.augment.settings import AugmentationConfig
from ssl_photoz.augment.shapes import as_flux, require_shape


def redden(flux: Tensor, ebv_mag: Tensor, *, r_band: Tensor) -> Tensor:
    """Dim linear-flux cutouts by a foreground dust screen.

    Multiplies each band by ``10**(-0.4 * r_band * ebv_mag)`` [1].
    Apply before any non-linear stretch.

    Args:
        flux: Linear flux, nanomaggies, shape (B, C, H, W).
        ebv_mag: Colour excess to add, mag; negative de-reddens. Shape (B,).
        r_band: Extinction per E(B-V), mag/mag, shape (C,).

    Returns:
        Flux, nanomaggies, same shape, float32; a new tensor.

    Raises:
        ShapeError: If ebv_mag is not (B,) or r_band not (C,).

    References:
        [1] Schlafly & Finkbeiner 2011, ApJ 737, 103.
    """
    flux = as_flux(flux)
    return flux * transmission(ebv_mag.to(flux), r_band=r_band.to(flux), like=flux)


def transmission(ebv_mag: Tensor, *, r_band: Tensor, like: Tensor) -> Tensor:
    """Fraction of the light that dust lets pass, shape (B, C, 1, 1).

    Args:
        ebv_mag: Colour excess, mag, shape (B,).
        r_band: Extinction per E(B-V), mag/mag, shape (C,).
        like: Cutouts (B, C, H, W), for their shape only.

    Returns:
        Transmitted fraction.

    Raises:
        ShapeError: If ebv_mag is not (B,) or r_band not (C,).
    """
    require_shape("ebv_mag", ebv_mag, (like.shape[0],))
    require_shape("r_band", r_band, (like.shape[1],))
    return torch.pow(10.0, -0.4 * ebv_mag[:, None] * r_band)[..., None, None]


def draw_ebv_change(
    ebv_mag: Tensor,
    config: AugmentationConfig = AugmentationConfig(),
    *,
    generator: torch.Generator,
    elsewhere: survey.Lognormal = survey.EBV_MAG,
    corrected: bool = False,
) -> Tensor:
    """Draw the colour excess to add to objects that are already reddened by their own.

    Args:
        ebv_mag: The dust map's E(B-V), mag, shape (B,).
        config: The augmentations, of which ``dust``, ``dust_error`` (0.10 to 0.16 for SFD98) and
            ``dust_max_mag`` are used.
        generator: Source of randomness.
        elsewhere: Distribution of E(B-V) for ``survey``.
        corrected: Whether the flux is corrected for ``ebv_mag``, so that no dust is left but the
            error of the map.

    Returns:
        Change, mag, shape (B,); never below -ebv_mag, which is all the dust there is.

    Raises:
        ShapeError: If ebv_mag is not (B,).
    """
    require_shape("ebv_mag", ebv_mag, (len(ebv_mag),))
    if config.dust == "none":
        return torch.zeros_like(ebv_mag)
    present = torch.zeros_like(ebv_mag) if corrected else ebv_mag
    if config.dust == "survey":
        drawn = survey.draw((elsewhere,), len(ebv_mag), generator=generator)
        return drawn[:, 0].to(ebv_mag) - present
    if config.dust == "uniform":
        drawn = uniform(0.0, config.dust_max_mag, (len(ebv_mag),), generator=generator)
        return drawn.to(ebv_mag) - present
    deviates = normal((len(ebv_mag),), generator=generator).to(ebv_mag)
    return ebv_mag * (config.dust_error * deviates).clamp_min(-1.0)
