"""Features on one footing before a probe sees them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np

from ssl_photoz.core.errors import DataError, ShapeError
from ssl_photoz.core.types import Array, Doubles, Floats

CLIP_SIGMA = 10.0
DISCRIMINANT_BINS = 20
GALAXIES_PER_BIN = 25


@dataclass(frozen=True)
class Standardise:
    """Subtract the mean, divide by the standard deviation, clip at 10 of them.

    Attributes:
        mean: Shape (D,).
        scale: Shape (D,); 1 where a feature does not vary.
    """

    mean: Floats
    scale: Floats

    @classmethod
    def fit(cls, features: Floats) -> Self:
        """Measure mean and scale of features, shape (N, D).

        Raises:
            DataError: If a feature is NaN or infinite.
        """
        refuse_not_finite(features)
        mean = features.mean(axis=0, dtype=np.float64)
        scale = features.std(axis=0, dtype=np.float64)
        varies = scale > 1e-6 * np.maximum(np.abs(mean), 1e-6)
        return cls(mean.astype(np.float32), np.where(varies, scale, 1.0).astype(np.float32))

    def apply(self, features: Floats) -> Floats:
        """Standardised features, shape (M, D), float32.

        Raises:
            ShapeError: If D is another than that of the fit.
            DataError: If a feature is NaN or infinite.
        """
        if features.ndim != 2 or features.shape[1] != len(self.mean):
            raise ShapeError(
                f"got features of shape {features.shape}, the probe was fitted with "
                f"(N, {len(self.mean)}); use embeddings of the same encoder and features"
            )
        refuse_not_finite(features)
        scaled = np.asarray((features - self.mean) / self.scale, dtype=np.float32)
        return np.clip(scaled, -CLIP_SIGMA, CLIP_SIGMA)

    def arrays(self) -> dict[str, Floats]:
        """All that `from_arrays` needs."""
        return {"mean": self.mean, "scale": self.scale}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Array]) -> Self:
        """What `arrays` gave; other arrays are passed over."""
        return cls(arrays["mean"], arrays["scale"])


@dataclass(frozen=True)
class PrincipalAxes:
    """Standardise, then project on the principal axes, not whitened.

    Attributes:
        standardise: The first step.
        axes: Principal axes of the standardised features, shape (D, P).
    """

    standardise: Standardise
    axes: Floats

    @classmethod
    def fit(cls, features: Floats, dim: int) -> Self:
        """Measure at most ``dim`` axes of features, shape (N, D)."""
        standardise = Standardise.fit(features)
        count = min(dim, *features.shape)
        return cls(standardise, principal_axes(standardise.apply(features), count))

    def apply(self, features: Floats) -> Floats:
        """Places on the axes, shape (M, P), float32; raises as `Standardise.apply` does."""
        places: Floats = self.standardise.apply(features) @ self.axes
        return places

    def arrays(self) -> dict[str, Floats]:
        """All that `from_arrays` needs."""
        return {**self.standardise.arrays(), "axes": self.axes}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Array]) -> Self:
        """What `arrays` gave; other arrays are passed over."""
        return cls(Standardise.from_arrays(arrays), arrays["axes"])


def principal_axes(features: Floats, count: int) -> Floats:
    """Principal axes of features (N, D), most variance first, shape (D, count)."""
    from sklearn.decomposition import PCA

    pca = PCA(count, svd_solver="covariance_eigh").fit(features)
    return np.ascontiguousarray(pca.components_.T, dtype=np.float32)


def discriminant_axes(features: Floats, target: Doubles) -> Floats:
    """Axes of standardised features (N, D) along which galaxies of unlike redshift differ.

    Linear discriminant analysis of at most 20 bins of equally many galaxies, its covariance shrunk
    as Ledoit and Wolf do: on these axes, the scatter within a bin is 1.

    Args:
        features: Standardised features, shape (N, D).
        target: ln(1+z), shape (N,).

    Returns:
        Shape (D, bins - 1), the most telling first; (D, 0) where galaxies are too few for bins.
    """
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    bins = min(DISCRIMINANT_BINS, len(target) // GALAXIES_PER_BIN)
    edges: Doubles = np.unique(np.quantile(target, np.linspace(0, 1, max(bins, 1) + 1)[1:-1]))
    of_bin = np.digitize(target, edges)
    if len(np.unique(of_bin)) < 2:
        return np.empty((features.shape[1], 0), np.float32)
    analysis = LinearDiscriminantAnalysis(solver="eigen", shrinkage="auto")
    analysis.fit(features.astype(np.float64), of_bin)
    axes = analysis.scalings_[:, : len(np.unique(of_bin)) - 1]
    return np.ascontiguousarray(axes, dtype=np.float32)


def refuse_not_finite(features: Floats) -> None:
    """Raise DataError if any feature is NaN or infinite, and say in how many rows."""
    bad = np.atleast_1d(~np.isfinite(features).all(axis=-1))
    if bad.any():
        raise DataError(
            f"{int(bad.sum())} of {len(bad)} rows have NaN or infinite features (first: row "
            f"{int(np.argmax(bad))}); expected finite numbers: inspect the cutouts, embed again"
        )
