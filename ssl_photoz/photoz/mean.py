"""The baseline that knows nothing of the galaxy: the mean of the training redshifts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np

from ssl_photoz.core.types import Array, Floats
from ssl_photoz.photoz.intervals import Interval
from ssl_photoz.photoz.protocol import Prediction, to_redshift, to_target


@dataclass(frozen=True)
class Mean:
    """A probe that always answers the mean of ln(1+z) of its training galaxies."""

    target: float
    interval: Interval

    @property
    def chosen(self) -> dict[str, float]:
        """Nothing is chosen."""
        return {}

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
    ) -> Self:
        """Take the mean; see `Probe.fit`."""
        target = float(to_target(z).mean())
        truth = to_target(val_z)
        return cls(target, Interval.fit(np.full(len(truth), target), truth, most_bins=1))

    def predict(self, features: Floats, *, ids: Array | None = None) -> Prediction:
        """Return the mean for every galaxy; see `Probe.predict`."""
        predicted = np.full(len(features), self.target)
        return Prediction(to_redshift(predicted), *self.interval.around(predicted))

    def arrays(self) -> dict[str, Array]:
        """See `Probe.arrays`."""
        return {
            "target": np.array([self.target]),
            "half_widths": self.interval.half_widths,
            "edges": self.interval.edges,
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Array]) -> Self:
        """See `Probe.from_arrays`."""
        interval = Interval(arrays["edges"], arrays["half_widths"])
        return cls(float(arrays["target"][0]), interval)
