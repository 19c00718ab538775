"""What every redshift probe has: scikit-learn's contract, standardised features, intervals.

Intervals hold the truth 68 % of the time, by split-conformal calibration.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self, overload

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import check_is_fitted

from ssl_photoz.core.errors import ConfigError, DataError, ShapeError
from ssl_photoz.core.types import Array, Bools, Doubles, Floats
from ssl_photoz.photoz.metrics import residuals, sigma_nmad

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


HELD_OUT = 0.1  # part of the training galaxies that validates where no others do
Validation = tuple[Array, Array]


@dataclass(frozen=True)
class Prediction:
    """Redshifts of N galaxies.

    Attributes:
        z_phot: Estimates, shape (N,).
        z_lo: Lower end of the central 68 % interval, shape (N,).
        z_hi: Upper end, shape (N,).
        neighbours: Ids of the labelled galaxies used, nearest first, shape (N, K); None for
            probes that use none.
    """

    z_phot: Doubles
    z_lo: Doubles
    z_hi: Doubles
    neighbours: Array | None = None

    def columns(self, name: str) -> dict[str, Array]:
        """``z_phot_NAME``, ``z_lo_NAME`` and ``z_hi_NAME``, of a table."""
        return {f"{which}_{name}": getattr(self, which) for which in ("z_phot", "z_lo", "z_hi")}


class RedshiftEstimator(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """What estimates redshifts, with intervals."""

    def estimate(self, X: Array, *, ids: Array | None = None) -> Prediction:
        """Redshifts with all that is known of them.

        Args:
            X: Features, shape (M, D).
            ids: Identifiers, shape (M,); a galaxy is never its own neighbour.

        Raises:
            ShapeError: If D is not that of the fit.
            DataError: If a feature is NaN or infinite.
        """
        check_is_fitted(self)
        return self._estimate(np.asarray(X, dtype=np.float32), ids)

    @overload
    def predict(self, X: Array, *, interval: Literal[False] = False) -> Doubles: ...
    @overload
    def predict(self, X: Array, *, interval: Literal[True]) -> tuple[Doubles, Doubles, Doubles]: ...
    def predict(
        self, X: Array, *, interval: bool = False
    ) -> Doubles | tuple[Doubles, Doubles, Doubles]:
        """Estimate redshifts.

        Args:
            X: Features, shape (M, D).
            interval: Whether the central 68 % interval is wanted too.

        Returns:
            Redshifts, shape (M,); with ``interval`` also the lower and the upper ends.

        Raises:
            ShapeError: If D is not that of the fit.
            DataError: If a feature is NaN or infinite.
        """
        said = self.estimate(X)
        return (said.z_phot, said.z_lo, said.z_hi) if interval else said.z_phot

    def _estimate(self, X: Floats, ids: Array | None) -> Prediction:
        raise NotImplementedError


class Probe(RedshiftEstimator):
    """A redshift estimator on frozen features, as scikit-learn knows estimators.

    Hyper-parameters are arguments of the class, what is learnt has a name that ends in an
    underscore; ``clone``, ``Pipeline``, ``GridSearchCV`` and ``cross_val_score`` work.

    Every probe regresses ln(1+z), because residuals count relative to 1+z. It chooses its own
    settings on validation galaxies and scales its intervals on them.

    Attributes:
        chosen_: What was chosen on the validation galaxies, name to value.
        n_features_in_: Number of features, D.
    """

    seed: int
    chosen_: dict[str, float]
    n_features_in_: int

    def fit(
        self,
        X: Array,
        z: Array,
        *,
        validation: Validation | None = None,
        ids: Array | None = None,
        sample_weight: Array | None = None,
        z_error: Array | None = None,
    ) -> Self:
        """Fit to labelled galaxies.

        Args:
            X: Features, shape (N, D).
            z: Spectroscopic redshifts, shape (N,).
            validation: Features (M, D) and redshifts (M,) of other galaxies, to choose and
                calibrate on; a random tenth of the N galaxies by default, held out of the fit.
            ids: Identifiers of the N galaxies, shape (N,); row numbers by default.
            sample_weight: How much each galaxy counts, shape (N,), not negative.
            z_error: Standard deviations of the redshifts, shape (N,), not negative, for probes
                that take a label for a Gaussian: ``neighbours`` and ``mixture``.

        Returns:
            The probe itself.

        Raises:
            ShapeError: If shapes do not fit together.
            DataError: If a feature or redshift is NaN or infinite, or a weight or error negative.
            ConfigError: If the probe takes no weights, or no errors.
        """
        X, z = _checked(X, z, "galaxies to fit to")
        if ids is not None and len(ids) != len(z):
            raise ShapeError(f"{len(ids)} ids for {len(z)} galaxies; expected one for each")
        also = self._also({"sample_weight": sample_weight, "z_error": z_error}, len(z))
        if validation is None:
            out = held_out(len(z), seed=self.seed)
            validation = X[out], z[out]
            X, z, ids = X[~out], z[~out], np.flatnonzero(~out) if ids is None else ids[~out]
            also = {name: values[~out] for name, values in also.items()}
        val_X, val_z = _checked(validation[0], validation[1], "validation galaxies")
        self.n_features_in_ = X.shape[1]
        fit: Any = self._fit  # those without weights need not know of them
        fit(X, z, val_X, val_z, ids, **also)
        return self

    def _also(self, given: Mapping[str, Array | None], count: int) -> dict[str, Doubles]:
        """What is known of each label beside its redshift, checked; it must be usable."""
        known = inspect.signature(self._fit).parameters
        also = {}
        for name, values in given.items():
            if values is None:
                continue
            if name not in known:
                raise ConfigError(f"{type(self).__name__} takes no {name}; leave it out")
            also[name] = column = np.asarray(values, dtype=np.float64)
            if column.shape != (count,):
                raise ShapeError(f"{name} {column.shape} for {count} galaxies; expected ({count},)")
            bad = ~(np.isfinite(column) & (column >= 0))
            if bad.any() or (name == "sample_weight" and not column.any()):
                raise DataError(
                    f"{name}: {int(bad.sum())} of {count} are NaN, infinite or negative; expected "
                    f"numbers from 0 on, and some weights above it"
                )
        return also

    def arrays(self) -> dict[str, Array]:
        """All that `from_arrays` needs."""
        return self._stored()

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Array]) -> Self:
        """A fitted probe of the arrays that `arrays` gave."""
        probe = cls()
        probe._restore(arrays)
        return probe

    def _fit(self, X: Floats, z: Doubles, val_X: Floats, val_z: Doubles, ids: Array | None) -> None:
        raise NotImplementedError

    def _stored(self) -> dict[str, Array]:
        raise NotImplementedError(f"{type(self).__name__} cannot be stored")

    def _restore(self, arrays: Mapping[str, Array]) -> None:
        raise NotImplementedError(f"{type(self).__name__} cannot be stored")


def held_out(count: int, *, seed: int) -> Bools:
    """Mask of a random tenth of so many galaxies, at least one, shape (count,).

    Raises:
        DataError: If there is no galaxy left to fit to.
    """
    if count < 2:
        raise DataError(f"{count} labelled galaxies; expected at least 2, one of them to validate")
    mask = np.zeros(count, dtype=bool)
    rows = np.random.default_rng(seed).permutation(count)
    mask[rows[: max(1, round(HELD_OUT * count))]] = True
    return mask


def to_target(z: Array) -> Doubles:
    """ln(1+z)."""
    return np.log1p(np.asarray(z, dtype=np.float64))


def to_redshift(target: Array) -> Doubles:
    """Redshift z of ln(1+z)."""
    return np.expm1(np.asarray(target, dtype=np.float64))


def tuning_score(target: Array, truth: Array) -> float:
    """Score of predicted ln(1+z) by which settings are chosen; lower is better.

    The width of the core, sigma_NMAD, plus the mean size of dz, so that the tails count too.
    """
    dz = residuals(to_redshift(target), to_redshift(truth))
    return sigma_nmad(dz) + float(np.mean(np.abs(dz)))


def _checked(X: Array, z: Array, which: str) -> tuple[Floats, Doubles]:
    features, redshifts = np.asarray(X, dtype=np.float32), np.asarray(z)
    if features.ndim != 2 or redshifts.shape != features.shape[:1]:
        raise ShapeError(
            f"{which}: features {features.shape} and redshifts {redshifts.shape}, expected "
            f"(N, D) and (N,)"
        )
    if not np.isfinite(redshifts).all():
        raise DataError(
            f"{int((~np.isfinite(redshifts)).sum())} of {len(redshifts)} {which} have no finite "
            f"redshift; leave them out, or use PhotoZ, which does"
        )
    return features, redshifts


COVERAGE = 0.68


@dataclass(frozen=True)
class Interval:
    """Half-widths in ln(1+z), by bins of the prediction.

    Attributes:
        edges: Inner bin edges in predicted ln(1+z), shape (B - 1,).
        half_widths: Half-widths in units of the spread, shape (B,).

    References:
        Vovk, Gammerman & Shafer 2005, Algorithmic Learning in a Random World, ch. 4
        (conformal prediction by category).
    """

    edges: Doubles
    half_widths: Doubles

    @classmethod
    def fit(
        cls,
        predicted: Array,
        truth: Array,
        *,
        spread: Array | float = 1.0,
        most_bins: int = 8,
        per_bin: int = 100,
    ) -> Self:
        """Calibrate on galaxies that the probe was not fitted to.

        Args:
            predicted: ln(1+z_phot), shape (N,).
            truth: ln(1+z_spec), shape (N,).
            spread: Probe's own idea of its error, shape (N,) or a number.
            most_bins: Bins at most.
            per_bin: Galaxies a bin needs; with fewer than twice as many there is one bin.
        """
        scores = np.abs(np.asarray(truth) - predicted) / spread
        bins = int(np.clip(len(scores) // per_bin, 1, most_bins))
        edges = np.unique(np.quantile(predicted, np.linspace(0, 1, bins + 1)[1:-1]))
        which = np.digitize(predicted, edges)
        widths = [_quantile(scores[which == b], scores) for b in range(len(edges) + 1)]
        return cls(edges.astype(np.float64), np.array(widths))

    def arrays(self) -> dict[str, Doubles]:
        """All that `from_arrays` needs."""
        return {"half_widths": self.half_widths, "edges": self.edges}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Array]) -> Self:
        """What `arrays` gave; other arrays are passed over."""
        return cls(arrays["edges"], arrays["half_widths"])

    def for_json(self) -> dict[str, list[float]]:
        """What `Interval.read` takes, ready for JSON."""
        return {"edges": self.edges.tolist(), "half_widths": self.half_widths.tolist()}

    @classmethod
    def read(cls, said: Mapping[str, Sequence[float]]) -> Self:
        """What `for_json` gave."""
        return cls(np.array(said["edges"], np.float64), np.array(said["half_widths"]))

    def around(self, predicted: Array, *, spread: Array | float = 1.0) -> tuple[Doubles, Doubles]:
        """Ends z_lo and z_hi, shape (N,) each; z_lo is below 0 only where the estimate is."""
        half = self.half_widths[np.digitize(predicted, self.edges)] * spread
        least = np.minimum(to_redshift(predicted), 0)
        return np.maximum(to_redshift(predicted - half), least), to_redshift(predicted + half)


def _quantile(scores: Doubles, otherwise: Doubles, *, least: int = 30) -> float:
    """Conformal quantile of the scores, or of all scores if they are too few."""
    some = scores if len(scores) >= least else otherwise
    level = min(1.0, np.ceil((len(some) + 1) * COVERAGE) / len(some))
    return float(np.quantile(some, level, method="inverted_cdf"))


class PointProbe(Probe):
    """A probe that answers with a number, and an interval calibrated around it.

    Attributes:
        interval_: Calibrated half-widths.
    """

    interval_: Interval

    def arrays(self) -> dict[str, Array]:
        """All that `from_arrays` needs."""
        return {**self._stored(), **self.interval_.arrays()}

    def _estimate(self, X: Floats, ids: Array | None) -> Prediction:
        predicted = self._answer(X)
        return Prediction(to_redshift(predicted), *self.interval_.around(predicted))

    def _answer(self, X: Floats) -> Doubles:
        """Predicted ln(1+z), shape (M,)."""
        raise NotImplementedError

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Array]) -> Self:
        """A fitted probe of the arrays that `arrays` gave."""
        probe = super().from_arrays(arrays)
        probe.interval_ = Interval.from_arrays(arrays)
        return probe
