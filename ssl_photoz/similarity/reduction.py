"""From embedding space to the unit vectors that the index compares."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from ssl_photoz.core.artefact import atomic_path
from ssl_photoz.core.errors import ConfigError, DataError, ShapeError
from ssl_photoz.core.types import Floats, Ints
from ssl_photoz.similarity.index_faiss import unit_projector

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

BATCH = 8192
SAMPLE = 20_000
NO_LIFT = np.zeros(1, np.float32)  # of an index made before there was one


class VectorSource(Protocol):
    """Embeddings that are read a batch at a time: a folder of them, or an array."""

    @property
    def dim(self) -> int:
        """Length D of an embedding."""
        ...

    @property
    def weights(self) -> Floats | None:
        """How much each number counts between look-alikes, shape (D,); None: all the same."""
        ...

    def __len__(self) -> int:
        """Number of embeddings."""
        ...

    def batches(self, size: int) -> Iterator[Floats]:
        """Embeddings in order, at most ``size`` at a time."""
        ...


class ArraySource:
    """Embeddings in an array (N, D). Implements `VectorSource`."""

    weights = None

    def __init__(self, values: ArrayLike) -> None:
        self.values = np.asarray(values)
        if self.values.ndim != 2 or self.values.dtype.kind not in "fiu":
            raise ShapeError(
                f"embeddings are {self.values.dtype} of shape {self.values.shape}, expected "
                f"numbers of shape (N, D)"
            )

    @property
    def dim(self) -> int:
        """Length D of an embedding."""
        return int(self.values.shape[1])

    def __len__(self) -> int:
        return len(self.values)

    def batches(self, size: int) -> Iterator[Floats]:
        """Embeddings in order, float32, at most ``size`` at a time."""
        for start in range(0, len(self.values), size):
            yield np.asarray(self.values[start : start + size], np.float32)


@dataclass(frozen=True)
class Reduction:
    """Standardise, weigh, project on principal components, lift, scale to unit length.

    The inner product of two reduced vectors is the cosine of the angle between them. A constant
    component, as long as the others together are on average, lifts them before they are scaled:
    cosines then go with distances, not with directions alone, and a galaxy twice as far from the
    mean is another galaxy.

    Attributes:
        mean: Mean of each embedding dimension, shape (D,).
        projection: Principal components times weights over standard deviations, shape (P, D).
        lift: The constant component; 0: none.
    """

    mean: Floats
    projection: Floats
    lift: float = 0.0

    @classmethod
    def fit(cls, sample: Floats, *, pca_dim: int, weights: Floats | None = None) -> Reduction:
        """Fit on a sample of embeddings.

        Args:
            sample: Shape (n, D).
            pca_dim: Length of a reduced vector: components to keep, and the lift; less if D or n
                is smaller.
            weights: How much each number counts, shape (D,); None: all the same.

        Raises:
            ConfigError: If pca_dim is less than 2.
            DataError: If the sample has fewer than two rows or values that are not finite.
        """
        from sklearn.decomposition import PCA

        if pca_dim < 2:
            raise ConfigError(f"pca_dim is {pca_dim}, expected at least 2")
        if len(sample) < 2:
            raise DataError(f"{len(sample)} embeddings are too few for an index; at least 2")
        _require_finite(sample)
        mean, spread = sample.mean(axis=0, dtype=np.float64), sample.std(axis=0, dtype=np.float64)
        spread[spread < 1e-12] = 1.0
        scale = (1.0 if weights is None else weights) / spread
        standard = (sample - mean) * scale
        pca = PCA(min(pca_dim - 1, *sample.shape), svd_solver="covariance_eigh").fit(standard)
        lift = float(np.sqrt(pca.explained_variance_.sum()))
        projection = pca.components_ * scale
        return cls(mean.astype(np.float32), projection.astype(np.float32), lift)

    @classmethod
    def fit_to(
        cls, source: VectorSource, *, pca_dim: int, whiten: bool = False, seed: int = 0
    ) -> Reduction:
        """Fit on at most 20,000 rows, drawn with ``seed``; bounded in memory.

        Args:
            source: Embeddings.
            pca_dim: Length of a reduced vector.
            whiten: Whether components are scaled to unit variance.
            seed: Seed of the draw.

        Raises:
            DataError: If there are fewer than two embeddings or some are not finite.
        """
        count = len(source)
        rows = np.random.default_rng(seed).choice(count, min(SAMPLE, count), replace=False)
        sample = take_vectors(source, np.sort(rows))
        reduction = cls.fit(sample, pca_dim=pca_dim, weights=source.weights)
        if not whiten:
            return reduction
        spread = ((sample - reduction.mean) @ reduction.projection.T).std(axis=0)
        spread[spread < 1e-6 * spread.max()] = np.inf  # a component without variance stays out
        projection = reduction.projection / spread[:, None]
        lift = float(np.sqrt(np.isfinite(spread).sum()))
        return cls(reduction.mean, projection.astype(np.float32), lift)

    @classmethod
    def load(cls, path: Path) -> Reduction:
        """Read what `save` wrote."""
        from safetensors.numpy import load_file

        arrays = load_file(path)
        return cls(arrays["mean"], arrays["projection"], float(arrays.get("lift", NO_LIFT)[0]))

    def save(self, path: Path) -> None:
        """Write mean, projection and lift as safetensors."""
        from safetensors.numpy import save

        # save writes buffers as they lie in memory: a transposed array would come back wrong.
        arrays = {"mean": self.mean, "projection": np.ascontiguousarray(self.projection)}
        arrays["lift"] = np.array([self.lift], np.float32)
        with atomic_path(path) as scratch:
            scratch.write_bytes(save(arrays))

    @property
    def dim(self) -> int:
        """Length P of a reduced vector."""
        return len(self.projection) + (self.lift > 0)

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
        return unit_projector(self.projection, lift=self.lift)


def take_batches(source: VectorSource, rows: Ints) -> Iterator[Floats]:
    """Embeddings of some rows, which must be increasing, a batch at a time."""
    chosen = np.zeros(len(source), bool)
    chosen[rows] = True
    first = 0
    for batch in source.batches(BATCH):
        taken = batch[chosen[first : first + len(batch)]]
        first += len(batch)
        if len(taken):
            yield taken


def take_vectors(source: VectorSource, rows: Ints) -> Floats:
    """Embeddings of some rows, which must be increasing, shape (n, D)."""
    return np.concatenate([np.empty((0, source.dim), np.float32), *take_batches(source, rows)])


def _require_finite(vectors: Floats) -> None:
    finite = np.isfinite(vectors)
    if not finite.all():
        bad = int((~finite.all(axis=1)).sum())
        raise DataError(
            f"{bad} of {len(vectors)} embeddings hold NaN or infinity; embed again with an "
            f"encoder whose training did not diverge"
        )
