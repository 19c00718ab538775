"""The chain of views one galaxy at a time, with numpy, scikit-image and scipy.

Operations and their order are those of the published recipe [1]: redden, flip and turn, blur,
jitter and crop, add noise; the draws are those of `Views`, made anew here with numpy. It serves as
the peer that is timed and as an independent truth: its views must have the same statistics.

References:
    [1] Stein et al. 2022, ApJ 932, 107, and its code (ssl-legacysurvey).
"""

from __future__ import annotations

import math

import numpy as np
from scipy.ndimage import gaussian_filter, gaussian_filter1d
from skimage.transform import EuclideanTransform, warp

from ssl_photoz.core.types import Floats

BANDS = ("g", "r", "z")
# Shape, location and scale of lognormals, and extinction per E(B-V): DR9 at 0.262 arcsec/px [1].
PSF_SIGMA_PX = np.array(
    [
        [0.2109966, 1.0807153, 1.3153171],
        [0.3008485, 1.2394326, 0.9164757],
        [0.3471172, 1.1928363, 0.8233702],
    ]
)
NOISE_NMGY = np.array(
    [
        [0.2264926, -0.0006735, 0.0037602],
        [0.2431146, -0.0023663, 0.0067417],
        [0.1334844, -0.0143416, 0.0260779],
    ]
)
R_BAND = np.array([3.214, 2.165, 1.211])
DUST_ERROR = 0.13
BILINEAR = np.array([1 / 6, 2 / 3, 1 / 6])  # covariance that interpolation leaves along an axis


def make_view(
    image: Floats,
    *,
    crop_px: int,
    jitter_px: float,
    ebv_mag: float,
    psf_sigma_px: Floats,
    noise_nmgy: Floats,
    draws: np.random.Generator,
) -> Floats:
    """Make one view of one galaxy.

    Args:
        image: Nanomaggies/px, shape (H, H, C).
        crop_px: Side of the view.
        jitter_px: Largest shift along each axis.
        ebv_mag: The galaxy's E(B-V).
        psf_sigma_px: Gaussian sigma of its PSF, px, shape (C,).
        noise_nmgy: Its noise, shape (C,).
        draws: Source of randomness.

    Returns:
        Shape (crop_px, crop_px, C).
    """
    change = ebv_mag * max(DUST_ERROR * draws.normal(), -1.0)
    passed = 10 ** (-0.4 * R_BAND * change)
    view = turn(image * passed, jitter_px=jitter_px, draws=draws)
    extra_px = _excess(_lognormal(PSF_SIGMA_PX, draws), np.sqrt(psf_sigma_px**2 + 1 / 6))
    for band, sigma_px in enumerate(extra_px):
        if sigma_px > 0:
            view[..., band] = gaussian_filter(view[..., band], sigma_px, mode="reflect")
    low = (len(image) - crop_px) // 2
    view = view[low : low + crop_px, low : low + crop_px].copy()
    target = np.maximum(_lognormal(NOISE_NMGY, draws), noise_nmgy)
    left = noise_nmgy * passed * [noise_that_is_left(sigma_px) for sigma_px in extra_px]
    for band, sigma in enumerate(_excess(target, left)):
        view[..., band] += draws.normal(0, sigma, (crop_px, crop_px))
    return view


def turn(image: Floats, *, jitter_px: float, draws: np.random.Generator) -> Floats:
    """Flip, turn and shift a whole image with one bilinear interpolation."""
    if draws.random() < 0.5:
        image = image[:, ::-1]
    centre = (np.array(image.shape[1::-1]) - 1) / 2
    shift = draws.uniform(-jitter_px, jitter_px, 2)
    to_centre, back = (
        EuclideanTransform(translation=-centre),
        EuclideanTransform(translation=centre),
    )
    around = EuclideanTransform(rotation=draws.uniform(0, 2 * math.pi), translation=shift)
    placed: Floats = warp(image, to_centre + around + back, order=1, mode="reflect")
    return placed


def noise_that_is_left(sigma_px: float) -> float:
    """Factor on white noise that turning and blurring leave, by summing taps."""
    taps = np.zeros(65)
    taps[32] = 1.0
    if sigma_px > 0:
        taps = gaussian_filter1d(taps, sigma_px)
    return float(np.sum(np.convolve(taps, BILINEAR, mode="same") * taps))


def _lognormal(table: Floats, draws: np.random.Generator) -> Floats:
    shape, loc, scale = table.T
    drawn: Floats = loc + draws.lognormal(np.log(scale), shape)
    return drawn


def _excess(wanted: Floats, present: Floats) -> Floats:
    excess: Floats = np.sqrt(np.maximum(wanted**2 - present**2, 0.0))
    return excess
