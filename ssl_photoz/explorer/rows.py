"""Everything stored on any one galaxy, without reading its shard every time."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from ssl_photoz.core.errors import ArtefactError
from ssl_photoz.core.types import Array, Floats
from ssl_photoz.embeddings.store import Embeddings

WIDE = ("embedding", "aperture", "thumbnail")
ROW_BYTES = 1536  # about what a thumbnail and a catalogue entry take


class Shard(NamedTuple):
    """A shard in memory: embeddings (n, D), JPEG bytes or None, and the other columns."""

    vectors: Array
    thumbnails: pa.Array | None
    columns: pa.Table


class Rows:
    """Random access to a store; the shards read last stay in memory.

    Attributes:
        has_thumbnails: Whether `thumbnail` has pictures to give.
    """

    def __init__(self, embeddings: Embeddings, *, memory_bytes: int = 2 << 30) -> None:
        self._paths = [embeddings.folder / name for name in sorted(embeddings.card["shards"])]
        counts = [pq.read_metadata(path).num_rows for path in self._paths]
        self._starts = np.cumsum([0, *counts])
        self.has_thumbnails = embeddings.has_thumbnails
        self._kept = max(1, memory_bytes // (max(counts) * (2 * embeddings.dim + ROW_BYTES)))
        self._shard = lru_cache(self._kept)(self._read)

    def __len__(self) -> int:
        return int(self._starts[-1])

    def warm(self) -> None:
        """Read the shards that memory holds, so that the first click is as fast as the others."""
        first = range(min(self._kept, len(self._paths)))
        for number in tqdm(first, desc="reading embeddings", unit="shard", leave=False):
            self._shard(number)

    def vector(self, row: int) -> Floats:
        """Return one embedding, float32, shape (D,)."""
        shard, place = self._find(row)
        return np.asarray(shard.vectors[place], np.float32)

    def thumbnail(self, row: int) -> bytes | None:
        """Return the small colour picture of a galaxy, a JPEG; None if it has none."""
        shard, place = self._find(row)
        return None if shard.thumbnails is None else shard.thumbnails[place].as_py()

    def columns(self, row: int) -> dict[str, Any]:
        """Return what the store says of a galaxy besides, by column."""
        shard, place = self._find(row)
        said: dict[str, Any] = shard.columns.slice(place, 1).to_pylist()[0]
        return said

    def _find(self, row: int) -> tuple[Shard, int]:
        number = int(np.searchsorted(self._starts, row, side="right")) - 1
        return self._shard(number), int(row - self._starts[number])

    def _read(self, number: int) -> Shard:
        try:
            table = pq.read_table(self._paths[number]).combine_chunks()
        except (OSError, pa.ArrowException) as error:
            raise ArtefactError(f"cannot read {self._paths[number]}: {error}") from None
        listed = _joined(table, "embedding")
        vectors = listed.flatten().to_numpy(zero_copy_only=False)
        wide = [
            name for name in ("embedding", "aperture", "thumbnail") if name in table.schema.names
        ]
        return Shard(
            vectors.reshape(-1, listed.type.list_size),
            _joined(table, "thumbnail") if self.has_thumbnails else None,
            table.drop_columns(wide),
        )


def _joined(table: pa.Table, name: str) -> pa.Array:
    return pa.concat_arrays(table.column(name).chunks)
