"""Colour pictures, JPEG or PNG: a folder of them, or WebDataset tars.

They are display values from 0 to 255, not flux: nothing physical is done to them. Bands are called
R, G, B unless the user names them.
"""

from __future__ import annotations

import warnings
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from ssl_photoz.core.types import Array
from ssl_photoz.cutouts.formats.gathered import Seen, as_arrays, key_of, open_gathered
from ssl_photoz.cutouts.formats.listing import kept, list_files, some_files
from ssl_photoz.cutouts.formats.stored import Stored
from ssl_photoz.cutouts.schema import Overrides, Source

SUFFIXES = (".jpg", ".jpeg", ".png")
BANDS = ("R", "G", "B")
MODES = ("RGB", "RGBA", "L", "LA", "P", "1", "CMYK")  # of 8 bits or fewer
MOST_BYTES, MOST_SIDE_PX = 1 << 26, 4096


def recognise(path: Path) -> str | None:
    """Recognise a folder with pictures in it, or in the folders in it."""
    some = some_files(path, SUFFIXES) if path.is_dir() else []
    return f"folder of pictures such as {min(some).name}, not calibrated" if some else None


def open_stored(path: Path, overrides: Overrides) -> Stored:
    """Open a folder; the header of every picture is read once.

    Raises:
        DataError: If no file in it is a square picture, or its catalogue cannot be used.
    """
    names, identity, _ = list_files(path, SUFFIXES)
    found = kept(f"pictures2{identity}", lambda: _look_at_all(path, names), files=len(names))
    return open_pictures(path, found, overrides)


def open_pictures(path: Path, found: dict[str, Array], overrides: Overrides, **more: Any) -> Stored:  # noqa: ANN401
    """Make stored cutouts of pictures that were looked at; see `gathered.open_gathered`."""
    return open_gathered(
        path, found, overrides, dtype="uint8", default_bands=BANDS, decode=decode, **more
    )


def decode(content: bytes, source: Source) -> Array:
    """Make pixels, (3, H, W) uint8, of a picture.

    Raises:
        ValueError: If it is damaged, or larger than it was said to be; it is not unpacked then.
    """
    try:
        with _opened(BytesIO(content)) as picture:
            _require_small(picture, source.size_px)
            return np.asarray(picture.convert("RGB")).transpose(2, 0, 1)
    except Exception as error:  # PIL's readers raise whatever they stumble over
        raise ValueError(f"{type(error).__name__}: {error}") from None


def judge(seen: Seen, head: Any, length: int) -> Seen:  # noqa: ANN401 - a path or a stream
    """Complete what is seen of a picture by its header; nothing is unpacked.

    Args:
        seen: Its file, key and offset.
        head: Path or stream of the picture, of which the beginning is enough.
        length: Its bytes.
    """
    if length > MOST_BYTES:
        return seen._replace(fault=f"a picture of {length} bytes")
    try:
        with warnings.catch_warnings(action="error"), _opened(head) as picture:
            (width, height), mode = picture.size, picture.mode
    except Exception as error:
        return seen._replace(fault=f"no JPEG or PNG ({type(error).__name__})")
    if width != height or not 0 < width <= MOST_SIDE_PX or mode not in MODES:
        return seen._replace(
            fault=f"{mode} picture of {width} x {height} px, no square of 1 to {MOST_SIDE_PX}"
        )
    return seen._replace(length=length, n_bands=3, side_px=width)


def _opened(source: Any) -> Any:  # noqa: ANN401 - a PIL image
    from PIL import Image

    return Image.open(source, formats=("JPEG", "PNG"))


def _require_small(picture: Any, side_px: int) -> None:  # noqa: ANN401 - a PIL image
    if picture.size != (side_px, side_px) or picture.mode not in MODES:
        raise ValueError(f"{picture.mode} picture of {picture.size}, expected {side_px} px")


def _look_at_all(folder: Path, names: list[str]) -> dict[str, Array]:
    from tqdm import tqdm

    return as_arrays(
        _look_at(folder, name) for name in tqdm(names, desc="pictures", leave=False, delay=1)
    )


def _look_at(folder: Path, name: str) -> Seen:
    path = folder / name
    try:
        return judge(Seen(name, key_of(name)), path, path.stat().st_size)
    except OSError as error:
        return Seen(name, key_of(name), fault=f"cannot be read ({error.strerror})")
