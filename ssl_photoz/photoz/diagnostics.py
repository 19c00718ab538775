"""Are redshift densities right: calibration, sharpness, and what a cut on quality gains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from scipy.stats import kstest

from ssl_photoz.core.types import Array, Doubles
from ssl_photoz.photoz import metrics
from ssl_photoz.photoz.density import Density, cell_of
from ssl_photoz.photoz.scores import NEARBY, equal_count_edges

KS_OF_CHANCE = 0.8687  # mean of Kolmogorov's distribution, sqrt(pi / 2) ln 2
LEVELS = (0.5, 0.68, 0.9, 0.95)
KEPT = (1.0, 0.95, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3)
PIT_BINS = 20


def diagnose(
    density: Density, z_spec: Array, *, by: Mapping[str, Array] | None = None
) -> dict[str, Any]:
    """All that is said of densities whose true redshifts are known, ready for JSON.

    Args:
        density: Densities of N galaxies.
        z_spec: Shape (N,).
        by: More quantities to bin residuals by, such as magnitude and seeing, shape (N,) each.
    """
    pit, z_phot, odds = density.cdf_at(z_spec), density.median(), density.odds()
    columns = {"z_spec": z_spec, "z_phot": z_phot, **(by or {})}
    return {
        "n": len(density),
        "ks": ks_distance(pit),
        "ks_of_chance": ks_of_chance(len(pit)),
        "crps": float(crps(density, z_spec).mean()),
        "cde_loss": cde_loss(density, z_spec),
        "coverage": coverage(pit),
        "pit_histogram": np.histogram(pit, PIT_BINS, (0, 1))[0].tolist(),
        "nearby": [
            {"z_max": z_max, **reliability(density.cdf_at(z_max), z_spec < z_max)}
            for z_max in NEARBY
        ],
        "point": asdict(metrics.summarise(z_phot, z_spec)),
        "expected_outliers": float(1 - odds.mean()),
        "good": float(density.good().mean()),
        "kept": kept(z_phot, z_spec, odds),
        "bins": {
            name: metrics.in_bins(z_phot, z_spec, values, equal_count_edges(values))
            for name, values in columns.items()
            if np.isfinite(values).any()
        },
    }


def ks_distance(pit: Array) -> float:
    """Kolmogorov-Smirnov distance of PIT values (N,) to the uniform distribution."""
    return float(kstest(pit, "uniform").statistic)


def ks_of_chance(n: int) -> float:
    """Mean KS distance of n galaxies whose densities are perfect."""
    return KS_OF_CHANCE / float(np.sqrt(n))


def coverage(pit: Array, levels: Sequence[float] = LEVELS) -> dict[str, float]:
    """Which part of the truths lies in each central interval; the level if all is well."""
    return {f"{level:g}": float(np.mean(np.abs(2 * pit - 1) <= level)) for level in levels}


def crps(density: Density, z_spec: Array) -> Doubles:
    """Continuous ranked probability score, shape (N,): integral of (F - step)^2.

    In redshift; lower is better; |error| for a density without width. Exact for a CDF that is
    straight between grid points; a truth beyond the grid adds its distance.

    References:
        Gneiting & Raftery 2007, JASA 102, 359, eq. 20.
    """
    grid, cdf, rows = density.grid, density.cdf(), np.arange(len(density))
    step = np.diff(grid)
    below = np.cumsum(step * _square(cdf[:, :-1], cdf[:, 1:]), axis=1)
    above = np.cumsum((step * _square(1 - cdf[:, :-1], 1 - cdf[:, 1:]))[:, ::-1], axis=1)[:, ::-1]
    cell, part = cell_of(grid, np.asarray(z_spec, dtype=np.float64))
    low, high = cdf[rows, cell], cdf[rows, cell + 1]
    at = low + part * (high - low)
    before = below[rows, cell] - step[cell] * _square(low, high)
    after = above[rows, cell] - step[cell] * _square(1 - low, 1 - high)
    inside = part * _square(low, at) + (1 - part) * _square(1 - at, 1 - high)
    beyond = np.maximum(grid[0] - z_spec, 0) + np.maximum(z_spec - grid[-1], 0)
    return np.asarray(before + after + step[cell] * inside + beyond)


def cde_loss(density: Density, z_spec: Array) -> float:
    """Mean of integral f^2 dz - 2 f(z_spec); lower is better, least for the truth.

    The mean square error of the density, but for a constant that no estimate changes.

    References:
        Izbicki & Lee 2017, Electron. J. Statist. 11, 2800.
    """
    squared = np.sum(
        np.diff(density.grid) * _square(density.values[:, :-1], density.values[:, 1:]), axis=1
    )
    return float(np.mean(squared - 2 * density.pdf_at(z_spec)))


def reliability(probability: Array, happened: Array, *, bins: int = 10) -> dict[str, Any]:
    """Compare probabilities of an event with how often it happens.

    Args:
        probability: Shape (N,).
        happened: Whether it did, shape (N,).
        bins: Number of bins of equal width; empty ones are left out.

    Returns:
        ``brier``, the mean square error; ``brier_of_prevalence``, that of telling every galaxy the
        mean; ``expected`` and ``observed`` numbers; ``bins``: ``n``, ``predicted``, ``observed``
        and its binomial ``error``.

    References:
        Brier 1950, Mon. Weather Rev. 78, 1.
    """
    happened = np.asarray(happened, dtype=np.float64)
    which = np.minimum((probability * bins).astype(int), bins - 1)
    rows = []
    for inside in (which == number for number in np.unique(which)):
        n, observed = int(inside.sum()), float(happened[inside].mean())
        predicted = float(probability[inside].mean())
        error = float(np.sqrt(predicted * (1 - predicted) / n))
        rows.append({"n": n, "predicted": predicted, "observed": observed, "error": error})
    return {
        "brier": float(np.mean((probability - happened) ** 2)),
        "brier_of_prevalence": float(np.var(happened)),
        "expected": float(np.sum(probability)),
        "observed": int(happened.sum()),
        "bins": rows,
    }


def kept(
    z_phot: Array, z_spec: Array, odds: Array, *, fractions: Sequence[float] = KEPT
) -> list[dict[str, float]]:
    """Score the galaxies that a cut on odds keeps, for several fractions kept.

    Returns:
        One mapping per fraction: ``fraction``, ``n``, ``odds`` (the least kept), ``sigma_nmad``,
        ``outliers_05`` and ``expected_outliers`` (1 - mean odds).
    """
    order = np.argsort(-odds, kind="stable")
    said = []
    for fraction in fractions:
        rows = order[: max(1, round(fraction * len(order)))]
        summary = metrics.summarise(z_phot[rows], z_spec[rows])
        said.append(
            {
                "fraction": fraction,
                "n": len(rows),
                "odds": float(odds[rows[-1]]),
                "sigma_nmad": summary.sigma_nmad,
                "outliers_05": summary.outliers_05,
                "expected_outliers": float(1 - odds[rows].mean()),
            }
        )
    return said


def _square(start: Doubles, end: Doubles) -> Doubles:
    """Mean square along a straight line between two values."""
    return (start**2 + start * end + end**2) / 3
