"""Boosted trees as plain arrays, against the library that grew them."""

import numpy as np
import pytest
from safetensors.numpy import load, save
from sklearn.ensemble import HistGradientBoostingRegressor

from ssl_photoz.core.errors import DataError, ShapeError
from ssl_photoz.photoz.boosting import Boosting, Trees
from ssl_photoz.photoz.linear import Ridge
from ssl_photoz.photoz.metrics import summarise
from ssl_photoz.photoz.protocol import tuning_score

QUICK = {"most_trees": 60, "leaves": (8,)}


@pytest.fixture
def boosted(galaxies):
    (features, z), (val, val_z) = galaxies(1200, seed=1), galaxies(400, seed=2)
    return Boosting.fit(features, z, val_features=val, val_z=val_z, most_trees=150, leaves=(8,))


@pytest.mark.parametrize("given", [{}, {"loss": "absolute_error", "max_leaf_nodes": 5}])
@pytest.mark.parametrize("count", [1, 7, 40])
def test_trees_agree_with_scikit_learn(galaxies, given, count):
    features, z = galaxies(500)
    booster = HistGradientBoostingRegressor(max_iter=40, early_stopping=False, **given)
    booster.fit(features, z)
    test, _ = galaxies(5000, seed=1)
    stages = list(booster.staged_predict(test))
    trees = Trees.of(booster, count=count)
    np.testing.assert_allclose(trees(test), stages[count - 1], atol=1e-9)
    assert len(trees.roots) == count


def test_a_value_on_the_threshold_goes_the_same_way(galaxies):
    rng = np.random.default_rng(0)
    features = rng.integers(0, 6, (400, 2)).astype("f4")
    booster = HistGradientBoostingRegressor(max_iter=10, early_stopping=False)
    booster.fit(features, features[:, 0] - features[:, 1] ** 2)
    trees = Trees.of(booster, count=10)
    edges = np.stack([trees.threshold[trees.threshold != 0][:50]] * 2, axis=1)
    for asked in (features, edges, np.nextafter(edges, 9)):
        np.testing.assert_allclose(trees(asked), booster.predict(asked), atol=1e-9)


def test_trees_of_a_booster_that_never_split_are_leaves():
    features, target = np.zeros((50, 2), "f4"), np.linspace(0, 1, 50)
    booster = HistGradientBoostingRegressor(max_iter=3, early_stopping=False).fit(features, target)
    trees = Trees.of(booster, count=3)
    np.testing.assert_allclose(trees(features), booster.predict(features), atol=1e-12)
    assert trees(np.empty((0, 2), "f4")).shape == (0,)


def test_the_number_of_trees_and_the_loss_are_the_best_on_validation(galaxies):
    (features, z), (val, val_z) = galaxies(600, seed=1), galaxies(400, seed=2)
    given = {"val_features": val, "val_z": val_z}
    probe = Boosting.fit(features, z, **given, **QUICK)
    assert 1 <= probe.chosen["trees"] <= 60
    truth = np.log1p(val_z)
    mine = tuning_score(np.log1p(probe.predict(val).z_phot), truth)
    for absolute in ("squared_error", "absolute_error"):
        rival = HistGradientBoostingRegressor(
            loss=absolute,
            learning_rate=0.05,
            max_iter=60,
            max_leaf_nodes=8,
            early_stopping=False,
        ).fit(probe.standardise.apply(features), np.log1p(z))
        stages = rival.staged_predict(probe.standardise.apply(val))
        low, high = np.log1p(z).min(), np.log1p(z).max()
        assert mine <= min(tuning_score(np.clip(s, low, high), truth) for s in stages) + 1e-9


def test_boosting_bends_where_ridge_cannot(galaxies, boosted):
    (features, z), (val, val_z), (test, test_z) = (galaxies(n, seed=n) for n in (1200, 400, 600))
    ridge = Ridge.fit(features, z, val_features=val, val_z=val_z).predict(test)
    mine = summarise(boosted.predict(test).z_phot, test_z)
    assert mine.sigma_nmad < 0.7 * summarise(ridge.z_phot, test_z).sigma_nmad


def test_a_saved_booster_predicts_the_same(galaxies, boosted):
    test, _ = galaxies(500, seed=3)
    arrays = {key: np.ascontiguousarray(array) for key, array in boosted.arrays().items()}
    again = Boosting.from_arrays(load(save(arrays)))
    for field in ("z_phot", "z_lo", "z_hi"):
        np.testing.assert_array_equal(
            getattr(boosted.predict(test), field), getattr(again.predict(test), field)
        )
    assert again.chosen == boosted.chosen


def test_answers_stay_within_the_known_redshifts_and_intervals_hold(galaxies, boosted):
    _, z = galaxies(1200, seed=1)
    odd = np.random.default_rng(0).normal(0, 30, (300, 6)).astype("f4")
    answer = boosted.predict(odd).z_phot
    assert z.min() - 1e-9 <= answer.min() <= answer.max() <= z.max() + 1e-9
    test, test_z = galaxies(3000, seed=6)
    told = boosted.predict(test)
    inside = (told.z_lo <= test_z) & (test_z <= told.z_hi)
    assert inside.mean() == pytest.approx(0.68, abs=0.05)


def test_boosting_refuses_other_dimensions_and_nan(galaxies, boosted):
    test, _ = galaxies(20)
    with pytest.raises(ShapeError, match=r"fitted with \(N, 6\)"):
        boosted.predict(test[:, :5])
    test[3, 2] = np.nan
    with pytest.raises(DataError, match=r"1 of 20 rows .* row 3"):
        boosted.predict(test)
