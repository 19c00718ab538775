"""Score fitted probes on galaxies that they were not fitted to."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from ssl_photoz.catalog.identity import identity_of, pair_galaxies
from ssl_photoz.core.errors import DataError
from ssl_photoz.core.statistics import SIGMA_PER_MAD
from ssl_photoz.core.types import Array, Bools, Doubles, Ints
from ssl_photoz.photoz import metrics
from ssl_photoz.photoz.base import Prediction
from ssl_photoz.photoz.labels import FEWEST_LABELS, Labelled

NEARBY = (0.03, 0.05)
BINS = 8
# Precision is theirs: 1.48 times the median absolute deviation; NaN for an R2 that is not known.
SDSS_FIGURES: dict[str, Callable[[Mapping[str, Any]], float]] = {
    "MAE": lambda s: s["mae"],
    "RMSE": lambda s: s["rmse"],
    "MSE": lambda s: s["rmse"] ** 2,
    "R2": lambda s: math.nan if s["r2"] is None else s["r2"],
    "bias": lambda s: s["bias"],
    "precision": lambda s: 1.48 * s["sigma_nmad"] / SIGMA_PER_MAD,
    "> 0.05": lambda s: s["outliers_05"],
    "> 0.10": lambda s: s["outliers_10"],
    "> 0.15": lambda s: s["outliers_15"],
}
COMPARED = ("sigma_nmad", "outliers_05", "rmse")


def score(prediction: Prediction, truth: Labelled, *, seed: int = 0) -> dict[str, Any]:
    """All that is said of one probe on one split, ready for JSON.

    Returns:
        The metrics and their bootstrap errors (``error_<metric>``), the ``coverage`` of the
        68 % interval, ``nearby`` selections, and ``bins`` by redshift and magnitude.
    """
    phot, spec = prediction.z_phot, truth.z
    errors = metrics.bootstrap_errors(phot, spec, seed=seed)
    inside = (spec >= prediction.z_lo) & (spec <= prediction.z_hi)
    by = {"redshift": spec, "magnitude": truth.magnitude}
    return {
        **asdict(metrics.summarise(phot, spec)),
        **{f"error_{name}": error for name, error in errors.items()},
        "coverage": float(inside.mean()),
        "nearby": [_nearby(phot, spec, limit) for limit in NEARBY],
        "bins": {
            name: metrics.in_bins(phot, spec, values, equal_count_edges(values))
            for name, values in by.items()
            if values is not None and np.isfinite(values).any()
        },
    }


def by_coverage(z_phot: Array, z_spec: Array, outside: Bools) -> dict[str, dict[str, float]]:
    """Scores of the galaxies among the labels (``inside``), and of the others (``outside``).

    Args:
        z_phot: Estimates, shape (N,).
        z_spec: Truths, shape (N,).
        outside: Which lie outside of the labels, shape (N,).

    Returns:
        For each ``n`` and, where there are any, ``sigma_nmad``, ``outliers_05`` and ``bias``.
    """
    said: dict[str, dict[str, float]] = {}
    for name, some in {"inside": ~outside, "outside": outside}.items():
        dz = metrics.residuals(z_phot[some], z_spec[some])
        said[name] = {"n": int(some.sum())}
        if len(dz):
            said[name] |= {
                "sigma_nmad": metrics.sigma_nmad(dz),
                "outliers_05": float(np.mean(np.abs(dz) > 0.05)),
                "bias": float(dz.mean()),
            }
    return said


def equal_count_edges(values: Array, bins: int = BINS) -> Doubles:
    """Edges of bins that hold equally many of the finite values."""
    finite = values[np.isfinite(values)].astype(np.float64)
    edges = np.unique(np.quantile(finite, np.linspace(0, 1, bins + 1)))
    edges[-1] = np.nextafter(edges[-1], np.inf)
    return np.asarray(edges)


def compare(
    mine: Mapping[str, Array], theirs: Mapping[str, Array], pairs: Mapping[str, str], baseline: str
) -> list[dict[str, Any]]:
    """Compare probes with baselines on the galaxies that both predict.

    Args:
        mine: Columns of a prediction table: ``id``, ``z_spec``, ``z_phot_<probe>``, and ``ra`` and
            ``dec`` where they are known.
        theirs: Those of the baseline's table.
        pairs: Name of each probe of mine to the baseline's probe to compare it with.
        baseline: Name of the baseline.

    Returns:
        Per probe and metric: the difference (negative: mine is better), its paired bootstrap
        error, and whether mine is better by more than two of these errors.

    Raises:
        DataError: If fewer than 10 galaxies are in both tables.
    """
    rows, other_rows = shared_galaxies(mine, theirs, baseline)
    said = []
    for probe, other in pairs.items():
        for metric in COMPARED:
            difference = metrics.paired_difference(
                mine[f"z_phot_{probe}"][rows],
                theirs[f"z_phot_{other}"][other_rows],
                mine["z_spec"][rows],
                metric=metric,
            )
            said.append(
                {
                    "probe": probe,
                    "baseline": baseline,
                    "baseline_probe": other,
                    "metric": metric,
                    "n": len(rows),
                    "difference": difference.value,
                    "error": difference.error,
                    "beats": difference.value < -2 * difference.error,
                }
            )
    return said


def shared_galaxies(
    mine: Mapping[str, Array], theirs: Mapping[str, Array], baseline: str
) -> tuple[Ints, Ints]:
    """Rows of the galaxies that two tables share, by ``id`` and, where known, ``ra`` and ``dec``.

    Raises:
        DataError: If they are fewer than 10.
    """
    rows, other_rows = pair_galaxies(identity_of(mine), identity_of(theirs))
    if len(rows) < FEWEST_LABELS:
        raise DataError(
            f"{len(rows)} test galaxies are also in the table of {baseline}, expected at least "
            f"{FEWEST_LABELS}; compare probes of embeddings of the same cutouts and split"
        )
    return rows, other_rows


def table(
    scores: Mapping[str, Mapping[str, Any]], *, split: str = "test", full: bool = False
) -> str:
    """Write the main metrics as lines of text; if full, also all that SDSS CNN papers quote."""
    lines = [f"{'probe':<8}{'sigma_NMAD':>18}{'|dz| > 0.05':>16}{'bias':>19}{'R2':>8}{'n':>8}"]
    for name, splits in scores.items():
        s = splits[split]
        r2 = "" if s["r2"] is None else f"{s['r2']:.3f}"
        lines.append(
            f"{name:<8}{s['sigma_nmad']:>9.4f} ± {s['error_sigma_nmad']:.4f}"
            f"{s['outliers_05']:>9.1%} ± {s['error_outliers_05']:.1%}"
            f"{s['bias']:>+10.4f} ± {s['error_bias']:.4f}{r2:>8}{s['n']:>8}"
        )
    return "\n".join([*lines, *_as_sdss_papers(scores, split)] if full else lines)


def _as_sdss_papers(scores: Mapping[str, Mapping[str, Any]], split: str) -> list[str]:
    lines = [f"{'probe':<12}" + "".join(f"{words:>12}" for words in SDSS_FIGURES)]
    for name, splits in scores.items():
        s = splits[split]
        numbers = [f"{of(s):>12.4f}" for of in SDSS_FIGURES.values()]
        lines.append(f"{name:<12}" + "".join(numbers))
    return lines


def _nearby(z_phot: Array, z_spec: Array, limit: float) -> dict[str, float]:
    purity, completeness = metrics.purity_completeness(z_phot, z_spec, limit)
    return {
        "z_max": limit,
        "n": int(np.sum(z_spec < limit)),
        "purity": purity,
        "completeness": completeness,
        "purity_at_90_completeness": metrics.purity_at(z_phot, z_spec, limit),
    }
