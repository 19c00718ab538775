"""Which FAISS index suits a catalogue, from exact to compressed.

In order: every vector looked at; a graph of neighbours; lists around centroids with whole vectors,
with a byte per dimension, with product-quantised codes. Each takes fewer bytes a galaxy than the
one before, and needs more re-ranking by the stored vectors.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass

from ssl_photoz.core.errors import ConfigError

NAMES = ("flat", "hnsw", "ivf_flat", "ivf_sq8", "ivf_pq")
FLAT_ROWS = 100_000  # exact search of these takes milliseconds on one core
HNSW_ROWS = 500_000  # a graph of more takes many minutes to build on two cores
HNSW_LINKS = 32
HNSW_LINK_BYTES = 2 * HNSW_LINKS * 4 + 24  # lowest layer, and what the upper layers add on average
ID_BYTES = 8
POINTS_PER_CENTROID = 39  # k-means in FAISS warns below this
PQ_LEAST_ROWS = 256  # centroids of one byte
MEMORY_SHARE = 0.5


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


def choose_type(asked: str, *, rows: int, dim: int, memory_bytes: float) -> IndexType:
    """Choose the index for a catalogue.

    Args:
        asked: ``auto``, one of `NAMES`, or a FAISS factory string such as ``OPQ32,IVF4096,PQ32np``.
        rows: Vectors to index.
        dim: Length of a vector.
        memory_bytes: Memory that ``auto`` keeps to when searching, where a type does.

    Returns:
        For ``auto`` the first type that is quick at this size and fits the memory, or else the
        smallest one.

    Raises:
        ConfigError: If product quantisation is asked for fewer rows than it has codes.
    """
    types = {one.name: one for one in _types(rows, dim)}
    if asked == "auto":
        limits = {"flat": FLAT_ROWS, "hnsw": HNSW_ROWS}
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
    lists = lists_for(rows)
    # np: no polysemous training, which takes minutes and serves a search that is not used here.
    codes = max(m for m in range(1, max(2, dim // 2 + 1)) if dim % m == 0)
    return (
        IndexType("flat", "Flat", 0, 4 * dim),
        IndexType("hnsw", f"HNSW{HNSW_LINKS}", 0, 4 * dim + HNSW_LINK_BYTES),
        IndexType("ivf_flat", f"IVF{lists},Flat", 0, 4 * dim + ID_BYTES),
        IndexType("ivf_sq8", f"IVF{lists},SQ8", 4, dim + ID_BYTES),
        IndexType("ivf_pq", f"IVF{lists},PQ{codes}np", 10, codes + ID_BYTES),
    )
