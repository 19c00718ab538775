"""A cosine index over embeddings: exact or approximate, built, saved, loaded, searched."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from ssl_photoz.core import artefact
from ssl_photoz.core.errors import ConfigError, MismatchError, ShapeError
from ssl_photoz.core.types import Array, Bools, Floats, Ints, PathLike
from ssl_photoz.embeddings.store import Embeddings
from ssl_photoz.similarity.index_faiss import (
    Approximate,
    Exact,
    FlatVectors,
    MemoryVectors,
    Searcher,
    Vectors,
    exact_neighbours,
    is_divided,
    write_empty,
    write_faiss,
    write_lists,
)
from ssl_photoz.similarity.index_files import (
    REDUCTION,
    TRAINED,
    IndexCard,
    Shard,
    StoredVectors,
    as_stored,
    check_files,
    delete_strays,
    ids_of,
    index_file,
    integers_or_text,
    lists_file,
    note_checked,
    open_searcher,
    read_columns,
    read_hidden,
    vectors_file,
    write_hidden,
    write_ids,
    write_vectors,
)
from ssl_photoz.similarity.index_types import (
    card_of,
    new_index,
    train_on_sample,
    tune,
    type_for,
)
from ssl_photoz.similarity.reduction import BATCH, ArraySource, Reduction
from ssl_photoz.similarity.settings import IndexConfig

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

__all__ = ["Index", "exact_neighbours"]
EXACT_ROWS = 1_000_000  # a selection of more from an approximate index is searched like the whole
ON_EVERY_CARD = (
    *("schema_version", "kind", "made_by", "revision", "versions", "config", "parents"),
    "files",
)


class Index:
    """Nearest neighbours among embeddings, by the cosine of reduced vectors.

    Embeddings are standardised, weighed, projected on principal components, lifted and scaled to
    unit length (see `Reduction`); the distance of two is 1 - cosine there, from 0 to 2.

        index = Index.build(X, ids=catalogue["id"])
        ids, distance = index.search(X[:3], k=12)
        index.save("runs/mine/index")

    Attributes:
        reduction: Map from embedding space to unit vectors.
        stored: The unit vector of every row, shape (N, P).
        searcher: Exact or approximate search, over all rows or some.
        card: Card: what was indexed and how.
        ids: Name of each row, shape (N,); None: rows are named by their numbers.
        columns: Columns of the catalogue that an index in shards keeps, mapped, shape (N,) each.
        hidden: Rows that no search returns, shape (N,); None: there are none.
        sha256: Checksum of the card, by which children name it; empty if it was never saved.
    """

    def __init__(
        self,
        reduction: Reduction,
        stored: Vectors,
        searcher: Searcher,
        card: Mapping[str, Any],
        *,
        ids: Array | None = None,
        columns: Mapping[str, Array] = {},
        hidden: Bools | None = None,
        sha256: str = "",
    ) -> None:
        self.reduction = reduction
        self.stored = stored
        self.searcher = searcher
        self.card = IndexCard(card)
        self.ids = ids
        self.columns = columns
        self.hidden = hidden
        self.sha256 = sha256

    @classmethod
    def build(
        cls,
        X: ArrayLike | Embeddings,
        ids: ArrayLike | None = None,
        *,
        config: IndexConfig = IndexConfig(),
    ) -> Index:
        """Index every row of an array, or of an embeddings folder, in memory.

        `ssl_photoz.index` builds on disk, bounded in memory.

        Args:
            X: Embeddings, shape (N, D).
            ids: Name of each row, integers or text, shape (N,); row numbers by default, of an
                embeddings folder its column ``id``.
            config: How vectors are reduced and searched.

        Returns:
            The index.

        Raises:
            ShapeError: If X is not (N, D), or ids not (N,).
            ConfigError: If the type is unknown to FAISS or unsuited.
            DataError: If there are fewer than two embeddings or some are not finite.
        """
        source = X if isinstance(X, Embeddings) else ArraySource(X)
        names = ids_of(source) if ids is None else integers_or_text(np.asarray(ids))
        if names is not None and names.shape != (len(source),):
            raise ShapeError(f"ids have shape {names.shape}, expected ({len(source)},)")
        reduction = Reduction.fit_to(
            source, pca_dim=config.pca_dim, whiten=config.whiten, seed=config.seed
        )
        kind = type_for(config, rows=len(source), dim=reduction.dim)
        index, units = new_index(kind.factory, dim=reduction.dim), []
        train_on_sample(index, source, reduction, seed=config.seed)
        with tqdm(total=len(source), desc="indexing", unit="galaxy") as progress:
            for batch in source.batches(BATCH):
                unit = reduction.apply(batch)
                unit = unit if kind.name == "flat" else as_stored(unit)
                index.add(unit)
                units.append(unit.astype(np.float16))
                progress.update(len(batch))
        card = card_of(source, reduction, kind, config)
        if kind.name == "flat":
            return cls(reduction, FlatVectors(index), Exact(index), card, ids=names)
        stored = MemoryVectors(np.concatenate(units))
        searcher = Approximate(index, stored, effort=1, shortlist=kind.shortlist)
        return cls(reduction, stored, searcher, card, ids=names).tuned(seed=config.seed)

    def tuned(self, *, seed: int) -> Index:
        """Set how hard an approximate index looks, and note on the card what it then finds.

        Args:
            seed: Seed of the sample that the recall is measured with.
        """
        stored, searcher = self.stored, self.searcher
        if isinstance(searcher, Approximate) and isinstance(stored, StoredVectors | MemoryVectors):
            effort, recall = tune(searcher, stored, wanted=self.card.recall_wanted, seed=seed)
            self.searcher = searcher.with_effort(effort)
            found = {"effort": effort, "recall_at_10": round(recall, 4)}
            self.card = IndexCard({**self.card, **found})
        return self

    @classmethod
    def load(cls, folder: PathLike | Index) -> Index:
        """Open an index folder; lists and vectors of large ones stay on disk, mapped.

        Args:
            folder: The folder; an index is returned as it is.

        Raises:
            ArtefactError: If it is unfinished, or a file is missing or not the one written.
        """
        if isinstance(folder, Index):
            return folder
        folder = Path(folder)
        card = IndexCard(artefact.read_card(folder, "index"))
        check_files(folder, card)
        return cls.open(folder, card, sha256=artefact.sha256_of(folder))

    @classmethod
    def open(cls, folder: Path, card: Mapping[str, Any], *, sha256: str = "") -> Index:
        """Open the files that a card names, unchecked."""
        card, reduction = IndexCard(card), Reduction.load(folder / REDUCTION)
        stored, searcher = open_searcher(folder, card, dim=reduction.dim)
        columns = read_columns(folder, card.files, rows=len(stored))
        ids = columns.get("id")
        index = cls(reduction, stored, searcher, card, ids=ids, columns=columns, sha256=sha256)
        return index.hiding(read_hidden(folder, card.files, rows=len(stored)))

    def save(self, folder: PathLike, *, config: object = None, **facts: object) -> IndexCard:
        """Write the index artefact: what is not there yet of its files, then the card.

        Args:
            folder: Folder to write; for an index built on disk, the one it was built in.
            config: The resolved settings.
            **facts: More for the card.

        Returns:
            The card as written.

        Raises:
            ConfigError: If the files of an index that was built on disk are not in the folder.
        """
        folder, files = Path(folder), self.card.files
        if not files or not all((folder / name).is_file() for name in files):
            files = self._write_files(folder)
        files = {name: sha for name, sha in files.items() if not name.startswith("hidden-")}
        known = {n: fact for n, fact in self.card.items() if n not in (*ON_EVERY_CARD, *facts)}
        known["hidden"] = 0 if self.hidden is None else int(self.hidden.sum())
        files |= write_ids(folder, self.ids, known=files) | write_hidden(folder, self.hidden)
        parents = self.card.parents
        known["sizes"] = {name: (folder / name).stat().st_size for name in files}
        self.card = IndexCard(
            artefact.write_card(
                folder, "index", config=config, parents=parents, files=files, **known, **facts
            )
        )
        self.sha256 = artefact.sha256_of(folder)
        note_checked(folder, files)
        delete_strays(folder, self.card.files)
        return self.card

    def _write_files(self, folder: Path) -> dict[str, str]:
        names = [index_file(len(self.stored)), REDUCTION]
        if isinstance(self.stored, FlatVectors):
            write_faiss(self.stored.faiss_index, folder / names[0])
        elif isinstance(self.stored, MemoryVectors) and isinstance(self.searcher, Approximate):
            index, rows = self.searcher.faiss_index, len(self.stored)
            names += [vectors_file(0), TRAINED]
            write_vectors(folder / vectors_file(0), self.stored.values)
            write_empty(index, folder / TRAINED)
            if is_divided(index):
                names[0] = lists_file(0)
                write_lists(index, folder / names[0])
                shard = asdict(Shard(names[0], 0, rows, None))
                self.card = IndexCard({**self.card, "index_shards": [shard]})
            else:
                write_faiss(index, folder / names[0])
        else:
            raise ConfigError(
                f"an approximate index lives in the folder it was built in; copy that folder to "
                f"{folder} instead"
            )
        self.reduction.save(folder / REDUCTION)
        return {one: artefact.sha256_of(folder / one) for one in names}

    def __len__(self) -> int:
        return len(self.searcher)

    def check_belongs(self, embeddings: Embeddings) -> None:
        """Refuse embeddings that this index was not built from.

        Raises:
            MismatchError: Naming both sides.
        """
        if self.card.embeddings != embeddings.sha256:
            made = self.card.embeddings[:12]
            origin = f"embeddings {made}" if made else "an array"
            raise MismatchError(
                f"the index was built from {origin}, but {embeddings.folder} is "
                f"{embeddings.sha256[:12]}; run index on these embeddings"
            )

    def check_encoder(self, folder: Path) -> None:
        """Refuse an encoder that did not make the indexed embeddings.

        Raises:
            MismatchError: Naming both sides.
        """
        given, expected = artefact.sha256_of(folder), self.card.encoder
        if given != expected:
            raise MismatchError(
                f"{folder} is encoder {given[:12]}, but the index holds embeddings made by "
                f"encoder {expected[:12]}; give that encoder, or embed and index with this one"
            )

    def vectors(self, rows: Array) -> Floats:
        """Unit vectors of some rows, hidden ones too, shape (n, P)."""
        if not len(rows):
            return np.empty((0, self.reduction.dim), np.float32)
        return self.stored.take(np.asarray(rows, np.int64))

    def restricted_to(self, rows: Ints) -> Index:
        """Index over some rows only; its answers are still rows of the catalogue.

        It is exact, unless more than a million rows of an approximate index are asked for.

        Args:
            rows: Increasing row numbers; hidden ones are left out.
        """
        rows = rows if self.hidden is None else rows[~self.hidden[rows]]
        return self._among(rows, self.hidden, exact=len(rows) <= EXACT_ROWS)

    def hiding(self, hidden: Bools | None) -> Index:
        """Index over the whole catalogue less some rows: no search returns them.

        Args:
            hidden: Shape (N,); replaces what was hidden before. None: nothing.

        Raises:
            ShapeError: If it is not (N,).
        """
        rows = len(self.stored)
        if hidden is not None and hidden.shape != (rows,):
            raise ShapeError(f"hidden rows of shape {hidden.shape}, expected ({rows},)")
        if hidden is None or not hidden.any():
            return self if self.hidden is None else self._among(np.arange(rows), None, exact=False)
        return self._among(np.flatnonzero(~hidden), hidden, exact=False)

    def hides(self, hidden: Bools | None) -> bool:
        """Whether just these rows are hidden, shape (N,); None: no row."""
        wanted = np.zeros(0, bool) if hidden is None else hidden
        if self.hidden is None or not wanted.any():
            return self.hidden is None and not wanted.any()
        return np.array_equal(self.hidden, wanted)

    def spans(self, cells: Bools) -> list[tuple[int, int]]:
        """First row, and row behind the last, of each shard that may hold galaxies in some cells.

        Args:
            cells: Shape (`ssl_photoz.catalog.sky.CELLS`,).

        Returns:
            All rows, where the index is not in shards.
        """
        shards = self.card.index_shards
        touched = [
            (one.first_row, one.first_row + one.rows) for one in shards if one.touches(cells)
        ]
        return touched if shards else [(0, len(self.stored))]

    def describe(self) -> str:
        """How it searches and how much it finds."""
        recall = self.card.recall_at_10
        if recall is None:
            return "exact"
        how = f"{self.card.index_type} ({self.card.factory})"
        return f"{how}, which finds {recall:.1%} of the ten nearest"

    def searched_by(self, searcher: Searcher) -> Index:
        """The same index, searched by something else."""
        changed = copy(self)
        changed.searcher = searcher
        return changed

    def _among(self, rows: Ints, hidden: Bools | None, *, exact: bool) -> Index:
        searcher: Searcher
        if isinstance(self.searcher, Approximate) and not exact:
            searcher = self.searcher.among(rows)
        else:
            searcher = Exact.among(self.stored, rows, dim=self.reduction.dim)
        changed = self.searched_by(searcher)
        changed.hidden = hidden
        return changed

    def search(
        self,
        X: ArrayLike,
        k: int = 12,
    ) -> tuple[Array, Floats]:
        """Find the k nearest rows of each query.

        Args:
            X: Queries in embedding space, shape (B, D).
            k: Neighbours per query.

        Returns:
            Their ids (B, k), and their distances, 1 - cosine, (B, k), increasing along k. Where
            fewer than k were found, -1 or empty text, and infinity.

        Raises:
            ConfigError: If k is less than 1.
            ShapeError: If the queries are not (B, D).
            DataError: If a query is not finite.
        """
        distances, rows = self.nearest_rows(np.asarray(X, np.float32), k)
        if self.ids is None:
            return rows, distances
        none = "" if self.ids.dtype.kind == "U" else -1
        return np.where(rows < 0, none, self.ids[rows]).astype(self.ids.dtype), distances

    def nearest_rows(self, queries: Floats, k: int) -> tuple[Floats, Ints]:
        """Find the k nearest catalogue vectors of each query, by row.

        Args:
            queries: Embeddings, shape (B, D).
            k: Neighbours per query.

        Returns:
            Distances 1 - cosine, shape (B, K), increasing along K, and catalogue rows (B, K);
            infinity and -1 where fewer than k vectors were found.

        Raises:
            ConfigError: If k is less than 1.
            ShapeError: If the queries are not (B, D).
            DataError: If a query is not finite.
        """
        if k < 1:
            raise ConfigError(f"k is {k}, expected at least 1 neighbour")
        cosines, found = self.searcher.search(self.reduction.apply(queries), k)
        distances = np.minimum(np.maximum(1 - cosines, 0), 2)
        missing = found < 0
        if missing.any():
            distances[missing] = np.inf
        return distances, found
