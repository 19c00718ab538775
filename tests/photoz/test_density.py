"""Densities against closed forms and SciPy."""

import numpy as np
import pytest
from scipy import stats

from ssl_photoz.core.errors import DataError, ShapeError
from ssl_photoz.photoz.density import Density, grid_for

GRID = np.linspace(0, 0.5, 1_001)
CENTRES = np.array([0.1, 0.2, 0.35])
SIGMAS = np.array([0.01, 0.02, 0.03])


def gaussians(centres=CENTRES, sigmas=SIGMAS, grid=GRID):
    return Density.of(grid, 7 * stats.norm.pdf(grid, centres[:, None], sigmas[:, None]))


def test_rows_integrate_to_one():
    np.testing.assert_allclose(np.trapezoid(gaussians().values, GRID, axis=1), 1)


@pytest.mark.parametrize("z", [0.03, 0.11, np.array([0.09, 0.23, 0.35])])
def test_pdf_and_cdf_are_those_of_scipy(z):
    np.testing.assert_allclose(gaussians().cdf_at(z), stats.norm.cdf(z, CENTRES, SIGMAS), atol=1e-3)
    expected = stats.norm.pdf(z, CENTRES, SIGMAS)
    np.testing.assert_allclose(gaussians().pdf_at(z), expected, atol=0.02)


def test_beyond_the_grid_all_is_said():
    density = gaussians()
    np.testing.assert_array_equal(density.cdf_at(-1), 0)
    np.testing.assert_array_equal(density.cdf_at(2), 1)
    np.testing.assert_array_equal(density.pdf_at(2), 0)


def test_quantiles_medians_and_intervals_are_those_of_scipy():
    density = gaussians()
    for level in (0.05, 0.5, 0.9):
        expected = stats.norm.ppf(level, CENTRES, SIGMAS)
        np.testing.assert_allclose(density.quantile(level), expected, atol=2e-4)
    np.testing.assert_allclose(density.median(), CENTRES, atol=1e-6)
    low, high = density.interval()
    np.testing.assert_allclose(high - low, 2 * stats.norm.ppf(0.84) * SIGMAS, rtol=0.01)


def test_quantile_undoes_cdf():
    level = np.array([0.2, 0.5, 0.97])
    density = gaussians()
    np.testing.assert_allclose(density.cdf_at(density.quantile(level)), level, atol=1e-12)


def test_odds_are_the_probability_near_the_median():
    reach = 0.05 * (1 + CENTRES)
    expected = 1 - 2 * stats.norm.sf(reach / SIGMAS)
    np.testing.assert_allclose(gaussians().odds(), expected, atol=1e-3)
    np.testing.assert_array_equal(gaussians().good(), expected >= 0.95)


def test_two_humps_are_no_good():
    two = stats.norm.pdf(GRID, 0.1, 0.01) + stats.norm.pdf(GRID, 0.3, 0.01)
    assert not Density.of(GRID, two[None]).good()[0]


def test_grid_is_even_in_the_logarithm_and_wide_enough():
    grid = grid_for(np.array([0.01, 0.4]))
    np.testing.assert_allclose(np.diff(np.log1p(grid)), np.log1p(grid[1]), rtol=1e-9)
    assert grid[0] == 0
    assert grid[-1] > 0.4


@pytest.mark.parametrize("bad", [-1.0, np.nan, 0.0])
def test_what_is_no_density_is_refused(bad):
    with pytest.raises(DataError, match="1 of 2 densities"):
        Density.of(GRID, np.stack([np.ones(len(GRID)), np.full(len(GRID), bad)]))


def test_other_shapes_and_redshifts_that_are_no_number_are_refused():
    with pytest.raises(ShapeError):
        Density(GRID, np.ones((2, 5)))
    with pytest.raises(DataError, match="NaN"):
        gaussians().cdf_at(np.array([0.1, np.nan, 0.2]))
