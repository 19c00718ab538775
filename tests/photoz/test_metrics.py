import math

import numpy as np
import pytest
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

from ssl_photoz.core.errors import DataError, ShapeError
from ssl_photoz.photoz import metrics


def gaussian(n=20_000, sigma=0.02, seed=0):
    rng = np.random.default_rng(seed)
    spec = rng.uniform(0.01, 0.5, n)
    return spec + (1 + spec) * rng.normal(0.003, sigma, n), spec


def by_hand(phot, spec):
    """The definitions as loops over plain numbers."""
    dz = [(p - s) / (1 + s) for p, s in zip(phot, spec, strict=True)]
    n = len(dz)

    def median(values):
        values = sorted(values)
        return (values[(n - 1) // 2] + values[n // 2]) / 2

    middle = median(dz)
    return {
        "bias": sum(dz) / n,
        "sigma_nmad": 1.4826 * median([abs(x - middle) for x in dz]),
        **{f"outliers_{c:02d}": sum(abs(x) > c / 100 for x in dz) / n for c in (5, 10, 15)},
    }


@pytest.mark.parametrize("n", [1, 2, 101, 1000])
def test_metrics_agree_with_slow_loops(n):
    phot, spec = gaussian(n, sigma=0.08)
    ours = metrics.summarise(phot, spec)
    for name, value in by_hand(phot.tolist(), spec.tolist()).items():
        assert getattr(ours, name) == pytest.approx(value, abs=1e-12)
    assert ours.n == n


def test_metrics_agree_with_scikit_learn():
    phot, spec = gaussian(500, sigma=0.05)
    ours = metrics.summarise(phot, spec)
    assert ours.mae == pytest.approx(mean_absolute_error(spec, phot))
    assert ours.rmse == pytest.approx(root_mean_squared_error(spec, phot))
    assert ours.r2 == pytest.approx(r2_score(spec, phot))


def test_sigma_nmad_of_gaussian_residuals_is_their_sigma():
    assert metrics.summarise(*gaussian()).sigma_nmad == pytest.approx(0.02, rel=0.03)


def test_outlier_fraction_of_gaussian_residuals_is_the_error_function():
    phot, spec = gaussian(sigma=0.05)
    shifted = phot - 0.003 * (1 + spec)
    expected = math.erfc(0.05 / (0.05 * math.sqrt(2)))
    assert metrics.summarise(shifted, spec).outliers_05 == pytest.approx(expected, abs=0.01)


def test_r2_is_nan_where_redshifts_do_not_vary():
    assert math.isnan(metrics.summarise(np.array([0.1, 0.2]), np.array([0.1, 0.1])).r2)


def test_bootstrap_error_of_the_mean_is_sigma_over_root_n():
    phot, spec = gaussian(1000)
    errors = metrics.bootstrap_errors(phot, spec, draws=400)
    assert errors["bias"] == pytest.approx(0.02 / math.sqrt(1000), rel=0.15)


def test_bootstrap_error_of_nmad_matches_the_scatter_of_fresh_samples():
    fresh = [metrics.summarise(*gaussian(400, seed=s)).sigma_nmad for s in range(200)]
    told = np.mean(
        [metrics.bootstrap_errors(*gaussian(400, seed=s))["sigma_nmad"] for s in range(10)]
    )
    assert told == pytest.approx(np.std(fresh), rel=0.25)


def test_bootstrap_repeats_with_its_seed():
    phot, spec = gaussian(200)
    assert metrics.bootstrap_errors(phot, spec) == metrics.bootstrap_errors(phot, spec)
    assert metrics.bootstrap_errors(phot, spec) != metrics.bootstrap_errors(phot, spec, seed=1)


def test_paired_error_is_smaller_when_residuals_are_shared():
    rng = np.random.default_rng(1)
    phot, spec = gaussian(1000)
    a, b = phot + rng.normal(0, 0.001, 1000), phot + rng.normal(0, 0.001, 1000)
    paired = metrics.paired_difference(a, b, spec, metric="rmse")
    alone = metrics.bootstrap_errors(a, spec)["rmse"]
    assert paired.error < 0.5 * alone
    assert abs(paired.value) < 4 * paired.error


def test_paired_difference_has_the_sign_of_a_minus_b():
    phot, spec = gaussian(1000)
    better = spec + 0.5 * (phot - spec)
    difference = metrics.paired_difference(better, phot, spec)
    assert difference.value < -10 * difference.error
    assert difference.value == pytest.approx(
        metrics.summarise(better, spec).sigma_nmad - metrics.summarise(phot, spec).sigma_nmad
    )


def test_bins_hold_the_galaxies_between_their_edges():
    phot, spec = gaussian(500)
    by = np.where(np.arange(500) % 50 == 0, np.nan, spec)
    rows = metrics.in_bins(phot, spec, by, [0.0, 0.2, 0.2001, 0.5])
    assert [row["low"] for row in rows] == [0.0, 0.2001]  # the narrow bin is left out
    inside = (by >= 0.0) & (by < 0.2)
    assert rows[0]["n"] == inside.sum()
    assert rows[0]["bias"] == metrics.summarise(phot[inside], spec[inside]).bias


def test_purity_and_completeness_of_a_case_counted_by_hand():
    spec = np.array([0.01, 0.02, 0.02, 0.10, 0.20])
    phot = np.array([0.01, 0.02, 0.09, 0.01, 0.20])
    assert metrics.purity_completeness(phot, spec, 0.03) == pytest.approx((2 / 3, 2 / 3))
    # To keep all three, the cut must rise to 0.09 and takes the intruder along.
    assert metrics.purity_at(phot, spec, 0.03, completeness=1.0) == pytest.approx(3 / 4)
    assert metrics.purity_at(phot, spec, 0.03, completeness=0.3) == pytest.approx(1 / 2)


def test_purity_of_an_empty_selection_is_nan():
    purity, completeness = metrics.purity_completeness(np.array([0.5]), np.array([0.01]), 0.03)
    assert math.isnan(purity)
    assert completeness == 0
    assert math.isnan(metrics.purity_at(np.array([0.5]), np.array([0.5]), 0.03))


def test_metrics_refuse_what_they_cannot_compare():
    with pytest.raises(ShapeError, match=r"\(2,\) and z_spec \(3,\)"):
        metrics.summarise(np.zeros(2), np.zeros(3))
    with pytest.raises(DataError, match="NaN"):
        metrics.summarise(np.array([np.nan]), np.zeros(1))
    with pytest.raises(DataError, match="no galaxies"):
        metrics.summarise(np.zeros(0), np.zeros(0))
