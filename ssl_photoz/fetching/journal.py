"""What has been fetched already: pixels in their places, and a line for every row that is done.

The pixels of a row are written before its line, and a line is appended in one piece, so that a run
killed at any moment loses at most the cutouts that were on their way. A checksum in the line finds
pixels that a power cut kept from the disk.
"""

from __future__ import annotations

import fcntl
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from ssl_photoz.core.errors import DataError
from ssl_photoz.core.types import Array, Bools, Floats

PIXELS, LINES = "pixels.raw", "journal.tsv"
FORGOTTEN = "forgotten"


class Journal:
    """The state of a fetch; made by `open_journal`.

    Attributes:
        done: Which rows are fetched or rejected, (N,).
        reasons: Why rows are rejected, by row.
        shape: Shape of a cutout, (C, H, W).
    """

    def __init__(self, lines: int, pixels: int, rows: int, shape: tuple[int, ...]) -> None:
        self._lines, self._pixels, self.shape = lines, pixels, shape
        self._nbytes = 4 * int(np.prod(shape))
        self._checksums = np.zeros(rows, np.uint32)
        self.done: Bools = np.zeros(rows, bool)
        self.reasons: dict[int, str] = {}

    def take(self, row: int, pixels: Floats | None, reason: str) -> None:
        """Store the cutout of a row, or why there is none."""
        if pixels is None:
            self._note(row, "-", " ".join(reason.split()))
            return
        content = np.ascontiguousarray(pixels, "<f4").tobytes()
        _write_all(self._pixels, content, row * self._nbytes)
        self._note(row, f"{zlib.crc32(content):08x}", "")

    def reject(self, row: int, reason: str) -> None:
        """Store why a row has no cutout."""
        self.take(row, None, reason)

    def forget(self, row: int) -> None:
        """Let a row be fetched again."""
        self._note(row, FORGOTTEN, "")

    def read(self, row: int) -> Floats | None:
        """Cutout of a row, (C, H, W); None if it is not what was stored."""
        content = os.pread(self._pixels, self._nbytes, row * self._nbytes)
        if zlib.crc32(content) != self._checksums[row] or len(content) != self._nbytes:
            return None
        return np.frombuffer(content, "<f4").reshape(self.shape)

    @property
    def kept(self) -> Array:
        """Rows with a cutout, increasing."""
        with_cutout = self.done.copy()
        with_cutout[list(self.reasons)] = False
        return np.flatnonzero(with_cutout)

    def replay(self, text: bytes) -> int:
        """Take in the lines of earlier runs; return the bytes of the whole ones."""
        whole = text.rfind(b"\n") + 1
        for line in text[:whole].decode().split("\n")[:-1]:
            row, checksum, reason = line.split("\t")
            self._apply(int(row), checksum, reason)
        return whole

    def _note(self, row: int, checksum: str, reason: str) -> None:
        _write_all(self._lines, f"{row}\t{checksum}\t{reason}\n".encode())
        self._apply(row, checksum, reason)

    def _apply(self, row: int, checksum: str, reason: str) -> None:
        self.reasons.pop(row, None)
        self.done[row] = checksum != FORGOTTEN
        if reason:
            self.reasons[row] = reason
        elif self.done[row]:
            self._checksums[row] = int(checksum, 16)


@contextmanager
def open_journal(folder: Path, rows: int, shape: tuple[int, ...]) -> Iterator[Journal]:
    """Open the state of a fetch, new or begun before; one process at a time.

    Args:
        folder: Folder of the journal; must exist.
        rows: Rows of the catalogue.
        shape: Shape of a cutout, (C, H, W).

    Raises:
        DataError: If another process has it open, or it is damaged.
    """
    flags = os.O_RDWR | os.O_CREAT
    lines = os.open(folder / LINES, flags | os.O_APPEND, 0o666)
    pixels = os.open(folder / PIXELS, flags, 0o666)
    try:
        _lock(lines, folder)
        journal = Journal(lines, pixels, rows, shape)
        try:
            whole = journal.replay((folder / LINES).read_bytes())
        except (ValueError, IndexError):
            raise DataError(f"{folder / LINES} is damaged; delete {folder} to start anew") from None
        os.truncate(lines, whole)  # a line that a kill cut short
        yield journal
    finally:
        os.close(lines)
        os.close(pixels)


def _lock(descriptor: int, folder: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise DataError(f"another process is fetching into {folder}; wait for it") from None
    except OSError:  # a file system without locks
        return


def _write_all(descriptor: int, content: bytes, offset: int | None = None) -> None:
    """Write all of it, at an offset or appended."""
    while content:
        if offset is None:
            written = os.write(descriptor, content)
        else:
            written = os.pwrite(descriptor, content, offset)
            offset += written
        content = content[written:]
