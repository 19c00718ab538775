"""Recalibrate densities: bend CDFs so that truths fall evenly in them, at every redshift."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy.special import betainc
from scipy.stats import beta

from ssl_photoz.core.errors import DataError, ShapeError
from ssl_photoz.core.types import Array, Doubles
from ssl_photoz.photoz.density import Density

MOST_DEGREE = 60
FEWEST = 50
ITERATIONS = 300
POINTS = np.linspace(0, 1, 2_001)


@dataclass(frozen=True)
class Calibration:
    """Smooth, increasing maps of probability integral transforms (PIT) onto even ones.

    The distribution of PIT is fitted as a Bernstein polynomial [1]: a mixture of Beta
    distributions, which is the identity if all weigh the same. Its CDF is the map [2]. There is one
    for each bin of z_phot, and a galaxy's is interpolated between them: estimates that are drawn
    to the mean are too high for near galaxies and too low for far ones, which one map for all
    would take for too little or too much width.

    Attributes:
        z_phot: Median point estimate of each bin, increasing, shape (B,).
        weights: Weights of the Beta distributions, shape (B, degree); each row sums to 1.

    References:
        [1] Vitale 1975, in Statistical Inference and Related Topics 2, p. 87.
        [2] Kuleshov, Fenner & Ermon 2018, ICML (arXiv 1807.00263); Bordoloi, Lilly & Amara 2010,
            MNRAS 406, 881, for redshifts.
    """

    z_phot: Doubles
    weights: Doubles

    @classmethod
    def fit(
        cls,
        pit: Array,
        z_phot: Array,
        *,
        prior: float = 1.0,
        most_bins: int = 8,
        per_bin: int = 400,
    ) -> Self:
        """Fit the distribution of PIT, by expectation maximisation in each bin.

        Degree grows with the square root of the galaxies. Fewer than 50 leave densities as they
        are; the prior draws the maps towards the identity where galaxies are few.

        Args:
            pit: PIT of galaxies that the densities were not fitted to, shape (N,).
            z_phot: Medians of their densities, shape (N,).
            prior: Imagined galaxies added to every Beta distribution.
            most_bins: Bins at most, of equally many galaxies.
            per_bin: Galaxies a bin needs; with fewer than twice as many there is one bin.

        Raises:
            DataError: If a PIT is not within 0 and 1.
            ShapeError: If the shapes differ.
        """
        pit, z_phot = np.asarray(pit, dtype=np.float64), np.asarray(z_phot, dtype=np.float64)
        if pit.shape != z_phot.shape or pit.ndim != 1:
            raise ShapeError(f"pit {pit.shape} and z_phot {z_phot.shape}: expected two of one (N,)")
        if not ((pit >= 0) & (pit <= 1)).all():
            raise DataError("a PIT is not within 0 and 1; expected cumulative probabilities")
        if len(pit) < FEWEST:
            return cls(np.zeros(1), np.ones((1, 1)))
        bins = np.array_split(np.argsort(z_phot), int(np.clip(len(pit) // per_bin, 1, most_bins)))
        degree = int(np.clip(np.sqrt(len(bins[-1])), 2, MOST_DEGREE))
        return cls(
            z_phot=np.array([np.median(z_phot[rows]) for rows in bins]),
            weights=np.array([_fit_weights(pit[rows], degree, prior) for rows in bins]),
        )

    def map(self, pit: Array, z_phot: Array) -> Doubles:
        """Calibrated cumulative probabilities of galaxies, shape (N,)."""
        degree = self.weights.shape[1]
        number = np.arange(1, degree + 1)
        cumulative = betainc(number, degree - number + 1, POINTS[:, None])
        return self._read(cumulative, np.asarray(pit)[:, None], z_phot)[:, 0]

    def apply(self, density: Density) -> Density:
        """Calibrated densities: each times the slope of its map at its own CDF."""
        slope = self._read(_betas(POINTS, self.weights.shape[1]), density.cdf(), density.median())
        return Density.of(density.grid, density.values * slope)

    def _read(self, basis: Doubles, at: Doubles, z_phot: Array) -> Doubles:
        """Evaluate each galaxy's mixture of basis functions, (P, degree), at (N, G); (N, G)."""
        place = np.interp(z_phot, self.z_phot, np.arange(len(self.z_phot)))
        total = np.zeros(at.shape)
        for number, weights in enumerate(self.weights):
            share = np.clip(1 - np.abs(place - number), 0, 1)
            rows = share > 0
            total[rows] += share[rows, None] * np.interp(at[rows], POINTS, basis @ weights)
        return total


def _fit_weights(pit: Doubles, degree: int, prior: float) -> Doubles:
    densities = _betas(np.clip(pit, 1e-9, 1 - 1e-9), degree)
    weights = np.full(degree, 1 / degree)
    for _ in range(ITERATIONS):
        shares = weights * densities
        shares /= shares.sum(axis=1, keepdims=True)
        counts = shares.sum(axis=0) + prior
        weights = counts / counts.sum()
    return weights


def _betas(pit: Doubles, degree: int) -> Doubles:
    """Densities Beta(j, degree - j + 1), j = 1 ... degree, shape (N, degree)."""
    number = np.arange(1, degree + 1)
    return np.asarray(beta.pdf(pit[:, None], number, degree - number + 1))
