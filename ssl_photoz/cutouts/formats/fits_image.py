"""The image of a FITS file: where its pixels lie, or what makes them of a packed or scaled one.

It is the first image: in the primary HDU, or, where that is empty, in the one behind it, also as
tiles (``.fits.fz``). The file may be packed by gzip.
"""

from __future__ import annotations

import math
import warnings
import zlib
from io import BytesIO
from typing import Any, NamedTuple

import numpy as np

from ssl_photoz.core.errors import DataError
from ssl_photoz.core.types import Array

SUFFIXES = (".fits", ".fit", ".fits.gz", ".fit.gz", ".fits.fz", ".fit.fz")
PACKED = (".gz", ".fz")
GZIP = b"\x1f\x8b"
HEADER_BYTES = 2880 * 64  # 2,300 cards; the service writes some 60
HEAD_BYTES = 2 * HEADER_BYTES
MOST_PACKED_BYTES = 1 << 28  # of what has to be unpacked whole
MOST_RATIO = 1100  # deflate reaches 1032
NO_IMAGE = "no image in the primary HDU"
TILES = ("RICE_1", "RICE_ONE", "GZIP_1", "GZIP_2", "PLIO_1", "HCOMPRESS_1", "NOCOMPRESS")


class Image(NamedTuple):
    """What the headers of a file say of its image.

    Attributes:
        header: Its header, with that of the file's beginning below it.
        axes: Its shape.
        bits: ``BITPIX``: -32 and -64 are floats.
        offset: First byte of its pixels, in the unpacked file.
        scaled: Whether they are scaled, by ``BSCALE`` and ``BZERO``.
        plain: Whether they lie there as floats, neither packed nor scaled.
    """

    header: Any
    axes: tuple[int, ...]
    bits: int
    offset: int
    scaled: bool
    plain: bool

    @property
    def length(self) -> int:
        """Bytes of the pixels, unpacked."""
        return math.prod(self.axes) * abs(self.bits) // 8


def head_of(start: bytes) -> bytes:
    """Beginning of a FITS file, unpacked, of its first bytes.

    Raises:
        DataError: If they are not those of one.
    """
    head = start
    if start.startswith(GZIP):
        try:
            head = zlib.decompressobj(31).decompress(start, HEAD_BYTES)
        except zlib.error as error:
            raise DataError(f"damaged gzip ({error})") from None
    if not head.startswith(b"SIMPLE"):
        raise DataError("not a plain FITS file")
    return head


def find_image(head: bytes, *, packed: bool) -> Image:
    """Find the first image.

    Args:
        head: Result of `head_of`.
        packed: Whether the whole file is.

    Raises:
        DataError: If there is none; `NO_IMAGE` if there is a table, or nothing.
    """
    from astropy.io import fits

    stream = BytesIO(head)
    first = fits.Header.fromfile(stream)
    header, tiled = first, False
    if int(first["NAXIS"]) == 0:
        try:
            header = fits.Header.fromfile(stream)
        except (EOFError, OSError):
            raise DataError(NO_IMAGE) from None
        tiled = header.get("ZIMAGE") is True
        if not tiled and header.get("XTENSION") != "IMAGE":
            raise DataError(NO_IMAGE)
    z = "Z" if tiled else ""
    count = min(int(header[f"{z}NAXIS"]), 4)
    axes = tuple(int(header[f"{z}NAXIS{axis}"]) for axis in range(count, 0, -1))
    bits = int(header[f"{z}BITPIX"])
    if tiled:
        _require_tiles(header, axes)
    scaled = header.get("BSCALE", 1) != 1 or header.get("BZERO", 0) != 0
    plain = bits in (-32, -64) and not (scaled or tiled or packed)
    below = header.copy()
    if header is not first:
        below.extend(first, unique=True)
    for axis, side in enumerate(reversed(axes), 1):
        below[f"NAXIS{axis}"] = side
    below["NAXIS"] = len(axes)
    return Image(below, axes, bits, stream.tell(), scaled, plain)


def _require_tiles(header: Any, axes: tuple[int, ...]) -> None:  # noqa: ANN401 - astropy
    kind = str(header.get("ZCMPTYPE"))
    if kind not in TILES:
        raise DataError(f"tiles packed by {kind}, expected one of {', '.join(TILES)}")
    for axis, side in enumerate(reversed(axes), 1):
        if not 0 < int(header.get(f"ZTILE{axis}", 1)) <= max(side, 1):
            raise DataError(f"tiles of {header[f'ZTILE{axis}']} px, image of {side}")


def require_behind(image: Image, size: int, *, packed: bool) -> None:
    """Refuse an image that claims more than its file can hold.

    Raises:
        DataError: If so, or if it is too large to be unpacked whole.
    """
    tiled = "ZIMAGE" in image.header
    if (packed or tiled) and image.length > MOST_PACKED_BYTES:
        raise DataError(f"{image.length} bytes when unpacked; unpack the file")
    most = size * MOST_RATIO if packed or tiled else size
    if image.offset * (not packed) + image.length > most:
        expected = image.offset + image.length
        raise DataError(f"truncated: {size} bytes, expected {expected}")


def is_whole_file(content: bytes) -> bool:
    """Whether bytes are a FITS file, packed or not, rather than the pixels of one."""
    return content.startswith((b"SIMPLE  =", GZIP + b"\x08"))


def read_image(content: bytes, shape: tuple[int, ...]) -> Array:
    """Pixels of a whole file, float32; scaled, and NaN where integers are blank.

    Args:
        content: The file.
        shape: Expected shape; one band may come without its axis.

    Raises:
        ValueError: If it is damaged, or of another shape.
    """
    from astropy.io import fits

    packed = content.startswith(GZIP)
    try:
        image = find_image(head_of(content[:HEAD_BYTES]), packed=packed)
        require_behind(image, len(content), packed=packed)
        if image.axes not in (shape, shape[1:] if shape[0] == 1 else shape):
            raise DataError(f"an image of shape {image.axes}, expected {shape}")
        if packed:
            content = _unpacked(content, image)
        with warnings.catch_warnings(), fits.open(BytesIO(content), memmap=False) as hdus:
            warnings.simplefilter("ignore")
            hdu = next(one for one in hdus if one.is_image and len(one.shape) >= 2)
            return np.asarray(hdu.data, np.float32).reshape(shape)
    except Exception as error:  # damaged bytes make astropy raise whatever comes
        detail = str(error) if isinstance(error, DataError) else type(error).__name__
        raise ValueError(f"damaged FITS file ({detail})") from None


def _unpacked(content: bytes, image: Image) -> bytes:
    """The HDUs up to the image's end, whatever comes behind them."""
    most = image.offset + max(image.length, len(content)) + 2 * HEADER_BYTES
    return zlib.decompressobj(31).decompress(content, most)


def unpacked_whole(content: bytes) -> bytes:
    """A file without its gzip, if it has one.

    Raises:
        DataError: If it is damaged, or larger than can be meant.
    """
    if not content.startswith(GZIP):
        return content
    unpack = zlib.decompressobj(31)
    try:
        unpacked = unpack.decompress(content, MOST_PACKED_BYTES)
    except zlib.error as error:
        raise DataError(f"damaged gzip ({error})") from None
    if unpack.unconsumed_tail or not unpack.eof:
        raise DataError(f"cut short, or more than {MOST_PACKED_BYTES >> 20} MiB when unpacked")
    return unpacked
