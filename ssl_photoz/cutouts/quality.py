"""Which rows cannot be used, and why; which redshifts can; how noisy the sky around a galaxy is."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssl_photoz.core.statistics import SIGMA_PER_MAD
from ssl_photoz.core.types import Array, Bools, Floats

NOT_FINITE = "nan or inf pixels"
ALL_ZERO = "all-zero cutout"
CONSTANT = "constant cutout"
ZERO_BAND = "all-zero band"
BAD_POSITION = "position out of range"
REASONS = (NOT_FINITE, ALL_ZERO, CONSTANT, ZERO_BAND, BAD_POSITION)

Reasons = NDArray[np.str_]


def reject_reasons(images: NDArray[Any]) -> Reasons:
    """Say what is wrong with each cutout.

    Args:
        images: Pixels, shape (B, C, H, W), any real type.

    Returns:
        One of `REASONS` or the empty string for each cutout, shape (B,).
    """
    return reasons_of_range(*pixel_range(images))


def pixel_range(images: NDArray[Any]) -> tuple[Array, Array]:
    """Least and greatest pixel of each cutout and band, (B, C) each; NaN if any is NaN."""
    flat = images.reshape(*images.shape[:2], images.shape[2] * images.shape[3])
    with np.errstate(invalid="ignore"):
        return flat.min(axis=-1), flat.max(axis=-1)


def reasons_of_range(low: Array, high: Array) -> Reasons:
    """Say what is wrong with each cutout, given its `pixel_range`."""
    zero = (low == 0) & (high == 0)
    return np.select(
        [
            ~(np.isfinite(low) & np.isfinite(high)).all(axis=1),
            zero.all(axis=1),
            (low == high).all(axis=1),
            zero.any(axis=1),
        ],
        [NOT_FINITE, ALL_ZERO, CONSTANT, ZERO_BAND],
        default="",
    )


def row_reasons(ra: Array, dec: Array) -> Reasons:
    """Say what is wrong with each position.

    A row with neither RA nor Dec (both NaN) has no position, which is no fault: it can be
    trained on and searched for by id, and `sky_split` keeps it out of the test sky.

    Args:
        ra: Right ascension, degrees, shape (N,); expected within 0 to 360.
        dec: Declination, degrees, shape (N,); expected within -90 to 90.

    Returns:
        `BAD_POSITION` or the empty string for each row, shape (N,).
    """
    on_sky = (ra >= 0) & (ra <= 360) & (np.abs(dec) <= 90)
    return np.where(on_sky | ~has_position(ra, dec), "", BAD_POSITION)


def has_position(ra: Array, dec: Array) -> Bools:
    """False where both RA and Dec are NaN, shape (N,)."""
    return ~(np.isnan(ra) & np.isnan(dec))


def usable_labels(z: Array) -> Bools:
    """Whether a spectroscopic redshift can be learnt from: finite and positive.

    NaN means unlabelled; zero and negative redshifts are stars, or galaxies whose peculiar
    motion outweighs the expansion. Such rows stay, without a label.
    """
    return np.isfinite(z) & (z > 0)


def border_noise(images: NDArray[Any]) -> Floats:
    """Estimate the noise per pixel from the border of each cutout, where the sky mostly is.

    1.4826 times the median absolute deviation from the median, which a neighbour in a corner
    hardly changes.

    Args:
        images: Pixels, shape (B, C, H, W).

    Returns:
        Standard deviation in the unit of the pixels, shape (B, C).
    """
    width = max(1, images.shape[-1] // 16)
    top_bottom = np.concatenate([images[..., :width, :], images[..., -width:, :]], axis=-2)
    middle = images[..., width:-width, :]
    sides = np.concatenate([middle[..., :width], middle[..., -width:]], axis=-1)
    parts = [part.reshape(*images.shape[:2], -1) for part in (top_bottom, sides)]
    sky = np.concatenate(parts, axis=-1).astype(np.float32)
    deviation = np.abs(sky - np.median(sky, axis=-1, keepdims=True))
    noise: Floats = (SIGMA_PER_MAD * np.median(deviation, axis=-1)).astype(np.float32)
    return noise
