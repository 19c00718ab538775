"""Colour pictures of galaxies: Lupton RGB with one fixed stretch, contact sheets, JPEGs."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssl_photoz.core.errors import ShapeError

Pictures = NDArray[np.uint8]

BLUE_TO_RED = "ugrizy"
# So that a galaxy at z = 0.1 comes out nearly white.
WEIGHTS = {"u": 4.0, "g": 1.7, "r": 1.0, "i": 0.8, "z": 0.65}
STRETCH_NMGY = 0.06
SOFTENING_Q = 8.0
LABEL_PX = 14
JPEG_QUALITY = 85


def to_rgb(images: NDArray[Any], *, bands: Sequence[str], calibrated: bool) -> Pictures:
    """Make colour pictures.

    Flux goes through the asinh mapping of [1] with a fixed stretch, so that pictures can be
    compared; the reddest, a middle and the bluest band become red, green and blue. Display
    values pass as they are. With one or two bands the picture is grey.

    Args:
        images: Flux, nanomaggies/px, or display values (uint8, or floats from 0 to 1), shape
            (B, C, H, W).
        bands: Band names, length C.
        calibrated: Whether the pixels are flux.

    Returns:
        Pictures, shape (B, H, W, 3), red first.

    Raises:
        ShapeError: If the shape does not agree with the bands.

    References:
        [1] Lupton et al. 2004, PASP 116, 133.
    """
    if images.ndim != 4 or images.shape[1] != len(bands):
        raise ShapeError(f"images have shape {images.shape}, expected (B, {len(bands)}, H, W)")
    if calibrated:
        weights = np.array([WEIGHTS.get(band, 1.0) for band in bands], np.float32)
        planes = images.astype(np.float32) * weights[:, None, None]
    else:
        planes = images
    if len(bands) >= 3:
        chosen = [planes[:, index] for index in _red_green_blue(bands)]
    else:
        chosen = [planes.mean(axis=1)] * 3
    return _lupton(chosen) if calibrated else _display(chosen)


def contact_sheet(
    rgb: Pictures,
    *,
    columns: int,
    labels: Sequence[str] | None = None,
    title: str = "",
    tile_px: int = 96,
) -> bytes:
    """Lay pictures out in a grid.

    Args:
        rgb: Pictures, shape (B, H, W, 3).
        columns: Pictures per line.
        labels: A short text below each picture.
        title: A line above them all.
        tile_px: Side of each picture on the sheet.

    Returns:
        A PNG file's bytes.
    """
    from PIL import Image, ImageDraw

    gap, strip, head = 2, LABEL_PX if labels is not None else 0, LABEL_PX if title else 0
    columns = max(1, min(columns, len(rgb)))
    lines = -(-len(rgb) // columns)
    size = columns * (tile_px + gap) + gap, head + lines * (tile_px + strip + gap) + gap
    sheet = Image.new("RGB", size, "white")
    pen = ImageDraw.Draw(sheet)
    pen.text((gap, 0), title, fill="black")
    for number, picture in enumerate(rgb):
        left = gap + number % columns * (tile_px + gap)
        top = head + gap + number // columns * (tile_px + strip + gap)
        sheet.paste(Image.fromarray(picture).resize((tile_px, tile_px)), (left, top))
        if labels is not None:
            pen.text((left, top + tile_px), labels[number], fill="black")
    return _encoded(sheet, "PNG")


def jpeg_bytes(rgb: Pictures, *, size_px: int = 48) -> bytes:
    """Encode one picture, shape (H, W, 3), as a JPEG of side ``size_px``."""
    from PIL import Image

    return _encoded(Image.fromarray(rgb).resize((size_px, size_px)), "JPEG", quality=JPEG_QUALITY)


def _red_green_blue(bands: Sequence[str]) -> tuple[int, int, int]:
    order = list(range(len(bands)))
    if set(bands) <= set(BLUE_TO_RED):
        order.sort(key=lambda index: BLUE_TO_RED.index(bands[index]), reverse=True)
    return order[0], order[len(order) // 2], order[-1]


def _lupton(red_green_blue: Sequence[NDArray[np.float32]]) -> Pictures:
    from astropy.visualization import make_lupton_rgb

    shape = red_green_blue[0].shape
    # The mapping works pixel by pixel, so a batch can stand on end as one tall image.
    tall = [
        np.nan_to_num(plane, posinf=0, neginf=0).reshape(-1, shape[-1]) for plane in red_green_blue
    ]
    with np.errstate(invalid="ignore", divide="ignore"):
        rgb = make_lupton_rgb(*tall, minimum=0.0, stretch=STRETCH_NMGY, Q=SOFTENING_Q)
    pictures: Pictures = rgb.reshape(*shape, 3)
    return pictures


def _display(red_green_blue: Sequence[NDArray[Any]]) -> Pictures:
    rgb = np.stack(red_green_blue, axis=-1)
    if rgb.dtype == np.uint8:
        return rgb
    pictures: Pictures = np.clip(np.nan_to_num(rgb) * 255.0, 0, 255).round().astype(np.uint8)
    return pictures


def _encoded(picture: Any, kind: str, **options: Any) -> bytes:  # noqa: ANN401 - a PIL image
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()
