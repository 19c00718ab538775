"""How good are photometric redshifts: numbers, their errors, and differences of numbers.

Everything rests on the relative residual ``dz = (z_phot - z_spec) / (1 + z_spec)``.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields

import numpy as np

from ssl_photoz.catalog.lowz_cuts import Z_MAX as LOWZ_Z_MAX
from ssl_photoz.core.errors import DataError, ShapeError
from ssl_photoz.core.statistics import SIGMA_PER_MAD
from ssl_photoz.core.types import Array, Bools, Doubles, Ints


@dataclass(frozen=True)
class Metrics:
    """Summary of photometric against spectroscopic redshifts.

    Attributes:
        n: Galaxies.
        bias: Mean of dz.
        sigma_nmad: 1.4826 median(|dz - median(dz)|); sigma of dz if dz is Gaussian.
        outliers_05: Fraction with |dz| > 0.05.
        outliers_10: Fraction with |dz| > 0.10.
        outliers_15: Fraction with |dz| > 0.15.
        mae: Mean of |z_phot - z_spec|.
        rmse: Root mean square of z_phot - z_spec.
        r2: Coefficient of determination of z_phot for z_spec; NaN if z_spec does not vary.
    """

    n: int
    bias: float
    sigma_nmad: float
    outliers_05: float
    outliers_10: float
    outliers_15: float
    mae: float
    rmse: float
    r2: float


@dataclass(frozen=True)
class Score(Metrics):
    """Metrics with their errors; printed, one line.

    Attributes:
        errors: Bootstrap error of every metric, by name.
        without_z_spec: Galaxies that were left out because their z_spec is NaN.
    """

    errors: dict[str, float]
    without_z_spec: int

    def __str__(self) -> str:
        """One line."""
        left_out = f", {self.without_z_spec} without z_spec left out" * bool(self.without_z_spec)
        return (
            f"bias {self.bias:+.4f} ± {self.errors['bias']:.4f}, "
            f"sigma_NMAD {self.sigma_nmad:.4f} ± {self.errors['sigma_nmad']:.4f}, "
            f"|dz| > 0.05 {self.outliers_05:.1%} ± {self.errors['outliers_05']:.1%}, "
            f"R2 {self.r2:.3f} ± {self.errors['r2']:.3f} "
            f"({self.n} galaxies{left_out})"
        )


@dataclass(frozen=True)
class Difference:
    """A metric of A minus the same metric of B on the same galaxies, and its bootstrap error."""

    value: float
    error: float


NAMES = tuple(field.name for field in fields(Metrics) if field.name != "n")


def residuals(z_phot: Array, z_spec: Array) -> Doubles:
    """Dz = (z_phot - z_spec) / (1 + z_spec), shape (N,)."""
    phot, spec = _checked(z_phot, z_spec)
    return (phot - spec) / (1 + spec)


def sigma_nmad(dz: Array) -> float:
    """1.4826 times the median absolute deviation of dz."""
    return float(SIGMA_PER_MAD * np.median(np.abs(dz - np.median(dz))))


def summarise(z_phot: Array, z_spec: Array) -> Metrics:
    """Compare photometric with spectroscopic redshifts.

    Args:
        z_phot: Estimates, shape (N,).
        z_spec: Truth, shape (N,).

    Raises:
        ShapeError: If the shapes differ or are not (N,).
        DataError: If there is no galaxy, or a value that is not finite.
    """
    phot, spec = _checked(z_phot, z_spec)
    if len(spec) == 0:
        raise DataError("no galaxies to compare redshifts of; expected at least one")
    error = phot - spec
    dz = error / (1 + spec)
    scatter = float(np.sum((spec - spec.mean()) ** 2))
    return Metrics(
        n=len(spec),
        bias=float(dz.mean()),
        sigma_nmad=sigma_nmad(dz),
        outliers_05=float(np.mean(np.abs(dz) > 0.05)),
        outliers_10=float(np.mean(np.abs(dz) > 0.10)),
        outliers_15=float(np.mean(np.abs(dz) > 0.15)),
        mae=float(np.mean(np.abs(error))),
        rmse=float(np.sqrt(np.mean(error**2))),
        r2=1 - float(np.sum(error**2)) / scatter if scatter > 0 else float("nan"),
    )


def score(z_phot: Array, z_spec: Array, *, seed: int = 0) -> Score:
    """Score photometric redshifts, with bootstrap errors.

    Args:
        z_phot: Estimates, shape (N,).
        z_spec: Spectroscopic redshifts, shape (N,); NaN where there is none.
        seed: Seed of the bootstrap.

    Returns:
        Bias, sigma_NMAD, outlier fractions, R2 ... with errors; printed, it is one line.

    Raises:
        ShapeError: If the shapes differ or are not (N,).
        DataError: If no galaxy has a z_spec, or a value is infinite or z_phot NaN.

    Example:
        >>> import numpy as np
        >>> z_spec = np.linspace(0.1, 0.3, 101)
        >>> told = score(z_spec + 0.001 * (1 + z_spec), z_spec)
        >>> print(f"{told.bias:.3f} {told.outliers_05:.0%} {told.errors['bias']:.3f}")
        0.001 0% 0.000
    """
    phot, spec = np.asarray(z_phot, dtype=np.float64), np.asarray(z_spec, dtype=np.float64)
    if phot.shape != spec.shape or spec.ndim != 1:
        raise ShapeError(f"z_phot {phot.shape} and z_spec {spec.shape}: expected two of one (N,)")
    known = ~np.isnan(spec)
    summary = summarise(phot[known], spec[known])
    errors = bootstrap_errors(phot[known], spec[known], seed=seed)
    return Score(**asdict(summary), errors=errors, without_z_spec=int((~known).sum()))


def bootstrap_errors(
    z_phot: Array, z_spec: Array, *, draws: int = 200, seed: int = 0
) -> dict[str, float]:
    """Standard error of every metric, by resampling galaxies with replacement."""
    phot, spec = _checked(z_phot, z_spec)
    return _spread(lambda rows: _numbers(phot[rows], spec[rows]), len(spec), draws=draws, seed=seed)


def paired_difference(
    z_a: Array,
    z_b: Array,
    z_spec: Array,
    *,
    metric: str = "sigma_nmad",
    draws: int = 200,
    seed: int = 0,
) -> Difference:
    """How much A's metric exceeds B's, with the error of that difference.

    Both are resampled with the same galaxies, so that what they share drops out; the error is
    smaller than that of two independent numbers.

    Args:
        z_a: Estimates of A, shape (N,).
        z_b: Estimates of B for the same galaxies, shape (N,).
        z_spec: Truth, shape (N,).
        metric: A name of `NAMES`.
        draws: Bootstrap draws.
        seed: Seed of the draws.
    """
    a, spec = _checked(z_a, z_spec)
    b, _ = _checked(z_b, z_spec)

    def difference(rows: Ints) -> dict[str, float]:
        value = _numbers(a[rows], spec[rows])[metric] - _numbers(b[rows], spec[rows])[metric]
        return {metric: value}

    whole = np.arange(len(spec))
    error = _spread(difference, len(spec), draws=draws, seed=seed)
    return Difference(value=difference(whole)[metric], error=error[metric])


def in_bins(
    z_phot: Array, z_spec: Array, by: Array, edges: Sequence[float] | Array, *, least: int = 5
) -> list[dict[str, float]]:
    """Summarise in bins of a third quantity.

    Args:
        z_phot: Estimates, shape (N,).
        z_spec: Truth, shape (N,).
        by: What to bin by, shape (N,); NaN falls in no bin.
        edges: Increasing bin edges; a bin holds ``low <= by < high``.
        least: Bins with fewer galaxies are left out.

    Returns:
        One mapping per bin: ``low``, ``high``, ``centre`` (the median), the metrics, and
        ``error_<metric>``.
    """
    rows = []
    for low, high in itertools.pairwise(edges):
        inside = (by >= low) & (by < high)
        if inside.sum() < max(least, 1):
            continue
        errors = bootstrap_errors(z_phot[inside], z_spec[inside], draws=100)
        rows.append(
            {"low": float(low), "high": float(high), "centre": float(np.median(by[inside]))}
            | asdict(summarise(z_phot[inside], z_spec[inside]))
            | {f"error_{name}": error for name, error in errors.items()}
        )
    return rows


def purity_completeness(z_phot: Array, z_spec: Array, limit: float) -> tuple[float, float]:
    """Score the selection z_phot < limit of the galaxies with z_spec < limit.

    Returns:
        Purity (right among the selected) and completeness (selected among the right); NaN
        where nothing is selected, or nothing is there to select.
    """
    phot, spec = _checked(z_phot, z_spec)
    selected, right = phot < limit, spec < limit
    both = float(np.sum(selected & right))
    return _ratio(both, float(selected.sum())), _ratio(both, float(right.sum()))


def purity_at(z_phot: Array, z_spec: Array, limit: float, *, completeness: float = 0.9) -> float:
    """Purity of the z_phot cut that keeps this fraction of z_spec < limit."""
    phot, spec = _checked(z_phot, z_spec)
    right = spec < limit
    if not right.any():
        return float("nan")
    cut = np.quantile(phot[right], completeness, method="inverted_cdf")
    return _ratio(float(np.sum(right & (phot <= cut))), float(np.sum(phot <= cut)))


def _numbers(z_phot: Array, z_spec: Array) -> dict[str, float]:
    metrics = asdict(summarise(z_phot, z_spec))
    return {name: metrics[name] for name in NAMES}


def _spread(
    measure: Callable[[Ints], dict[str, float]], n: int, *, draws: int, seed: int
) -> dict[str, float]:
    rng = np.random.default_rng(seed)
    drawn = [measure(rng.integers(0, n, n)) for _ in range(draws)]
    return {name: float(np.std([d[name] for d in drawn], ddof=1)) for name in drawn[0]}


def _ratio(part: float, whole: float) -> float:
    return float(part / whole) if whole > 0 else float("nan")


def _checked(z_phot: Array, z_spec: Array) -> tuple[Doubles, Doubles]:
    phot, spec = np.asarray(z_phot, dtype=np.float64), np.asarray(z_spec, dtype=np.float64)
    if phot.shape != spec.shape or spec.ndim != 1:
        raise ShapeError(f"z_phot {phot.shape} and z_spec {spec.shape}: expected two of one (N,)")
    if not (np.isfinite(phot).all() and np.isfinite(spec).all()):
        raise DataError("redshifts to compare hold NaN or infinity; leave those galaxies out")
    return phot, spec


def score_selection(
    selected: Bools, z_spec: Array, *, z_max: float = LOWZ_Z_MAX, draws: int = 200, seed: int = 0
) -> dict[str, float]:
    """How pure and complete a selection of nearby galaxies is.

    Args:
        selected: Shape (N,).
        z_spec: Spectroscopic redshifts, shape (N,).
        z_max: What is nearby.
        draws: Bootstrap draws.
        seed: Seed of the draws.

    Returns:
        ``z_max``, ``n`` (nearby galaxies), ``selected``, ``purity``, ``completeness`` and their
        bootstrap errors ``error_purity``, ``error_completeness``; NaN where nothing is selected
        or nothing is nearby.
    """
    # As redshifts on either side of the limit, a selection is scored like any z_phot cut.
    as_z = np.where(selected, z_max - 1, z_max + 1)
    purity, completeness = purity_completeness(as_z, z_spec, z_max)
    rng = np.random.default_rng(seed)
    rows = rng.integers(0, len(as_z), (draws, len(as_z)))
    drawn = np.array([purity_completeness(as_z[some], z_spec[some], z_max) for some in rows])
    errors = [_spread_of_known(values) for values in drawn.T]
    return {
        "z_max": z_max,
        "n": int(np.sum(z_spec < z_max)),
        "selected": int(np.sum(selected)),
        "purity": purity,
        "completeness": completeness,
        "error_purity": errors[0],
        "error_completeness": errors[1],
    }


def _spread_of_known(values: Array) -> float:
    """Standard deviation of the draws in which there was something to count."""
    known = values[np.isfinite(values)]
    return float(np.std(known, ddof=1)) if len(known) > 1 else float("nan")
