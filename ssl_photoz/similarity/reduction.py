"""From embedding space to the unit vectors that the index compares."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from ssl_photoz.core.artefact import atomic_path
from ssl_photoz.core.errors import ConfigError, DataError, ShapeError
from ssl_photoz.core.types import Floats, Ints
from ssl_photoz.embeddings.store import Embeddings
from ssl_photoz.similarity.index_faiss import unit_projector

BATCH = 8192


@dataclass(frozen=True)
class Reduction:
    """Standardise, project on principal components, scale to unit length.

    The inner product of two reduced vectors is the cosine of the angle between them.

    Attributes:
        mean: Mean of each embedding dimension, shape (D,).
        projection: Principal components over the standard deviations, shape (P, D).
    """

    mean: Floats
    projection: Floats

    @classmethod
    def fit(cls, sample: Floats, *, pca_dim: int) -> Reduction:
        """Fit on a sample of embeddings.

        Args:
            sample: Shape (n, D).
            pca_dim: Components to keep; fewer if D or n is smaller.

        Raises:
            ConfigError: If pca_dim is less than 1.
            DataError: If the sample has fewer than two rows or values that are not finite.
        """
        from sklearn.decomposition import PCA

        if pca_dim < 1:
            raise ConfigError(f"pca_dim is {pca_dim}, expected at least 1")
        if len(sample) < 2:
            raise DataError(f"{len(sample)} embeddings are too few for an index; at least 2")
        _require_finite(sample)
        mean, spread = sample.mean(axis=0, dtype=np.float64), sample.std(axis=0, dtype=np.float64)
        spread[spread < 1e-12] = 1.0
        standard = (sample - mean) / spread
        pca = PCA(min(pca_dim, *sample.shape), svd_solver="covariance_eigh").fit(standard)
        projection = pca.components_ / spread
        return cls(mean.astype(np.float32), projection.astype(np.float32))

    @classmethod
    def fit_to(
        cls, embeddings: Embeddings, *, pca_dim: int, sample: int = 20_000, seed: int = 0
    ) -> Reduction:
        """Fit on at most ``sample`` rows of a store, drawn with ``seed``; bounded in memory."""
        count = len(embeddings)
        rows = np.random.default_rng(seed).choice(count, min(sample, count), replace=False)
        return cls.fit(take_vectors(embeddings, np.sort(rows)), pca_dim=pca_dim)

    @classmethod
    def load(cls, path: Path) -> Reduction:
        """Read what `save` wrote."""
        from safetensors.numpy import load_file

        arrays = load_file(path)
        return cls(arrays["mean"], arrays["projection"])

    def save(self, path: Path) -> None:
        """Write mean and projection as safetensors."""
        from safetensors.numpy import save

        # save writes buffers as they lie in memory: a transposed array would come back wrong.
        arrays = {"mean": self.mean, "projection": np.ascontiguousarray(self.projection)}
        with atomic_path(path) as scratch:
            scratch.write_bytes(save(arrays))

    @property
    def dim(self) -> int:
        """Length P of a reduced vector."""
        return len(self.projection)

    def apply(self, vectors: Floats) -> Floats:
        """Reduce embeddings.

        Args:
            vectors: Shape (B, D).

        Returns:
            Unit vectors, shape (B, P).

        Raises:
            ShapeError: If the vectors are not (B, D).
            DataError: If a value is not finite.
        """
        if vectors.ndim != 2 or vectors.shape[1] != len(self.mean):
            raise ShapeError(f"embeddings of shape {vectors.shape}, expected (B, {len(self.mean)})")
        reduced = self._project(vectors - self.mean)
        _require_finite(reduced)
        return reduced

    @cached_property
    def _project(self) -> Callable[[Floats], Floats]:
        return unit_projector(self.projection)


def take_batches(embeddings: Embeddings, rows: Ints) -> Iterator[Floats]:
    """Yield the embeddings of some rows, which must be increasing, a batch at a time."""
    chosen = np.zeros(len(embeddings), bool)
    chosen[rows] = True
    first = 0
    for batch in embeddings.batches(BATCH):
        taken = batch[chosen[first : first + len(batch)]]
        first += len(batch)
        if len(taken):
            yield taken


def take_vectors(embeddings: Embeddings, rows: Ints) -> Floats:
    """Return the embeddings of some rows, which must be increasing, shape (n, D)."""
    return np.concatenate(
        [np.empty((0, embeddings.dim), np.float32), *take_batches(embeddings, rows)]
    )


def _require_finite(vectors: Floats) -> None:
    finite = np.isfinite(vectors)
    if not finite.all():
        bad = int((~finite.all(axis=1)).sum())
        raise DataError(
            f"{bad} of {len(vectors)} embeddings hold NaN or infinity; embed again with an "
            f"encoder whose training did not diverge"
        )
