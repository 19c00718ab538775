"""Diagnostics against closed forms, and on Monte-Carlo densities known to be right or wrong."""

import numpy as np
import pytest
from scipy import stats

from ssl_photoz.core.errors import DataError, ShapeError
from ssl_photoz.photoz import diagnostics
from ssl_photoz.photoz.calibration import Calibration
from ssl_photoz.photoz.density import Density

GRID = np.linspace(0, 0.5, 801)


def draw(n=4_000, *, told=1.0, shift=0.0, seed=0):
    """Densities of n galaxies and their truths; told: the width said, in units of the true one."""
    rng = np.random.default_rng(seed)
    centres, sigmas = rng.uniform(0.12, 0.35, n), rng.uniform(0.008, 0.02, n)
    z = centres + sigmas * (rng.normal(size=n) + shift)
    values = stats.norm.pdf(GRID, centres[:, None], told * sigmas[:, None])
    return Density.of(GRID, values), z


@pytest.mark.parametrize("z", [0.15, 0.2, 0.213, 0.3])
def test_crps_of_a_gaussian(z):
    mu, sigma = 0.2, 0.02
    density = Density.of(GRID, stats.norm.pdf(GRID, mu, sigma)[None])
    y = (z - mu) / sigma
    closed = y * (2 * stats.norm.cdf(y) - 1) + 2 * stats.norm.pdf(y) - 1 / np.sqrt(np.pi)
    assert diagnostics.crps(density, np.array([z]))[0] == pytest.approx(sigma * closed, abs=2e-5)


def test_crps_beyond_the_grid_adds_the_distance():
    density, _ = draw(5)
    at, beyond = (diagnostics.crps(density, np.full(5, z)) for z in (0.5, 0.6))
    np.testing.assert_allclose(beyond - at, 0.1)


def test_cde_loss_of_the_truth_is_minus_the_integral_of_its_square():
    density, z = draw(10_000)
    expected = -np.mean(np.trapezoid(density.values**2, GRID, axis=1))
    assert diagnostics.cde_loss(density, z) == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize("wrong", [{"told": 0.6}, {"told": 1.6}, {"shift": 0.5}])
def test_every_score_is_best_at_the_truth(wrong):
    right, z = draw()
    other, z_other = draw(**wrong)
    assert diagnostics.cde_loss(right, z) < diagnostics.cde_loss(other, z_other)
    assert diagnostics.crps(right, z).mean() < diagnostics.crps(other, z_other).mean()


def test_pit_of_the_truth_is_even_and_intervals_hold_what_they_say():
    density, z = draw()
    pit = density.cdf_at(z)
    assert stats.kstest(pit, "uniform").pvalue > 0.01
    for level, held in diagnostics.coverage(pit).items():
        assert held == pytest.approx(float(level), abs=0.03)


def test_ks_of_chance_is_what_even_samples_have():
    rng = np.random.default_rng(1)
    drawn = [diagnostics.ks_distance(rng.uniform(size=1_000)) for _ in range(400)]
    assert diagnostics.ks_of_chance(1_000) == pytest.approx(np.mean(drawn), rel=0.06)


@pytest.mark.parametrize("wrong", [{"told": 0.6}, {"told": 1.7}, {"shift": 0.4}])
def test_what_is_miscalibrated_is_found_and_mended(wrong):
    density, z = draw(**wrong)
    other, z_other = draw(seed=1, **wrong)
    assert diagnostics.ks_distance(density.cdf_at(z)) > 0.08
    mended = Calibration.fit(other.cdf_at(z_other), other.median()).apply(density)
    after = diagnostics.diagnose(mended, z)
    assert after["ks"] < 0.4 * diagnostics.ks_distance(density.cdf_at(z))
    assert after["coverage"]["0.68"] == pytest.approx(0.68, abs=0.03)
    assert after["cde_loss"] < diagnostics.cde_loss(density, z)


def test_estimates_drawn_to_the_mean_are_mended_at_every_redshift():
    rng = np.random.default_rng(0)

    def drawn(n):
        z = rng.normal(0.25, 0.03, n)
        seen = z + 0.02 * rng.normal(size=n)
        # The posterior mean is 0.69 of the way; 0.4 of the way is drawn in too far.
        centres = 0.25 + 0.4 * (seen - 0.25)
        return Density.of(GRID, stats.norm.pdf(GRID, centres[:, None], 0.0166)), z

    other, z_other = drawn(6_000)
    density, z = drawn(4_000)
    mended = Calibration.fit(other.cdf_at(z_other), other.median()).apply(density)
    low = density.median() < np.quantile(density.median(), 0.2)
    before, after = ((one.median()[low] - z[low]).mean() for one in (density, mended))
    assert before > 0.009
    assert abs(after) < 0.002
    assert mended.cdf_at(0.2).sum() == pytest.approx(np.sum(z < 0.2), rel=0.15)
    assert density.cdf_at(0.2).sum() < 0.8 * np.sum(z < 0.2)


def test_what_is_right_is_left_alone():
    density, z = draw(1_000)
    bent = Calibration.fit(density.cdf_at(z), density.median())
    level = np.linspace(0, 1, 101)
    for z_phot in (0.15, 0.3):
        mapped = bent.map(level, np.full(101, z_phot))
        np.testing.assert_allclose(mapped, level, atol=2 / np.sqrt(500))


def test_few_galaxies_calibrate_nothing():
    level = np.linspace(0, 1, 11)
    few = Calibration.fit(np.full(49, 0.1), np.full(49, 0.2))
    np.testing.assert_allclose(few.map(level, np.full(11, 0.2)), level, atol=1e-12)


def test_the_map_is_increasing_from_0_to_1_and_is_the_cdf_that_apply_gives():
    rng = np.random.default_rng(0)
    z_phot = rng.uniform(0.1, 0.4, 3_000)
    calibration = Calibration.fit(rng.beta(0.5, 1 + 2 * z_phot), z_phot)
    assert len(calibration.weights) > 2
    level = np.linspace(0, 1, 101)
    mapped = calibration.map(level, np.full(101, 0.22))
    assert mapped[[0, -1]] == pytest.approx([0, 1])
    assert (np.diff(mapped) > 0).all()
    density, z = draw(200)
    expected = calibration.map(density.cdf_at(z), density.median())
    np.testing.assert_allclose(calibration.apply(density).cdf_at(z), expected, atol=0.01)


@pytest.mark.parametrize(
    ("pit", "z_phot", "error"),
    [
        ([0.5, 1.2], [0.1, 0.1], DataError),
        ([0.5, np.nan], [0.1, 0.1], DataError),
        ([0.5], [0.1, 0.2], ShapeError),
    ],
)
def test_what_is_no_pit_is_refused(pit, z_phot, error):
    with pytest.raises(error):
        Calibration.fit(np.array(pit), np.array(z_phot))


def test_reliability_of_right_probabilities():
    rng = np.random.default_rng(0)
    p = rng.uniform(size=20_000)
    said = diagnostics.reliability(p, rng.uniform(size=len(p)) < p)
    assert said["brier"] == pytest.approx(1 / 6, abs=0.01)  # mean of p (1 - p)
    assert said["brier_of_prevalence"] == pytest.approx(1 / 4, abs=0.01)
    assert sum(row["n"] for row in said["bins"]) == len(p)
    for row in said["bins"]:
        assert abs(row["observed"] - row["predicted"]) < 4 * row["error"]


def test_a_cut_on_odds_keeps_the_better_ones():
    rng = np.random.default_rng(0)
    sigma = rng.choice([0.01, 0.04], 4_000)
    z = np.full(4_000, 0.2)
    rows = diagnostics.kept(z + sigma * rng.normal(size=4_000), z, 1 / (1 + sigma))
    half = next(row for row in rows if row["fraction"] == 0.5)
    assert half["n"] == 2_000
    assert half["sigma_nmad"] == pytest.approx(0.01 / 1.2, rel=0.1)
    assert rows[0]["outliers_05"] > 3 * half["outliers_05"]


def test_expected_outliers_are_those_observed():
    density, z = draw(5_000)
    wide = Density.of(GRID, density.values + 0.3)
    rng = np.random.default_rng(9)
    drawn = wide.quantile(rng.uniform(size=len(z)))
    said = diagnostics.diagnose(wide, drawn, by={"seeing": rng.uniform(1, 2, len(z))})
    assert said["kept"][0]["expected_outliers"] == pytest.approx(
        np.mean(np.abs(drawn - wide.median()) > 0.05 * (1 + wide.median())), abs=0.015
    )
    assert set(said["bins"]) == {"z_spec", "z_phot", "seeing"}
