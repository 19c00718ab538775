"""Step 4: subtract the mean residual of each cell of magnitude and photometric redshift."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from ssl_photoz.core.types import Array, Doubles
from ssl_photoz.photoz.bias.cells import Cells
from ssl_photoz.photoz.settings import Expected

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
