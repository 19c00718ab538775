"""Redshift probability densities of many galaxies on one grid, and what is read off them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from sklearn.utils.validation import check_is_fitted

from ssl_photoz.core.errors import DataError, ShapeError
from ssl_photoz.core.types import Array, Bools, Doubles, Floats, Ints
from ssl_photoz.photoz.base import COVERAGE, Prediction, Probe, to_redshift, to_target

POINTS = 400
ODDS_WIDTH = 0.05
GOOD_ODDS = 0.95


@dataclass(frozen=True)
class Density:
    """Redshift PDFs, straight lines between the points of a grid that all galaxies share.

    Attributes:
        grid: Redshifts, increasing, shape (G,).
        values: Probability per unit redshift, shape (N, G); each row integrates to 1.
    """

    grid: Doubles
    values: Doubles

    def __post_init__(self) -> None:
        """Refuse values that are not on the grid."""
        if self.values.ndim != 2 or self.values.shape[1:] != self.grid.shape:
            raise ShapeError(f"values {self.values.shape} on a grid {self.grid.shape}: not (N, G)")

    def __len__(self) -> int:
        return len(self.values)

    @classmethod
    def of(cls, grid: Array, values: Array) -> Self:
        """Normalise values that are proportional to a density, shape (N, G).

        Raises:
            DataError: If a value is negative or not finite, or a row has no probability at all.
        """
        values = np.asarray(values, dtype=np.float64)
        total = np.trapezoid(values, grid, axis=1) if len(values) else np.empty(0)
        bad = (values < 0).any(axis=1) | ~(np.isfinite(total) & (total > 0))
        if bad.any():
            raise DataError(
                f"{int(bad.sum())} of {len(bad)} densities are negative, not finite or zero "
                f"everywhere (first: row {int(np.argmax(bad))}); expected finite densities that "
                f"do not vanish: is the grid wide enough?"
            )
        return cls(np.asarray(grid, dtype=np.float64), values / total[:, None])

    def take(self, rows: Array) -> Density:
        """Some of the densities: row numbers or a mask."""
        return Density(self.grid, self.values[rows])

    def cdf(self) -> Doubles:
        """Cumulative probability at the grid points, shape (N, G); 0 to 1."""
        cells = 0.5 * (self.values[:, 1:] + self.values[:, :-1]) * np.diff(self.grid)
        total = np.zeros(self.values.shape)
        np.cumsum(cells, axis=1, out=total[:, 1:])
        return total / total[:, -1:]

    def cdf_at(self, z: Array | float) -> Doubles:
        """P(redshift < z), shape (N,), for one z or one per galaxy, shape (N,)."""
        return self._between_points(self.cdf(), z)

    def pdf_at(self, z: Array | float) -> Doubles:
        """Density at one z, or at one per galaxy; 0 outside the grid; shape (N,)."""
        inside = (z >= self.grid[0]) & (z <= self.grid[-1])
        return np.where(inside, self._between_points(self.values, z), 0.0)

    def quantile(self, level: float | Array) -> Doubles:
        """Redshift below which lies this probability, shape (N,).

        Args:
            level: Between 0 and 1; a number, or one per galaxy, shape (N,).
        """
        cdf, level = self.cdf(), np.broadcast_to(level, len(self))[:, None]
        right = np.clip(np.argmax(cdf >= level, axis=1), 1, None)[:, None]
        low, high = (np.take_along_axis(cdf, at, axis=1)[:, 0] for at in (right - 1, right))
        part = np.clip((level[:, 0] - low) / np.maximum(high - low, 1e-300), 0, 1)
        left = right[:, 0] - 1
        return np.asarray(self.grid[left] + part * (self.grid[left + 1] - self.grid[left]))

    def median(self) -> Doubles:
        """Point estimate z_phot: least expected |error|, the same in z and ln(1+z)."""
        return self.quantile(0.5)

    def interval(self, coverage: float = COVERAGE) -> tuple[Doubles, Doubles]:
        """Ends of the central interval, shape (N,) each; 68 % by default."""
        return self.quantile(0.5 - coverage / 2), self.quantile(0.5 + coverage / 2)

    def odds(self, *, width: float = ODDS_WIDTH) -> Doubles:
        """Probability within ± width (1 + z_phot) of the median, shape (N,).

        Benitez's odds [1], which took 0.2; 0.05 is where this field's outliers begin at low
        redshift, so that 1 - odds is the outlier rate to expect.

        References:
            [1] Benitez 2000, ApJ 536, 571, sec. 4.1.
        """
        z_phot = self.median()
        reach = width * (1 + z_phot)
        cdf = self.cdf()
        above, below = (self._between_points(cdf, z_phot + sign * reach) for sign in (1, -1))
        return above - below

    def good(self) -> Bools:
        """Flag galaxies with odds >= 0.95: at most one in twenty is an outlier, shape (N,)."""
        return np.asarray(self.odds() >= GOOD_ODDS)

    def _between_points(self, columns: Doubles, z: Array | float) -> Doubles:
        """Interpolate (N, G) linearly at one z or at (N,); beyond the grid, its edge; (N,)."""
        place = np.broadcast_to(np.asarray(z, dtype=np.float64), len(self))
        if not np.isfinite(place).all():
            raise DataError("a density cannot be read at a redshift that is NaN or infinite")
        left, part = cell_of(self.grid, place)
        rows = np.arange(len(self))
        return (1 - part) * columns[rows, left] + part * columns[rows, left + 1]


class DensityProbe(Probe):
    """A probe that answers with a density; its estimate is the median, its interval that of 68 %.

    Attributes:
        grid_: Redshifts of the densities, shape (G,).
    """

    grid_: Doubles

    def density(self, X: Array, *, ids: Array | None = None) -> Density:
        """Density of each galaxy.

        Args:
            X: Features, shape (M, D).
            ids: Identifiers, shape (M,); a galaxy is never its own neighbour.
        """
        check_is_fitted(self)
        return self._density(np.asarray(X, dtype=np.float32), ids)

    def _estimate(self, X: Floats, ids: Array | None) -> Prediction:
        density = self._density(X, ids)
        return Prediction(density.median(), *density.interval())

    def _density(self, X: Floats, ids: Array | None) -> Density:
        raise NotImplementedError


def grid_for(z: Array, *, points: int = POINTS, margin: float = 0.15) -> Doubles:
    """Grid that is uniform in ln(1+z), from 0 to beyond the greatest redshift.

    Args:
        z: Redshifts of training galaxies.
        points: G.
        margin: How far beyond, as a part of the greatest ln(1+z).
    """
    return to_redshift(np.linspace(0, (1 + margin) * float(to_target(z).max()), points))


def cell_of(grid: Doubles, place: Doubles) -> tuple[Ints, Doubles]:
    """Cell that each place is in, and how far along it, clipped to the grid."""
    left = np.clip(np.searchsorted(grid, place, side="right") - 1, 0, len(grid) - 2)
    return left, np.clip((place - grid[left]) / (grid[left + 1] - grid[left]), 0, 1)
