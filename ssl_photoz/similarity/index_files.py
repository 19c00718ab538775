"""The files of an index folder: their names, their checksums, opening them.

``index-<rows>.faiss``, ``reduction.safetensors``, card; of an approximate index also
``vectors-<first row>.npy`` and ``trained.faiss``. An index in shards, which the card lists, has
``shard-<first row>.faiss`` for each in place of ``index-<rows>.faiss``, and what a query needs of
the catalogue: ``ra-<rows>.npy`` and other columns. Of one that names its rows ``ids-<rows>.npy``,
of one that hides some ``hidden-<sha>.npy``.
No file is changed once a card names it: growing or hiding writes others beside it, then the
card, then deletes what the new card does not name.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ssl_photoz.core import artefact
from ssl_photoz.core.artefact import Fact, atomic_path
from ssl_photoz.core.errors import ArtefactError
from ssl_photoz.core.types import Array, Bools, Floats, Ints
from ssl_photoz.embeddings.store import Embeddings
from ssl_photoz.similarity.index_faiss import (
    Approximate,
    Exact,
    FlatVectors,
    ListShards,
    Searcher,
    Vectors,
    is_divided,
    read_faiss,
)
from ssl_photoz.similarity.reduction import Reduction, VectorSource

REDUCTION = "reduction.safetensors"
TRAINED = "trained.faiss"
PLAN = "plan.json"
GROWING = "growing.json"
COLUMNS = {"id": "ids", "ra": "ra", "dec": "dec", "z": "z", "split": "split"}
OURS = (
    *(f"{name}-*.npy" for name in COLUMNS.values()),
    *("index*.faiss", "shard-*.faiss", "part-*.faiss", "vectors-*.npy", "hidden*.npy"),
    *(".*.partial.faiss", ".*.partial.npy", PLAN, GROWING),
    "lists-*.faiss",  # what an interrupted build of version 0.1 left
)
CHECKED = "checked.json"
LARGE_BYTES = 64 << 20


@dataclass(frozen=True)
class Shard:
    """A shard of an index, as its card lists it.

    Attributes:
        lists: File of its inverted lists.
        first_row: First of its catalogue rows.
        rows: Number of them.
        cells: First and last of each range of cells of the sky that it touches, as
            `ssl_photoz.catalog.sky.cells_of` numbers them; None: it may touch any.
    """

    lists: str
    first_row: int
    rows: int
    cells: tuple[tuple[int, int], ...] | None

    @classmethod
    def read(cls, said: Mapping[str, Any]) -> Shard:
        """Shard from what JSON holds."""
        cells = said["cells"]
        ranges = None if cells is None else tuple((int(a), int(b)) for a, b in cells)
        return cls(str(said["lists"]), int(said["first_row"]), int(said["rows"]), ranges)

    def touches(self, cells: Bools) -> bool:
        """Whether it may hold a galaxy in some cells, shape (`ssl_photoz.catalog.sky.CELLS`,)."""
        return self.cells is None or any(cells[a : b + 1].any() for a, b in self.cells)


def _read_shards(said: Sequence[Mapping[str, Any]]) -> tuple[Shard, ...]:
    return tuple(Shard.read(one) for one in said)


class IndexCard(artefact.Card):
    """What the card of an index says.

    Attributes:
        encoder: Checksum of the encoder that made the embeddings; empty for an array.
        shards: Name of each shard of the embeddings to its checksum, in order.
        rows: Number of vectors, hidden ones too.
        hidden: Number of rows that no search returns.
        index_type: ``flat``, ``hnsw``, ``ivf_flat``, ``ivf_sq8``, ``ivf_pq`` or ``custom``.
        factory: FAISS factory string of the index.
        shortlist: Candidates re-ranked per neighbour asked.
        effort: Lists visited, or candidates kept while walking a graph, for a few neighbours.
        recall_wanted: Fraction of the ten nearest that a search should find.
        recall_at_10: Fraction that it was measured to find; None for exact search.
        whiten: Whether every component was scaled to unit variance.
        index_shards: The shards, in the order of the catalogue; none where the index is one file.
        files: Name of each file of the folder to its checksum; empty before it is saved.
        sizes: Name of each file to its length in bytes; empty on cards of version 0.1.
        quality: Scores by redshift, see `ssl_photoz.similarity.quality.measure_quality`.
    """

    encoder = Fact(str, "")
    shards = Fact(dict[str, str], {})
    rows = Fact(int)
    hidden = Fact(int, 0)
    index_type = Fact(str, "flat")  # cards of version 0.1 do not say
    factory = Fact(str, "Flat")
    shortlist = Fact(int, 0)
    effort = Fact(int)
    recall_wanted = Fact(float, 1.0)
    recall_at_10: Fact[float | None] = Fact(float, None)
    whiten = Fact(bool, False)
    index_shards: Fact[tuple[Shard, ...]] = Fact(_read_shards, ())
    files = Fact(dict[str, str], {})
    sizes = Fact(dict[str, int], {})
    quality: Fact[dict[str, Any] | None] = Fact(dict[str, Any], None)

    @property
    def embeddings(self) -> str:
        """Checksum of the embeddings that were indexed; empty for an array."""
        return self.parents.get("embeddings", "")


def index_file(rows: int) -> str:
    """Name of the FAISS file of so many rows."""
    return f"index-{rows:012d}.faiss"


def vectors_file(first_row: int) -> str:
    """Name of the shard of vectors that begins with a row."""
    return f"vectors-{first_row:012d}.npy"


def lists_file(first_row: int) -> str:
    """Name of the inverted lists of the shard that begins with a row."""
    return f"shard-{first_row:012d}.faiss"


def part_file(rows: int) -> str:
    """Name of an unfinished index of one file that holds so many rows so far."""
    return f"part-{rows:012d}.faiss"


def facts_of(source: VectorSource, reduction: Reduction, *, whiten: bool) -> dict[str, Any]:
    """What a card says of the embeddings, and of the vectors made of them."""
    weighed = "" if source.weights is None else "weighed by block, "
    whitened = "each scaled to unit variance, " if whiten else ""
    lifted = "lifted by a constant, " if reduction.lift else ""
    facts: dict[str, Any] = {"parents": {}, "encoder": "", "simulated": False, "calibrated": True}
    if isinstance(source, Embeddings):
        facts = {
            "parents": {"embeddings": source.sha256},
            **{name: source.card.get(name) for name in ("encoder", "simulated", "calibrated")},
            "shards": dict(sorted(source.card.shards.items())),
        }
    return {
        **facts,
        "rows": len(source),
        "pca_dim": reduction.dim,
        "whiten": whiten,
        "metric": "1 - cosine",
        "vectors": f"standardised, {weighed}on principal components, {whitened}{lifted}scaled to "
        f"unit length (L2)",
    }


def ids_of(source: VectorSource) -> Array | None:
    """Ids of an embeddings folder; an array has none."""
    return integers_or_text(source.column("id")) if isinstance(source, Embeddings) else None


def integers_or_text(ids: Array) -> Array:
    """Ids as an index keeps them."""
    return ids if ids.dtype.kind in "iu" else ids.astype(str)


def check_files(folder: Path, card: IndexCard) -> None:
    """Refuse files that are not those a card describes, before any is parsed.

    A large file that was found right is not read again while its length and time of change stay
    the same: ``checked.json`` says so, where the folder can be written to.

    Raises:
        ArtefactError: If one is missing, damaged, replaced, or not in the folder.
    """
    for name in (*card.files, *(shard.lists for shard in card.index_shards)):
        if Path(name).name != name:
            raise ArtefactError(f"the card of {folder} names the file {name!r} outside of it")
        if name not in card.files:
            raise ArtefactError(f"the card of {folder} gives no checksum of {name}")
        size = _size(folder / name)
        if size != card.sizes.get(name, size):
            raise ArtefactError(
                f"{folder / name} has {size} bytes, not the {card.sizes[name]} it was written "
                f"with: it is cut short or replaced; delete {folder} and run index again"
            )
    known = _checked(folder)
    for name, sha256 in card.files.items():
        if known.get(name) == _seen(folder / name, sha256):
            continue
        if artefact.sha256_of(folder / name) != sha256:
            raise ArtefactError(
                f"{folder / name} is not the file its card describes: damaged or replaced; "
                f"delete {folder} and run index again"
            )
    note_checked(folder, card.files)


def note_checked(folder: Path, files: Mapping[str, str]) -> None:
    """Note that large files have the checksums given, so that they are not read again for it."""
    seen = {name: _seen(folder / name, sha256) for name, sha256 in files.items()}
    large = {name: facts for name, facts in seen.items() if int(facts[0]) >= LARGE_BYTES}
    if large != _checked(folder):
        with suppress(OSError):
            artefact.write_json(folder / CHECKED, large)


def _checked(folder: Path) -> dict[str, Any]:
    try:
        return artefact.read_json(folder / CHECKED)
    except (ArtefactError, OSError):
        return {}


def _seen(path: Path, sha256: str) -> list[int | str]:
    status = path.stat()
    return [status.st_size, status.st_mtime_ns, sha256]


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        raise ArtefactError(
            f"{path} is missing, but the card of the index names it; bring it back, or delete "
            f"{path.parent} and run index again"
        ) from None


def open_searcher(folder: Path, card: IndexCard, *, dim: int) -> tuple[Vectors, Searcher]:
    """Open the vectors of an index, ``dim`` long each, and what searches them.

    Raises:
        ArtefactError: If the files do not fit the card or each other.
    """
    if card.index_shards:
        return _open_sharded(folder, card, dim=dim)
    names = sorted(card.files)
    flat = card.index_type == "flat"
    path = folder / _only(name for name in names if name.startswith("index"))
    index = read_faiss(path, mapped=not flat)
    stored = FlatVectors(index) if flat else _open_vectors(folder, card)
    _require_same_rows(path, card, int(index.ntotal), int(index.d), len(stored), dim=dim)
    if isinstance(stored, FlatVectors):
        return stored, Exact(index)
    return stored, Approximate(index, stored, effort=card.effort, shortlist=card.shortlist)


def open_shards(folder: Path, card: IndexCard) -> ListShards:
    """Name the shards of an index; none is opened yet.

    Raises:
        ArtefactError: If they do not follow each other, or share no centroids.
    """
    trained = read_faiss(folder / TRAINED, mapped=False)
    if not is_divided(trained):
        raise ArtefactError(f"{folder / TRAINED} is no index that shards share; run index again")
    shards = card.index_shards
    rows = [one.rows for one in shards]
    if [one.first_row for one in shards] != [0, *np.cumsum(rows[:-1]).tolist()]:
        raise ArtefactError(f"the card of {folder} lists shards that do not follow each other")
    return ListShards(trained, [folder / one.lists for one in shards], rows)


def _open_sharded(folder: Path, card: IndexCard, *, dim: int) -> tuple[Vectors, Searcher]:
    lists, stored = open_shards(folder, card), _open_vectors(folder, card)
    rows = sum(one.rows for one in card.index_shards)
    _require_same_rows(folder, card, rows, int(lists.trained.d), len(stored), dim=dim)
    return stored, Approximate(lists, stored, effort=card.effort, shortlist=card.shortlist)


def _open_vectors(folder: Path, card: IndexCard) -> StoredVectors:
    return StoredVectors([folder / name for name in sorted(card.files) if is_vectors(name)])


def is_vectors(name: str) -> bool:
    """Whether a file holds unit vectors, by its name."""
    return name.startswith("vectors-")


def _require_same_rows(path: Path, card: IndexCard, *got: int, dim: int) -> None:
    if got != (card.rows, dim, card.rows):
        raise ArtefactError(
            f"{path} holds {got[0]} vectors of {got[1]} dimensions and {got[2]} are stored, the "
            f"card says {card.rows} of {dim}; delete the folder and run index again"
        )


def write_ids(folder: Path, ids: Array | None, *, known: Mapping[str, str]) -> dict[str, str]:
    """Write the name of each row, shape (N,); return the file's name and sha256, or nothing.

    Args:
        folder: The index folder.
        ids: Integers or text.
        known: Files that are there already, and are not written again.
    """
    if ids is None:
        return {}
    name = f"ids-{len(ids):012d}.npy"
    return {name: known[name] if name in known else _write_rows(folder / name, ids)}


def write_columns(folder: Path, embeddings: Embeddings) -> dict[str, str]:
    """Write the columns that a query needs, read a shard at a time; return names and sha256.

    Those that are there, of so many rows, are not written again.
    """
    files = {}
    for column, name in COLUMNS.items():
        path = folder / f"{name}-{len(embeddings):012d}.npy"
        if column not in embeddings.columns:
            continue
        if not path.exists():
            kinds = [_plain(shard.column(column)).dtype for shard in embeddings.shards]
            with atomic_path(path) as scratch:
                shape = (len(embeddings),)
                kept = np.lib.format.open_memmap(scratch, "w+", np.result_type(*kinds), shape)
                first = 0
                for shard in embeddings.shards:
                    values = _plain(shard.column(column))
                    kept[first : first + len(values)] = values
                    first += len(values)
                kept.flush()
        files[path.name] = artefact.sha256_of(path)
    return files


def read_columns(folder: Path, files: Iterable[str], *, rows: int) -> dict[str, Array]:
    """The columns that `write_columns` wrote, mapped, by name; none of a card without them.

    Raises:
        ArtefactError: If one is not a value per row.
    """
    found = {
        column: _read_rows(folder, files, f"{name}-", rows=rows, mapped=True)
        for column, name in COLUMNS.items()
    }
    return {column: values for column, values in found.items() if values is not None}


def _plain(values: Array) -> Array:
    return values if values.dtype.kind in "biuf" else values.astype(str)


def write_hidden(folder: Path, hidden: Bools | None) -> dict[str, str]:
    """Write which rows are hidden, shape (N,); return the file's name and sha256, or nothing."""
    if hidden is None:
        return {}
    sha256 = _write_rows(folder / "hidden.npy", hidden)
    name = f"hidden-{sha256[:12]}.npy"
    (folder / "hidden.npy").replace(folder / name)
    return {name: sha256}


def read_hidden(folder: Path, files: Iterable[str], *, rows: int) -> Bools | None:
    """Read which rows are hidden, shape (N,); None if the card names no such file.

    Raises:
        ArtefactError: If it is not one truth value per row.
    """
    return _read_rows(folder, files, "hidden-", rows=rows, dtype=bool)


def _write_rows(path: Path, values: Array) -> str:
    with atomic_path(path) as scratch:
        np.save(scratch, values, allow_pickle=False)
    return artefact.sha256_of(path)


def _read_rows(
    folder: Path,
    files: Iterable[str],
    start: str,
    *,
    rows: int,
    dtype: type | None = None,
    mapped: bool = False,
) -> Array | None:
    """Read a value per row, of any type by default, from the file whose name begins so."""
    path = next((folder / name for name in files if name.startswith(start)), None)
    if path is None:
        return None
    try:
        values: Array = np.load(path, mmap_mode="r" if mapped else None, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ArtefactError(f"{path} cannot be read ({error})") from None
    if values.shape != (rows,) or (dtype is not None and values.dtype != dtype):
        expected = "values" if dtype is None else dtype.__name__
        raise ArtefactError(
            f"{path} holds {values.dtype} of shape {values.shape}, expected {expected} of shape "
            f"({rows},)"
        )
    return np.asarray(values)  # what is mapped stays mapped


def delete_strays(folder: Path, files: Iterable[str]) -> None:
    """Delete what earlier or interrupted work left and the card does not name."""
    kept = set(files)
    for pattern in OURS:
        for path in folder.glob(pattern):
            if path.name not in kept:
                path.unlink()


def _only(names: Iterable[str]) -> str:
    found = list(names)
    if len(found) != 1:
        raise ArtefactError(f"the card names {len(found)} index files, expected one")
    return found[0]


class StoredVectors:
    """Unit vectors in ``.npy`` shards of 16-bit floats, in the order of the catalogue.

    Implements `Vectors`. Read, not mapped: one row of a mapped file can make 2 MiB resident.

    Attributes:
        dim: Length P of a vector.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        """Open some shards.

        Raises:
            ArtefactError: If there are none, or one is not a shard of vectors.
        """
        headers = [_header(path) for path in paths]
        if len({dim for _, dim, _ in headers}) != 1:
            raise ArtefactError(
                f"{len(paths)} shards of vectors {sorted({dim for _, dim, _ in headers})} long, "
                f"expected at least one and all alike; run index again"
            )
        self.dim = headers[0][1]
        self._paths = list(paths)
        self._rows = np.array([rows for rows, _, _ in headers])
        self._ends = np.cumsum(self._rows)
        self._offsets = np.array([offset for _, _, offset in headers])
        self._files = np.array([os.open(path, os.O_RDONLY) for path in paths])
        for file in self._files.tolist():
            weakref.finalize(self, os.close, file)

    def __len__(self) -> int:
        return int(self._ends[-1])

    def take(self, rows: Ints) -> Floats:
        """Unit vectors of some rows, shape (n, P).

        Raises:
            ArtefactError: If a file was cut short while it was in use.
        """
        if not len(rows):
            return np.empty((0, self.dim), np.float32)
        shard = np.searchsorted(self._ends, rows, side="right")
        # Rows that follow each other are read at once.
        follows = (np.diff(rows) == 1) & (np.diff(shard) == 0)
        starts = np.flatnonzero(np.concatenate([[True], ~follows]))
        counts, size = np.diff(np.append(starts, len(rows))), 2 * self.dim
        shard, first = shard[starts], rows[starts]
        places = self._offsets[shard] + (first - self._ends[shard] + self._rows[shard]) * size
        spans = zip(
            self._files[shard].tolist(), (counts * size).tolist(), places.tolist(), strict=True
        )
        pieces = [os.pread(*span) for span in spans]
        content = b"".join(pieces)
        if len(content) != size * len(rows):
            raise ArtefactError(f"{self._paths[0].parent} lost vectors while it was in use")
        return np.frombuffer(content, np.float16).reshape(-1, self.dim).astype(np.float32)

    def batches(self, size: int) -> Iterator[tuple[int, Floats]]:
        """First row of each batch and its vectors, at most ``size`` at a time."""
        first = 0
        for path, rows, offset in zip(self._paths, self._rows, self._offsets, strict=True):
            with path.open("rb") as file:
                file.seek(int(offset))
                for start in range(0, int(rows), size):
                    count = min(size, int(rows) - start)
                    flat = np.fromfile(file, np.float16, count * self.dim)
                    yield first, flat.reshape(count, self.dim).astype(np.float32)
                    first += count


def as_stored(unit: Floats) -> Floats:
    """Unit vectors in the precision in which they are stored, so that both measure alike."""
    return unit.astype(np.float16).astype(np.float32)


def write_vectors(path: Path, unit: Floats) -> None:
    """Write one shard of unit vectors, shape (n, P), atomically."""
    with vectors_writer(path, *unit.shape) as write:
        write(unit)


@contextmanager
def vectors_writer(path: Path, rows: int, dim: int) -> Iterator[Callable[[Floats], None]]:
    """Give a function that appends unit vectors, shape (n, P), to a shard of so many rows.

    The shard is there, whole, when this ends.
    """
    header = {"descr": "<f2", "fortran_order": False, "shape": (rows, dim)}
    with atomic_path(path) as scratch, scratch.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)

        def write(unit: Floats) -> None:
            file.write(np.ascontiguousarray(unit, "<f2").data)

        yield write


def _header(path: Path) -> tuple[int, int, int]:
    """Rows, dimensions and where in the file the first vector begins."""
    try:
        shard: Array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ArtefactError(f"{path} is not a shard of vectors ({error})") from None
    if not isinstance(shard, np.memmap) or shard.ndim != 2 or shard.dtype != np.float16:
        raise ArtefactError(f"{path} is not a shard of vectors: expected float16 of shape (n, P)")
    if not len(shard) or np.isfortran(shard):
        raise ArtefactError(f"{path} is not a shard of vectors: expected rows in C order")
    return len(shard), int(shard.shape[1]), int(shard.offset)
