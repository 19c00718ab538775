"""Boosted trees, against the library that grew them."""

import numpy as np
import pytest
from safetensors.numpy import load, save
from sklearn.ensemble import HistGradientBoostingRegressor

from ssl_photoz.core.errors import DataError, ShapeError
from ssl_photoz.photoz.base import tuning_score
from ssl_photoz.photoz.metrics import summarise
from ssl_photoz.photoz.regressors import Boosting, Ridge

QUICK = {"most_trees": 60, "leaves": (8,)}


@pytest.fixture
def boosted(galaxies):
    (features, z), (val, val_z) = galaxies(1200, seed=1), galaxies(400, seed=2)
    return Boosting(most_trees=150, leaves=(8,)).fit(features, z, validation=(val, val_z))


def test_the_number_of_trees_and_the_loss_are_the_best_on_validation(galaxies):
    (features, z), (val, val_z) = galaxies(600, seed=1), galaxies(400, seed=2)
    probe = Boosting(**QUICK).fit(features, z, validation=(val, val_z))
    assert 1 <= probe.chosen_["trees"] <= 60
    truth = np.log1p(val_z)
    mine = tuning_score(np.log1p(probe.predict(val)), truth)
    for absolute in ("squared_error", "absolute_error"):
        rival = HistGradientBoostingRegressor(
            loss=absolute,
            learning_rate=0.05,
            max_iter=60,
            max_leaf_nodes=8,
            early_stopping=False,
        ).fit(probe.standardise_.apply(features), np.log1p(z))
        stages = rival.staged_predict(probe.standardise_.apply(val))
        low, high = np.log1p(z).min(), np.log1p(z).max()
        assert mine <= min(tuning_score(np.clip(s, low, high), truth) for s in stages) + 1e-9


def test_boosting_bends_where_ridge_cannot(galaxies, boosted):
    (features, z), (val, val_z), (test, test_z) = (galaxies(n, seed=n) for n in (1200, 400, 600))
    ridge = Ridge().fit(features, z, validation=(val, val_z)).predict(test)
    mine = summarise(boosted.predict(test), test_z)
    assert mine.sigma_nmad < 0.7 * summarise(ridge, test_z).sigma_nmad


def test_a_saved_booster_predicts_the_same(galaxies, boosted):
    test, _ = galaxies(500, seed=3)
    arrays = {key: np.ascontiguousarray(array) for key, array in boosted.arrays().items()}
    again = Boosting.from_arrays(load(save(arrays)))
    for field in ("z_phot", "z_lo", "z_hi"):
        np.testing.assert_array_equal(
            getattr(boosted.estimate(test), field), getattr(again.estimate(test), field)
        )
    assert again.chosen_ == boosted.chosen_


def test_answers_stay_within_the_known_redshifts_and_intervals_hold(galaxies, boosted):
    _, z = galaxies(1200, seed=1)
    odd = np.random.default_rng(0).normal(0, 30, (300, 6)).astype("f4")
    answer = boosted.predict(odd)
    assert z.min() - 1e-9 <= answer.min() <= answer.max() <= z.max() + 1e-9
    test, test_z = galaxies(3000, seed=6)
    told = boosted.estimate(test)
    inside = (told.z_lo <= test_z) & (test_z <= told.z_hi)
    assert inside.mean() == pytest.approx(0.68, abs=0.05)


def test_boosting_refuses_other_dimensions_and_nan(galaxies, boosted):
    test, _ = galaxies(20)
    with pytest.raises(ShapeError, match=r"fitted with \(N, 6\)"):
        boosted.predict(test[:, :5])
    test[3, 2] = np.nan
    with pytest.raises(DataError, match=r"1 of 20 rows .* row 3"):
        boosted.predict(test)
