"""What every redshift probe can do, whatever is inside it: scikit-learn's contract."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Self, overload

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import check_is_fitted

from ssl_photoz.core.errors import DataError, ShapeError
from ssl_photoz.core.types import Array, Bools, Doubles, Floats
from ssl_photoz.photoz.metrics import residuals, sigma_nmad

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


class Probe(RegressorMixin, BaseEstimator):  # type: ignore[misc]
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
        self, X: Array, z: Array, *, validation: Validation | None = None, ids: Array | None = None
    ) -> Self:
        """Fit to labelled galaxies.

        Args:
            X: Features, shape (N, D).
            z: Spectroscopic redshifts, shape (N,).
            validation: Features (M, D) and redshifts (M,) of other galaxies, to choose and
                calibrate on; a random tenth of the N galaxies by default, held out of the fit.
            ids: Identifiers of the N galaxies, shape (N,); row numbers by default.

        Returns:
            The probe itself.

        Raises:
            ShapeError: If shapes do not fit together.
            DataError: If a feature or redshift is NaN or infinite.
        """
        X, z = _checked(X, z, "galaxies to fit to")
        if ids is not None and len(ids) != len(z):
            raise ShapeError(f"{len(ids)} ids for {len(z)} galaxies; expected one for each")
        if validation is None:
            out = held_out(len(z), seed=self.seed)
            validation = X[out], z[out]
            X, z, ids = X[~out], z[~out], np.flatnonzero(~out) if ids is None else ids[~out]
        val_X, val_z = _checked(validation[0], validation[1], "validation galaxies")
        self.n_features_in_ = X.shape[1]
        self._fit(X, z, val_X, val_z, ids)
        return self

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
            ShapeError: If D is not what the probe was fitted with.
        """
        said = self.estimate(X)
        return (said.z_phot, said.z_lo, said.z_hi) if interval else said.z_phot

    def estimate(self, X: Array, *, ids: Array | None = None) -> Prediction:
        """Redshifts with all that is known of them.

        Args:
            X: Features, shape (M, D).
            ids: Identifiers, shape (M,); a galaxy is never its own neighbour.

        Raises:
            ShapeError: If D is not what the probe was fitted with.
        """
        check_is_fitted(self)
        return self._estimate(np.asarray(X, dtype=np.float32), ids)

    def arrays(self) -> dict[str, Array]:
        """All that `from_arrays` needs."""
        raise NotImplementedError(f"{type(self).__name__} cannot be stored")

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Array]) -> Self:
        """A fitted probe of the arrays that `arrays` gave."""
        raise NotImplementedError(f"{cls.__name__} cannot be stored")

    def _fit(self, X: Floats, z: Doubles, val_X: Floats, val_z: Doubles, ids: Array | None) -> None:
        raise NotImplementedError

    def _estimate(self, X: Floats, ids: Array | None) -> Prediction:
        raise NotImplementedError


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
