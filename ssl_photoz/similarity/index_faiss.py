"""FAISS: its files, read as data that may be hostile, and what answers a query of unit vectors."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Protocol

import faiss as _faiss
import numpy as np

from ssl_photoz.core.artefact import atomic_path
from ssl_photoz.core.errors import ArtefactError
from ssl_photoz.core.types import Array, Bools, Floats, Ints

faiss: Any = _faiss  # its own types lack much of what it has
Faiss = Any
WRITTEN_BYTES = 1 << 20
GPU_MAX_K = 2048  # faiss refuses more neighbours than this on a GPU
LISTED_PER_NEIGHBOUR = 8  # many neighbours asked: look through at least so many rows for each
INDEXES_KEPT = 4
RERANKED_VALUES = 1 << 24  # floats gathered at a time: 64 MiB


def search_faiss(
    index: Faiss, unit: Floats, k: int, *, parameters: Faiss = None
) -> tuple[Floats, Ints]:
    """Cosines (B, K) and positions (B, K) as FAISS finds them.

    Some libraries (pytorch_metric_learning is one) import ``faiss.contrib.torch_utils``, which
    puts another ``search`` in place that takes no parameters; the true one is still there.
    """
    search = getattr(index, "search_numpy", index.search)
    found: tuple[Floats, Ints] = search(unit, k, params=parameters)
    return found


def unit_projector(matrix: Floats, *, lift: float = 0.0) -> Callable[[Floats], Floats]:
    """What multiplies vectors (B, D) by a matrix (P, D) and scales them to unit length.

    A lift other than 0 is a further component, the same for all vectors before they are scaled.

    FAISS does it, in the threads that search: those of NumPy spin on for a while after a product,
    and a search that follows takes up to half as long again.
    """
    constant = np.zeros(len(matrix) + (lift > 0), np.float32)
    if lift > 0:
        matrix, constant[-1] = np.pad(matrix, ((0, 1), (0, 0))), lift
    transform = faiss.LinearTransform(matrix.shape[1], matrix.shape[0], True)
    faiss.copy_array_to_vector(constant, transform.b)
    faiss.copy_array_to_vector(np.ascontiguousarray(matrix, np.float32).ravel(), transform.A)
    transform.is_trained = True

    def project(vectors: Floats) -> Floats:
        projected: Floats = transform.apply(vectors)
        faiss.normalize_L2(projected)
        return projected

    return project


@contextmanager
def products_in_one_thread() -> Iterator[None]:
    """Let NumPy multiply in one thread while this lasts: for work that searches in between.

    Its threads and those of FAISS hold each other up; see `unit_projector`.
    """
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1, user_api="blas"):
        yield


def core_of(index: Faiss) -> Faiss:
    """Index behind any transforms of the vectors."""
    while isinstance(index, faiss.IndexPreTransform):
        index = faiss.downcast_index(index.index)
    return index


def write_faiss(index: Faiss, path: Path) -> None:
    """Write a FAISS index atomically."""
    with atomic_path(path) as scratch, scratch.open("wb") as file:
        faiss.write_index(index, faiss.PyCallbackIOWriter(file.write, WRITTEN_BYTES))


def write_empty(index: Faiss, path: Path) -> None:
    """Write a trained FAISS index without its vectors, to be filled with others."""
    empty = faiss.clone_index(index)
    empty.reset()
    write_faiss(empty, path)


def read_faiss(path: Path, *, mapped: bool) -> Faiss:
    """Read a FAISS index.

    Args:
        path: File that `write_faiss` wrote.
        mapped: Leave inverted lists on disk and map them; nothing can be added then.

    Raises:
        ArtefactError: If FAISS cannot read it, or it points to another file.
    """
    flags = faiss.IO_FLAG_ONDISK_SAME_DIR | faiss.IO_FLAG_READ_ONLY
    try:
        index = faiss.read_index(str(path), flags | (faiss.IO_FLAG_MMAP if mapped else 0))
    except RuntimeError as error:
        said = " ".join(str(error).split())[:200]
        raise ArtefactError(f"{path} is not an index that FAISS reads ({said})") from None
    core = core_of(index)
    if isinstance(core, faiss.IndexIVF):
        _check_lists(_lists_of(core), path)
    return index


def write_lists(index: Faiss, path: Path) -> None:
    """Write the inverted lists of an index, without its centroids; atomically."""
    lists = core_of(index).invlists
    size, count = int(lists.code_size), int(lists.nlist)
    none = faiss.IndexFlatL2(size)
    shell = faiss.IndexIVFScalarQuantizer(none, size, count, faiss.ScalarQuantizer.QT_8bit_direct)
    shell.replace_invlists(lists, False)
    shell.ntotal, shell.is_trained = lists.compute_ntotal(), True
    write_faiss(shell, path)


def is_divided(index: Faiss) -> bool:
    """Whether vectors are kept in lists around centroids, which shards can share."""
    return isinstance(core_of(index), faiss.IndexIVF)


class Visible:
    """Which catalogue rows a search may return.

    Attributes:
        rows: Shape (N,).
        count: How many.
    """

    def __init__(self, rows: Bools) -> None:
        self.rows = rows
        self.count = int(rows.sum())

    @cached_property
    def packed(self) -> Array:
        """A bit a row, as FAISS reads them."""
        return np.packbits(self.rows, bitorder="little")

    @cached_property
    def selector(self) -> Faiss:
        """FAISS's selector of them."""
        return faiss.IDSelectorBitmap(self.packed)


class Shards(Protocol):
    """Shards of an index on shared centroids, wherever they are searched."""

    trained: Faiss
    first_rows: Ints

    def candidates(
        self, numbers: Ints, unit: Floats, count: int, *, probes: int, visible: Visible | None
    ) -> tuple[Floats, Ints]:
        """Cosines (B, count) by the codes, and rows, of the nearest in some shards; -1 for none."""
        ...


class ListShards:
    """The inverted lists of an index's shards, each mapped when it is first searched.

    An index over some of them is FAISS's own over their lists stacked: it finds what it would
    find if they were one.

    Implements `Shards`.

    Attributes:
        trained: The index without vectors that all of them were filled from.
        first_rows: First catalogue row of each shard, increasing, shape (S,).
    """

    def __init__(self, trained: Faiss, paths: Sequence[Path], rows: Sequence[int]) -> None:
        """Name some shards.

        Args:
            trained: The index without vectors that all of them were filled from.
            paths: Their files, in the order of the catalogue.
            rows: Rows of each.
        """
        self.first_rows = np.cumsum([0, *rows[:-1]])
        self.trained = trained
        self._paths = list(paths)
        self._rows = list(rows)
        self._mapped: dict[int, Faiss] = {}
        self._lock = threading.Lock()
        self._index_over = lru_cache(INDEXES_KEPT)(self._over)

    def __len__(self) -> int:
        return len(self._paths)

    @property
    def opened(self) -> list[int]:
        """Numbers of the shards that were searched so far."""
        return sorted(self._mapped)

    def candidates(
        self, numbers: Ints, unit: Floats, count: int, *, probes: int, visible: Visible | None
    ) -> tuple[Floats, Ints]:
        """Cosines (B, count) by the codes, and rows, of the nearest in some shards; -1 for none."""
        index = self.over(numbers)
        selector = {} if visible is None else {"sel": visible.selector}
        parameters = list_parameters(index, probes, selector)
        return search_faiss(index, unit, count, parameters=parameters)

    def over(self, numbers: Ints) -> Faiss:
        """FAISS index over some shards; ids are catalogue rows.

        Raises:
            ArtefactError: If a shard cannot be read, or is not the one that was written.
        """
        return self._index_over(tuple(numbers.tolist()))

    def _over(self, numbers: tuple[int, ...]) -> Faiss:
        index = faiss.clone_index(self.trained)
        core = core_of(index)
        owners = [self._owner(number) for number in numbers]
        parts = [_lists_of(one) for one in owners]
        stack = parts[0] if len(parts) == 1 else _stacked(parts)
        core.replace_invlists(stack, False)
        core.ntotal = index.ntotal = sum(self._rows[number] for number in numbers)
        index.__dict__["referenced_objects"] = (stack, owners)  # C++ holds addresses only
        return index

    def _owner(self, number: int) -> Faiss:
        with self._lock:
            if number not in self._mapped:
                self._mapped[number] = self._map(number)
            return self._mapped[number]

    def _map(self, number: int) -> Faiss:
        """FAISS index that owns the lists of a shard, and unmaps them when it goes."""
        path, core = self._paths[number], core_of(self.trained)
        owner = read_faiss(path, mapped=True)
        if not is_divided(owner):
            raise ArtefactError(f"{path} is no shard of an index; run index again")
        lists = _lists_of(owner)
        got = (int(lists.nlist), int(lists.code_size), int(lists.compute_ntotal()))
        expected = (int(core.nlist), int(core.code_size), self._rows[number])
        if got != expected:
            raise ArtefactError(
                f"{path} holds {got[2]} codes of {got[1]} bytes in {got[0]} lists, expected "
                f"{expected[2]} of {expected[1]} in {expected[0]}; run index again"
            )
        return owner


def list_parameters(index: Faiss, probes: int, selector: Mapping[str, Faiss]) -> Faiss:
    """FAISS's parameters of a search through so many lists."""
    made = faiss.SearchParametersIVF(nprobe=probes, **selector)
    if isinstance(index, faiss.IndexPreTransform):
        made = faiss.SearchParametersPreTransform(index_params=made)
    return made


def _lists_of(index: Faiss) -> Faiss:
    return faiss.downcast_InvertedLists(core_of(index).invlists)


def _stacked(parts: Sequence[Faiss]) -> Faiss:
    addresses = faiss.InvertedListsPtrVector()
    for part in parts:
        addresses.push_back(part)
    return faiss.HStackInvertedLists(len(parts), addresses.data())


def _check_lists(lists: Faiss, path: Path) -> None:
    if not isinstance(lists, faiss.OnDiskInvertedLists):
        return
    if lists.filename not in ("", str(path)):
        raise ArtefactError(f"{path} keeps its lists in {lists.filename}: not written by index")
    # By default 32 threads start for every query, to fetch lists from a slow disk.
    lists.prefetch_nthread = 0


class Vectors(Protocol):
    """Where the unit vectors of catalogue rows come from."""

    def __len__(self) -> int:
        """How many there are."""
        ...

    def take(self, rows: Ints) -> Floats:
        """Unit vectors of some rows, shape (n, P)."""
        ...


class Searcher(Protocol):
    """Finds the rows whose unit vectors have the largest inner product with a query."""

    def __len__(self) -> int:
        """Among how many rows it searches."""
        ...

    def search(self, unit: Floats, k: int) -> tuple[Floats, Ints]:
        """Cosines (B, K), decreasing along K, and catalogue rows (B, K); -1 for none."""
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
        """Cosines (B, K), decreasing along K, and catalogue rows (B, K); -1 for none."""
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
    through in proportion; of an index in shards, those that hold no such row are not opened.

    Attributes:
        effort: Lists visited, or candidates kept while walking a graph, for a few neighbours.
    """

    def __init__(
        self,
        source: Faiss | Shards,
        vectors: Vectors,
        *,
        effort: int,
        shortlist: int,
        visible: Visible | None = None,
    ) -> None:
        """Search a FAISS index, or one in shards.

        Args:
            source: What is searched.
            vectors: Vectors of all rows.
            effort: See the class.
            shortlist: Candidates re-ranked per neighbour asked; 0: none.
            visible: Rows among which it searches; None: all.
        """
        self.effort = effort
        self._source: Any = source
        self._in_shards = not isinstance(source, faiss.Index)
        self._vectors = vectors
        self._shortlist = shortlist
        self._visible = visible
        self._rows = len(vectors) if visible is None else visible.count
        self._core = core_of(self._source.trained if self._in_shards else source)
        self._made: dict[int, Faiss] = {}

    @property
    def faiss_index(self) -> Faiss:
        """The index that is searched; of one in shards here, over those that hold visible rows."""
        return self._source.over(self._held) if self._in_shards else self._source

    @cached_property
    def _held(self) -> Ints:
        """Numbers of the shards that hold visible rows."""
        first_rows: Ints = self._source.first_rows
        if self._visible is None:
            return np.arange(len(first_rows))
        return np.flatnonzero(np.logical_or.reduceat(self._visible.rows, first_rows))

    def __len__(self) -> int:
        return self._rows

    def among(self, rows: Ints) -> Approximate:
        """Search among some rows only."""
        visible = np.zeros(len(self._vectors), bool)
        visible[rows] = True
        return self._changed(visible=Visible(visible))

    def with_effort(self, effort: int) -> Approximate:
        """Search the same rows, looking through more or less of them."""
        return self._changed(effort=effort)

    def searching(self, shards: Shards) -> Approximate:
        """Search the same shards elsewhere."""
        return self._changed(source=shards)

    def efforts(self) -> list[int]:
        """Efforts that make a difference to this index, increasing."""
        if is_divided(self._core):
            return _steps(1, int(self._core.nlist))
        return _steps(16, 2048) if isinstance(self._core, faiss.IndexHNSW) else [1]

    def search(self, unit: Floats, k: int) -> tuple[Floats, Ints]:
        """Cosines (B, K), decreasing along K, and catalogue rows (B, K); -1 for none."""
        asked = self.shortlisted(k)
        if self._in_shards:
            cosines, found = self._source.candidates(
                *(self._held, unit, asked), probes=self._probes(asked), visible=self._visible
            )
        else:
            parameters = self.parameters(asked)
            cosines, found = search_faiss(self._source, unit, asked, parameters=parameters)
        return self._rerank(unit, found, k) if self._shortlist else (cosines, found)

    def shortlisted(self, k: int) -> int:
        """How many candidates are asked of FAISS for k neighbours."""
        return max(k, min(k * self._shortlist, self._rows))

    def parameters(self, asked: int) -> Faiss:
        """FAISS's parameters of a search for some number of candidates."""
        if asked not in self._made:
            self._made[asked] = self._make_parameters(asked)
        return self._made[asked]

    def _make_parameters(self, asked: int) -> Faiss:
        selector = {} if self._visible is None else {"sel": self._visible.selector}
        if is_divided(self._core):
            return list_parameters(self.faiss_index, self._probes(asked), selector)
        if isinstance(self._core, faiss.IndexHNSW):
            effort = min(max(self._scaled_effort, 2 * asked), len(self._vectors))
            made = faiss.SearchParametersHNSW(efSearch=effort, **selector)
        elif selector:
            made = faiss.SearchParameters(**selector)
        else:
            return None
        if isinstance(self._source, faiss.IndexPreTransform):
            made = faiss.SearchParametersPreTransform(index_params=made)
        return made

    @property
    def _scaled_effort(self) -> int:
        share = max(self._rows, 1) / max(len(self._vectors), 1)
        return math.ceil(self.effort / share)

    def _probes(self, asked: int) -> int:
        """How many lists a search for some number of candidates looks through."""
        lists = int(self._core.nlist)
        least = math.ceil(LISTED_PER_NEIGHBOUR * asked * lists / max(self._rows, 1))
        return min(max(self._scaled_effort, least), lists)

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

    def _changed(self, **changes: Any) -> Approximate:  # noqa: ANN401 - arguments of __init__
        same = {"effort": self.effort, "shortlist": self._shortlist, "visible": self._visible}
        return Approximate(**{"source": self._source, "vectors": self._vectors, **same, **changes})


class FlatVectors:
    """The vectors of a flat index. Implements `Vectors`."""

    def __init__(self, flat: Faiss) -> None:
        self.faiss_index = flat

    def __len__(self) -> int:
        return int(self.faiss_index.ntotal)

    def take(self, rows: Ints) -> Floats:
        """Unit vectors of some rows, shape (n, P)."""
        unit: Floats = self.faiss_index.reconstruct_batch(rows)
        return unit


class MemoryVectors:
    """Unit vectors in memory, 16-bit as they would be on disk. Implements `Vectors`.

    Attributes:
        values: Shape (N, P), float16.
    """

    def __init__(self, values: Array) -> None:
        self.values = values

    def __len__(self) -> int:
        return len(self.values)

    def take(self, rows: Ints) -> Floats:
        """Unit vectors of some rows, shape (n, P)."""
        return self.values[rows].astype(np.float32)

    def batches(self, size: int) -> Iterator[tuple[int, Floats]]:
        """First row of each batch and its vectors, at most ``size`` at a time."""
        for start in range(0, len(self.values), size):
            yield start, self.values[start : start + size].astype(np.float32)


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


def _steps(least: int, most: int) -> list[int]:
    """Whole numbers that grow by a half or a third each, from least to most."""
    powers = [least * 2**n for n in range(max(1, (most // least).bit_length()))]
    return sorted({step for one in powers for step in (one, one * 3 // 2) if step <= most} | {most})
