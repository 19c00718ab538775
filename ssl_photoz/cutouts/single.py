"""One cutout from a FITS or NPY file, such as a cutout service sends, as a cutout file."""

from __future__ import annotations

import math
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np

from ssl_photoz.core.errors import DataError
from ssl_photoz.core.types import Array, Doubles
from ssl_photoz.cutouts.formats.fits_image import GZIP, MOST_RATIO, unpacked_whole
from ssl_photoz.cutouts.formats.fits_image import SUFFIXES as FITS
from ssl_photoz.cutouts.schema import parse_bands, split_bands

SUFFIXES = (".fits", ".fit", ".npy")
MAX_SIDE_PX = 1024
MAGIC = {".fits": (b"SIMPLE", GZIP), ".npy": (b"\x93NUMPY",)}


class Single(NamedTuple):
    """One cutout, and what its file states of it; None where it does not.

    Attributes:
        pixels: Shape (C, H, W): flux in nanomaggies/px, or uint8 display values.
        bands: Names of the bands.
        pixscale_arcsec: Pixel scale, arcsec/px.
        ra: Right ascension of the centre, degrees; NaN: not stated.
        dec: Declination of the centre, degrees; NaN: not stated.
    """

    pixels: Array
    bands: tuple[str, ...] | None = None
    pixscale_arcsec: float | None = None
    ra: float = float("nan")
    dec: float = float("nan")


def is_single(path: Path) -> bool:
    """Whether a path is named as one cutout: FITS, also packed, or NPY."""
    return path.name.lower().endswith((*SUFFIXES, *FITS))


def read_single(path: Path, row: int = 0) -> Single:
    """Read one cutout.

    Args:
        path: FITS whose first image is (bands, side, side), as the Legacy Surveys' cutout service
            writes it, also packed (.fits.gz, .fits.fz); or NPY of shape (bands, side, side) or
            (rows, bands, side, side).
        row: Which cutout, of several.

    Raises:
        DataError: If the file is missing, damaged, or holds anything else.
    """
    if not path.is_file():
        raise DataError(f"no cutout file {path}")
    kind = ".fits" if path.name.lower().endswith(FITS) else ".npy"
    with path.open("rb") as file:
        if not file.read(6).startswith(MAGIC[kind]):
            raise DataError(f"{path} is not a plain {kind[1:].upper()} file; unpack it, if packed")
    try:
        return _read_npy(path, row) if kind == ".npy" else _read_fits(path, row)
    except DataError:
        raise
    except Exception as error:  # a damaged header makes the readers raise whatever comes
        detail = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise DataError(f"{path} is damaged or truncated ({detail}); copy it again") from None


def write_single(
    path: Path, single: Single, *, bands: Sequence[str], pixscale_arcsec: float
) -> None:
    """Write a cutout file of one row.

    Args:
        path: The HDF5 file.
        single: The cutout.
        bands: Band names, for a cutout that does not state them.
        pixscale_arcsec: Pixel scale, arcsec/px, for a cutout that does not state it.
    """
    with h5py.File(path, "w") as file:
        file["images"] = single.pixels[None]
        file["RA"], file["DEC"] = np.array([single.ra]), np.array([single.dec])
        file.attrs["bands"] = ",".join(single.bands or bands)
        file.attrs["pixscale_arcsec"] = single.pixscale_arcsec or pixscale_arcsec


def _read_npy(path: Path, row: int) -> Single:
    cube = np.load(path, mmap_mode="r", allow_pickle=False)
    return Single(_one(path, cube, cube.shape, row))


def _read_fits(path: Path, row: int) -> Single:
    from astropy.io import fits

    try:
        content = unpacked_whole(path.read_bytes())
    except DataError as error:
        raise DataError(f"{path}: {error}; unpack it") from None
    with fits.open(BytesIO(content), memmap=False, lazy_load_hdus=True) as hdus:
        hdu = next((one for one in hdus if one.is_image and len(one.shape) >= 2), None)
        if hdu is None:
            raise DataError(f"{path} holds no image; expected one of (bands, side, side)")
        _require_cutout(path, hdu.shape)
        if isinstance(hdu, fits.CompImageHDU):
            _require_behind(path, hdu, len(content))
        pixels = _one(path, hdu.data, hdu.shape, row)
        bands = bands_of(hdu.header, len(pixels))
        try:
            return Single(pixels, bands, *place_of(hdu.header, pixels.shape))
        except DataError as error:
            raise DataError(f"{path}: {error}") from None


def _require_behind(path: Path, hdu: Any, size: int) -> None:  # noqa: ANN401 - astropy
    """Refuse tiles that claim more than there can be."""
    claimed, tile = math.prod(hdu.shape), math.prod(hdu.tile_shape)
    if claimed > MOST_RATIO * size or tile > claimed:
        raise DataError(
            f"{path} claims {claimed} pixels in tiles of {tile}, it has {size} bytes; it is damaged"
        )


def _one(path: Path, cube: Any, shape: Sequence[int], row: int) -> Array:  # noqa: ANN401
    _require_cutout(path, shape)
    rows = shape[0] if len(shape) == 4 else 1
    if not 0 <= row < rows:
        raise DataError(f"{path} has rows 0 to {rows - 1}, asked for row {row}")
    one = np.asarray(cube[row] if len(shape) == 4 else cube)
    if one.dtype.kind not in "iuf":
        raise DataError(f"{path} holds {one.dtype}, expected real numbers")
    one = one[None] if one.ndim == 2 else one
    return one if one.dtype == np.uint8 else one.astype(np.float32)


def _require_cutout(path: Path, shape: Sequence[int]) -> None:
    square = len(shape) in (2, 3, 4) and shape[-1] == shape[-2]
    if not (square and 0 < shape[-1] <= MAX_SIDE_PX and 0 < np.prod(shape[-3:-2]) <= 16):
        raise DataError(
            f"{path} holds an array of shape {tuple(shape)}, expected (bands, side, side) or "
            f"(rows, bands, side, side) with at most {MAX_SIDE_PX} px a side"
        )


def bands_of(header: Any, count: int) -> tuple[str, ...] | None:  # noqa: ANN401 - astropy
    """Names that ``BANDS`` of a FITS header states: ``grz``, ``g r z`` or ``g,r,z``; or None."""
    stated = header.get("BANDS")
    if not isinstance(stated, str) or not stated.strip():
        return None
    return split_bands(parse_bands(stated), count)


def place_of(header: Any, shape: Sequence[int]) -> tuple[float | None, float, float]:  # noqa: ANN401
    """Pixel scale, arcsec/px, and the centre in ICRS, degrees, from the world coordinates.

    Whatever the order of their axes, their unit and their frame: FK4, FK5 and Galactic coordinates
    are transformed. FK5 of J2000 is taken for ICRS, 0.02 arcsec away.

    Raises:
        DataError: If the frame cannot be transformed, such as ecliptic coordinates.
    """
    from astropy.wcs.utils import proj_plane_pixel_scales

    wcs = celestial_wcs(header)
    if not wcs.has_celestial:
        return None, float("nan"), float("nan")
    middle = np.array([(shape[-1] - 1) / 2]), np.array([(shape[-2] - 1) / 2])
    ra, dec = positions_of(wcs, *middle)
    return 3600 * float(np.mean(proj_plane_pixel_scales(wcs))), float(ra[0]), float(dec[0])


def celestial_wcs(header: Any) -> Any:  # noqa: ANN401 - astropy
    """World coordinates on the sky that a header states, whatever its other axes."""
    from astropy.wcs import WCS

    try:
        return WCS(header).celestial
    except ValueError:  # distortion in a cube: astropy takes the axes of the sky alone
        return WCS(header, naxis=2).celestial


def positions_of(wcs: Any, x: Doubles, y: Doubles) -> tuple[Doubles, Doubles]:  # noqa: ANN401
    """Positions in ICRS, degrees, of places in an image.

    Args:
        wcs: Celestial world coordinates, in any frame that `place_of` takes.
        x: Pixels from 0, (N,).
        y: Pixels from 0, (N,).

    Returns:
        Right ascension from 0 to 360 and declination, (N,) each.

    Raises:
        DataError: If the frame cannot be transformed.
    """
    frame = _frame_of(wcs)
    place = wcs.pixel_to_world(x, y)
    if not _is_j2000(frame):
        place = place.icrs
    return np.asarray(place.ra.deg, np.float64) % 360, np.asarray(place.dec.deg, np.float64)


def pixels_of(wcs: Any, ra: Doubles, dec: Doubles) -> tuple[Doubles, Doubles]:  # noqa: ANN401
    """Places of positions in ICRS, degrees, in an image: x and y, pixels from 0.

    Args:
        wcs: Celestial world coordinates, in any frame that `place_of` takes.
        ra: Right ascension, (N,).
        dec: Declination, (N,).

    Raises:
        DataError: If the frame cannot be transformed.
    """
    from astropy.coordinates import SkyCoord

    frame = _frame_of(wcs)
    if _is_j2000(frame):
        place = SkyCoord(ra, dec, unit="deg", frame=frame)
    else:
        place = SkyCoord(ra, dec, unit="deg").transform_to(frame)
    x, y = wcs.world_to_pixel(place)
    return np.asarray(x, np.float64), np.asarray(y, np.float64)


def _is_j2000(frame: Any) -> bool:  # noqa: ANN401 - astropy
    """Whether a frame is FK5 of J2000, which is taken for ICRS."""
    from astropy.coordinates import FK5
    from astropy.time import Time

    return isinstance(frame, FK5) and bool(frame.equinox == Time("J2000"))


def _frame_of(wcs: Any) -> Any:  # noqa: ANN401 - astropy
    from astropy.wcs.utils import wcs_to_celestial_frame

    axes = {str(name).partition("-")[0] for name in wcs.wcs.ctype}
    if axes not in ({"RA", "DEC"}, {"GLON", "GLAT"}):  # astropy takes some, such as ELON, for ICRS
        raise DataError(
            f"world coordinates are {'/'.join(sorted(axes))}, expected RA/DEC or GLON/GLAT; "
            f"convert the header"
        )
    return wcs_to_celestial_frame(wcs)
