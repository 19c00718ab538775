"""Reduced unit vectors on disk, of which only the rows asked for are read."""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from ssl_photoz.core.artefact import atomic_path
from ssl_photoz.core.errors import ArtefactError
from ssl_photoz.core.types import Array, Floats, Ints


class Vectors(Protocol):
    """Where the unit vectors of catalogue rows come from."""

    def __len__(self) -> int:
        """Return how many there are."""
        ...

    def take(self, rows: Ints) -> Floats:
        """Return the unit vectors of some rows, shape (n, P)."""
        ...


class StoredVectors:
    """Unit vectors in ``.npy`` shards of 16-bit floats, in the order of the catalogue.

    Implements `Vectors`. Read, not mapped: one row of a mapped file can make 2 MiB resident.

    Attributes:
        dim: Length P of a vector.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        """Open some shards.

        Raises:
            ArtefactError: If there are none, or one is not a shard of vectors.
        """
        headers = [_header(path) for path in paths]
        if len({dim for _, dim, _ in headers}) != 1:
            raise ArtefactError(
                f"{len(paths)} shards of vectors {sorted({dim for _, dim, _ in headers})} long, "
                f"expected at least one and all alike; run index again"
            )
        self.dim = headers[0][1]
        self._paths = list(paths)
        self._rows = np.array([rows for rows, _, _ in headers])
        self._ends = np.cumsum(self._rows)
        self._offsets = np.array([offset for _, _, offset in headers])
        self._files = np.array([os.open(path, os.O_RDONLY) for path in paths])
        for file in self._files.tolist():
            weakref.finalize(self, os.close, file)

    def __len__(self) -> int:
        return int(self._ends[-1])

    def take(self, rows: Ints) -> Floats:
        """Return the unit vectors of some rows, shape (n, P).

        Raises:
            ArtefactError: If a file was cut short while it was in use.
        """
        shard = np.searchsorted(self._ends, rows, side="right")
        size = 2 * self.dim
        places = self._offsets[shard] + (rows - self._ends[shard] + self._rows[shard]) * size
        files = self._files[shard].tolist()
        pieces = [os.pread(f, size, at) for f, at in zip(files, places.tolist(), strict=True)]
        content = b"".join(pieces)
        if len(content) != size * len(rows):
            raise ArtefactError(f"{self._paths[0].parent} lost vectors while it was in use")
        return np.frombuffer(content, np.float16).reshape(-1, self.dim).astype(np.float32)

    def batches(self, size: int) -> Iterator[tuple[int, Floats]]:
        """Yield the first row of each batch and its vectors, at most ``size`` at a time."""
        first = 0
        for path, rows, offset in zip(self._paths, self._rows, self._offsets, strict=True):
            with path.open("rb") as file:
                file.seek(int(offset))
                for start in range(0, int(rows), size):
                    count = min(size, int(rows) - start)
                    flat = np.fromfile(file, np.float16, count * self.dim)
                    yield first, flat.reshape(count, self.dim).astype(np.float32)
                    first += count


def write_vectors(path: Path, unit: Floats) -> None:
    """Write one shard of unit vectors, shape (n, P), atomically."""
    with atomic_path(path) as scratch:
        np.save(scratch, np.ascontiguousarray(unit, np.float16), allow_pickle=False)


def _header(path: Path) -> tuple[int, int, int]:
    """Return rows, dimensions and where in the file the first vector begins."""
    try:
        shard: Array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ArtefactError(f"{path} is not a shard of vectors ({error})") from None
    if not isinstance(shard, np.memmap) or shard.ndim != 2 or shard.dtype != np.float16:
        raise ArtefactError(f"{path} is not a shard of vectors: expected float16 of shape (n, P)")
    if not len(shard) or np.isfortran(shard):
        raise ArtefactError(f"{path} is not a shard of vectors: expected rows in C order")
    return len(shard), int(shard.shape[1]), int(shard.offset)
