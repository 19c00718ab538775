"""Where cutouts lie in an HDF5 file, so that they can be read without the HDF5 library.

The library handles every cutout apart, behind a lock that all threads share. Uncompressed cutouts
can be read as plain bytes instead: straight into place, the disk told beforehand what is wanted,
which keeps it busy with many reads at once. Not through a memory map: there a truncated file kills
the process, here it is an error.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import h5py
import numpy as np

from ssl_photoz.core.types import Array, Ints

SCRATCH_BYTES = 1 << 21  # about what stays in a processor's cache


@dataclass(frozen=True)
class Layout:
    """Where the rows of an uncompressed dataset lie.

    Attributes:
        descriptor: Descriptor of the open file.
        starts: Byte at which each block of rows begins; a contiguous dataset is one block.
        block_rows: Rows in a block.
        shape: Shape of a row.
        dtype: Stored type.
        channels_last: Whether a row is (H, W, C), not (C, H, W).
    """

    descriptor: int
    starts: Ints
    block_rows: int
    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]
    channels_last: bool = False

    @property
    def row_bytes(self) -> int:
        """Bytes that a row takes."""
        return int(np.prod(self.shape)) * self.dtype.itemsize

    def read(self, rows: Ints, pixels: Array, crop: slice) -> None:
        """Read rows, in the order asked for, into an array.

        Args:
            rows: Row numbers, shape (B,).
            pixels: Array to fill, shape (B, C, crop, crop).
            crop: Slice of both axes of a row's images.

        Raises:
            OSError: If the file ends before a row does.
        """
        offsets = self.starts[rows // self.block_rows] + rows % self.block_rows * self.row_bytes
        self._announce(offsets)
        as_stored = pixels.shape[1:] == self.shape and pixels.dtype == self.dtype
        if as_stored and not self.channels_last:
            return self._fill(offsets, pixels)
        at_once = max(SCRATCH_BYTES // self.row_bytes, 1)
        scratch = np.empty((min(at_once, len(rows)), *self.shape), self.dtype)
        for first in range(0, len(rows), at_once):
            part = scratch[: len(rows) - first]
            self._fill(offsets[first : first + at_once], part)
            if self.channels_last:
                pixels[first : first + at_once] = part[:, crop, crop].transpose(0, 3, 1, 2)
            else:
                pixels[first : first + at_once] = part[:, :, crop, crop]

    def _announce(self, offsets: Ints) -> None:
        if hasattr(os, "posix_fadvise"):  # Linux
            for offset, length in _runs(offsets, self.row_bytes):
                os.posix_fadvise(self.descriptor, offset, length, os.POSIX_FADV_WILLNEED)

    def _fill(self, offsets: Ints, into: Array) -> None:
        """Read consecutive bytes at once."""
        place = into.reshape(-1).view(np.uint8).data
        done = 0
        for offset, length in _runs(offsets, self.row_bytes):
            end = done + length
            while done < end:
                got = os.preadv(self.descriptor, [place[done:end]], offset)
                if not got:
                    raise OSError(f"the file ends at byte {offset}, {end - done} bytes too soon")
                done, offset = done + got, offset + got


def find_layout(
    file: h5py.File, dataset: h5py.Dataset, *, channels_last: bool = False
) -> Layout | None:
    """Find where a dataset's rows lie; None if only the HDF5 library can read them.

    They can be read directly if they are neither compressed nor filtered, whole rows lie
    together, and all have been written.
    """
    plain = dataset.id.get_create_plist().get_nfilters() == 0 and not dataset.is_virtual
    elsewhere = file.driver != "sec2" or file.userblock_size or dataset.external
    if not plain or elsewhere or not hasattr(os, "preadv"):
        return None
    rows, shape = len(dataset), dataset.shape[1:]
    if dataset.chunks is None:
        start, block_rows = dataset.id.get_offset(), rows
        starts = [] if start is None else [start]
    elif dataset.chunks[1:] == shape:
        block_rows = dataset.chunks[0]
        found: list[tuple[int, int]] = []
        dataset.id.chunk_iter(
            lambda chunk: found.append((chunk.chunk_offset[0], chunk.byte_offset))
        )
        starts = [offset for _, offset in sorted(found)]
    else:
        return None
    if len(starts) != -(-rows // block_rows):
        return None
    return Layout(
        descriptor=file.id.get_vfd_handle(),
        starts=np.array(starts, np.int64),
        block_rows=block_rows,
        shape=shape,
        dtype=dataset.dtype,
        channels_last=channels_last,
    )


def _runs(offsets: Ints, row_bytes: int) -> list[tuple[int, int]]:
    """Merge rows that follow each other: offset and length of each run."""
    edges = np.flatnonzero(np.diff(offsets) != row_bytes) + 1
    first = np.concatenate([[0], edges, [len(offsets)]])[: None if len(offsets) else 1]
    lengths = np.diff(first) * row_bytes
    return list(zip(offsets[first[:-1]].tolist(), lengths.tolist(), strict=True))
