"""Colour pictures in HDF5, as the JPEG files that a service sent, end to end.

``jpeg`` (bytes) holds the files, ``offset`` (N + 1) where each begins; all else at the root is a
column. Pictures are display values: never flux.
"""

from __future__ import annotations

import io
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np

from ssl_photoz.core.errors import DataError
from ssl_photoz.core.types import Array, Ints
from ssl_photoz.cutouts.formats.hdf5 import (
    damaged,
    find_columns,
    looking_into,
    open_hdf5,
    own_items,
    plain_attributes,
    read_column,
    require_inside,
    root_items,
)
from ssl_photoz.cutouts.formats.ids import as_column
from ssl_photoz.cutouts.formats.stored import PerProcess, Stored
from ssl_photoz.cutouts.schema import (
    MOST_SIDE_PX,
    Overrides,
    Source,
    describe,
    parse_bands,
    stated_truth,
)

CANONICAL = {"targetid": "id", "objid": "id"}
USUAL_BANDS = ("i", "r", "g")
MOST_FILE_BYTES = 1 << 24
RGB = 3


def recognise(path: Path) -> str | None:
    """Recognise a vector of bytes `jpeg` with a vector `offset`."""
    held = root_items(path)
    if not {"jpeg", "offset"} <= set(held):
        return None
    jpeg, offset = held["jpeg"], held["offset"]
    if jpeg.dtype != np.uint8 or not (jpeg.shape and offset.shape and len(offset.shape) == 1):
        return None
    return f"HDF5 with {max(offset.shape[0] - 1, 0)} JPEG files in `jpeg`, at `offset`"


def open_stored(path: Path, overrides: Overrides) -> Stored:
    """Open a file of this layout.

    Raises:
        DataError: If it cannot be used; the message says why.
    """
    with looking_into(path) as file:
        items = own_items(file)
        for name in ("jpeg", "offset"):
            if not isinstance(items.get(name), h5py.Dataset):
                raise DataError(f"{path} has no dataset `{name}`")
            require_inside(path, items[name])
        jpeg, offset = items.pop("jpeg"), items.pop("offset")
        rows = offset.size - 1
        if jpeg.dtype != np.uint8 or jpeg.ndim != 1 or offset.dtype.kind not in "iu" or rows < 1:
            raise DataError(
                f"{path}: `jpeg` is {jpeg.dtype} {jpeg.shape} and `offset` {offset.dtype} "
                f"{offset.shape}, expected bytes, and where each of N files begins (N + 1)"
            )
        datasets, left_out = find_columns(path, items, rows, RGB, canonical=CANONICAL)
        attributes = plain_attributes(file)
    stored = JpegPictures(path, rows, datasets, left_out, attributes)
    try:
        size_px = stored.side()
    except OSError as error:
        raise damaged(path, error) from None
    stored.source = _describe(path, rows, size_px, attributes, overrides)
    return stored


def _describe(
    path: Path, rows: int, size_px: int, attributes: dict[str, Any], overrides: Overrides
) -> Source:
    stated = {name.lower(): value for name, value in attributes.items()}
    in_file = parse_bands(stated["bands"]) if "bands" in stated else None
    scale = stated.get("pixel_scale_arcsec", stated.get("pixscale_arcsec"))
    bands = overrides.bands or in_file or USUAL_BANDS
    return describe(
        path,
        replace(overrides, bands=bands),
        shape=(rows, RGB, size_px),
        dtype="uint8",
        bands=in_file,
        pixscale_arcsec=None if scale is None else float(scale),
        calibrated=False,
        simulated=stated_truth(path, stated, "simulated", default=False),
    )


class _Opened(NamedTuple):
    file: h5py.File
    jpeg: h5py.Dataset
    offset: Ints

    def close(self) -> None:
        self.file.close()


def _open(path: Path) -> _Opened:
    file = open_hdf5(path)
    return _Opened(file, file["jpeg"], file["offset"][:].astype(np.int64))


class JpegPictures:
    """Stored pictures; see `Stored`. They are decoded when they are read."""

    source: Source

    def __init__(
        self,
        path: Path,
        rows: int,
        datasets: dict[str, str],
        left_out: tuple[str, ...],
        attributes: dict[str, Any],
    ) -> None:
        self.columns = tuple(datasets)
        self.left_out, self.attributes = left_out, attributes
        self._path, self._rows, self._datasets = path, rows, datasets
        self._opened = PerProcess(partial(_open, path))

    def side(self) -> int:
        """Side of the first picture, pixels."""
        picture = self._picture(0)
        width, height = picture.size
        if width != height or width > MOST_SIDE_PX:
            raise DataError(f"{self._path}: the first picture is {width} x {height}, not square")
        return int(width)

    def column(self, name: str) -> Array:
        """Read a column."""
        return as_column(name, read_column(self._opened.get().file[self._datasets[name]]))

    def read(self, rows: Ints, pixels: Array, crop: slice) -> None:
        """Decode rows into an array."""
        side = self.source.size_px
        for place, row in enumerate(rows):
            picture = self._picture(int(row))
            if picture.size != (side, side):
                raise OSError(f"picture {row} is {picture.size}, the first {side} px a side")
            decoded = np.asarray(picture.convert("RGB"))
            pixels[place] = decoded[crop, crop].transpose(2, 0, 1)

    def close(self) -> None:
        """Close the file."""
        self._opened.close()

    def _picture(self, row: int) -> Any:  # noqa: ANN401 - Pillow is imported late
        from PIL import Image

        opened = self._opened.get()
        start, stop = opened.offset[row], opened.offset[row + 1]
        if not 0 <= start < stop <= len(opened.jpeg) or stop - start > MOST_FILE_BYTES:
            raise OSError(f"picture {row} is said to lie at bytes {start} to {stop}")
        content = opened.jpeg[start:stop].tobytes()
        return Image.open(io.BytesIO(content), formats=["JPEG"])
