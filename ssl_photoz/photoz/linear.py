"""Ridge regression of ln(1+z): what a straight line reads off an embedding."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
from sklearn.linear_model import Ridge as RidgeSolver

from ssl_photoz.core.types import Array, Doubles, Floats
from ssl_photoz.photoz.features import Standardise
from ssl_photoz.photoz.intervals import Interval
from ssl_photoz.photoz.protocol import Prediction, to_redshift, to_target, tuning_score

ALPHAS_PER_GALAXY = tuple(float(alpha) for alpha in np.logspace(-8, 1, 37))


@dataclass(frozen=True)
class Ridge:
    """A linear probe; answers stay within the range of its training redshifts.

    Attributes:
        standardise: What features go through first.
        weights: Per standardised feature, shape (D,).
        intercept: ln(1+z) of a galaxy with mean features.
        bounds: Least and greatest ln(1+z) of the training galaxies.
        alpha: The penalty chosen, per training galaxy.
        interval: Calibrated half-widths.
    """

    standardise: Standardise
    weights: Doubles
    intercept: float
    bounds: tuple[float, float]
    alpha: float
    interval: Interval

    @property
    def chosen(self) -> dict[str, float]:
        """The penalty, per training galaxy."""
        return {"alpha_per_galaxy": self.alpha}

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
        alphas: tuple[float, ...] = ALPHAS_PER_GALAXY,
    ) -> Self:
        """Solve for every penalty at once, keep the best on validation; see `Probe.fit`.

        Args:
            features: Shape (N, D).
            z: Redshifts, shape (N,).
            val_features: Validation features.
            val_z: Validation redshifts.
            ids: Not used.
            seed: Not used: the solution is exact.
            alphas: Penalties to try, per training galaxy (the sum of squares is over N).
        """
        standardise = Standardise.fit(features)
        target, truth = to_target(z), to_target(val_z)
        bounds = (float(target.min()), float(target.max()))
        # One target per penalty: the solver then forms the Gram matrix once for all of them.
        solver = RidgeSolver(alpha=np.array(alphas) * len(target), solver="cholesky")
        solver.fit(
            standardise.apply(features).astype(np.float64),
            np.repeat(target[:, None], len(alphas), axis=1),
        )
        lines = np.atleast_2d(solver.coef_), np.atleast_1d(solver.intercept_)
        answers = np.clip(standardise.apply(val_features) @ lines[0].T + lines[1], *bounds)
        best = int(np.argmin([tuning_score(answer, truth) for answer in answers.T]))
        return cls(
            standardise=standardise,
            weights=lines[0][best],
            intercept=float(lines[1][best]),
            bounds=bounds,
            alpha=float(alphas[best]),
            interval=Interval.fit(answers[:, best], truth),
        )

    def predict(self, features: Floats, *, ids: Array | None = None) -> Prediction:
        """Read redshifts off the line; see `Probe.predict`."""
        line = self.standardise.apply(features) @ self.weights + self.intercept
        predicted = np.clip(line, *self.bounds)
        return Prediction(to_redshift(predicted), *self.interval.around(predicted))

    def arrays(self) -> dict[str, Array]:
        """See `Probe.arrays`."""
        return {
            "mean": self.standardise.mean,
            "scale": self.standardise.scale,
            "weights": self.weights,
            "scalars": np.array([self.intercept, *self.bounds, self.alpha]),
            "half_widths": self.interval.half_widths,
            "edges": self.interval.edges,
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Array]) -> Self:
        """See `Probe.from_arrays`."""
        intercept, low, high, alpha = (float(value) for value in arrays["scalars"])
        return cls(
            standardise=Standardise(arrays["mean"], arrays["scale"]),
            weights=arrays["weights"],
            intercept=intercept,
            bounds=(low, high),
            alpha=alpha,
            interval=Interval(arrays["edges"], arrays["half_widths"]),
        )
