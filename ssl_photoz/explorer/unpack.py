"""Take one cutout out of a file that nobody vouches for, in a process that may fail.

    python -m ssl_photoz.explorer.unpack SOURCE TARGET ROW BANDS PIXSCALE_ARCSEC

SOURCE is HDF5, NPY or FITS; TARGET becomes a cutout file of one row, which holds numbers from
SOURCE and nothing else. Exits with 2 and a line of text on refusal. What a file claims of its size
is checked before anything of that size is made; links out of the file are not followed; nothing is
unpickled; memory and time are limited by the system.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np

from ssl_photoz.core.errors import DataError, SslPhotozError
from ssl_photoz.cutouts.single import read_single, write_single

MAGIC = {b"\x89HDF\r\n\x1a\n": ".h5", b"\x93NUMPY": ".npy", b"SIMPLE  =": ".fits"}
MOST_BYTES = 64 << 20  # of one HDF5 chunk, unpacked
MOST_BANDS, MOST_SIDE_PX = 16, 1024
MEMORY_BYTES, CPU_SECONDS = 4 << 30, 20
FITS_CARD, FITS_CARDS = 80, 36 * 100


def suffix_of(head: bytes) -> str:
    """Tell a file's kind by its first bytes: ``.h5``, ``.npy`` or ``.fits``.

    Raises:
        DataError: If it is none of these.
    """
    for magic, suffix in MAGIC.items():
        if head.startswith(magic):
            return suffix
    raise DataError("this is no HDF5, NPY or FITS file; drop a cutout file of one of these kinds")


def unpack(
    source: Path, target: Path, *, row: int, bands: Sequence[str], pixscale_arcsec: float
) -> None:
    """Write one cutout of an untrusted file as a cutout file of its own.

    Args:
        source: The file, with the suffix that `suffix_of` gives it.
        target: The HDF5 file to write.
        row: Row of the cutout, where the file holds several.
        bands: Bands of an NPY or FITS file that does not state them.
        pixscale_arcsec: Pixel scale of an NPY or FITS file that does not state it, arcsec/px.

    Raises:
        DataError: If there is no such cutout, or the file claims more than it may.
    """
    try:
        if source.suffix == ".h5":
            _copy_hdf5(source, target, row)
            return
        if source.suffix == ".fits":
            _check_fits(source)
        single = read_single(source, row)
    except SslPhotozError:
        raise
    except Exception as error:  # whatever a parser says of a file made to break it
        raise DataError(f"{source} is damaged or no cutout file: {error}") from None
    write_single(target, single, bands=bands, pixscale_arcsec=pixscale_arcsec)


def _copy_hdf5(source: Path, target: Path, row: int) -> None:
    with h5py.File(source, "r") as file, h5py.File(target, "w") as clean:
        link = file.get("images", getlink=True)
        if not isinstance(link, h5py.HardLink) or not isinstance(file["images"], h5py.Dataset):
            raise DataError(f"{source} has no dataset `images` of its own at the root")
        images = file["images"]
        if images.is_virtual or images.external:
            raise DataError(f"{source} keeps its `images` in another file; drop one with pixels")
        _check_hdf5(source, images, row)
        clean["images"] = images[row : row + 1]
        clean["RA"] = clean["DEC"] = np.zeros(1)
        if (ebv_mag := _number(file, "EBV", row)) is not None:
            clean["EBV"] = np.array([ebv_mag])
        for name in ("bands", "pixscale_arcsec", "calibrated"):
            if name in file.attrs and _is_short(file.attrs[name]):
                clean.attrs[name] = file.attrs[name]


def _number(file: h5py.File, name: str, row: int) -> float | None:
    """Number of a row in a plain column; None where there is no such column, or it is not plain."""
    if not isinstance(file.get(name, getlink=True), h5py.HardLink):
        return None
    column = file[name]
    if not isinstance(column, h5py.Dataset) or column.is_virtual or column.external:
        return None
    if column.dtype.kind not in "iuf" or column.ndim != 1 or not row < len(column):
        return None
    if math.prod(column.chunks or ()) * column.dtype.itemsize > MOST_BYTES:
        return None
    return float(column[row])


def _check_hdf5(source: Path, images: h5py.Dataset, row: int) -> None:
    shape = images.shape
    if images.dtype.kind not in "uf" or len(shape) != 4:
        raise DataError(
            f"`images` of {source} are {images.dtype} of shape {shape}, expected real numbers of "
            f"shape (rows, bands, side, side)"
        )
    if shape[1] > MOST_BANDS or max(shape[2:]) > MOST_SIDE_PX:
        raise DataError(
            f"{source} claims cutouts of shape {shape[1:]}; at most {MOST_BANDS} bands of "
            f"{MOST_SIDE_PX} x {MOST_SIDE_PX} pixels are taken"
        )
    if math.prod(images.chunks or ()) * images.dtype.itemsize > MOST_BYTES:
        raise DataError(f"{source} is stored in pieces of {images.chunks}, too large to unpack")
    if not 0 <= row < shape[0]:
        raise DataError(f"{source} has rows 0 to {shape[0] - 1}, asked for row {row}")


def _check_fits(source: Path) -> None:
    """Refuse a header that does not end, or claims more than the file has."""
    from astropy.io import fits

    with source.open("rb") as file:
        head = file.read(FITS_CARD * FITS_CARDS)
        cards = range(0, len(head) - FITS_CARD + 1, FITS_CARD)
        if not any(head[at : at + FITS_CARD].rstrip() == b"END" for at in cards):
            raise DataError(f"{source} has a FITS header without end in {FITS_CARDS} lines")
        file.seek(0)
        header = fits.Header.fromfile(file)
        if header["NAXIS"] == 0:
            header = fits.Header.fromfile(file)
        there = source.stat().st_size - file.tell()
    axes = [int(header[f"NAXIS{axis}"]) for axis in range(1, int(header["NAXIS"]) + 1)]
    claimed = math.prod(axes) * abs(int(header["BITPIX"])) // 8
    if min(axes) < 1 or claimed > there:
        raise DataError(
            f"the header of {source} claims {claimed} bytes of pixels, the file has {there}"
        )


def _is_short(value: object) -> bool:
    return np.size(np.asarray(value)) <= MOST_BANDS and len(str(value)) <= 200


def _limit_resources() -> None:
    """Let the system end this process when it takes too much; not on Windows."""
    try:
        import resource
    except ImportError:
        return
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))


def main(arguments: Sequence[str]) -> int:
    """Run as a program; returns the exit status."""
    source, target, row, bands, pixscale = arguments
    _limit_resources()
    try:
        unpack(
            Path(source),
            Path(target),
            row=int(row),
            bands=bands.split(","),
            pixscale_arcsec=float(pixscale),
        )
    except SslPhotozError as error:
        print(str(error).replace(source, "the file"), file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
