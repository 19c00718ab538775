"""An exact cosine index over embeddings: build, save, load, search."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from tqdm import tqdm

from ssl_photoz import runs
from ssl_photoz.embeddings.store import Embeddings
from ssl_photoz.errors import ArtefactError, ConfigError, MismatchError
from ssl_photoz.similarity.reduction import BATCH, Reduction, take_batches
from ssl_photoz.types import Array, Floats, Ints, Neighbours

FILES = ("index.faiss", "reduction.safetensors")
GPU_MAX_K = 2048  # faiss refuses more neighbours than this on a GPU


class Index:
    """Every catalogue vector, reduced to unit length, and how to search among them.

    Implements `ssl_photoz.types.Neighbours`; distance is 1 - cosine, from 0 to 2.

    Attributes:
        reduction: From embedding space to unit vectors.
        facts: What was indexed: ``embeddings`` (sha256), ``encoder``, ``simulated``, ``rows`` ...
    """

    def __init__(
        self,
        reduction: Reduction,
        flat: Any,  # noqa: ANN401 - faiss has no types
        facts: Mapping[str, Any],
        rows: Ints | None = None,
    ) -> None:
        self.reduction = reduction
        self.facts = dict(facts)
        self._flat = flat
        self._rows = np.arange(flat.ntotal) if rows is None else rows
        self._gpu: Any = None

    @classmethod
    def build(cls, embeddings: Embeddings, *, pca_dim: int = 128, seed: int = 0) -> Index:
        """Index every row of an embeddings folder.

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
        facts = {name: embeddings.card.get(name) for name in ("encoder", "simulated", "calibrated")}
        facts |= {"embeddings": embeddings.sha256, "rows": flat.ntotal, "metric": "1 - cosine"}
        return cls(reduction, flat, {**facts, "pca_dim": reduction.dim})

    def save(self, folder: Path, *, config: object = None, **facts: object) -> runs.Card:
        """Write the index artefact: ``index.faiss``, ``reduction.safetensors``, card last."""
        self.reduction.save(folder / FILES[1])
        with runs.atomic_path(folder / FILES[0]) as scratch:
            scratch.write_bytes(faiss.serialize_index(self._flat).tobytes())
        return runs.write_card(
            folder,
            "index",
            config=config,
            parents={"embeddings": str(self.facts["embeddings"])},
            files={name: runs.sha256_of(folder / name) for name in FILES},
            **{name: fact for name, fact in self.facts.items() if name != "embeddings"},
            **facts,
        )

    @classmethod
    def load(cls, folder: Path) -> Index:
        """Read an index artefact.

        Raises:
            ArtefactError: If it is unfinished, or a file is missing or not the one written.
        """
        card = runs.read_card(folder, "index")
        for name in FILES:
            if runs.sha256_of(folder / name) != card["files"][name]:
                raise ArtefactError(
                    f"{folder / name} is not the file its card describes: damaged or replaced; "
                    f"delete {folder} and run index again"
                )
        content = np.frombuffer((folder / FILES[0]).read_bytes(), np.uint8)
        facts = {**card, "embeddings": card["parents"]["embeddings"]}
        return cls(Reduction.load(folder / FILES[1]), faiss.deserialize_index(content), facts)

    def __len__(self) -> int:
        return len(self._rows)

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
        given, expected = runs.sha256_of(folder), str(self.facts["encoder"])
        if given != expected:
            raise MismatchError(
                f"{folder} is encoder {given[:12]}, but the index holds embeddings made by "
                f"encoder {expected[:12]}; give that encoder, or embed and index with this one"
            )

    def vectors(self, rows: Array) -> Floats:
        """Return the unit vectors of some rows, shape (n, P)."""
        unit: Floats = self._flat.reconstruct_batch(np.searchsorted(self._rows, rows))
        return unit

    def restricted_to(self, rows: Ints) -> Index:
        """Return an index over some rows only; its answers are still rows of the catalogue.

        Args:
            rows: Increasing row numbers.
        """
        flat = faiss.IndexFlatIP(self.reduction.dim)
        if len(rows):
            flat.add(self.vectors(rows))
        return Index(self.reduction, flat, self.facts, rows)

    def search(self, queries: Floats, k: int) -> tuple[Floats, Ints]:
        """Find the k nearest catalogue vectors of each query.

        Args:
            queries: In embedding space, shape (B, D).
            k: Neighbours per query.

        Returns:
            Distances 1 - cosine, shape (B, K), increasing along K, and catalogue rows (B, K);
            infinity and -1 where there are fewer than k vectors.

        Raises:
            ConfigError: If k is less than 1.
            ShapeError: If the queries are not (B, D).
            DataError: If a query is not finite.
        """
        if k < 1:
            raise ConfigError(f"k is {k}, expected at least 1 neighbour")
        cosines, found = self._searcher(k).search(self.reduction.apply(queries), k)
        distances = np.where(found < 0, np.inf, np.clip(1 - cosines, 0, 2)).astype(np.float32)
        if not len(self):
            return distances, found
        return distances, np.where(found < 0, -1, self._rows[found])

    def _searcher(self, k: int) -> Any:  # noqa: ANN401 - faiss has no types
        """Return the copy on the GPUs where there are any and they can answer."""
        if k > GPU_MAX_K or getattr(faiss, "get_num_gpus", int)() == 0:
            return self._flat
        if self._gpu is None:
            self._gpu = faiss.index_cpu_to_all_gpus(self._flat)
        return self._gpu


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
