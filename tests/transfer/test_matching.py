"""Matched magnitudes, and weights that bring back a known N(z)."""

import numpy as np
import pytest
from scipy import stats

from ssl_photoz.core.errors import DataError
from ssl_photoz.photoz.end_to_end import compare_nz
from ssl_photoz.training.transfer.selection import (
    effective_number,
    importance_weights,
    match_magnitudes,
)


def test_partners_have_the_magnitudes_that_were_wanted():
    rng = np.random.default_rng(0)
    wanted, offered = rng.normal(18.5, 0.8, 2000), rng.uniform(15, 22, 20_000)
    places = match_magnitudes(wanted, offered, rng=rng)
    assert np.abs(offered[places] - wanted).max() <= 0.1
    assert stats.ks_2samp(offered[places], wanted).pvalue > 0.01
    assert stats.ks_2samp(offered, wanted).pvalue < 1e-10
    edges = np.arange(15, 22.5, 0.5)
    counts = [np.histogram(some, edges)[0] for some in (offered[places], wanted)]
    assert np.abs(counts[0] - counts[1]).max() < 0.1 * counts[1].max()


def test_partners_are_drawn_from_all_that_are_close():
    rng = np.random.default_rng(1)
    offered = np.array([30.0, 20.05, 19.95, 20.0, 19.0])
    drawn = match_magnitudes(np.full(3000, 20.0), offered, rng=rng)
    counts = np.bincount(drawn, minlength=5)
    assert counts[[0, 4]].tolist() == [0, 0]
    assert stats.chisquare(counts[1:4]).pvalue > 1e-3


def test_the_nearest_stands_in_where_none_is_close():
    offered = np.array([21.0, 18.0, 19.0])
    drawn = match_magnitudes(
        np.array([10.0, 18.4, 18.6, 30.0]), offered, rng=np.random.default_rng(0)
    )
    assert drawn.tolist() == [1, 1, 2, 0]


@pytest.mark.parametrize(
    ("wanted", "offered"), [([20.0], []), ([np.nan], [20.0]), ([20.0], [20.0, np.inf])]
)
def test_magnitudes_that_cannot_be_matched_are_refused(wanted, offered):
    with pytest.raises(DataError, match="cannot match 1 magnitudes"):
        match_magnitudes(np.array(wanted), np.array(offered), rng=np.random.default_rng(0))


def colours(z, rng):
    """Photometry in which the redshift can be read with some noise."""
    return np.stack([2 * z, np.sin(5 * z)], axis=1) + rng.normal(0, 0.02, (len(z), 2))


def test_weights_bring_back_the_redshift_distribution_of_the_target():
    rng = np.random.default_rng(2)
    here, there = rng.uniform(0, 1, 4000), rng.beta(4, 3, 4000)
    weights = importance_weights(colours(here, rng), colours(there, rng))
    assert weights.mean() == pytest.approx(1.0)
    assert np.average(here, weights=weights) == pytest.approx(there.mean(), abs=0.01)
    edges = np.linspace(0, 1, 11)
    found = np.histogram(here, edges, weights=weights)[0] / len(here)
    assert np.abs(found - np.diff(stats.beta(4, 3).cdf(edges))).max() < 0.02


def test_equal_surveys_have_weights_near_one_and_lose_few_galaxies():
    rng = np.random.default_rng(3)
    weights = importance_weights(rng.normal(size=(3000, 2)), rng.normal(size=(3000, 2)))
    assert np.median(weights) == pytest.approx(1.0, abs=0.1)
    assert 0.8 < effective_number(weights) / 3000 < 1.0
    assert effective_number(np.ones(7)) == pytest.approx(7.0)
    assert effective_number(np.array([1.0, 0.0, 0.0])) == pytest.approx(1.0)


def test_surveys_with_nothing_in_common_are_refused():
    rng = np.random.default_rng(4)
    with pytest.raises(DataError, match="only 0 of 50 galaxies"):
        importance_weights(rng.normal(size=(50, 2)), 1e6 + rng.normal(size=(50, 2)))
    with pytest.raises(DataError, match="expected more than 20"):
        importance_weights(rng.normal(size=(20, 2)), rng.normal(size=(50, 2)))


def test_distance_of_two_distributions():
    z = np.linspace(0.1, 0.5, 401)
    told = compare_nz(z + 0.02, z)
    assert told["nz_wasserstein"] == pytest.approx(0.02)
    assert told["nz_mean_shift"] == pytest.approx(0.02)
    assert told["nz_ks"] == pytest.approx(0.02 / 0.4, abs=0.005)
    assert told["nz_width_ratio"] == pytest.approx(1.0)
    stretched = compare_nz(np.full(401, 0.3), z)
    assert stretched["nz_width_ratio"] == pytest.approx(0.0, abs=1e-12)
    assert stretched["nz_wasserstein"] == pytest.approx(0.1, abs=1e-3)  # a quarter of the range
