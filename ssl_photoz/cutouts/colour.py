"""Colour pictures of galaxies: Lupton RGB with one fixed stretch, contact sheets, JPEGs."""

from __future__ import annotations

import io
import math
import re
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
LUPTON_SLOPE_AT = 0.1  # the part of the stretch whose slope is kept, as astropy has it
LABEL_PX = 14
JPEG_QUALITY = 85
BLOCK_PX, MOST_JPEG_PX = 16, 65_000
# Marker, length and precision of a baseline frame, which its height follows; scan, restart, end.
FRAME_SIZE, SCAN, END = b"\xff\xc0\x00\x11\x08", b"\xff\xda", b"\xff\xd9"
RESTART = re.compile(b"\xff[\xd0-\xd7]")


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


def encode_jpegs(rgb: Pictures) -> list[bytes]:
    """Encode many small pictures as JPEGs, ten times as fast as one by one.

    They are encoded as one tall picture with a restart marker after each, and cut apart there: what
    stands between two markers can be decoded by itself [1].

    Args:
        rgb: Pictures, shape (B, H, W, 3); H and W are multiples of 16, so that blocks of pixels do
            not reach into the next picture.

    Raises:
        ShapeError: If they are not.

    References:
        [1] ITU-T T.81 (1992), sections B.1.1.3 and E.1.4.
    """
    from PIL import Image

    count, height, width = rgb.shape[:3]
    if height % BLOCK_PX or width % BLOCK_PX:
        raise ShapeError(f"pictures are {height} x {width} px, expected multiples of {BLOCK_PX}")
    pictures: list[bytes] = []
    at_once = MOST_JPEG_PX // height
    for start in range(0, count, at_once):
        tall = Image.fromarray(rgb[start : start + at_once].reshape(-1, width, 3))
        blocks = height * width // BLOCK_PX**2
        options: dict[str, Any] = {
            "quality": JPEG_QUALITY,
            "subsampling": "4:2:0",
            "restart_marker_blocks": blocks,
        }
        sheet = _encoded(tall, "JPEG", **options)
        size, scan = sheet.index(FRAME_SIZE) + len(FRAME_SIZE), sheet.index(SCAN)
        scan += 2 + int.from_bytes(sheet[scan + 2 : scan + 4], "big")
        header = sheet[:size] + height.to_bytes(2, "big") + sheet[size + 2 : scan]
        parts = RESTART.split(sheet[scan : -len(END)])
        pictures += [header + part + END for part in parts]
    return pictures


def _red_green_blue(bands: Sequence[str]) -> tuple[int, int, int]:
    order = list(range(len(bands)))
    if set(bands) <= set(BLUE_TO_RED):
        order.sort(key=lambda index: BLUE_TO_RED.index(bands[index]), reverse=True)
    return order[0], order[len(order) // 2], order[-1]


def _lupton(red_green_blue: Sequence[NDArray[np.float32]]) -> Pictures:
    """As `astropy.visualization.make_lupton_rgb`, of a batch and three times as fast."""
    planes = np.stack(red_green_blue)
    if not np.isfinite(planes.sum()):
        np.nan_to_num(planes, copy=False, posinf=0, neginf=0)
    light = (planes[0] + planes[1] + planes[2]) / 3
    slope = LUPTON_SLOPE_AT / math.asinh(LUPTON_SLOPE_AT * SOFTENING_Q)
    stretched = np.arcsinh(light * (SOFTENING_Q / STRETCH_NMGY)) * slope
    # Where there is no light the picture is black.
    planes *= np.divide(stretched, light, out=np.zeros_like(light), where=light > 0)
    np.maximum(planes, 0, out=planes)
    planes /= np.maximum(planes.max(axis=0), 1)  # the hue of bright pixels is kept
    planes *= 255
    return np.stack(list(planes.astype(np.uint8)), axis=-1)


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
