"""The same views by torchvision and by kornia, from the same draws as ours.

Each is used as its users would for speed: torchvision image by image, since one call turns a whole
batch by one angle; kornia on the batch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ssl_photoz.augment import survey
from ssl_photoz.augment.noise import draw_noise, noise_after_widening, noise_deficit
from ssl_photoz.augment.orient import Orientation, draw_orientation
from ssl_photoz.augment.psf import draw_extra_sigma
from ssl_photoz.augment.redden import draw_ebv_change
from ssl_photoz.core.extinction import r_band_of
from ssl_photoz.encoders.torchvision_import import import_torchvision

BANDS = ("g", "r", "z")
TAPS = 13  # reaches three sigma of a blur of two pixels


@dataclass(frozen=True)
class Augmentations:
    """What is done to each galaxy: placement, and per band blur, transmission and noise (B, C)."""

    placed: Orientation
    blur_px: Tensor
    passed: Tensor
    noise: Tensor


def draw_augmentations(ebv_mag: Tensor, *, generator: torch.Generator) -> Augmentations:
    """Draw as `Views` does for galaxies of median PSF and noise and the given E(B-V), (B,)."""
    psf, sky = (
        survey.of_bands(table, BANDS, pixscale_arcsec=survey.PIXSCALE_ARCSEC, power=1)
        for table in (survey.PSF_SIGMA_PX, survey.NOISE_NMGY)
    )
    batch = len(ebv_mag)
    placed = draw_orientation(batch, max_shift_px=4.0, generator=generator)
    own_px = (survey.medians(psf, device=ebv_mag.device).square() + 1 / 6).sqrt().expand(batch, 3)
    own = survey.medians(sky, device=ebv_mag.device).expand(batch, 3)
    blur_px = draw_extra_sigma(own_px, bands=psf, generator=generator)
    change = draw_ebv_change(ebv_mag, generator=generator)
    passed = torch.pow(10.0, -0.4 * change[:, None] * torch.tensor(r_band_of(BANDS)))
    target = draw_noise(own, bands=sky, generator=generator)
    left = noise_after_widening(own, blur_px, resampled=True) * passed
    return Augmentations(placed, blur_px, passed, noise_deficit(target, left))


def by_torchvision(flux: Tensor, did: Augmentations, *, crop_px: int) -> Tensor:
    """Make views (B, C, crop, crop) of flux (B, C, H, H), one image after the other."""
    import_torchvision()
    from torchvision.transforms import InterpolationMode
    from torchvision.transforms.v2 import functional as tv

    views = []
    for which, image in enumerate(flux):
        if did.placed.flip[which]:
            image = tv.horizontal_flip(image)
        right, down = (-did.placed.shift_px[which]).tolist()
        turned = tv.affine(
            image,
            angle=-math.degrees(float(did.placed.angle_rad[which])),
            translate=[right, down],
            scale=1.0,
            shear=[0.0, 0.0],
            interpolation=InterpolationMode.BILINEAR,
        )
        view = tv.center_crop(turned, [crop_px, crop_px])
        bands = [
            tv.gaussian_blur(band[None], [TAPS, TAPS], [sigma, sigma]) if sigma > 0 else band[None]
            for band, sigma in zip(view, did.blur_px[which].tolist(), strict=True)
        ]
        view = torch.cat(bands) * did.passed[which][:, None, None]
        views.append(view + torch.randn_like(view) * did.noise[which][:, None, None])
    return torch.stack(views)


def by_kornia(flux: Tensor, did: Augmentations, *, crop_px: int) -> Tensor:
    """Make views (B, C, crop, crop) of flux (B, C, H, H), all at once."""
    from kornia.filters import gaussian_blur2d
    from kornia.geometry.transform import warp_affine

    turned = warp_affine(
        flux, to_crop(did.placed, len(flux[0, 0]), crop_px), (crop_px, crop_px),
        padding_mode="reflection", align_corners=True,
    )  # fmt: skip
    sigma = did.blur_px.flatten()[:, None].expand(-1, 2).clamp_min(1e-3)
    planes = turned.flatten(0, 1)[:, None]
    blurred = gaussian_blur2d(planes, (TAPS, TAPS), sigma).view_as(turned)
    view = blurred * did.passed[..., None, None]
    return view + torch.randn_like(view) * did.noise[..., None, None]


def to_crop(placed: Orientation, size_px: int, crop_px: int) -> Tensor:
    """Matrices from pixels of a cutout to pixels of its view, (B, 2, 3)."""
    cosine, sine = torch.cos(placed.angle_rad), torch.sin(placed.angle_rad)
    mirror = 1.0 - 2.0 * placed.flip.to(cosine)
    rows = (cosine * mirror, -sine * mirror, sine, cosine)
    turn = torch.stack(rows, 1).view(-1, 2, 2)  # from a point of the view to the cutout's
    back = turn.transpose(1, 2)
    centre = (size_px - 1) / 2 * torch.ones(2, 1)
    moved = (crop_px - 1) / 2 - placed.shift_px.unsqueeze(2) - back @ centre
    return torch.cat((back, moved), 2)
