"""What answers a query of unit vectors: FAISS, exact or approximate and then re-ranked."""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np
from tqdm import tqdm

from ssl_photoz.core.types import Bools, Floats, Ints, Neighbours
from ssl_photoz.embeddings.store import Embeddings
from ssl_photoz.similarity.index_faiss import Faiss, core_of, faiss, search_faiss
from ssl_photoz.similarity.index_vectors import Vectors
from ssl_photoz.similarity.reduction import take_batches

GPU_MAX_K = 2048  # faiss refuses more neighbours than this on a GPU
LISTED_PER_NEIGHBOUR = 8  # many neighbours asked: look through at least so many rows for each
RERANKED_VALUES = 1 << 24  # floats gathered at a time: 64 MiB


class Searcher(Protocol):
    """Finds the rows whose unit vectors have the largest inner product with a query."""

    def __len__(self) -> int:
        """Return among how many rows it searches."""
        ...

    def search(self, unit: Floats, k: int) -> tuple[Floats, Ints]:
        """Return cosines (B, K), decreasing along K, and catalogue rows (B, K); -1 for none."""
        ...


class Exact:
    """Looks at every vector; on the GPUs where there are any and they can answer.

    Implements `Searcher`.

    Attributes:
        faiss_index: The flat index that is searched.
    """

    def __init__(self, flat: Faiss, rows: Ints | None = None) -> None:
        self.faiss_index = flat
        self._rows = rows
        self._gpu: Faiss = None

    @classmethod
    def among(cls, vectors: Vectors, rows: Ints, *, dim: int) -> Exact:
        """Search among some rows only, which are copied into memory."""
        flat = faiss.IndexFlatIP(dim)
        for start in range(0, len(rows), 1 << 16):
            flat.add(vectors.take(rows[start : start + (1 << 16)]))
        return cls(flat, rows)

    def __len__(self) -> int:
        return int(self.faiss_index.ntotal)

    def search(self, unit: Floats, k: int) -> tuple[Floats, Ints]:
        """Return cosines (B, K), decreasing along K, and catalogue rows (B, K); -1 for none."""
        cosines, found = self._device(k).search(unit, k)
        if self._rows is None or not len(self):
            return cosines, found
        return cosines, np.where(found < 0, -1, self._rows[found])

    def _device(self, k: int) -> Faiss:
        if k > GPU_MAX_K or getattr(faiss, "get_num_gpus", int)() == 0:
            return self.faiss_index
        if self._gpu is None:
            self._gpu = faiss.index_cpu_to_all_gpus(self.faiss_index)
        return self._gpu


class Approximate:
    """Looks through the likeliest part of a catalogue; re-ranks by the stored vectors.

    Implements `Searcher`. Rows that are left out are skipped while searching, and more is looked
    through in proportion.

    Attributes:
        faiss_index: The index that is searched.
        effort: Lists visited, or candidates kept while walking a graph, for a few neighbours.
    """

    def __init__(
        self,
        faiss_index: Faiss,
        vectors: Vectors,
        *,
        effort: int,
        shortlist: int,
        visible: Bools | None = None,
    ) -> None:
        self.faiss_index = faiss_index
        self.effort = effort
        self._vectors = vectors
        self._shortlist = shortlist
        self._visible = visible
        self._rows = len(vectors) if visible is None else int(visible.sum())
        self._core = core_of(faiss_index)
        self._selector: dict[str, Faiss] = {} if visible is None else {"sel": _selector(visible)}
        self._made: dict[int, Faiss] = {}

    def __len__(self) -> int:
        return self._rows

    def among(self, rows: Ints) -> Approximate:
        """Search among some rows only."""
        visible = np.zeros(len(self._vectors), bool)
        visible[rows] = True
        return self._changed(self.effort, visible)

    def with_effort(self, effort: int) -> Approximate:
        """Search the same rows, looking through more or less of them."""
        return self._changed(effort, self._visible)

    def efforts(self) -> list[int]:
        """Return the efforts that make a difference to this index, increasing."""
        if isinstance(self._core, faiss.IndexIVF):
            return _steps(1, int(self._core.nlist))
        return _steps(16, 2048) if isinstance(self._core, faiss.IndexHNSW) else [1]

    def search(self, unit: Floats, k: int) -> tuple[Floats, Ints]:
        """Return cosines (B, K), decreasing along K, and catalogue rows (B, K); -1 for none."""
        asked = self.shortlisted(k)
        parameters = self.parameters(asked)
        cosines, found = search_faiss(self.faiss_index, unit, asked, parameters=parameters)
        return self._rerank(unit, found, k) if self._shortlist else (cosines, found)

    def shortlisted(self, k: int) -> int:
        """Return how many candidates are asked of FAISS for k neighbours."""
        return max(k, min(k * self._shortlist, self._rows))

    def parameters(self, asked: int) -> Faiss:
        """Return FAISS's parameters of a search for some number of candidates."""
        if asked not in self._made:
            self._made[asked] = self._make_parameters(asked)
        return self._made[asked]

    def _make_parameters(self, asked: int) -> Faiss:
        share = max(self._rows, 1) / max(len(self._vectors), 1)
        effort = math.ceil(self.effort / share)
        if isinstance(self._core, faiss.IndexIVF):
            lists = int(self._core.nlist)
            least = math.ceil(LISTED_PER_NEIGHBOUR * asked * lists / max(self._rows, 1))
            probes = min(max(effort, least), lists)
            made = faiss.SearchParametersIVF(nprobe=probes, **self._selector)
        elif isinstance(self._core, faiss.IndexHNSW):
            effort = min(max(effort, 2 * asked), len(self._vectors))
            made = faiss.SearchParametersHNSW(efSearch=effort, **self._selector)
        elif self._selector:
            made = faiss.SearchParameters(**self._selector)
        else:
            return None
        if isinstance(self.faiss_index, faiss.IndexPreTransform):
            made = faiss.SearchParametersPreTransform(index_params=made)
        return made

    def _rerank(self, unit: Floats, found: Ints, k: int) -> tuple[Floats, Ints]:
        cosines = np.empty(found.shape, np.float32)
        step = max(1, RERANKED_VALUES // (found.shape[1] * unit.shape[1]))
        for start in range(0, len(unit), step):
            some = found[start : start + step]
            near = self._vectors.take(np.maximum(some, 0).ravel()).reshape(*some.shape, -1)
            cosines[start : start + step] = (near @ unit[start : start + step, :, None])[..., 0]
        cosines[found < 0] = -np.inf
        best = np.argsort(-cosines, axis=1, kind="stable")[:, :k]
        return np.take_along_axis(cosines, best, axis=1), np.take_along_axis(found, best, axis=1)

    def _changed(self, effort: int, visible: Bools | None) -> Approximate:
        return Approximate(
            self.faiss_index,
            self._vectors,
            effort=effort,
            shortlist=self._shortlist,
            visible=visible,
        )


class FlatVectors:
    """The vectors of a flat index. Implements `Vectors`."""

    def __init__(self, flat: Faiss) -> None:
        self.faiss_index = flat

    def __len__(self) -> int:
        return int(self.faiss_index.ntotal)

    def take(self, rows: Ints) -> Floats:
        """Return the unit vectors of some rows, shape (n, P)."""
        unit: Floats = self.faiss_index.reconstruct_batch(rows)
        return unit


def exact_neighbours(queries: Floats, vectors: Floats, k: int) -> tuple[Floats, Ints]:
    """Find the k nearest of some unit vectors, by 1 - cosine, without building an index.

    Args:
        queries: Unit vectors, shape (B, P).
        vectors: Unit vectors, shape (n, P), at least k.
        k: Neighbours per query.

    Returns:
        Distances (B, K), increasing along K, and positions in ``vectors`` (B, K).
    """
    cosines, found = faiss.knn(queries, vectors, k, metric=faiss.METRIC_INNER_PRODUCT)
    return np.clip(1 - cosines, 0, 2).astype(np.float32), found


def search_rows(
    neighbours: Neighbours, embeddings: Embeddings, rows: Ints, k: int
) -> tuple[Floats, Ints]:
    """Search with some of a store's own rows as queries, a batch at a time.

    Args:
        neighbours: Where to search.
        embeddings: Where the queries are.
        rows: Increasing row numbers, shape (n,).
        k: Neighbours per query.

    Returns:
        Distances (n, K) and catalogue rows (n, K), in the order of ``rows``.
    """
    distances, found = [np.empty((0, k), np.float32)], [np.empty((0, k), np.int64)]
    with tqdm(total=len(rows), desc="searching", unit="galaxy") as progress:
        for queries in take_batches(embeddings, rows):
            near, where = neighbours.search(queries, k)
            distances.append(near)
            found.append(where)
            progress.update(len(queries))
    return np.concatenate(distances), np.concatenate(found)


def _selector(visible: Bools) -> Faiss:
    return faiss.IDSelectorBitmap(np.packbits(visible, bitorder="little"))


def _steps(least: int, most: int) -> list[int]:
    """Return whole numbers that grow by a half or a third each, from least to most."""
    powers = [least * 2**n for n in range(max(1, (most // least).bit_length()))]
    return sorted({step for one in powers for step in (one, one * 3 // 2) if step <= most} | {most})
