"""From a sample's mix of galaxies to the sky's, where nearby dwarfs are about one in a hundred.

All of it takes the wanted and the unwanted galaxies of the sample each for typical of their kind on
the sky: completeness and false-positive rate carry over, only their proportion changes. A sample
whose unwanted galaxies were chosen to be hard makes a list look worse than it is, and easy ones
better.
"""

from __future__ import annotations

import numpy as np

from ssl_photoz.core.errors import ConfigError
from ssl_photoz.core.types import Doubles

SKY = 0.01


def purity_at_base_rate(
    completeness: Doubles | float, false_positive_rate: Doubles | float, base_rate: float
) -> Doubles:
    """Return the purity (efficiency) of a list where a fraction ``base_rate`` is wanted.

    ``pi C / (pi C + (1 - pi) F)``, Bayes' theorem; 0 for an empty list.

    Args:
        completeness: C, fraction of the wanted galaxies that are in the list.
        false_positive_rate: F, fraction of the unwanted galaxies that are.
        base_rate: pi.

    Raises:
        ConfigError: If the base rate is not between 0 and 1.
    """
    require_rate(base_rate)
    right = base_rate * np.asarray(completeness, dtype=np.float64)
    wrong = (1 - base_rate) * np.asarray(false_positive_rate, dtype=np.float64)
    return np.asarray(right / np.maximum(right + wrong, 1e-300))


def probability_at_base_rate(
    probability: Doubles, *, sample_rate: float, base_rate: float
) -> Doubles:
    """Return what probabilities become where the wanted are rarer, or more common.

    The odds are multiplied by the ratio of the prior odds [1].

    Args:
        probability: Calibrated on the sample, any shape; NaN stays NaN.
        sample_rate: Fraction of the sample that is wanted.
        base_rate: Fraction there that is.

    Raises:
        ConfigError: If a rate is not between 0 and 1.

    References:
        [1] Saerens, Latinne & Decaestecker 2002, Neural Computation 14, 21.
    """
    require_rate(sample_rate)
    require_rate(base_rate)
    wanted = probability * base_rate / sample_rate
    return np.asarray(wanted / (wanted + (1 - probability) * (1 - base_rate) / (1 - sample_rate)))


def require_rate(rate: float) -> None:
    """Raise ConfigError unless a rate lies between 0 and 1."""
    if not 0 < rate < 1:
        raise ConfigError(f"a base rate of {rate} was given, expected between 0 and 1, like {SKY}")
