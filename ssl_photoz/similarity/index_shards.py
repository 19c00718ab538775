"""Train a FAISS index, fill it shard by shard, merge the shards: each step is there or not at all.

``vectors-<first row>.npy`` and then ``lists-<end row>.faiss`` are written for one shard after the
other; what is there is not done again. Lists of shards are merged at the end; a graph cannot be,
so that its file holds every row so far and replaces the one before.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from tqdm import tqdm

from ssl_photoz.core.errors import ConfigError
from ssl_photoz.core.types import Floats
from ssl_photoz.embeddings.store import Embeddings
from ssl_photoz.similarity.index_faiss import Faiss, core_of, faiss, read_faiss, write_faiss
from ssl_photoz.similarity.index_files import TRAINED, lists_file, vectors_file
from ssl_photoz.similarity.index_types import NAMES
from ssl_photoz.similarity.index_vectors import write_vectors
from ssl_photoz.similarity.reduction import BATCH, Reduction, take_batches

POINTS_PER_LIST = 64  # vectors that each list's centroid is trained on
LEAST_POINTS = 20_000  # enough for codes of one byte
EF_CONSTRUCTION = 100  # candidates kept while a graph is built


def empty_index(folder: Path, factory: str, *, dim: int) -> Faiss:
    """Return an index without vectors: the trained one of the folder, or else an untrained one.

    Raises:
        ConfigError: If FAISS does not know the factory string.
    """
    if (folder / TRAINED).exists():
        return read_faiss(folder / TRAINED, mapped=False)
    if factory == "Flat":  # read from a file it would be of another class, and not merge
        return faiss.IndexFlatIP(dim)
    try:
        index = faiss.index_factory(dim, factory, faiss.METRIC_INNER_PRODUCT)
    except RuntimeError as error:
        raise ConfigError(
            f"index_type is {factory!r}; expected auto, {', '.join(NAMES)} or a FAISS factory "
            f"string for vectors of {dim} dimensions ({_first_line(error)})"
        ) from None
    if isinstance(core_of(index), faiss.IndexHNSW):
        core_of(index).hnsw.efConstruction = EF_CONSTRUCTION
    return index


def train(
    folder: Path, empty: Faiss, embeddings: Embeddings, reduction: Reduction, *, seed: int
) -> None:
    """Train an index on a sample, drawn with ``seed``, and keep it as ``trained.faiss``.

    Raises:
        ConfigError: If FAISS cannot train it on so many vectors.
    """
    if empty.is_trained:
        return
    lists = int(getattr(core_of(empty), "nlist", 0))
    count = min(len(embeddings), max(POINTS_PER_LIST * lists, LEAST_POINTS))
    rows = np.random.default_rng(seed).choice(len(embeddings), count, replace=False)
    batches = take_batches(embeddings, np.sort(rows))
    progress = tqdm(batches, desc="reading a sample", unit="batch")
    sample = np.concatenate([reduction.apply(batch) for batch in progress])
    try:
        with tqdm(total=1, desc=f"training on {count} vectors") as done:
            empty.train(sample)
            done.update()
    except RuntimeError as error:
        raise ConfigError(
            f"FAISS cannot train this index_type on {count} vectors ({_first_line(error)}); take "
            f"index_type=flat, or one with fewer lists and codes"
        ) from None
    write_faiss(empty, folder / TRAINED)


def write_shards(
    folder: Path,
    embeddings: Embeddings,
    reduction: Reduction,
    *,
    empty: Faiss,
    whole: Faiss,
    keep: bool,
    shard_rows: int,
) -> None:
    """Reduce and index the rows of a store that come after those of an index.

    Args:
        folder: Where the shards go.
        embeddings: The store.
        reduction: To unit vectors.
        empty: A trained index without vectors, filled anew for every shard.
        whole: The index of the rows before, in memory; grown here if it cannot be merged.
        keep: Whether the unit vectors are written too.
        shard_rows: Rows of a shard.
    """
    merges = can_merge(whole)
    written = _written(folder, whole.ntotal)
    if written and not merges:
        whole = read_faiss(folder / lists_file(written[-1]), mapped=False)
    end = written[-1] if written else int(whole.ntotal)
    for unit in _reduced(embeddings, reduction, first_row=end, shard_rows=shard_rows):
        before, end = end, end + len(unit)
        if keep:
            write_vectors(folder / vectors_file(before), unit)
        part = empty if merges else whole
        part.add(unit)
        write_faiss(part, folder / lists_file(end))
        if merges:
            empty.reset()
        else:
            (folder / lists_file(before)).unlink(missing_ok=True)


def merge_shards(folder: Path, whole: Faiss, path: Path, *, rows_before: int) -> None:
    """Merge the written shards into an index of the rows before, and write it.

    Args:
        folder: Where the shards are.
        whole: The index of the rows before, in memory; changed.
        path: Where the merged index goes.
        rows_before: How many rows were indexed before the shards.
    """
    written = _written(folder, rows_before)
    if not can_merge(whole):
        (folder / lists_file(written[-1])).replace(path)
        return
    has_ids = isinstance(core_of(whole), faiss.IndexIVF)
    for end in tqdm(written, desc="merging", unit="shard"):
        part = read_faiss(folder / lists_file(end), mapped=False)
        whole.merge_from(part, whole.ntotal if has_ids else 0)
    write_faiss(whole, path)
    for end in written:
        (folder / lists_file(end)).unlink()


def can_merge(index: Faiss) -> bool:
    """Say whether FAISS can merge two indexes of this type."""
    try:
        index.check_compatible_for_merge(index)
    except RuntimeError:
        return False
    return True


def _written(folder: Path, rows: int) -> list[int]:
    """Return where the finished shards after some rows end, increasing."""
    ends = [int(path.stem.removeprefix("lists-")) for path in folder.glob("lists-*.faiss")]
    return sorted(end for end in ends if end > rows)


def _reduced(
    embeddings: Embeddings, reduction: Reduction, *, first_row: int, shard_rows: int
) -> Iterator[Floats]:
    """Yield the unit vectors of all rows from first_row on, ``shard_rows`` at a time."""
    seen, held, count = 0, [np.empty((0, reduction.dim), np.float32)], 0
    total = len(embeddings)
    with tqdm(total=total, initial=first_row, desc="indexing", unit="galaxy") as progress:
        for batch in embeddings.batches(BATCH):
            fresh = batch[max(0, first_row - seen) :]
            seen += len(batch)
            while len(fresh):
                taken, fresh = fresh[: shard_rows - count], fresh[shard_rows - count :]
                held.append(reduction.apply(taken))
                count += len(taken)
                progress.update(len(taken))
                if count == shard_rows:
                    yield np.concatenate(held)
                    held, count = held[:1], 0
        if count:
            yield np.concatenate(held)


def _first_line(error: RuntimeError) -> str:
    return " ".join(str(error).split())[:200]
