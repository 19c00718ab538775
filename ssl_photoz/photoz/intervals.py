"""Intervals that hold the truth 68 % of the time, by split-conformal calibration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from ssl_photoz.core.types import Array, Doubles
from ssl_photoz.photoz.base import to_redshift

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
