"""Redshift bins; cells of magnitude and redshift, balanced and calibrated; magnitude channels."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from ssl_photoz.core.errors import DataError, ShapeError
from ssl_photoz.core.types import Array, Doubles, Ints
from ssl_photoz.photoz.settings import Expected, Point


@dataclass(frozen=True)
class Bins:
    """Bins of equal width in ln(1+z).

    Attributes:
        low: Lower edge of the first bin, ln(1+z).
        width: Width of every bin, ln(1+z).
        count: Number of bins, G.
    """

    low: float
    width: float
    count: int

    @classmethod
    def over(cls, target: Array, count: int) -> Self:
        """Bins from z = 0 to the greatest ln(1+z) of training galaxies, (N,)."""
        if count < 2:
            raise DataError(f"{count} redshift bins, expected at least 2")
        return cls(0.0, float(np.max(target)) * (1 + 1e-6) / count, count)

    def extended(self) -> Self:
        """Same bins and half as many again on either side."""
        more = self.count // 2
        return replace(self, low=self.low - more * self.width, count=self.count + 2 * more)

    def centres(self) -> Doubles:
        """Ln(1+z) of the middle of each bin, shape (G,)."""
        return np.asarray(self.low + (np.arange(self.count) + 0.5) * self.width)

    def place(self, target: Array) -> Doubles:
        """Where ln(1+z) lies, (N,), in bins: 0 is the middle of the first bin."""
        return (np.asarray(target, dtype=np.float64) - self.low) / self.width - 0.5

    def at(self, place: Array) -> Doubles:
        """Ln(1+z) of places, the inverse of `place`."""
        return self.low + (np.asarray(place, dtype=np.float64) + 0.5) * self.width

    def point(self, probabilities: Array, how: Point) -> Doubles:
        """Point estimate of ln(1+z), shape (N,).

        Args:
            probabilities: Shape (N, G); rows sum to 1.
            how: The middle of the most probable bin, or the expectation.
        """
        if how == "mode":
            return np.asarray(self.centres()[np.argmax(probabilities, axis=1)])
        return np.asarray(probabilities @ self.centres(), dtype=np.float64)


@dataclass(frozen=True)
class Cells:
    """A grid of rows of magnitude and columns of ln(1+z); what lies beyond falls in the outermost.

    Attributes:
        magnitude_edges: Inner edges, mag, shape (R - 1,).
        target_edges: Inner edges, ln(1+z), shape (Z - 1,).
    """

    magnitude_edges: Doubles
    target_edges: Doubles

    @classmethod
    def over(cls, magnitude: Array, target: Array, *, rows: int, columns: int) -> Self:
        """Rows that hold equally many galaxies and columns of equal width.

        Args:
            magnitude: Magnitudes of training galaxies, shape (N,).
            target: Their ln(1+z), shape (N,).
            rows: R, at most.
            columns: Z.

        Raises:
            DataError: If a magnitude is not finite.
        """
        require_magnitudes(magnitude)
        quantiles = np.quantile(magnitude, np.linspace(0, 1, rows + 1)[1:-1])
        edges = np.linspace(float(np.min(target)), float(np.max(target)), columns + 1)
        return cls(np.unique(quantiles).astype(np.float64), edges[1:-1])

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return len(self.magnitude_edges) + 1, len(self.target_edges) + 1

    def row(self, magnitude: Array) -> Ints:
        """Row of each magnitude, shape (N,)."""
        return np.digitize(magnitude, self.magnitude_edges)

    def of(self, magnitude: Array, target: Array) -> Ints:
        """Flat number of each galaxy's cell, shape (N,)."""
        if np.shape(magnitude) != np.shape(target):
            raise ShapeError(f"magnitudes {np.shape(magnitude)} for {np.shape(target)} redshifts")
        column = np.digitize(target, self.target_edges)
        return np.asarray(self.row(magnitude) * self.shape[1] + column)

    def count(self, cell: Ints, weight: Array | None = None) -> Doubles:
        """How many galaxies, or what weight, each cell holds, shape (R, Z)."""
        rows, columns = self.shape
        held = np.bincount(cell, weights=weight, minlength=rows * columns)
        return held.astype(np.float64).reshape(rows, columns)


def most_per_cell(counts: Array, fraction: float) -> float:
    """Most galaxies a cell may keep for this fraction of all to be kept.

    Args:
        counts: Counts of every cell, any shape.
        fraction: Fraction of all galaxies, more than 0, at most 1.
    """
    held = np.sort(np.ravel(counts)[np.ravel(counts) > 0]).astype(np.float64)
    below = np.concatenate([[0.0], np.cumsum(held)[:-1]])
    kept_at = below + held * np.arange(len(held), 0, -1)
    which = int(np.searchsorted(kept_at, fraction * held.sum() * (1 - 1e-12)))
    return float((fraction * held.sum() - below[which]) / (len(held) - which))


def nearly_balanced(cell: Ints, most: float, *, seed: int) -> Ints:
    """Choose at random at most so many galaxies of each cell.

    Args:
        cell: Cell of each galaxy, shape (N,).
        most: Galaxies a cell keeps; rounded up, so that no cell is emptied.
        seed: Seed of the choice.

    Returns:
        Rows kept, in order.
    """
    shuffled = np.random.default_rng(seed).permutation(len(cell))
    order = shuffled[np.argsort(cell[shuffled], kind="stable")]
    numbers = cell[order]
    first = np.searchsorted(numbers, numbers)
    return np.sort(order[np.arange(len(order)) - first < np.ceil(most)])


def balance_weights(cell: Ints, counts: Array, most: float) -> Doubles:
    """Which part of its cell's training galaxies a balanced subset keeps, shape (N,).

    As weights of other galaxies of the same distribution they are what the subset is of the
    training galaxies.

    Args:
        cell: Cell of each galaxy, shape (N,).
        counts: Training galaxies of every cell, (R, Z).
        most: Result of `most_per_cell`.
    """
    return np.asarray(np.minimum(1.0, np.ceil(most) / np.maximum(np.ravel(counts), 1))[cell])


def require_magnitudes(magnitude: Array) -> None:
    """Raise DataError if a magnitude is NaN or infinite."""
    bad = ~np.isfinite(np.asarray(magnitude, dtype=np.float64))
    if bad.any():
        raise DataError(
            f"{int(bad.sum())} of {len(bad)} galaxies have no finite magnitude to correct by; "
            f"expected one for each: give another column as magnitude="
        )


def membership(cells: Cells, magnitude: Array, channels: int) -> Doubles:
    """Which channels a galaxy trains, shape (N, K), 0 or 1.

    Channel k reads rows 2k - 1, 2k and 2k + 1 of magnitude, so that every second row is shared by
    two neighbouring channels.

    Args:
        cells: Cells with `rows_for` of these channels.
        magnitude: Shape (N,).
        channels: K.
    """
    row = cells.row(magnitude)[:, None]
    return np.asarray(np.abs(row - 2 * np.arange(channels)) <= 1, dtype=np.float64)


def rows_for(channels: int) -> int:
    """How many rows of magnitude so many channels need."""
    return 2 * channels - 1


PRIOR = 20.0


@dataclass(frozen=True)
class CellCalibration:
    """Mean residuals of ln(1+z) in cells of magnitude and estimate.

    Attributes:
        cells: Cells of magnitude and estimated ln(1+z).
        place: Mean estimate of each cell, ln(1+z), shape (R, Z).
        residual: Mean of estimate minus truth, ln(1+z), shape (R, Z).
    """

    cells: Cells
    place: Doubles
    residual: Doubles

    @classmethod
    def fit(
        cls,
        phot: Array,
        spec: Array,
        magnitude: Array,
        weight: Array,
        *,
        rows: int,
        columns: int,
    ) -> Self:
        """Measure residuals on galaxies that the estimates were not fitted to.

        A cell of few galaxies is drawn to the mean of its column over all magnitudes, and that to
        none, as if it held twenty galaxies more.

        Args:
            phot: Estimates of ln(1+z), shape (N,).
            spec: The truth, shape (N,).
            magnitude: Shape (N,).
            weight: How many galaxies of the expected distribution each stands for, shape (N,).
            rows: Number of rows of magnitude, R.
            columns: Number of columns of estimate, Z.
        """
        cells = Cells.over(magnitude, phot, rows=rows, columns=columns)
        cell = cells.of(magnitude, phot)
        held = cells.count(cell, weight)
        wrong = cells.count(cell, weight * (phot - spec))
        column = wrong.sum(axis=0) / (held.sum(axis=0) + PRIOR)
        middle = np.linspace(float(phot.min()), float(phot.max()), cells.shape[1] + 1)
        place = cells.count(cell, weight * phot) + 1e-6 * (middle[1:] + middle[:-1]) / 2
        return cls(cells, place / (held + 1e-6), (wrong + PRIOR * column) / (held + PRIOR))

    def apply(self, phot: Array, magnitude: Array) -> Doubles:
        """Corrected estimates of ln(1+z), shape (N,); between cells a straight line."""
        row = self.cells.row(magnitude)
        corrected = np.array(phot, dtype=np.float64)
        for number in np.unique(row):
            some = row == number
            wrong = np.interp(phot[some], self.place[number], self.residual[number])
            corrected[some] -= wrong
        return corrected


def resampling_weights(cells: Cells, spec: Array, magnitude: Array, wanted: Array) -> Doubles:
    """How often each galaxy is to be drawn for cells to hold what is wanted, shape (N,).

    What is wanted of a cell without galaxies is asked of the nearest in redshift, at the same
    magnitude, that has some. The mean is 1.

    Args:
        cells: Cells of magnitude and ln(1+z).
        spec: True ln(1+z), shape (N,).
        magnitude: Shape (N,).
        wanted: What is wanted of each cell, shape (R, Z); any scale.
    """
    cell = cells.of(magnitude, spec)
    held = cells.count(cell)
    asked = np.zeros(cells.shape)
    for row, there in enumerate(held > 0):
        places = np.flatnonzero(there)
        if len(places):
            nearest = places[np.abs(places[:, None] - np.arange(cells.shape[1])).argmin(axis=0)]
            np.add.at(asked[row], nearest, wanted[row])
    weight = (asked / np.maximum(held, 1)).ravel()[cell]
    return np.asarray(weight / weight.mean())


def expected_distribution(
    cells: Cells,
    spec: Array,
    magnitude: Array,
    target_phot: Array,
    target_magnitude: Array,
    *,
    how: Expected,
) -> Doubles:
    """How the target's galaxies are expected to lie in cells, without a label of theirs.

    Args:
        cells: Cells of magnitude and ln(1+z).
        spec: True ln(1+z) of training galaxies, shape (N,).
        magnitude: Their magnitudes.
        target_phot: Estimates of the target's galaxies, shape (M,).
        target_magnitude: Their magnitudes.
        how: The training galaxies' redshifts at each magnitude, as many as the target has of it;
            or the target's own estimates in the place of redshifts, as published.
    """
    if how == "photoz":
        return cells.count(cells.of(target_magnitude, target_phot))
    held = cells.count(cells.of(magnitude, spec))
    asked = np.bincount(cells.row(target_magnitude), minlength=len(held))
    return np.asarray(held / np.maximum(held.sum(axis=1, keepdims=True), 1) * asked[:, None])
