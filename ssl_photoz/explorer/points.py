"""What the map is drawn from: places, and columns to colour them by."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ssl_photoz.core.errors import ArtefactError, DataError
from ssl_photoz.core.types import Array
from ssl_photoz.embeddings.store import Embeddings

NOT_SHOWN = ("row", "id", "embedding", "aperture", "thumbnail")
MOST_WORDS = 12  # a text column with more different words than this has no colours
COLUMNS_KEPT = 16


class Column(NamedTuple):
    """A column to colour by.

    Attributes:
        name: As in the store; whatever a catalogue's author wrote.
        words: Of a text column, in the order of the numbers that stand for them; else empty.
    """

    name: str
    words: tuple[str, ...] = ()


def read_places(path: Path, *, rows: int) -> Array:
    """Read a map's coordinates, in the order of the store.

    Args:
        path: ``map.parquet``, with the columns ``row``, ``x`` and ``y``.
        rows: Galaxies in the store.

    Returns:
        Little-endian float32, shape (N, 2); NaN where a galaxy has no place, or one that is not
        finite.

    Raises:
        ArtefactError: If it cannot be read, or names rows that the store does not have.
        DataError: If no galaxy has a place.
    """
    try:
        table = pq.read_table(path, columns=["row", "x", "y"])
        row, x, y = (np.asarray(table.column(name)) for name in ("row", "x", "y"))
        found = np.stack([x, y], axis=1).astype("<f4")
    except (OSError, ValueError, pa.ArrowException) as error:
        raise ArtefactError(f"cannot read {path} ({error}); run map again") from None
    if len(row) and not (row.dtype.kind in "iu" and 0 <= row.min() and row.max() < rows):
        raise ArtefactError(f"{path} names rows that are not 0 to {rows - 1}; run map again")
    places = np.full((rows, 2), np.nan, "<f4")
    places[row] = np.where(np.isfinite(found).all(axis=1, keepdims=True), found, np.nan)
    if np.isnan(places).all():
        raise DataError(f"{path} gives no galaxy a finite place on the map; run map again")
    return places


class Columns:
    """The columns that galaxies can be coloured by, each known to the page by its number.

    Attributes:
        listed: What they are, in the order of their numbers.
        extra: Those that are not in the store, by name, shape (N,) each.
    """

    def __init__(self, embeddings: Embeddings, extra: Mapping[str, Array]) -> None:
        self._embeddings = embeddings
        self.extra = dict(extra)
        self.listed = [*map(Column, extra), *_of_store(embeddings, set(extra))]
        self.numbers = lru_cache(COLUMNS_KEPT)(self._to_numbers)

    def __len__(self) -> int:
        return len(self.listed)

    def values(self, number: int) -> Array:
        """Return a column as it is stored, shape (N,)."""
        name = self.listed[number].name
        return self.extra[name] if name in self.extra else self._embeddings.column(name)

    def _to_numbers(self, number: int) -> Array:
        """Return a column as little-endian float32, shape (N,); words as their places."""
        values, words = self.values(number), self.listed[number].words
        if words:
            places = {word: place for place, word in enumerate(words)}
            return np.array([places.get(str(word), np.nan) for word in values], "<f4")
        with np.errstate(over="ignore", invalid="ignore"):
            return np.asarray(values).astype("<f4")


def _of_store(embeddings: Embeddings, taken: set[str]) -> list[Column]:
    schema = pq.read_schema(embeddings.folder / min(embeddings.card["shards"]))
    found = []
    for field in schema:
        if field.name in NOT_SHOWN or field.name in taken:
            continue
        kind = field.type
        if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind):
            found.append(Column(field.name))
        elif pa.types.is_string(kind) or pa.types.is_large_string(kind):
            words = sorted({str(word) for word in embeddings.column(field.name)})
            if len(words) <= MOST_WORDS:
                found.append(Column(field.name, tuple(words)))
    return found
