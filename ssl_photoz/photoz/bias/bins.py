"""Redshift bins, and what is read off probabilities in them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, Self

import numpy as np

from ssl_photoz.core.errors import DataError
from ssl_photoz.core.types import Array, Doubles

Point = Literal["mode", "mean"]


@dataclass(frozen=True)
class Bins:
    """Bins of equal width in ln(1+z).

    Attributes:
        low: Lower edge of the first bin, ln(1+z).
        width: Of every bin, ln(1+z).
        count: How many, G.
    """

    low: float
    width: float
    count: int

    @classmethod
    def over(cls, target: Array, count: int) -> Self:
        """Return bins from z = 0 to the greatest ln(1+z) of training galaxies, (N,)."""
        if count < 2:
            raise DataError(f"{count} redshift bins, expected at least 2")
        return cls(0.0, float(np.max(target)) * (1 + 1e-6) / count, count)

    def extended(self) -> Self:
        """Return the same bins and half as many again on either side."""
        more = self.count // 2
        return replace(self, low=self.low - more * self.width, count=self.count + 2 * more)

    def centres(self) -> Doubles:
        """Return ln(1+z) of the middle of each bin, shape (G,)."""
        return np.asarray(self.low + (np.arange(self.count) + 0.5) * self.width)

    def place(self, target: Array) -> Doubles:
        """Return where ln(1+z) lies, (N,), in bins: 0 is the middle of the first bin."""
        return (np.asarray(target, dtype=np.float64) - self.low) / self.width - 0.5

    def at(self, place: Array) -> Doubles:
        """Return the ln(1+z) of places, the inverse of `place`."""
        return self.low + (np.asarray(place, dtype=np.float64) + 0.5) * self.width

    def point(self, probabilities: Array, how: Point) -> Doubles:
        """Return a point estimate of ln(1+z), shape (N,).

        Args:
            probabilities: Shape (N, G); rows sum to 1.
            how: The middle of the most probable bin, or the expectation.
        """
        if how == "mode":
            return np.asarray(self.centres()[np.argmax(probabilities, axis=1)])
        return np.asarray(probabilities @ self.centres(), dtype=np.float64)
