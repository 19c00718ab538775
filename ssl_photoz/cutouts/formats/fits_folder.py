"""A folder of FITS cutouts as the Legacy Surveys' cutout service writes them, one object a file.

The first image is (band, side, side), nanomaggies per pixel; its header has ``BANDS`` (``grz``) and
world coordinates, whose centre is the position. Floats are read where they lie in the file; scaled
integers, tiles (``.fits.fz``) and files packed by gzip pass through astropy, whole. A catalogue
beside the files may say more (`catalogue`).
"""

from __future__ import annotations

import math
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from ssl_photoz.core.errors import DataError
from ssl_photoz.core.types import Array
from ssl_photoz.cutouts.formats.fits_image import (
    GZIP,
    HEAD_BYTES,
    NO_IMAGE,
    PACKED,
    SUFFIXES,
    Image,
    find_image,
    head_of,
    is_whole_file,
    read_image,
    require_behind,
)
from ssl_photoz.cutouts.formats.gathered import Seen, as_arrays, key_of, open_gathered
from ssl_photoz.cutouts.formats.listing import kept, list_files, some_files
from ssl_photoz.cutouts.formats.stored import Stored
from ssl_photoz.cutouts.schema import MOST_BANDS, MOST_SIDE_PX, Overrides, Source
from ssl_photoz.cutouts.single import bands_of, place_of

SAME_PX = 1e-6
FRAME = "world coordinates"  # of another frame: a cutout, although it cannot be used
PLAIN = (  # a header without these cards means the first; both mean RA, Dec in degrees
    *(("CUNIT1", "deg", "degree"), ("CUNIT2", "deg", "degree")),
    *(("RADESYS", "ICRS", "FK5"), ("EQUINOX", 2000, 2000.0)),
)


def recognise(path: Path) -> str | None:
    """Recognise a folder with FITS images in it, or in the folders in it."""
    some = some_files(path, SUFFIXES) if path.is_dir() else []
    faults = {one.name: _look_at(one.parent, one.name).fault for one in some}
    images = [name for name, fault in faults.items() if not fault or fault.startswith(FRAME)]
    return f"folder of FITS cutouts such as {min(images)}" if images else None


def open_stored(path: Path, overrides: Overrides) -> Stored:
    """Open a folder; every header is read once.

    Raises:
        DataError: If no file in it is a cutout, or its catalogue cannot be used.
    """
    names, identity, _ = list_files(path, SUFFIXES)
    found = kept(f"fits3{identity}", lambda: _look_at_all(path, names), files=len(names))
    is_table = found["fault"] == NO_IMAGE
    tables = [name.decode("utf-8", "surrogateescape") for name in found["file"][is_table]]
    tables = [name for name in tables if not name.lower().endswith(PACKED)]
    return open_gathered(
        path,
        {name: values[~is_table] for name, values in found.items()},
        overrides,
        dtype="float32",
        default_bands=None,
        decode=decode,
        tables=tables,
    )


def decode(content: bytes, source: Source) -> Array:
    """Make pixels, (C, H, W), of an image's bytes: big-endian floats, or the whole file."""
    shape = len(source.bands), source.size_px, source.size_px
    if is_whole_file(content):
        return read_image(content, shape)
    width = len(content) // int(np.prod(shape))
    return np.frombuffer(content, f">f{width}").reshape(shape)


def _look_at_all(folder: Path, names: list[str]) -> dict[str, Array]:
    from tqdm import tqdm

    return as_arrays(
        _look_at(folder, name) for name in tqdm(names, desc="FITS headers", leave=False, delay=1)
    )


def _look_at(folder: Path, name: str) -> Seen:
    plain_name = name[:-3] if name.lower().endswith(PACKED) else name
    seen = Seen(name, key_of(plain_name))
    try:
        with (folder / name).open("rb") as file:
            start, size = file.read(HEAD_BYTES), os.fstat(file.fileno()).st_size
        packed = start.startswith(GZIP)
        image = find_image(head_of(start), packed=packed)
        _require_cutout(image)
        require_behind(image, size, packed=packed)
        return _judge(seen, image, size)
    except DataError as error:
        return seen._replace(fault=str(error))
    except Exception as error:  # a damaged header makes astropy raise whatever comes
        return seen._replace(fault=f"damaged header ({type(error).__name__})")


def _require_cutout(image: Image) -> None:
    axes = image.axes
    count, *sides = axes if len(axes) == 3 else (1, *axes)
    square = len(sides) == 2 and sides[0] == sides[1]
    if not square or not (0 < count <= MOST_BANDS and 0 < sides[0] <= MOST_SIDE_PX):
        raise DataError(f"image of shape {axes}, expected (bands, side, side)")
    if image.bits > 0 and not image.scaled:
        raise DataError(f"BITPIX {image.bits} unscaled, expected flux: floats, or BSCALE and BZERO")


def _judge(seen: Seen, image: Image, size: int) -> Seen:
    count = image.axes[0] if len(image.axes) == 3 else 1
    side_px = image.axes[-1]
    pixscale_arcsec, ra, dec = _place(image.header, side_px)
    return seen._replace(
        offset=image.offset if image.plain else 0,
        length=image.length if image.plain else size,
        n_bands=count,
        side_px=side_px,
        bands=",".join(bands_of(image.header, count) or ()),
        pixscale_arcsec=float("nan") if pixscale_arcsec is None else pixscale_arcsec,
        ra=ra,
        dec=dec,
    )


def _place(header: Any, side_px: int) -> tuple[float | None, float, float]:  # noqa: ANN401
    """Scale, arcsec/px, and centre, degrees; at the reference pixel it is what is stated.

    The service puts that in the centre, and general world coordinates take milliseconds a file.
    """
    middle = (side_px + 1) / 2
    cards = [header.get(f"{name}{axis}") for name in ("CTYPE", "CRPIX", "CRVAL") for axis in (1, 2)]
    matrix = [header.get(f"CD{row}_{column}") for column in (1, 2) for row in (1, 2)]
    numbers = all(isinstance(card, int | float) for card in (*cards[2:], *matrix))
    as_usual = all(header.get(name, usual) in {usual, other} for name, usual, other in PLAIN)
    equatorial = str(cards[0])[:4] == "RA--" and str(cards[1])[:4] == "DEC-"
    if as_usual and equatorial and numbers:
        scales = math.hypot(*matrix[:2]), math.hypot(*matrix[2:])
        if max(abs(cards[2] - middle), abs(cards[3] - middle)) < SAME_PX:
            return 1800 * sum(scales), cards[4] % 360, float(cards[5])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of each of a million files
        return place_of(header, (side_px, side_px))
