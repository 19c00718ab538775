"""Several stored cutouts as one dataset: the rows of one after the rows of another."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ssl_photoz.core.errors import DataError
from ssl_photoz.core.types import Array, Ints
from ssl_photoz.cutouts.formats.stored import KnowsFaults, Stored
from ssl_photoz.cutouts.schema import PER_BAND, Source

UNKNOWN_IS_NAN = ("ra", "dec", "z", "ebv", *PER_BAND)
MOST_OPEN = 16
EXACT_IN_FLOAT = 2**53


class Concat:
    """Stored cutouts made of several; see `Stored`.

    Columns that not every part has are left out, but for those of which NaN means unknown. Integers
    never pass through floating point: ids of different kinds become text, and parts without ids
    beside parts with some have ``name/row``. The column ``part`` says where a row came from.
    Cutouts of different sizes are cropped to the smallest.

    Args:
        path: What the user named.
        parts: The parts, in order, all with the same bands.
        names: Names of the parts.

    Raises:
        DataError: If parts cannot be one dataset; the message says which differ.
    """

    def __init__(self, path: Path, parts: Sequence[Stored], names: Sequence[str]) -> None:
        self.parts, self.names = tuple(parts), tuple(names)
        self.source = _merged(path, self.parts, self.names)
        self._starts = np.cumsum([0, *(part.source.rows for part in self.parts)])
        self._open: OrderedDict[int, None] = OrderedDict()
        shared = set.intersection(*(set(part.columns) for part in self.parts))
        every = dict.fromkeys(name for part in self.parts for name in part.columns)
        kept = [name for name in every if name in shared or name in (*UNKNOWN_IS_NAN, "id")]
        self.columns = (*kept, *(["part"] if "part" not in kept else []))
        dropped = dict.fromkeys(name for part in self.parts for name in part.left_out)
        self.left_out = (*dropped, *(name for name in every if name not in self.columns))
        self.attributes = _shared_attributes(self.parts)

    def column(self, name: str) -> Array:
        """Read a column of all parts."""
        lengths = np.diff(self._starts)
        if name == "part" and not all("part" in part.columns for part in self.parts):
            return np.repeat(np.array(self.names), lengths)
        read = [self._column(which, name) for which in range(len(self.parts))]
        return concatenated(read)

    def read(self, rows: Ints, pixels: Array, crop: slice) -> None:
        """Read rows of any parts into an array."""
        which = np.searchsorted(self._starts, rows, side="right") - 1
        for number in np.unique(which):
            self._touch(int(number))
            part, places = self.parts[number], np.flatnonzero(which == number)
            shift = (part.source.size_px - self.source.size_px) // 2
            within = slice(crop.start + shift, crop.stop + shift)
            local = rows[places] - self._starts[number]
            if len(places) == len(rows) and part.source.dtype == self.source.dtype:
                part.read(local, pixels, within)
                return
            some = np.empty((len(places), *pixels.shape[1:]), part.source.dtype)
            part.read(local, some, within)
            pixels[places] = some

    def faults(self, rows: Ints) -> dict[int, str]:
        """What the parts themselves find wrong with some of the rows."""
        found: dict[int, str] = {}
        which = np.searchsorted(self._starts, rows, side="right") - 1
        for number in np.unique(which):
            start = int(self._starts[number])
            part = self.parts[number]
            said = (
                part.faults(rows[which == number] - start) if isinstance(part, KnowsFaults) else {}
            )
            found |= {row + start: fault for row, fault in said.items()}
        return found

    def close(self) -> None:
        """Close all parts."""
        for part in self.parts:
            part.close()
        self._open.clear()

    def _touch(self, number: int) -> None:
        """Keep no more files open than a process may."""
        self._open[number] = None
        self._open.move_to_end(number)
        if len(self._open) > MOST_OPEN:
            self.parts[self._open.popitem(last=False)[0]].close()

    def _column(self, number: int, name: str) -> Array:
        part, rows = self.parts[number], self.parts[number].source.rows
        if name in part.columns:
            self._touch(number)
            return part.column(name)
        if name == "id":
            return np.array([f"{self.names[number]}/{row}" for row in range(rows)])
        shape = (rows, len(self.source.bands)) if name in PER_BAND else (rows,)
        return np.full(shape, np.nan, np.float64 if name in ("ra", "dec") else np.float32)


def concatenated(columns: Sequence[Array]) -> Array:
    """Put columns one after the other without losing a digit: as text where numbers cannot.

    >>> concatenated([np.array([2**63 - 1]), np.array([0.5])]).tolist()
    ['9223372036854775807', '0.5']
    """
    kinds = {column.dtype.kind for column in columns}
    as_text = "U" in kinds and kinds != {"U"}
    if kinds & set("iu") and np.result_type(*columns).kind == "f":
        whole = [column for column in columns if column.dtype.kind in "iu" and column.size]
        as_text |= any(np.abs(column).max() > EXACT_IN_FLOAT for column in whole)
        as_text |= "f" not in kinds  # int64 beside uint64
    return np.concatenate([column.astype(str) for column in columns] if as_text else columns)


def _merged(path: Path, parts: Sequence[Stored], names: Sequence[str]) -> Source:
    sources = [part.source for part in parts]
    first = sources[0]
    for source, name in zip(sources, names, strict=True):
        _require_alike(path, first, source, (names[0], name))
    scales = {source.pixscale_arcsec for source in sources}
    one_scale = all(math.isclose(scale, first.pixscale_arcsec, rel_tol=1e-3) for scale in scales)
    formats = ", ".join(sorted({source.read_as for source in sources if source.read_as}))
    notes = [f"{len(parts)} parts, read as {formats}"] if formats else [f"{len(parts)} parts"]
    if not one_scale:
        notes.append(f"pixel scales differ: {', '.join(f'{s:g}' for s in sorted(scales))} arcsec")
    size_px = min(source.size_px for source in sources)
    if any(source.size_px != size_px for source in sources):
        notes.append(f"cutouts of larger parts are cropped to {size_px} px")
    inner = dict.fromkeys(note for source in sources for note in source.notes)
    return replace(
        first,
        path=path,
        rows=sum(source.rows for source in sources),
        size_px=size_px,
        pixscale_arcsec=first.pixscale_arcsec if one_scale else math.nan,
        simulated=any(source.simulated for source in sources),
        dtype=np.result_type(*(source.dtype for source in sources)).name,
        notes=(*notes, *inner),
    )


def _require_alike(path: Path, one: Source, other: Source, names: tuple[str, str]) -> None:
    for what, remedy in {
        "bands": "choose bands that all have, in a dataset YAML",
        "calibrated": "flux and display values cannot be mixed",
    }.items():
        if getattr(one, what) != getattr(other, what):
            raise DataError(
                f"{path}: {what} of {names[0]} are {getattr(one, what)}, of {names[1]} "
                f"{getattr(other, what)}; {remedy}"
            )
    if (one.dtype == "uint8") != (other.dtype == "uint8"):
        raise DataError(
            f"{path}: pixels of {names[0]} are {one.dtype}, of {names[1]} {other.dtype}; 8-bit "
            f"pixels cannot be mixed with others"
        )
    if (one.size_px - other.size_px) % 2:
        raise DataError(
            f"{path}: cutouts of {names[0]} are {one.size_px} px, of {names[1]} "
            f"{other.size_px} px; the centres of odd and even sizes lie half a pixel apart"
        )


def _shared_attributes(parts: Sequence[Stored]) -> dict[str, Any]:
    """What all parts state alike."""

    def alike(name: str, value: object) -> bool:
        others = (part.attributes for part in parts[1:])
        return all(name in one and bool(np.all(one[name] == value)) for one in others)

    return {name: value for name, value in parts[0].attributes.items() if alike(name, value)}
