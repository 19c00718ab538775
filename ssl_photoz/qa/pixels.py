"""Pixels read a few cutouts at a time, and checked: blank lines, plateaus, off-centre peaks."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from ssl_photoz.core.types import Array, Doubles, Floats, Ints
from ssl_photoz.cutouts.quality import border_noise
from ssl_photoz.cutouts.reader import Cutouts

BLOCK_BYTES = 1 << 25


def read_blocks(cutouts: Cutouts, rows: Ints, *, says: str) -> Iterator[tuple[Ints, Array]]:
    """Yield rows and their pixels (B, C, H, W), with a progress bar.

    Args:
        cutouts: The file.
        rows: Which rows, shape (M,).
        says: What is being done, for the bar.
    """
    from tqdm import tqdm

    source = cutouts.source
    cutout_bytes = len(source.bands) * source.size_px**2 * np.dtype(source.dtype).itemsize
    at_once = max(BLOCK_BYTES // cutout_bytes, 1)
    with tqdm(total=len(rows), desc=says, unit="cutout", leave=False) as bar:
        for start in range(0, len(rows), at_once):
            some = rows[start : start + at_once]
            yield some, cutouts.read(some)
            bar.update(len(some))


PLATEAU = 0.99
FULL = 254
MIDDLE_ARCSEC = 0.6
SEEING_SIGMA_ARCSEC = 0.6
FLANK = 0.5
SIGNIFICANT = 5.0


def blank_lines(images: Array, *, calibrated: bool) -> Doubles:
    """Count blank pixels: zero, or in a row or column of one value.

    Noise leaves neither. In 8-bit pictures a black sky is zero in places, so there a pixel is
    blank if it lies in a row or column that has one value in each band.

    Args:
        images: Pixels, shape (B, C, H, W).
        calibrated: Whether they are flux.

    Returns:
        The count in lines of the cutout, of the band that has most, shape (B,).
    """
    row = images.max(axis=-1, keepdims=True) == images.min(axis=-1, keepdims=True)
    column = images.max(axis=-2, keepdims=True) == images.min(axis=-2, keepdims=True)
    blank = row | column
    blank = blank | (images == 0) if calibrated else blank.all(axis=1, keepdims=True)
    counted: Doubles = blank.sum(axis=(-2, -1)).max(axis=1) / images.shape[-1]
    return counted


def plateau_px(images: Array, *, least: float) -> Doubles:
    """Count pixels within 1 % of the greatest, which a point source or a galaxy keeps few.

    Args:
        images: Flux, shape (B, C, H, W).
        least: Brightness per pixel from which a plateau counts.

    Returns:
        The count in the band that has most, shape (B,); 0 where nothing is that bright.
    """
    peak = images.max(axis=(-2, -1), keepdims=True)
    near = (images >= PLATEAU * peak) & (peak >= least)
    counted: Doubles = near.sum(axis=(-2, -1)).max(axis=1).astype(float)
    return counted


def full_px(images: Array) -> Doubles:
    """Count pixels of 8-bit pictures (B, C, H, W) at the top of the scale in any band, (B,)."""
    counted: Doubles = (images >= FULL).any(axis=1).sum(axis=(-2, -1)).astype(float)
    return counted


def brighter_peak(
    images: Array, *, calibrated: bool, pixscale_arcsec: float, least_arcsec: float
) -> Doubles:
    """Say how much brighter than the middle the thing is that the middle is part of.

    On the sum of the bands, each over its noise, smoothed: all that is connected to the middle and
    half as bright as it or brighter belongs to it. Where the greatest of that lies far enough from
    the middle, the cutout is centred on the flank, or a knot, of something brighter.

    Args:
        images: Pixels, shape (B, C, H, W).
        calibrated: Whether they are flux; display values are summed as they are.
        pixscale_arcsec: Pixel scale.
        least_arcsec: Least distance of the brighter peak from the middle.

    Returns:
        Brightness over that of the middle, shape (B,); 0 where the brightest is in the middle, or
        the middle stands out from the noise by less than five times.
    """
    from scipy.ndimage import gaussian_filter, label

    sigma = SEEING_SIGMA_ARCSEC / pixscale_arcsec
    smooth = gaussian_filter(_detection(images, calibrated=calibrated), (0, sigma, sigma))
    smooth -= np.median(smooth[:, _border(smooth.shape[-1])], axis=1)[:, None, None]
    noise = border_noise(smooth[:, None])[:, 0]
    from_middle = _from_middle(smooth.shape[-1]) * pixscale_arcsec
    middle = from_middle <= max(MIDDLE_ARCSEC, pixscale_arcsec)
    far = from_middle >= least_arcsec
    found = np.zeros(len(smooth))
    for number, picture in enumerate(smooth):
        peak = picture[middle].max()
        rival = picture[far].max(initial=-math.inf)
        if not (peak > SIGNIFICANT * noise[number] and rival > peak):
            continue
        labels, _ = label(picture > FLANK * peak)
        own = labels == labels[middle][picture[middle].argmax()]
        brightest = np.where(own, picture, -math.inf).argmax()
        if far.flat[brightest]:
            found[number] = picture.flat[brightest] / peak
    return found


def _detection(images: Array, *, calibrated: bool) -> Floats:
    flux = images.astype(np.float32)
    if calibrated:
        noise = border_noise(flux)
        flux /= np.where(noise > 0, noise, 1)[..., None, None]
    summed: Floats = flux.mean(axis=1)
    return summed


def _from_middle(side: int) -> Doubles:
    offsets = np.arange(side) - (side - 1) / 2
    return np.asarray(np.hypot(offsets[:, None], offsets))


def _border(side: int) -> Array:
    edge = np.ones((side, side), bool)
    width = max(1, side // 16)
    edge[width:-width, width:-width] = False
    return edge
