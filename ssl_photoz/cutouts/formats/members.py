"""Cutouts that each lie in a file of their own, or somewhere within a larger file.

Where they lie is found once; afterwards each is read by its place alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ssl_photoz.core.types import Array, Bools, Ints
from ssl_photoz.cutouts.schema import Source

READERS = 8  # threads: decoding and slow disks both let others work meanwhile


@dataclass(frozen=True)
class Places:
    """Where N cutouts lie.

    Attributes:
        folder: That the files are in.
        files: Their paths relative to it, as UTF-8 bytes, (F,).
        file: The file of each cutout, (N,).
        offset: Its first byte in that file, (N,).
        length: Its bytes, (N,).
    """

    folder: Path
    files: Array
    file: Ints
    offset: Ints
    length: Ints

    def __len__(self) -> int:
        return len(self.file)

    def path(self, row: int) -> Path:
        """File of a cutout."""
        name: bytes = self.files[self.file[row]]
        return self.folder / name.decode("utf-8", "surrogateescape")


class Members:
    """Stored cutouts at places; see `stored.Stored`.

    Args:
        source: What is known of them.
        places: Their places in files.
        columns: Their columns.
        faults: What is wrong with some rows, by row: their pixels are NaN, or 0 in 8 bits.
        decode: Makes (C, H, W) of a cutout's bytes; raises ValueError if they are damaged. A
            function of some module, so that it can be pickled.
        left_out: What is not read.
    """

    def __init__(
        self,
        source: Source,
        places: Places,
        columns: Mapping[str, Array],
        *,
        faults: Mapping[int, str],
        decode: Callable[[bytes, Source], Array],
        left_out: tuple[str, ...] = (),
    ) -> None:
        self.source = source
        self.columns = tuple(columns)
        self.left_out = left_out
        self.attributes: dict[str, Any] = {}
        self._places, self._columns, self._decode = places, dict(columns), decode
        self._faults = dict(faults)

    def column(self, name: str) -> Array:
        """A column."""
        return self._columns[name]

    def faults(self, rows: Ints) -> dict[int, str]:
        """Say what is wrong with those of the rows that are known to be bad."""
        if not self._faults:
            return {}
        return {int(row): self._faults[int(row)] for row in rows if int(row) in self._faults}

    def read(self, rows: Ints, pixels: Array, crop: slice) -> None:
        """Read rows into an array; what turns out to be damaged is at fault from then on."""
        order = np.lexsort((self._places.offset[rows], self._places.file[rows]))
        parts = [part for part in np.array_split(order, READERS) if len(part)]

        def fill(part: Ints) -> None:
            for place, content in zip(part, self._contents(rows[part]), strict=True):
                pixels[place] = self._decoded(int(rows[place]), content, crop)

        with ThreadPoolExecutor(READERS) as pool:
            for _ in pool.map(fill, parts):
                pass

    def close(self) -> None:
        """Nothing stays open."""

    def _contents(self, rows: Ints) -> Iterator[bytes]:
        places = self._places
        with ExitStack() as opened:
            now, file = -1, None
            for row in rows:
                if places.file[row] != now:
                    opened.close()
                    now, file = places.file[row], None
                    with suppress(OSError):
                        file = opened.enter_context(places.path(int(row)).open("rb", buffering=0))
                if file is None or int(row) in self._faults:
                    yield b""
                else:
                    file.seek(places.offset[row])
                    yield file.read(places.length[row])

    def _decoded(self, row: int, content: bytes, crop: slice) -> Array | float:
        if row not in self._faults:
            try:
                if len(content) != self._places.length[row]:
                    raise ValueError("its file is not there, or shorter than it was")
                return self._decode(content, self.source)[:, crop, crop]
            except (ValueError, OSError) as error:
                self._faults[row] = f"cannot be read: {error}"
        return 0 if self.source.dtype == "uint8" else np.nan


def commonest(values: Array, usable: Bools) -> Any:  # noqa: ANN401 - of any type
    """What most of the usable rows have; the first of several in sorting order."""
    found, counts = np.unique(values[usable], return_counts=True)
    return found[np.argmax(counts)]
