"""FAISS: searched, and as files that are written whole and read as data that may be hostile."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import faiss as _faiss
import numpy as np

from ssl_photoz.core.artefact import atomic_path
from ssl_photoz.core.errors import ArtefactError
from ssl_photoz.core.types import Floats, Ints

faiss: Any = _faiss  # its own types lack much of what it has
Faiss = Any
WRITTEN_BYTES = 1 << 20


def search_faiss(
    index: Faiss, unit: Floats, k: int, *, parameters: Faiss = None
) -> tuple[Floats, Ints]:
    """Return cosines (B, K) and positions (B, K) as FAISS finds them.

    Some libraries (pytorch_metric_learning is one) import ``faiss.contrib.torch_utils``, which
    puts another ``search`` in place that takes no parameters; the true one is still there.
    """
    search = getattr(index, "search_numpy", index.search)
    found: tuple[Floats, Ints] = search(unit, k, params=parameters)
    return found


def unit_projector(matrix: Floats) -> Callable[[Floats], Floats]:
    """Return what multiplies vectors (B, D) by a matrix (P, D) and scales them to unit length.

    FAISS does it, in the threads that search: those of NumPy spin on for a while after a product,
    and a search that follows takes up to half as long again.
    """
    transform = faiss.LinearTransform(matrix.shape[1], matrix.shape[0], False)
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
    """Return the index behind any transforms of the vectors."""
    while isinstance(index, faiss.IndexPreTransform):
        index = faiss.downcast_index(index.index)
    return index


def write_faiss(index: Faiss, path: Path) -> None:
    """Write a FAISS index atomically."""
    with atomic_path(path) as scratch, scratch.open("wb") as file:
        faiss.write_index(index, faiss.PyCallbackIOWriter(file.write, WRITTEN_BYTES))


def read_faiss(path: Path, *, mapped: bool) -> Faiss:
    """Read a FAISS index.

    Args:
        path: What `write_faiss` wrote.
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
        _check_lists(faiss.downcast_InvertedLists(core.invlists), path)
    return index


def _check_lists(lists: Faiss, path: Path) -> None:
    if not isinstance(lists, faiss.OnDiskInvertedLists):
        return
    if lists.filename not in ("", str(path)):
        raise ArtefactError(f"{path} keeps its lists in {lists.filename}: not written by index")
    # By default 32 threads start for every query, to fetch lists from a slow disk.
    lists.prefetch_nthread = 0
