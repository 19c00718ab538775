"""Cutouts in one HDF5 dataset, with a dataset beside it for each column."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np

from ssl_photoz.core.types import Array, Ints
from ssl_photoz.cutouts.formats.hdf5 import open_hdf5, own_items, read_column
from ssl_photoz.cutouts.formats.ids import as_column
from ssl_photoz.cutouts.formats.stored import PerProcess
from ssl_photoz.cutouts.layout import Layout, find_layout
from ssl_photoz.cutouts.schema import Source

TOGETHER_BYTES = 1 << 26


class Hdf5Images:
    """Stored cutouts of one dataset; see `Stored`.

    Args:
        source: What is known of them.
        datasets: The dataset of each column, by canonical name.
        images: The dataset of the pixels.
        channels_last: Whether it is (rows, side, side, bands).
        made: Columns that are made from others, by name.
        left_out: What is not read.
        attributes: Root attributes.
        find_faults: Says what the file itself holds against some rows.
    """

    def __init__(
        self,
        source: Source,
        datasets: Mapping[str, str],
        *,
        images: str = "images",
        channels_last: bool = False,
        made: Mapping[str, Callable[[Hdf5Images], Array]] | None = None,
        left_out: tuple[str, ...] = (),
        attributes: dict[str, Any] | None = None,
        find_faults: Callable[[Hdf5Images, Ints], dict[int, str]] | None = None,
    ) -> None:
        self.source = source
        self._find_faults = find_faults
        self.left_out = left_out
        self.attributes = attributes or {}
        self._datasets, self._made = dict(datasets), dict(made or {})
        self.columns = (*self._datasets, *(name for name in self._made if name not in datasets))
        self._opened = PerProcess(partial(_open, source.path, images, channels_last))

    def column(self, name: str) -> Array:
        """Read a column."""
        if name in self._made:
            return self._made[name](self)
        values = read_column(self._opened.get().file[self._datasets[name]])
        return as_column(name, values)

    def read(self, rows: Ints, pixels: Array, crop: slice) -> None:
        """Read rows into an array."""
        opened = self._opened.get()
        if opened.layout is not None:
            opened.layout.read(rows, pixels, crop)
        else:
            _read_runs(opened.images, rows, pixels, crop, opened.channels_last)

    def faults(self, rows: Ints) -> dict[int, str]:
        """Say what the file itself holds against some of the rows."""
        return {} if self._find_faults is None else self._find_faults(self, rows)

    def dataset(self, name: str) -> h5py.Dataset | None:
        """Dataset of the file, open; None if it has none of that name."""
        found = own_items(self._opened.get().file).get(name)
        return found if isinstance(found, h5py.Dataset) else None

    def close(self) -> None:
        """Close the file."""
        self._opened.close()


class _Opened(NamedTuple):
    file: h5py.File
    images: h5py.Dataset
    layout: Layout | None
    channels_last: bool

    def close(self) -> None:
        self.file.close()


def _open(path: Path, images: str, channels_last: bool) -> _Opened:
    file = open_hdf5(path)
    layout = find_layout(file, file[images], channels_last=channels_last)
    return _Opened(file, file[images], layout, channels_last)


def _read_runs(
    images: h5py.Dataset, rows: Ints, pixels: Array, crop: slice, channels_last: bool
) -> None:
    """Read rows that share chunks together, so that each chunk is inflated once."""
    order = np.argsort(rows, kind="stable")
    wanted = rows[order]
    shared = _rows_together(images, pixels)
    apart = np.diff(wanted // shared) != 0 if shared > 1 else np.diff(wanted) != 1
    breaks = np.flatnonzero(apart) + 1
    for start, stop in zip([0, *breaks], [*breaks, len(rows)], strict=True):
        if stop > start:
            first = wanted[start]
            run = slice(first, wanted[stop - 1] + 1)
            if channels_last:
                some = images[run, crop, crop].transpose(0, 3, 1, 2)
            else:
                some = images[run, :, crop, crop]
            pixels[order[start:stop]] = some[wanted[start:stop] - first]


def _rows_together(images: h5py.Dataset, pixels: Array) -> int:
    row_bytes = images.dtype.itemsize * max(int(np.prod(pixels.shape[1:])), 1)
    rows_in_chunk = images.chunks[0] if images.chunks else 1
    return int(max(min(rows_in_chunk, TOGETHER_BYTES // row_bytes), 1))
