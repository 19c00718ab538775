"""A cosine index over embeddings: exact or approximate, saved, loaded, searched."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from ssl_photoz.core import artefact
from ssl_photoz.core.errors import ConfigError, MismatchError, ShapeError
from ssl_photoz.core.types import Array, Bools, Floats, Ints, Neighbours
from ssl_photoz.embeddings.store import Embeddings
from ssl_photoz.similarity.index_faiss import (
    Approximate,
    Exact,
    FlatVectors,
    Searcher,
    Vectors,
    exact_neighbours,
    faiss,
    write_faiss,
)
from ssl_photoz.similarity.index_files import (
    REDUCTION,
    check_files,
    delete_strays,
    facts_of,
    index_file,
    open_searcher,
    read_hidden,
    write_hidden,
)
from ssl_photoz.similarity.reduction import BATCH, Reduction, take_batches

__all__ = ["Index", "exact_neighbours", "search_rows"]
EXACT_ROWS = 1_000_000  # a selection of more from an approximate index is searched like the whole
ON_EVERY_CARD = (
    *("schema_version", "kind", "made_by", "revision", "versions", "config", "parents"),
    "files",
)


class Index:
    """Every catalogue vector, reduced to unit length, and how to search among them.

    Implements `ssl_photoz.core.types.Neighbours`; distance is 1 - cosine, from 0 to 2.

    Attributes:
        reduction: From embedding space to unit vectors.
        stored: The unit vector of every catalogue row.
        searcher: What answers: exact or approximate, over all rows or some.
        facts: What was indexed and how: ``embeddings`` (sha256), ``rows``, ``index_type`` ...
        hidden: Rows that no search returns, shape (N,); None: there are none.
    """

    def __init__(
        self,
        reduction: Reduction,
        stored: Vectors,
        searcher: Searcher,
        facts: Mapping[str, Any],
        *,
        hidden: Bools | None = None,
    ) -> None:
        self.reduction = reduction
        self.stored = stored
        self.searcher = searcher
        self.facts = dict(facts)
        self.hidden = hidden

    @classmethod
    def build(cls, embeddings: Embeddings, *, pca_dim: int = 128, seed: int = 0) -> Index:
        """Index every row of an embeddings folder in memory, exactly.

        `ssl_photoz.similarity.index_building.build_index` builds the other types, on disk.

        Args:
            embeddings: What to index.
            pca_dim: Principal components to keep.
            seed: Of the sample that the components are fitted on.

        Raises:
            DataError: If there are fewer than two embeddings or some are not finite.
        """
        reduction = Reduction.fit_to(embeddings, pca_dim=pca_dim, seed=seed)
        flat = faiss.IndexFlatIP(reduction.dim)
        with tqdm(total=len(embeddings), desc="indexing", unit="galaxy") as progress:
            for batch in embeddings.batches(BATCH):
                flat.add(reduction.apply(batch))
                progress.update(len(batch))
        facts = {**facts_of(embeddings, reduction, whiten=False), "index_type": "flat"}
        return cls(reduction, FlatVectors(flat), Exact(flat), facts)

    @classmethod
    def load(cls, folder: Path) -> Index:
        """Open an index artefact; lists and vectors of large ones stay on disk, mapped.

        Raises:
            ArtefactError: If it is unfinished, or a file is missing or not the one written.
        """
        card = artefact.read_card(folder, "index")
        check_files(folder, card["files"])
        return cls.open(folder, {**card, "embeddings": card["parents"]["embeddings"]})

    @classmethod
    def open(cls, folder: Path, facts: Mapping[str, Any]) -> Index:
        """Open the files that ``facts["files"]`` names, unchecked."""
        reduction = Reduction.load(folder / REDUCTION)
        stored, searcher = open_searcher(folder, facts, dim=reduction.dim)
        index = cls(reduction, stored, searcher, facts)
        return index.hiding(read_hidden(folder, facts["files"], rows=len(stored)))

    def save(self, folder: Path, *, config: object = None, **facts: object) -> artefact.Card:
        """Write the index artefact: what is not there yet of its files, then the card.

        Args:
            folder: Where to; for an approximate index, the folder it was built in.
            config: The resolved settings.
            **facts: More for the card.

        Raises:
            ConfigError: If the files of an approximate index are not in the folder.
        """
        files = dict(self.facts.get("files", {}))
        if not files or not all((folder / name).is_file() for name in files):
            files = self._write_files(folder)
        files = {name: sha for name, sha in files.items() if not name.startswith("hidden-")}
        known = {n: fact for n, fact in self.facts.items() if n not in (*ON_EVERY_CARD, *facts)}
        card = artefact.write_card(
            folder,
            "index",
            config=config,
            parents={"embeddings": str(known.pop("embeddings"))},
            files=files | write_hidden(folder, self.hidden),
            **{**known, "hidden": 0 if self.hidden is None else int(self.hidden.sum())},
            **facts,
        )
        delete_strays(folder, card["files"])
        return card

    def _write_files(self, folder: Path) -> dict[str, str]:
        if not isinstance(self.stored, FlatVectors):
            raise ConfigError(
                f"an approximate index lives in the folder it was built in; copy that folder to "
                f"{folder} instead"
            )
        name = index_file(len(self.stored))
        self.reduction.save(folder / REDUCTION)
        write_faiss(self.stored.faiss_index, folder / name)
        return {one: artefact.sha256_of(folder / one) for one in (name, REDUCTION)}

    def __len__(self) -> int:
        return len(self.searcher)

    def check_belongs(self, embeddings: Embeddings) -> None:
        """Refuse embeddings that this index was not built from.

        Raises:
            MismatchError: Naming both sides.
        """
        if self.facts["embeddings"] != embeddings.sha256:
            raise MismatchError(
                f"the index was built from embeddings {self.facts['embeddings'][:12]}, but "
                f"{embeddings.folder} is {embeddings.sha256[:12]}; run index on these embeddings"
            )

    def check_encoder(self, folder: Path) -> None:
        """Refuse an encoder that did not make the indexed embeddings.

        Raises:
            MismatchError: Naming both sides.
        """
        given, expected = artefact.sha256_of(folder), str(self.facts["encoder"])
        if given != expected:
            raise MismatchError(
                f"{folder} is encoder {given[:12]}, but the index holds embeddings made by "
                f"encoder {expected[:12]}; give that encoder, or embed and index with this one"
            )

    def vectors(self, rows: Array) -> Floats:
        """Return the unit vectors of some rows, hidden ones too, shape (n, P)."""
        if not len(rows):
            return np.empty((0, self.reduction.dim), np.float32)
        return self.stored.take(np.asarray(rows, np.int64))

    def restricted_to(self, rows: Ints) -> Index:
        """Return an index over some rows only; its answers are still rows of the catalogue.

        It is exact, unless more than a million rows of an approximate index are asked for.

        Args:
            rows: Increasing row numbers; hidden ones are left out.
        """
        rows = rows if self.hidden is None else rows[~self.hidden[rows]]
        return self._among(rows, self.hidden, exact=len(rows) <= EXACT_ROWS)

    def hiding(self, hidden: Bools | None) -> Index:
        """Return the index over the whole catalogue less some rows: no search returns them.

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
        """Say whether just these rows are hidden, shape (N,); None: no row."""
        wanted = np.zeros(0, bool) if hidden is None else hidden
        if self.hidden is None or not wanted.any():
            return self.hidden is None and not wanted.any()
        return np.array_equal(self.hidden, wanted)

    def describe(self) -> str:
        """Return in a few words how it searches and how much it finds."""
        if "recall_at_10" not in self.facts:
            return "exact"
        return (
            f"{self.facts['index_type']} ({self.facts['factory']}), which finds "
            f"{self.facts['recall_at_10']:.1%} of the ten nearest"
        )

    def _among(self, rows: Ints, hidden: Bools | None, *, exact: bool) -> Index:
        searcher: Searcher
        if isinstance(self.searcher, Approximate) and not exact:
            searcher = self.searcher.among(rows)
        else:
            searcher = Exact.among(self.stored, rows, dim=self.reduction.dim)
        return Index(self.reduction, self.stored, searcher, self.facts, hidden=hidden)

    def search(self, queries: Floats, k: int) -> tuple[Floats, Ints]:
        """Find the k nearest catalogue vectors of each query.

        Args:
            queries: In embedding space, shape (B, D).
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
