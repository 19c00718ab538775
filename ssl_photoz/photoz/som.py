"""A self-organising map: cells of galaxies that look alike, neighbouring cells alike too."""

from __future__ import annotations

from typing import Self

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClusterMixin
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from ssl_photoz.core.errors import ConfigError, DataError, ShapeError
from ssl_photoz.core.types import Array, Doubles, Floats, Ints
from ssl_photoz.photoz.base import principal_axes, refuse_not_finite

ROWS_AT_ONCE = 16_384
NARROWEST = 0.3  # cells; below it a galaxy moves no cell but its own


class SelfOrganisingMap(ClusterMixin, BaseEstimator):  # type: ignore[misc]
    """Kohonen's map, trained on all galaxies at once in every epoch [1].

    The codebook starts as an even sheet along the first two principal axes. In an epoch each
    galaxy goes to the cell that is nearest; each cell becomes the mean of all galaxies, weighted by
    a Gaussian of the distance between cells on the map, whose width shrinks from half of the map to
    nothing. Nothing is drawn at random, so that a fit repeats itself.

    Args:
        rows: Rows of cells.
        columns: Columns of cells.
        epochs: Passes over the galaxies.

    Attributes:
        codebook_: Place of each cell among the features, shape (C, D), row by row.
        n_features_in_: Number of features, D.

    References:
        [1] Kohonen 2013, Neural Networks 37, 52, sec. 4; for redshifts Masters et al. 2015,
            ApJ 813, 53.
    """

    def __init__(self, rows: int = 12, columns: int = 12, *, epochs: int = 20) -> None:
        self.rows = rows
        self.columns = columns
        self.epochs = epochs

    def fit(self, X: Array, y: object = None) -> Self:
        """Fit to features, shape (N, D), on one scale; ``y`` is ignored.

        Raises:
            ConfigError: If there is no cell or no epoch.
            DataError: If a feature is NaN or infinite, or there are fewer galaxies than cells.
        """
        if min(self.rows, self.columns, self.epochs) < 1:
            raise ConfigError(
                f"rows={self.rows} columns={self.columns} epochs={self.epochs}: expected at least 1"
            )
        features = _features(X)
        if len(features) < self.rows * self.columns:
            raise DataError(
                f"{len(features)} galaxies for a map of {self.rows} x {self.columns} cells; "
                f"expected at least one for each: give fewer cells"
            )
        data = torch.from_numpy(features)
        codebook = torch.from_numpy(_sheet(features, self.rows, self.columns))
        apart = _squares_between_cells(self.rows, self.columns)
        widest = max(self.rows, self.columns) / 2
        for width in np.geomspace(max(widest, NARROWEST), NARROWEST, self.epochs):
            pull = torch.exp(-apart / (2 * float(width) ** 2))
            sums, counts = _sums(data, codebook)
            weight = pull @ counts
            known = weight > 1e-9
            codebook[known] = ((pull @ sums)[known] / weight[known, None]).float()
        self.codebook_: Floats = codebook.numpy()
        self.n_features_in_ = features.shape[1]
        return self

    def predict(self, X: Array) -> Ints:
        """Cell of each galaxy, shape (M,), numbered row by row from 0."""
        return self._nearest(X)[0]

    def fit_predict(self, X: Array, y: object = None) -> Ints:
        """Fit, and the cell of each galaxy, shape (N,)."""
        return self.fit(X).predict(X)

    def quantisation_error(self, X: Array) -> float:
        """Mean distance between galaxies and their cells."""
        return float(np.sqrt(self._nearest(X)[1]).mean())

    def _nearest(self, X: Array) -> tuple[Ints, Doubles]:
        check_is_fitted(self)
        features = _features(X)
        if features.shape[1] != self.codebook_.shape[1]:
            raise ShapeError(
                f"got features {features.shape}, the map was fitted to (N, {self.n_features_in_})"
            )
        cells, squares = _nearest(torch.from_numpy(features), torch.from_numpy(self.codebook_))
        return cells.numpy(), squares.double().numpy()


def _features(X: Array) -> Floats:
    features = np.ascontiguousarray(X, dtype=np.float32)
    if features.ndim != 2:
        raise ShapeError(f"got features {features.shape}, expected (N, D)")
    refuse_not_finite(features)
    return features


def _sheet(features: Floats, rows: int, columns: int) -> Floats:
    """Cells evenly on the plane of the first two principal axes, two sigma to each side, (C, D)."""
    centre = features.mean(axis=0, dtype=np.float64)
    count = min(2, *features.shape)
    axes = principal_axes(features, count).T.astype(np.float64)
    sigma = ((features - centre) @ axes.T).std(axis=0)
    long, short = (2 * sigma[k] * axes[k] if k < count else 0 * centre for k in (0, 1))
    if rows > columns:
        long, short = short, long
    down, across = (np.linspace(-1, 1, n) if n > 1 else np.zeros(1) for n in (rows, columns))
    sheet = centre + down[:, None, None] * short + across[None, :, None] * long
    return np.ascontiguousarray(sheet.reshape(rows * columns, -1), dtype=np.float32)


def _squares_between_cells(rows: int, columns: int) -> Tensor:
    """Squared distances on the map, in cells, shape (C, C)."""
    places = torch.cartesian_prod(torch.arange(rows), torch.arange(columns)).double()
    return torch.cdist(places, places) ** 2


def _nearest(data: Tensor, codebook: Tensor) -> tuple[Tensor, Tensor]:
    """Cell of each galaxy and the squared distance to it, (N,) each."""
    lengths = (codebook**2).sum(dim=1)
    found = [
        (lengths - 2 * some @ codebook.T).min(dim=1) for some in torch.split(data, ROWS_AT_ONCE)
    ]
    if not found:
        return torch.empty(0, dtype=torch.int64), torch.empty(0)
    cells = torch.cat([one.indices for one in found])
    away = torch.cat([((a - codebook[c]) ** 2).sum(dim=1) for a, c in _together(data, cells)])
    return cells, away


def _together(data: Tensor, cells: Tensor) -> zip[tuple[Tensor, Tensor]]:
    return zip(torch.split(data, ROWS_AT_ONCE), torch.split(cells, ROWS_AT_ONCE), strict=True)


def _sums(data: Tensor, codebook: Tensor) -> tuple[Tensor, Tensor]:
    """Sum of the galaxies of each cell, (C, D), and their number, (C,); float64."""
    cells, _ = _nearest(data, codebook)
    sums = torch.zeros(codebook.shape, dtype=torch.float64)
    for some, where in _together(data, cells):
        sums.index_add_(0, where, some.double())
    return sums, torch.bincount(cells, minlength=len(codebook)).double()
