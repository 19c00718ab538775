"""Sources of an image of any size, tile by tile; a source on the border of tiles is counted once.

A tile is looked at with a margin, and keeps the sources whose centre is inside it. Where one of
these reaches past the margin, the margin grows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from ssl_photoz.core.errors import ConfigError, DataError
from ssl_photoz.core.types import Bools, Floats
from ssl_photoz.detection.settings import DetectionConfig
from ssl_photoz.detection.sources import Borders, Sources, find_sources, joined
from ssl_photoz.fetching.sky_image import SkyImage

SAME_PX = 1.5  # by which the centre of one source may differ between two tiles
LARGEST_MARGIN = 4  # times the first


class Tile(NamedTuple):
    """A rectangle of an image, pixels."""

    left: int
    low: int
    right: int
    high: int

    def grown(self, margin: int, shape: tuple[int, int]) -> Tile:
        """The tile with a margin, as far as the image reaches."""
        return Tile(
            max(self.left - margin, 0),
            max(self.low - margin, 0),
            min(self.right + margin, shape[1]),
            min(self.high + margin, shape[0]),
        )

    def holds(self, sources: Sources, slack: float = 0.0) -> Bools:
        """Which centres are inside; pixel 0 reaches from -0.5 to 0.5."""
        x, y = sources.x + 0.5, sources.y + 0.5
        inside: Bools = (x >= self.left - slack) & (x < self.right + slack)
        return inside & (y >= self.low - slack) & (y < self.high + slack)


def tiles_of(shape: tuple[int, int], side: int) -> list[Tile]:
    """Squares that cover an image; those at its end are narrower."""
    return [
        Tile(left, low, min(left + side, shape[1]), min(low + side, shape[0]))
        for low in range(0, shape[0], side)
        for left in range(0, shape[1], side)
    ]


def indices_of(image: SkyImage, bands: tuple[str, ...]) -> list[int]:
    """Indices of bands of an image; of all, if none are named.

    Raises:
        ConfigError: If the image lacks one.
    """
    if lacking := [band for band in bands if band not in image.bands]:
        raise ConfigError(
            f"{image.path} has bands {','.join(image.bands)}, asked to look in {','.join(lacking)}"
        )
    return [image.bands.index(band) for band in bands or image.bands]


def detect_sources(
    image: SkyImage,
    config: DetectionConfig,
    *,
    seen: Callable[[Tile, Floats], None] = lambda tile, pixels: None,
    progress: Callable[[list[Tile]], Iterator[Tile]] = iter,
) -> Sources:
    """Find and measure the sources of an image, by rows from its first pixel.

    Args:
        image: The image.
        config: What a source is.
        seen: Called with each tile and its pixels, (C, h, w).
        progress: Wraps the list of tiles.

    Raises:
        ConfigError: If the image lacks a band.
        DataError: If nothing was observed, or no source is found.
    """
    looked_in = indices_of(image, config.bands)
    found, tiles, observed = [], [], 0
    for tile in progress(tiles_of(image.shape, config.tile_px)):
        sources = _of_tile(image, tile, config, looked_in, seen)
        observed += sources is not None
        if sources is not None and len(sources.x):
            found.append(sources)
            tiles.append(tile)
    if not observed:
        raise DataError(
            f"{image.path} is empty: its pixels are blank, NaN, or all the same, in "
            f"{','.join(image.bands[one] for one in looked_in)}"
        )
    if not found:
        raise DataError(
            f"{image.path} has no source above {config.threshold_sigma:g} sigma; lower "
            f"threshold_sigma"
        )
    sources = _each_once(found, tiles)
    return sources.take(np.lexsort((sources.x, np.rint(sources.y))))


def _of_tile(
    image: SkyImage,
    tile: Tile,
    config: DetectionConfig,
    looked_in: list[int],
    seen: Callable[[Tile, Floats], None],
) -> Sources | None:
    """Sources of a tile, and those just outside it; None if nothing was observed."""
    margin = config.overlap_px
    while True:
        window = tile.grown(margin, image.shape)
        rows, columns = slice(window.low, window.high), slice(window.left, window.right)
        pixels = image.read(rows, columns)
        if margin == config.overlap_px:
            inner = pixels[:, tile.low - window.low :, tile.left - window.left :]
            seen(tile, inner[:, : tile.high - tile.low, : tile.right - tile.left])
        sources = find_sources(
            pixels,
            *image.flagged(rows, columns, pixels),
            config,
            looked_in=looked_in,
            pixscale_arcsec=image.pixscale_arcsec,
            borders=Borders(
                window.left == 0,
                window.right == image.shape[1],
                window.low == 0,
                window.high == image.shape[0],
            ),
        )
        if sources is None:
            return None
        sources = sources.moved(window.left, window.low)
        sources = sources.take(tile.holds(sources, SAME_PX))
        if margin >= LARGEST_MARGIN * config.overlap_px or not sources.cut.any():
            return sources._replace(edge=sources.edge | sources.cut)
        margin *= 2


def _each_once(found: list[Sources], tiles: list[Tile]) -> Sources:
    """All sources; of two that are one, seen in two tiles, that which lies in its own tile."""
    from scipy.spatial import cKDTree

    sources = joined(found)
    tile = np.repeat(np.arange(len(found)), [len(part.x) for part in found])
    own = np.concatenate([one.holds(part) for one, part in zip(tiles, found, strict=True)])
    twice = np.zeros(len(tile), bool)
    pairs = cKDTree(np.stack([sources.x, sources.y], axis=1)).query_pairs(SAME_PX)
    for first, second in sorted(pairs):
        if tile[first] != tile[second] and not (twice[first] or twice[second]):
            twice[first if own[second] and not own[first] else second] = True
    return sources.take(~twice)
