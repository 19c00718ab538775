"""Pasquet's SDSS galaxies: one npz with a cube, channels last, and a record array of labels.

``cube`` (N, 64, 64, 5) in u, g, r, i, z; ``labels`` with ``z``, ``EBV``, ``dered_petro_r``,
``specObjID`` and others. The cube is 13 GB and never read whole: stored uncompressed, as numpy's
``savez`` does, its rows are read where they lie in the file; compressed, they can be had in order
only, which `convert` does once. Nothing is ever unpickled.
"""

from __future__ import annotations

import math
import struct
import zipfile
from functools import partial
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from ssl_photoz.core.errors import DataError
from ssl_photoz.core.types import Array, Ints
from ssl_photoz.cutouts.formats.stored import PerProcess, Stored
from ssl_photoz.cutouts.layout import Layout
from ssl_photoz.cutouts.schema import (
    SDSS_PIXSCALE_ARCSEC,
    Overrides,
    Source,
    describe,
    require_images,
)

CUBE, LABELS = "cube.npy", "labels.npy"
# Redshift papers know these galaxies by their spectrum.
CANONICAL = {"specobjid": "id"}
LOCAL_HEADER = struct.Struct("<4s5H3I2H")
MOST_COMPRESSION = 2000
MOST_LABEL_BYTES = 1 << 32


class Member(NamedTuple):
    """An array in an npz.

    Attributes:
        shape: Shape of the array.
        dtype: Type of the array.
        header_bytes: What precedes the values.
        compressed: Whether they must be unpacked from the beginning.
        start: First byte of the values in the file, if they are not compressed.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    header_bytes: int
    compressed: bool
    start: int


def recognise(path: Path) -> str | None:
    """Recognise a zip file with `cube.npy` and `labels.npy`."""
    if not path.is_file() or not zipfile.is_zipfile(path):
        return None
    with zipfile.ZipFile(path) as archive:
        found = {CUBE, LABELS} <= set(archive.namelist())
    return "npz with `cube` and `labels`" if found else None


def open_stored(path: Path, overrides: Overrides) -> Stored:
    """Open a file of this layout.

    Raises:
        DataError: If it cannot be used; the message says why.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            cube = look_at(path, archive, CUBE)
            labels = look_at(path, archive, LABELS)
    except (zipfile.BadZipFile, OSError, KeyError, NotImplementedError) as error:
        raise DataError(f"{path} is no npz with `cube` and `labels` ({error})") from None
    if cube.compressed and not overrides.in_order:
        raise DataError(
            f"{path} is compressed: none of its cutouts can be read without all before it; run "
            f"ssl-photoz convert data={path} out=CUTOUTS.h5 once, and use that"
        )
    shape = cube.shape[:1] + cube.shape[3:] + cube.shape[1:3]
    require_images(path, shape, cube.dtype, "cube")
    columns, left_out = _columns(path, labels, rows=shape[0])
    source = describe(
        path,
        overrides,
        shape=(shape[0], shape[1], shape[2]),
        dtype=cube.dtype.name,
        usual_pixscale_arcsec=SDSS_PIXSCALE_ARCSEC,
        calibrated=cube.dtype != np.uint8,
        notes=("unit and pixel scale are not stated: taken for those of SDSS frames",),
    )
    return NpzCube(source, cube, columns, left_out)


def look_at(path: Path, archive: zipfile.ZipFile, name: str) -> Member:
    """Read the header of an array, and find where its values lie.

    Raises:
        DataError: If it holds Python objects, or claims more or less than is there.
        KeyError: If there is no such array.
    """
    info = archive.getinfo(name)
    with archive.open(info) as stream:
        shape, dtype, header_bytes = _npy_header(path, stream, name)
    claimed = math.prod(shape) * dtype.itemsize
    packed = info.compress_size * MOST_COMPRESSION
    if claimed + header_bytes != info.file_size or info.file_size > max(packed, 1 << 16):
        raise DataError(
            f"{path}: `{name}` claims {claimed} bytes as {dtype} {shape}, the file holds "
            f"{info.file_size - header_bytes}, packed in {info.compress_size}; copy it again"
        )
    compressed = info.compress_type != zipfile.ZIP_STORED
    with path.open("rb") as file:
        file.seek(info.header_offset)
        *_, name_bytes, extra_bytes = LOCAL_HEADER.unpack(file.read(LOCAL_HEADER.size))
    start = info.header_offset + LOCAL_HEADER.size + name_bytes + extra_bytes + header_bytes
    return Member(shape, dtype, header_bytes, compressed, start)


def _npy_header(path: Path, stream: IO[bytes], name: str) -> tuple[Any, np.dtype[Any], int]:
    read_header = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    try:
        version = np.lib.format.read_magic(stream)
        shape, fortran_order, dtype = read_header[version](stream)
    except (ValueError, KeyError) as error:
        raise DataError(f"{path}: `{name}` is no numpy array ({error})") from None
    if dtype.hasobject:
        raise DataError(
            f"{path}: `{name}` holds pickled Python objects, which are never loaded; whoever made "
            f"it should save numbers and text only (a record array without fields of type object)"
        )
    if fortran_order and len(shape) > 1:
        raise DataError(f"{path}: `{name}` is in Fortran order, expected rows one after the other")
    return shape, dtype, stream.tell()


def _columns(path: Path, labels: Member, *, rows: int) -> tuple[dict[str, str], tuple[str, ...]]:
    """Map canonical names to fields of the labels; and name the fields that can be no column."""
    names = labels.dtype.names
    if names is None or labels.shape != (rows,):
        raise DataError(
            f"{path}: `labels` are {labels.dtype} {labels.shape}, expected ({rows},) records"
        )
    if math.prod(labels.shape) * labels.dtype.itemsize > MOST_LABEL_BYTES:
        raise DataError(f"{path}: `labels` are larger than {MOST_LABEL_BYTES} bytes")
    columns: dict[str, str] = {}
    left_out = []
    for name in names:
        column = CANONICAL.get(name.lower(), name.lower())
        kind, shape = labels.dtype[name].base.kind, labels.dtype[name].shape
        # Identifiers that went through floating point have lost digits: better none.
        good = kind in ("iuSU" if column == "id" else "biufSU") and len(shape) < 2
        if good and column not in columns:
            columns[column] = name
        else:
            left_out.append(f"labels[{name}]")
    return columns, tuple(left_out)


class _Direct(NamedTuple):
    """Rows that lie in the file as they are."""

    file: IO[bytes]
    layout: Layout

    def read(self, rows: Ints, pixels: Array, crop: slice) -> None:
        self.layout.read(rows, pixels, crop)

    def close(self) -> None:
        self.file.close()


class _InOrder:
    """Rows that can be unpacked one after the other."""

    def __init__(self, path: Path, cube: Member) -> None:
        self._path, self._cube = path, cube
        self._archive = zipfile.ZipFile(path)
        self._stream: IO[bytes] | None = None
        self._next = 0

    def read(self, rows: Ints, pixels: Array, crop: slice) -> None:
        if (np.diff(rows) <= 0).any():
            raise OSError("it is compressed, and rows were asked for out of order")
        for place, row in enumerate(rows):
            pixels[place] = self._row(int(row))[crop, crop].transpose(2, 0, 1)

    def close(self) -> None:
        self._archive.close()

    def _row(self, row: int) -> Array:
        shape, dtype = self._cube.shape[1:], self._cube.dtype
        row_bytes = math.prod(shape) * dtype.itemsize
        if self._stream is None or row < self._next:
            self._stream = self._archive.open(CUBE)
            self._stream.read(self._cube.header_bytes)
            self._next = 0
        while self._next < row:
            self._stream.read(row_bytes)
            self._next += 1
        content = self._stream.read(row_bytes)
        self._next += 1
        if len(content) != row_bytes:
            raise OSError(f"the cube ends in row {row}")
        return np.frombuffer(content, dtype).reshape(shape)


def _open(path: Path, cube: Member) -> _Direct | _InOrder:
    if cube.compressed:
        return _InOrder(path, cube)
    file = path.open("rb")
    layout = Layout(
        descriptor=file.fileno(),
        starts=np.array([cube.start], np.int64),
        block_rows=cube.shape[0],
        shape=cube.shape[1:],
        dtype=cube.dtype,
        channels_last=True,
    )
    return _Direct(file, layout)


class NpzCube:
    """Stored cutouts of a cube in an npz; see `Stored`."""

    def __init__(
        self, source: Source, cube: Member, columns: dict[str, str], left_out: tuple[str, ...]
    ) -> None:
        self.source = source
        self.columns, self.left_out = tuple(columns), left_out
        self.attributes: dict[str, Any] = {}
        self._fields = columns
        self._opened: PerProcess[_Direct | _InOrder] = PerProcess(partial(_open, source.path, cube))

    def column(self, name: str) -> Array:
        """Read a column of the labels."""
        with np.load(self.source.path, allow_pickle=False) as arrays:
            values = arrays["labels"][self._fields[name]]
        if values.dtype.kind == "S":
            return np.char.decode(values, "utf-8", "replace")
        return np.ascontiguousarray(values, values.dtype.newbyteorder("="))

    def read(self, rows: Ints, pixels: Array, crop: slice) -> None:
        """Read rows into an array."""
        self._opened.get().read(rows, pixels, crop)

    def close(self) -> None:
        """Close the file."""
        self._opened.close()
