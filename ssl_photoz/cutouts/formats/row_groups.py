"""Rows of Parquet files, read row group by row group, a few megabytes at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ssl_photoz.core.types import Array, Ints
from ssl_photoz.cutouts.formats.nested import as_array

BATCH_BYTES = 1 << 24
BUFFER_BYTES = 1 << 20  # or whole column chunks would be held


@dataclass(frozen=True)
class Groups:
    """Row groups in the order of their rows.

    Attributes:
        file: Which file each is in, (G,).
        number: Its number there, (G,).
        rows: Its rows, (G,).
    """

    file: Ints
    number: Ints
    rows: Ints

    @property
    def start(self) -> Ints:
        """First row of each, (G,)."""
        ends: Ints = np.cumsum(self.rows)
        return ends - self.rows

    @property
    def total(self) -> int:
        """Rows of all."""
        return int(self.rows.sum())


def look_at_groups(paths: list[Path]) -> dict[str, Array]:
    """Read the footers of files; return the attributes of `Groups`, and their different schemas."""
    from tqdm import tqdm

    found = []
    schemas: dict[str, int] = {}
    for which, path in enumerate(tqdm(paths, desc="Parquet footers", leave=False, delay=1)):
        footer = pq.read_metadata(path)
        schema = footer.schema.to_arrow_schema().remove_metadata().serialize().to_pybytes().hex()
        schemas[schema] = schemas.get(schema, 0) + 1
        found += [
            (which, number, footer.row_group(number).num_rows)
            for number in range(footer.num_row_groups)
        ]
    file, number, rows = np.array(found, np.int64).reshape(-1, 3).T
    made = {"file": file[rows > 0], "number": number[rows > 0], "rows": rows[rows > 0]}
    return made | {"schemas": np.array(list(schemas)), "files": np.array(list(schemas.values()))}


class RowGroups:
    """Pixels of row groups, for one process.

    A group is decoded from its beginning. The next read continues where the last one stopped, if it
    asks for rows after that, so that reading from one end to the other decodes everything once.

    Args:
        paths: The files.
        groups: Their row groups.
        leaf: The pixels' path in the schema.
        lengths: Lengths of the pixels' nested lists.
    """

    def __init__(
        self, paths: list[Path], groups: Groups, leaf: str, lengths: tuple[int, ...]
    ) -> None:
        self._paths, self._groups, self._leaf, self._lengths = paths, groups, leaf, lengths
        self._start = groups.start
        self._lock = Lock()
        self._file: tuple[int, pq.ParquetFile] | None = None
        self._at: tuple[int, int, Any, Iterator[Any]] | None = (
            None  # group, row, batch, those after
        )

    def read(self, rows: Ints, pixels: Array, crop: slice, faults: dict[int, str]) -> None:
        """Read rows, in any order, into an array (B, C, crop, crop).

        Args:
            rows: Row numbers, (B,).
            pixels: Array to fill.
            crop: Slice of both axes of a cutout.
            faults: Takes up the rows that are no cutouts, and why.

        Raises:
            OSError: If a file is damaged.
        """
        order = np.argsort(rows, kind="stable")
        group_of = np.searchsorted(self._start, rows[order], side="right") - 1
        with self._lock:
            for group in np.unique(group_of):
                places = order[group_of == group]
                local = rows[places] - self._start[group]
                for first, cubes, bad in self._batches(int(group), local, pixels.shape[1]):
                    low, high = np.searchsorted(local, [first, first + len(cubes)])
                    pixels[places[low:high]] = cubes[local[low:high] - first][..., crop, crop]
                    faults.update({int(self._start[group]) + row: why for row, why in bad.items()})

    def close(self) -> None:
        """Close the file that is open."""
        if self._file is not None:
            self._file[1].close()
        self._file = self._at = None

    def _batches(
        self, group: int, local: Ints, count: int
    ) -> Iterator[tuple[int, Array, dict[int, str]]]:
        """Yield first row, cubes and faults of the batches of a group with rows asked for."""
        row, batch, after = self._resume(group, int(local[0]))
        last = int(local[-1])
        try:
            while True:
                if batch is not None:
                    low, high = np.searchsorted(local, [row, row + len(batch)])
                    if high > low:
                        yield row, *_cubes(batch, row, self._lengths, count)
                    if row + len(batch) > last:
                        self._at = (group, row, batch, after)
                        return
                    row += len(batch)
                batch = next(after).column(0)
        except (pa.ArrowException, StopIteration) as error:
            raise OSError(f"{self._paths[self._groups.file[group]].name}: {error}") from None

    def _resume(self, group: int, first: int) -> tuple[int, Any, Iterator[Any]]:
        at, self._at = self._at, None
        if at is not None and at[0] == group and at[1] <= first:
            return at[1:]
        row_bytes = 4 * int(np.prod(self._lengths))
        batches = self._open(int(self._groups.file[group])).iter_batches(
            batch_size=max(BATCH_BYTES // row_bytes, 1),
            row_groups=[int(self._groups.number[group])],
            columns=[self._leaf],
            use_threads=False,
        )
        return 0, None, iter(batches)

    def _open(self, file: int) -> pq.ParquetFile:
        if self._file is None or self._file[0] != file:
            self.close()
            opened = pq.ParquetFile(self._paths[file], buffer_size=BUFFER_BYTES, pre_buffer=False)
            self._file = (file, opened)
        return self._file[1]


def _cubes(
    batch: Any,  # noqa: ANN401 - an Arrow array
    row: int,
    lengths: tuple[int, ...],
    count: int,
) -> tuple[Array, dict[int, str]]:
    """Pixels (n, C, side, side) of a batch; NaN, or 0 in 8 bits, where there are none."""
    bad: dict[int, str] = {}
    try:
        values = as_array(batch, lengths)
    except ValueError:
        values, bad = _one_by_one(batch, row, lengths)
    side = int(np.sqrt(np.prod(lengths) // count))
    return values.reshape(len(values), count, side, side), bad


def _one_by_one(batch: Any, row: int, lengths: tuple[int, ...]) -> tuple[Array, dict[int, str]]:  # noqa: ANN401
    found: list[Array | None] = []
    bad: dict[int, str] = {}
    for place in range(len(batch)):
        try:
            found.append(as_array(batch.slice(place, 1), lengths)[0])
        except ValueError as error:
            found.append(None)
            bad[row + place] = f"no cutout: {error}"
    nothing = np.full(lengths, np.nan, np.float32)
    good = next((one for one in found if one is not None), nothing)
    filler = np.zeros_like(good) if good.dtype == np.uint8 else np.full_like(good, np.nan)
    return np.stack([filler if one is None else one for one in found]), bad
