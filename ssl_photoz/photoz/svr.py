"""Support-vector regression of ln(1+z): a smooth curve through few labels."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
from sklearn.svm import SVR as Solver
from tqdm import tqdm

from ssl_photoz.core.types import Array, Doubles, Floats
from ssl_photoz.photoz.features import PrincipalAxes
from ssl_photoz.photoz.intervals import Interval
from ssl_photoz.photoz.protocol import Prediction, to_redshift, to_target, tuning_score

MOST_GALAXIES = 10_000
TUNING_GALAXIES = 2_000
EPSILON = (
    0.1  # in standard deviations of ln(1+z): errors below are free, so wrong labels weigh little
)
ROWS_AT_ONCE = 4_096


@dataclass(frozen=True)
class SVR:
    """A Gaussian-kernel probe on principal components; its loss is linear in large errors.

    Attributes:
        axes: What features go through first.
        support: Support vectors on the axes, shape (M, P).
        weights: Their coefficients in ln(1+z), shape (M,).
        intercept: ln(1+z) far from every support vector.
        gamma: Of the kernel exp(-gamma d²).
        penalty: Of an error, C in the literature.
        bounds: Least and greatest ln(1+z) of the training galaxies.
        interval: Calibrated half-widths.

    References:
        Drucker et al. 1996, Advances in Neural Information Processing Systems 9, 155.
    """

    axes: PrincipalAxes
    support: Floats
    weights: Doubles
    intercept: float
    gamma: float
    penalty: float
    bounds: tuple[float, float]
    interval: Interval

    @property
    def chosen(self) -> dict[str, float]:
        """The kernel's width and the penalty."""
        return {"gamma": self.gamma, "penalty": self.penalty}

    @classmethod
    def fit(
        cls,
        features: Floats,
        z: Array,
        *,
        val_features: Floats,
        val_z: Array,
        ids: Array | None = None,
        seed: int = 0,
        dim: int = 64,
        gammas: tuple[float, ...] = (0.03, 0.1, 0.3),
        penalties: tuple[float, ...] = (0.3, 1.0, 3.0, 10.0),
    ) -> Self:
        """Solve for every kernel and penalty, keep the best on validation; see `Probe.fit`.

        The time grows with the square of the number of galaxies: of more than 10,000 a random
        10,000 are used, and settings are chosen on 2,000 of them.

        Args:
            features: Shape (N, D).
            z: Redshifts, shape (N,).
            val_features: Validation features.
            val_z: Validation redshifts.
            ids: Not used.
            seed: Of the choice among very many galaxies.
            dim: Principal components.
            gammas: To try, in units of 1 / (mean squared length of a galaxy on the axes).
            penalties: To try.
        """
        rows = np.random.default_rng(seed).permutation(len(z))[:MOST_GALAXIES]
        axes = PrincipalAxes.fit(features[rows], dim)
        known, target, truth = axes.apply(features[rows]), to_target(z[rows]), to_target(val_z)
        asked = axes.apply(val_features)
        unit = 1 / float(np.mean(np.sum(known**2, axis=1)))
        some = slice(TUNING_GALAXIES)
        trials = []
        pairs = list(itertools.product(gammas, penalties))
        for gamma, penalty in tqdm(pairs, desc="SVR settings", leave=False):
            trial = cls._solved(axes, known[some], target[some], gamma * unit, penalty)
            trials.append((tuning_score(trial._answer(asked), truth), gamma * unit, penalty))
        _, gamma, penalty = min(trials)
        best = cls._solved(axes, known, target, gamma, penalty)
        interval = Interval.fit(best._answer(asked), truth)
        return cls(**{**vars(best), "interval": interval})

    @classmethod
    def _solved(
        cls, axes: PrincipalAxes, known: Floats, target: Doubles, gamma: float, penalty: float
    ) -> Self:
        centre, scale = float(target.mean()), float(target.std()) or 1.0
        solver = Solver(gamma=gamma, C=penalty, epsilon=EPSILON)
        solver.fit(known, (target - centre) / scale)
        return cls(
            axes=axes,
            support=np.asarray(solver.support_vectors_, dtype=np.float32),
            weights=solver.dual_coef_[0] * scale,
            intercept=float(solver.intercept_[0]) * scale + centre,
            gamma=gamma,
            penalty=penalty,
            bounds=(float(target.min()), float(target.max())),
            interval=Interval(np.empty(0), np.ones(1)),
        )

    def predict(self, features: Floats, *, ids: Array | None = None) -> Prediction:
        """Sum the kernels; see `Probe.predict`."""
        predicted = self._answer(self.axes.apply(features))
        return Prediction(to_redshift(predicted), *self.interval.around(predicted))

    def arrays(self) -> dict[str, Array]:
        """See `Probe.arrays`."""
        return {
            **self.axes.arrays(),
            "support": self.support,
            "weights": self.weights,
            "scalars": np.array([self.intercept, self.gamma, self.penalty, *self.bounds]),
            "half_widths": self.interval.half_widths,
            "edges": self.interval.edges,
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Array]) -> Self:
        """See `Probe.from_arrays`."""
        intercept, gamma, penalty, low, high = (float(value) for value in arrays["scalars"])
        return cls(
            axes=PrincipalAxes.from_arrays(arrays),
            support=arrays["support"],
            weights=arrays["weights"],
            intercept=intercept,
            gamma=gamma,
            penalty=penalty,
            bounds=(low, high),
            interval=Interval(arrays["edges"], arrays["half_widths"]),
        )

    def _answer(self, places: Floats) -> Doubles:
        """Return predicted ln(1+z) of galaxies on the axes, (M, P) to (M,)."""
        parts = [
            np.exp(
                -self.gamma * _squared_distances(places[start : start + ROWS_AT_ONCE], self.support)
            )
            @ self.weights
            for start in range(0, len(places), ROWS_AT_ONCE)
        ]
        line = np.concatenate(parts) if parts else np.empty(0)
        return np.clip(line + self.intercept, *self.bounds)


def _squared_distances(one: Floats, other: Floats) -> Floats:
    lengths = np.sum(one**2, axis=1)[:, None] + np.sum(other**2, axis=1)
    squares: Floats = np.maximum(lengths - 2 * one @ other.T, 0)
    return squares
