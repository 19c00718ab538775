"""Which FAISS index suits a catalogue, its training, and how hard a search must look.

Types, from exact to compressed: every vector looked at; a graph of neighbours; lists around
centroids with whole vectors, with a byte per dimension, with product-quantised codes. Each takes
fewer bytes a galaxy than the one before, and needs more re-ranking by the stored vectors.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from ssl_photoz.core.errors import ConfigError
from ssl_photoz.core.types import Floats, Ints
from ssl_photoz.similarity.index_faiss import (
    Approximate,
    Faiss,
    MemoryVectors,
    core_of,
    exact_neighbours,
    faiss,
)
from ssl_photoz.similarity.index_files import IndexCard, StoredVectors, facts_of
from ssl_photoz.similarity.reduction import Reduction, VectorSource, take_batches
from ssl_photoz.similarity.settings import IndexConfig

NAMES = ("flat", "hnsw", "ivf_flat", "ivf_sq8", "ivf_pq")
FLAT_ROWS = 100_000  # exact search of these takes milliseconds on one core
HNSW_ROWS = 500_000  # a graph of more takes many minutes to build on two cores
HNSW_LINKS = 32
HNSW_LINK_BYTES = 2 * HNSW_LINKS * 4 + 24  # lowest layer, and what the upper layers add on average
ID_BYTES = 8
GRAPH_LISTS = 65_536  # the nearest of so many centroids are found sooner by a graph of them
POINTS_PER_CENTROID = 39  # k-means in FAISS warns below this
PQ_LEAST_ROWS = 256  # centroids of one byte
MEMORY_SHARE = 0.5
POINTS_PER_LIST = 64  # vectors that each list's centroid is trained on
LEAST_POINTS = 20_000  # enough for codes of one byte
EF_CONSTRUCTION = 100  # candidates kept while a graph is built
K = 10
QUERIES = 500
BATCH_ROWS = 1 << 16


@dataclass(frozen=True)
class IndexType:
    """One type of index.

    Attributes:
        name: One of `NAMES`, or ``custom`` for a FAISS factory string of the user's.
        factory: FAISS factory string.
        shortlist: Candidates re-ranked per neighbour asked; 0 where FAISS's cosines are exact.
        bytes_per_row: Memory taken when searching; 0 where it is not known.
    """

    name: str
    factory: str
    shortlist: int
    bytes_per_row: int


def choose_type(
    asked: str, *, rows: int, dim: int, memory_bytes: float, shared: bool = False
) -> IndexType:
    """Choose the index for a catalogue.

    Args:
        asked: ``auto``, one of `NAMES`, or a FAISS factory string such as ``OPQ32,IVF4096,PQ32np``.
        rows: Vectors to index.
        dim: Length of a vector.
        memory_bytes: Memory that ``auto`` keeps to when searching, where a type does.
        shared: Whether ``auto`` must choose a type whose centroids shards can share.

    Returns:
        For ``auto`` the first type that is quick at this size and fits the memory, or else the
        smallest one.

    Raises:
        ConfigError: If product quantisation is asked for fewer rows than it has codes.
    """
    types = {one.name: one for one in _types(rows, dim)}
    if asked == "auto":
        limits = {"flat": 0, "hnsw": 0} if shared else {"flat": FLAT_ROWS, "hnsw": HNSW_ROWS}
        for one in types.values():
            if rows <= limits.get(one.name, rows) and rows * one.bytes_per_row <= memory_bytes:
                return one
        return types["ivf_pq" if rows >= PQ_LEAST_ROWS else "ivf_sq8"]
    if asked == "ivf_pq" and rows < PQ_LEAST_ROWS:
        raise ConfigError(
            f"index_type is ivf_pq, which needs at least {PQ_LEAST_ROWS} galaxies to learn its "
            f"codes, got {rows}; take index_type=flat"
        )
    return types.get(asked) or IndexType("custom", asked, 10, 0)


def lists_for(rows: int) -> int:
    """How many inverted lists suit a catalogue: the power of two nearest 4 sqrt(rows)."""
    if rows < POINTS_PER_CENTROID:
        return 1
    wanted = round(math.log2(4 * math.sqrt(rows)))
    most = math.floor(math.log2(rows / POINTS_PER_CENTROID))
    return int(2 ** min(wanted, most))


def available_bytes() -> float:
    """Half of the memory that programs may still take on this machine, in bytes."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            kib = {line.split(":")[0]: int(line.split()[1]) for line in file}
        return MEMORY_SHARE * 1024 * kib["MemAvailable"]
    except (OSError, KeyError):
        return MEMORY_SHARE * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _types(rows: int, dim: int) -> tuple[IndexType, ...]:
    count = lists_for(rows)
    lists = f"{count}_HNSW{HNSW_LINKS}" if count >= GRAPH_LISTS else f"{count}"
    # np: no polysemous training, which takes minutes and serves a search that is not used here.
    codes, pad = (dim + 1) // 2, f"Pad{dim + 1}," if dim % 2 else ""  # a byte codes two numbers
    return (
        IndexType("flat", "Flat", 0, 4 * dim),
        IndexType("hnsw", f"HNSW{HNSW_LINKS}", 0, 4 * dim + HNSW_LINK_BYTES),
        IndexType("ivf_flat", f"IVF{lists},Flat", 0, 4 * dim + ID_BYTES),
        IndexType("ivf_sq8", f"IVF{lists},SQ8", 4, dim + ID_BYTES),
        IndexType("ivf_pq", f"{pad}IVF{lists},PQ{codes}np", 10, codes + ID_BYTES),
    )


def type_for(config: IndexConfig, *, rows: int, dim: int) -> IndexType:
    """Type that a config asks for; see `choose_type`."""
    memory_bytes = available_bytes() if config.memory_gb is None else config.memory_gb * 1e9
    shared = rows > config.rows_per_shard
    return choose_type(
        config.index_type, rows=rows, dim=dim, memory_bytes=memory_bytes, shared=shared
    )


def card_of(
    source: VectorSource, reduction: Reduction, kind: IndexType, config: IndexConfig
) -> IndexCard:
    """What the card of an index of this type says before it is built."""
    facts = facts_of(source, reduction, whiten=config.whiten)
    how = {"index_type": kind.name, "factory": kind.factory, "shortlist": kind.shortlist}
    return IndexCard({**facts, **how, "recall_wanted": config.recall})


def new_index(factory: str, *, dim: int) -> Faiss:
    """Untrained index without vectors.

    Raises:
        ConfigError: If FAISS does not know the factory string.
    """
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


def train_on_sample(empty: Faiss, source: VectorSource, reduction: Reduction, *, seed: int) -> bool:
    """Train an index on a sample, drawn with ``seed``; False if it needs no training.

    Raises:
        ConfigError: If FAISS cannot train it on so many vectors.
    """
    if empty.is_trained:
        return False
    lists = int(getattr(core_of(empty), "nlist", 0))
    count = min(len(source), max(POINTS_PER_LIST * lists, LEAST_POINTS))
    rows = np.random.default_rng(seed).choice(len(source), count, replace=False)
    batches = take_batches(source, np.sort(rows))
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
    return True


def _first_line(error: RuntimeError) -> str:
    return " ".join(str(error).split())[:200]


def tune(
    searcher: Approximate, stored: StoredVectors | MemoryVectors, *, wanted: float, seed: int
) -> tuple[int, float]:
    """Find the least effort that finds enough of the ten nearest neighbours.

    Asks for the neighbours of catalogue rows, drawn with ``seed``, and does not count a row's
    finding itself.


    Returns:
        The effort and the recall measured with it; the most effort where none is enough.
    """
    rng = np.random.default_rng(seed)
    own = np.sort(rng.choice(len(stored), min(QUERIES, len(stored)), replace=False))
    unit = stored.take(own)
    true = exact_rows(stored, unit, K + 1)
    effort, recall = 0, 0.0
    for effort in searcher.efforts():
        _, found = searcher.with_effort(effort).search(unit, K + 1)
        recall = recall_of(found, true, own=own)
        if recall >= wanted:
            break
    return effort, recall


def exact_rows(stored: StoredVectors | MemoryVectors, unit: Floats, k: int) -> Ints:
    """Rows of the k nearest stored vectors of each query, shape (B, K)."""
    distances = np.full((len(unit), k), np.inf, np.float32)
    rows = np.full((len(unit), k), -1, np.int64)
    with tqdm(total=len(stored), desc="searching exactly", unit="galaxy") as progress:
        for first, batch in stored.batches(BATCH_ROWS):
            near, found = exact_neighbours(unit, batch, min(k, len(batch)))
            distances = np.concatenate([distances, near], axis=1)
            rows = np.concatenate([rows, first + found], axis=1)
            best = np.argsort(distances, axis=1, kind="stable")[:, :k]
            distances = np.take_along_axis(distances, best, axis=1)
            rows = np.take_along_axis(rows, best, axis=1)
            progress.update(len(batch))
    return rows


def recall_of(found: Ints, true: Ints, *, own: Ints | None = None) -> float:
    """Fraction of true neighbours that were found.

    Args:
        found: Rows, shape (B, K); -1 for none.
        true: Rows, shape (B, K'); -1 for none.
        own: Each query's own row, shape (B,), which does not count.
    """
    counted = true >= 0
    if own is not None:
        counted &= true != own[:, None]
    hit = (true[:, :, None] == found[:, None, :]).any(axis=2)
    return float(hit[counted].mean()) if counted.any() else 1.0
