"""A colour picture of an image, as small as a screen, with the ellipses of its sources."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ssl_photoz.core.artefact import atomic_path
from ssl_photoz.core.types import Array, Floats
from ssl_photoz.cutouts.colour import to_rgb
from ssl_photoz.detection.sources import Sources
from ssl_photoz.detection.tiles import Tile
from ssl_photoz.fetching.sky_image import SkyImage

LONGEST_PX, SHORTEST_PX = 2048, 768
TYPICAL_NOISE_NMGY = 0.005  # of the Legacy Surveys, at which pictures are bright enough
CORNERS = 36
GOOD, PARTED, FLAGGED = (90, 255, 90), (255, 220, 60), (255, 70, 70)


class Overview:
    """The image in pixels so large that it fits a screen, filled in tile by tile.

    Args:
        image: The image.
    """

    def __init__(self, image: SkyImage) -> None:
        self._image = image
        self.factor = max(1, -(-max(image.shape) // LONGEST_PX))
        small = [-(-side // self.factor) for side in image.shape]
        self.flux: Floats = np.zeros((len(image.bands), *small), np.float32)
        self._count: Array = np.zeros(self.flux.shape, np.int32)

    def add(self, tile: Tile, pixels: Floats) -> None:
        """Take in the pixels of a tile, (C, h, w)."""
        seen = np.isfinite(pixels)
        rows, columns = (np.arange(a, b) // self.factor for a, b in (tile[1::2], tile[::2]))
        low, left = rows[0], columns[0]
        for band in range(len(pixels)):
            for total, values in (
                (self.flux[band], np.where(seen[band], pixels[band], 0)),
                (self._count[band], seen[band]),
            ):
                some = np.add.reduceat(values, _starts(rows), axis=0, dtype=total.dtype)
                some = np.add.reduceat(some, _starts(columns), axis=1)
                total[low : low + some.shape[0], left : left + some.shape[1]] += some

    def picture(self) -> Array:
        """Colour picture, (h, w, 3) uint8, first row at the bottom of the image."""
        flux = self.flux / np.maximum(self._count, 1).astype(np.float32)
        flux -= np.median(flux, axis=(1, 2), keepdims=True)
        noise = 1.4826 * np.median(np.abs(flux), axis=(1, 2), keepdims=True)
        gain = TYPICAL_NOISE_NMGY / np.maximum(noise, 1e-30)
        flux *= np.median(gain) if self._image.calibrated else gain  # one keeps true colours
        rgb: Array = to_rgb(flux[None], bands=self._image.bands, calibrated=True)[0]
        return rgb


def _starts(groups: Array) -> Array:
    return np.flatnonzero(np.append(True, groups[1:] != groups[:-1]))


def write_overlay(path: Path, overview: Overview, sources: Sources) -> None:
    """Write a PNG: north is where the image has it, the first row at the bottom.

    Green: plain sources; yellow: parted from a blend; red: at an edge, saturated or masked.

    Args:
        path: The PNG file.
        overview: The picture.
        sources: The sources.
    """
    from PIL import Image, ImageDraw

    picture = Image.fromarray(overview.picture()[::-1])
    zoom = max(1, -(-SHORTEST_PX // max(picture.size)))
    picture = picture.resize((zoom * picture.width, zoom * picture.height))
    pen, scale = ImageDraw.Draw(picture), zoom / overview.factor
    flagged = sources.edge | sources.saturated | sources.masked
    for n, outline in enumerate(_outlines(sources)):
        place = scale * (outline + 0.5)
        place[:, 1] = picture.height - place[:, 1]
        colour = FLAGGED if flagged[n] else PARTED if sources.blended[n] else GOOD
        pen.line([tuple(point) for point in place.tolist()], fill=colour, width=1)
    with atomic_path(path) as scratch:
        picture.save(scratch, "PNG")


def _outlines(sources: Sources) -> Any:  # noqa: ANN401
    """Corners of each ellipse, (N, CORNERS, 2)."""
    turn = np.linspace(0, 2 * np.pi, CORNERS)
    along, across = np.outer(sources.a_px, np.cos(turn)), np.outer(sources.b_px, np.sin(turn))
    cos, sin = np.cos(sources.theta_rad)[:, None], np.sin(sources.theta_rad)[:, None]
    x = sources.x[:, None] + along * cos - across * sin
    y = sources.y[:, None] + along * sin + across * cos
    return np.stack([x, y], axis=-1)
