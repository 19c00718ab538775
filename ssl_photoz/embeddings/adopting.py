"""Vectors that somebody else's program wrote, as an embeddings folder.

They come as one ``.npy`` array, its rows those of a catalogue. ssl-legacysurvey writes them so:
``representations_000000000_001000000.npy``, a million galaxies, 2,048 float32 each, no identifiers.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from ssl_photoz.core.errors import DataError, MismatchError
from ssl_photoz.core.types import Array
from ssl_photoz.embeddings.store import EmbeddingsCard, Reject, finish, is_whole, write_shard

NOT_FINITE = "vector holds nan or inf, or numbers beyond float16"


def open_vectors(path: Path) -> Array:
    """Open an array of vectors, shape (N, D), without reading it, and without unpickling.

    Raises:
        DataError: If the file is no such array.
    """
    try:
        vectors: Array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path} cannot be read as a .npy array ({error})") from None
    if not isinstance(vectors, np.ndarray) or vectors.ndim != 2 or vectors.dtype.kind != "f":
        shape = getattr(vectors, "shape", "several arrays")
        raise DataError(f"{path} holds {shape}, expected one array of real numbers, (N, D)")
    return vectors


def adopt_vectors(
    folder: Path,
    vectors: Array,
    columns: Mapping[str, Array],
    *,
    shard_rows: int,
    config: object = None,
    parents: Mapping[str, str],
    **facts: object,
) -> EmbeddingsCard:
    """Write an embeddings folder; call again after an interruption to go on.

    Args:
        folder: Folder to write.
        vectors: Shape (N, D); kept as float16, as all embeddings are.
        columns: ``id``, ``ra``, ``dec``, ``z``, ``split`` and any other, each (N, ...).
        shard_rows: Rows per shard.
        config: Settings, for the card.
        parents: Fingerprints of the files.
        **facts: What an embeddings card says: ``encoder``, ``simulated``, ``calibrated`` ...

    Raises:
        MismatchError: If there are not as many vectors as galaxies.
        DataError: If no vector can be used.
    """
    rows = len(columns["id"])
    if len(vectors) != rows:
        raise MismatchError(
            f"{len(vectors)} vectors for {rows} galaxies; expected one for each row"
        )
    starts = range(0, rows, shard_rows)
    for number, start in enumerate(tqdm(starts, desc="adopt", unit="shard")):
        within = np.arange(start, min(start + shard_rows, rows))
        if is_whole(folder / f"part-{number:05d}.parquet", len(within)):
            continue
        shard, rejects = _shard(vectors, columns, within)
        write_shard(folder, number, shard, rejects=rejects)
    return finish(folder, rows_in=rows, config=config, parents=parents, **facts)


def _shard(
    vectors: Array, columns: Mapping[str, Array], rows: Array
) -> tuple[dict[str, Any], list[Reject]]:
    with np.errstate(over="ignore"):
        half = np.asarray(vectors[rows[0] : rows[-1] + 1]).astype(np.float16)
    good = np.isfinite(half).all(axis=1)
    rejects = [Reject(int(row), str(columns["id"][row]), NOT_FINITE) for row in rows[~good]]
    kept = rows[good]
    if not len(kept):
        return {"row": np.empty(0, np.int64)}, rejects
    shard = {name: values[kept] for name, values in columns.items()}
    return {**shard, "row": kept, "embedding": half[good]}, rejects
