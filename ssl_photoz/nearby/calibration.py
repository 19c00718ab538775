"""From scores to probabilities, on galaxies that no score was fitted to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ssl_photoz.core.types import Bools, Doubles

FEWEST_FOR_STEPS = 50
FEWEST_FOR_SIGMOID = 10


class Calibration(Protocol):
    """A rising function from score to probability."""

    @property
    def method(self) -> str:
        """``isotonic`` or ``platt``."""
        ...

    def apply(self, score: Doubles) -> Doubles:
        """Probabilities of the same shape; NaN stays NaN."""
        ...


@dataclass(frozen=True)
class Isotonic:
    """The rising function that fits best, by pool-adjacent-violators, linear between its knots.

    Attributes:
        score: Knots, increasing, shape (m,).
        probability: Values at the knots, shape (m,).
        least: No probability is below this, nor above 1 less this.
    """

    score: Doubles
    probability: Doubles
    least: float
    method: str = "isotonic"

    def apply(self, score: Doubles) -> Doubles:
        """See `Calibration.apply`."""
        between = np.interp(score, self.score, self.probability)
        return np.asarray(np.clip(between, self.least, 1 - self.least))


@dataclass(frozen=True)
class Platt:
    """A sigmoid of the score.

    Attributes:
        slope: Slope per unit of score, not negative.
        intercept: Log odds at score 0.

    References:
        Platt 1999, in Advances in Large Margin Classifiers, 61.
    """

    slope: float
    intercept: float
    method: str = "platt"

    def apply(self, score: Doubles) -> Doubles:
        """See `Calibration.apply`."""
        log_odds = np.clip(self.slope * score + self.intercept, -30, 30)
        return np.asarray(1 / (1 + np.exp(-log_odds)))


def calibrate(truth: Bools, score: Doubles) -> Calibration | None:
    """Fit probabilities to scores, as freely as the number of known galaxies allows.

    Isotonic from 50 galaxies of each kind on; a sigmoid from 10 of each; below that None, for a
    probability would be made up: rank by the score instead.

    Args:
        truth: Whether each galaxy is wanted, shape (n,).
        score: Higher means more likely, shape (n,).
    """
    fewest = int(min(truth.sum(), (~truth).sum()))
    if fewest >= FEWEST_FOR_STEPS:
        from sklearn.isotonic import IsotonicRegression

        steps = IsotonicRegression(out_of_bounds="clip").fit(score, truth.astype(np.float64))
        knots = np.asarray(steps.X_thresholds_, np.float64)
        # The rule of succession: n galaxies never seen to fail do not prove certainty.
        return Isotonic(knots, np.asarray(steps.y_thresholds_, np.float64), 1 / (len(truth) + 2))
    return _sigmoid(truth, score) if fewest >= FEWEST_FOR_SIGMOID else None


def _sigmoid(truth: Bools, score: Doubles) -> Platt:
    from sklearn.linear_model import LogisticRegression

    centre, spread = float(score.mean()), float(score.std()) or 1.0
    fit = LogisticRegression(C=1.0).fit((score[:, None] - centre) / spread, truth)
    slope, at_centre = float(fit.coef_[0, 0]) / spread, float(fit.intercept_[0])
    if slope <= 0:  # the score points the wrong way: it says nothing
        rate = float(truth.mean())
        return Platt(0.0, float(np.log(rate / (1 - rate))))
    return Platt(slope, at_centre - slope * centre)
