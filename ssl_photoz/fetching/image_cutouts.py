"""Cut cutouts from one large image, in which sources were found or which a catalogue covers.

Pixels are taken as they are: an object is at most half a pixel off the middle of its cutout. A
cutout that reaches past the edge of the image is rejected, not filled.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from ssl_photoz.core.errors import ConfigError
from ssl_photoz.core.types import Doubles, Ints
from ssl_photoz.fetching.answers import MAX_SCALE_ERROR, Answer, fault_of
from ssl_photoz.fetching.coadds import AT_ONCE, Cut
from ssl_photoz.fetching.settings import FrameConfig
from ssl_photoz.fetching.sky_image import SkyImage

STRIP_PX = 256
PAST = "reaches past the edge of the image"


class ImageTask(NamedTuple):
    """Rows of a catalogue in one strip of an image, at most `AT_ONCE`.

    Attributes:
        image: The image.
        frame: What a cutout is to be.
        rows: Rows of the catalogue, (B,).
        left: First column of each cutout, (B,).
        low: First row of each cutout, (B,).
    """

    image: SkyImage
    frame: FrameConfig
    rows: Ints
    left: Ints
    low: Ints


def require_image(image: SkyImage, frame: FrameConfig) -> None:
    """Refuse bands that an image has not, and another pixel scale.

    Raises:
        ConfigError: If so.
    """
    if lacking := [band for band in frame.bands if band not in image.bands]:
        raise ConfigError(
            f"{image.path} has bands {','.join(image.bands)}, asked for {','.join(frame.bands)}; "
            f"leave {','.join(lacking)} out of frame.bands"
        )
    if not abs(image.pixscale_arcsec / frame.pixscale_arcsec - 1) <= MAX_SCALE_ERROR:
        raise ConfigError(
            f"{image.path} has {image.pixscale_arcsec:.4g} arcsec/px, asked for "
            f"{frame.pixscale_arcsec:g}; its pixels are taken as they are: give "
            f"frame.pixscale_arcsec={image.pixscale_arcsec:.4g}"
        )


def image_tasks(
    image: SkyImage, frame: FrameConfig, ra: Doubles, dec: Doubles, rows: Ints
) -> Iterator[ImageTask]:
    """Sort rows by strips of the image, so that each is read once; those outside come last.

    Args:
        image: The image.
        frame: What a cutout is to be.
        ra: Right ascension, degrees, (N,).
        dec: Declination, degrees, (N,).
        rows: Rows to cut.
    """
    x, y = image.places(ra[rows], dec[rows])
    middle = (frame.size_px - 1) / 2
    outside = 2 * max(image.shape)
    left, low = (np.rint(np.nan_to_num(at, nan=outside) - middle).astype(np.int64) for at in (x, y))
    order = np.lexsort((left, low // STRIP_PX))
    ends = np.flatnonzero(np.diff(low[order] // STRIP_PX)) + 1
    for strip in np.split(order, ends) if len(order) else []:
        for start in range(0, len(strip), AT_ONCE):
            some = strip[start : start + AT_ONCE]
            yield ImageTask(image, frame, rows[some], left[some], low[some])


def cut_from_image(task: ImageTask) -> Cut:
    """Cut the rows of one strip.

    Raises:
        DataError: If the image is damaged.
    """
    side, (height, width) = task.frame.size_px, task.image.shape
    inside = (task.left >= 0) & (task.low >= 0)
    inside &= (task.left + side <= width) & (task.low + side <= height)
    answers = {int(row): Answer(None, PAST) for row in task.rows[~inside]}
    if inside.any():
        low, left = int(task.low[inside].min()), int(task.left[inside].min())
        strip = task.image.read(
            slice(low, int(task.low[inside].max()) + side),
            slice(left, int(task.left[inside].max()) + side),
            task.frame.bands,
        )
        for n in np.flatnonzero(inside).tolist():
            y, x = int(task.low[n]) - low, int(task.left[n]) - left
            pixels = strip[:, y : y + side, x : x + side]
            reason = fault_of(pixels, task.frame)
            answers[int(task.rows[n])] = Answer(None, reason) if reason else Answer(pixels)
    return [(int(row), answers[int(row)]) for row in task.rows]
