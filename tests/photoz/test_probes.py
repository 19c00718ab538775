"""The probes against closed forms, a rival library, and each other."""

from copy import copy

import numpy as np
import pytest
import torch
from safetensors.numpy import load, save
from sklearn.decomposition import PCA
from sklearn.neighbors import KNeighborsRegressor

from ssl_photoz.core.errors import DataError, ShapeError
from ssl_photoz.photoz.artefact import EVERY_PROBE, PROBES
from ssl_photoz.photoz.base import Interval, Standardise, discriminant_axes, tuning_score
from ssl_photoz.photoz.blend import Blend
from ssl_photoz.photoz.knn import KNN, Recipe, weigh
from ssl_photoz.photoz.metrics import summarise
from ssl_photoz.photoz.networks import MLP, threads_for
from ssl_photoz.photoz.regressors import Mean, Ridge

QUICK = {
    **{"mean": {}, "knn": {}, "ridge": {}, "svr": {}, "boosting": {}},
    "mlp": {"hidden": 16, "members": 1, "steps": 300},
    "mixture": {"hidden": 16, "members": 1, "steps": 300},
    **{"blend": {}, "neighbours": {}},
}


@pytest.fixture
def splits(galaxies):
    return galaxies(1200, seed=1), galaxies(400, seed=2), galaxies(600, seed=3)


@pytest.fixture
def fit(splits):
    """Fit a probe to the first split, with the second to choose on."""

    def fit(probe, **keywords):
        (features, z), (val_features, val_z), _ = splits
        ids = keywords.pop("ids", None)
        given = {"validation": (val_features, val_z), "ids": ids}
        return probe(**keywords).fit(features, z, **given)

    return fit


def standard(features, like):
    return (features - like.mean(axis=0)) / like.std(axis=0)


def test_mean_answers_the_mean_of_ln_one_plus_z(fit, splits):
    (_, z), _, (features, _) = splits
    answers = fit(Mean).predict(features)
    np.testing.assert_allclose(answers, np.exp(np.log(1 + z).mean()) - 1, rtol=1e-12)
    assert len(answers) == len(features)


def test_ridge_solves_the_normal_equations(fit, splits):
    (features, z), _, (test, _) = splits
    probe = fit(Ridge, alphas=(0.3,))
    x, y = standard(features.astype(float), features), np.log(1 + z)
    gram = x.T @ x + 0.3 * len(y) * np.eye(x.shape[1])
    weights = np.linalg.solve(gram, x.T @ (y - y.mean()))
    line = standard(test.astype(float), features) @ weights + y.mean()
    expected = np.exp(np.clip(line, y.min(), y.max())) - 1
    np.testing.assert_allclose(probe.predict(test), expected, atol=1e-5)


def test_ridge_is_the_same_whether_penalties_are_solved_together_or_alone(fit):
    chosen = fit(Ridge)
    alpha = chosen.chosen_["alpha_per_galaxy"]
    np.testing.assert_allclose(chosen.weights_, fit(Ridge, alphas=(alpha,)).weights_)


def test_ridge_with_more_features_than_galaxies_shrinks_rather_than_memorises():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(80, 300)).astype("f4")
    z = np.expm1(0.2 + 0.03 * features[:, 0] + 0.02 * rng.normal(size=80))
    probe = Ridge().fit(features[:50], z[:50], validation=(features[50:], z[50:]))
    assert probe.chosen_["alpha_per_galaxy"] > 0.01
    assert summarise(probe.predict(features[50:]), z[50:]).rmse < 1.1 * z[50:].std()


@pytest.mark.parametrize("cosine", [False, True])
def test_knn_agrees_with_scikit_learn(fit, splits, cosine):
    (features, z), _, (test, _) = splits
    probe = fit(KNN, discriminants=())
    probe.recipe_ = Recipe(k=7, dim=4, cosine=cosine, median=False)
    pca = PCA(4, svd_solver="full").fit(standard(features.astype(float), features))
    place = [pca.transform(standard(x.astype(float), features)) for x in (features, test)]
    if cosine:
        place = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in place]
    rival = KNeighborsRegressor(7, weights="distance").fit(place[0], np.log(1 + z))
    _, rows = rival.kneighbors(place[1])
    answer = probe.estimate(test)
    assert np.mean(answer.neighbours == rows) > 0.995  # float32 may swap near ties
    np.testing.assert_allclose(answer.z_phot, np.expm1(rival.predict(place[1])), atol=1e-4)


def test_knn_keeps_the_recipe_that_is_best_on_validation(galaxies):
    # Two directions carry the redshift and most of the variance; thirty are noise.
    (features, z), (val, val_z) = galaxies(1000, seed=1), galaxies(500, seed=2)
    rng = np.random.default_rng(0)
    copies = [
        np.hstack([np.repeat(x[:, :2], 20, axis=1), rng.normal(size=(len(x), 30))]).astype("f4")
        for x in (features, val)
    ]
    probe = KNN(dims=(2, 32), discriminants=()).fit(copies[0], z, validation=(copies[1], val_z))
    assert probe.recipe_.dim == 2
    for k in (4, 64):
        rival = copy(probe)
        rival.recipe_ = probe.recipe_._replace(k=k)
        scores = [
            tuning_score(np.log1p(p.predict(copies[1])), np.log1p(val_z)) for p in (probe, rival)
        ]
        assert scores[0] <= scores[1]


def test_knn_looks_along_the_axes_that_tell_redshifts():
    # Ten directions, three times each, say nothing; redshift is in one of two others.
    rng = np.random.default_rng(0)
    samples = []
    for count in (1500, 500):
        quiet, loud = rng.normal(size=(count, 2)), rng.normal(size=(count, 10))
        z = np.expm1(0.3 + 0.05 * quiet[:, 0] + 0.002 * rng.normal(size=count))
        samples.append((np.hstack([quiet, np.repeat(loud, 3, axis=1)]).astype("f4"), z))
    blind = KNN(discriminants=()).fit(*samples[0], validation=samples[1])
    probe = KNN().fit(*samples[0], validation=samples[1])
    assert probe.recipe_.discriminant
    assert probe.axes_.shape[1] == 19
    wrong = [np.abs(p.predict(samples[1][0]) - samples[1][1]).mean() for p in (blind, probe)]
    assert wrong[1] < 0.3 * wrong[0]


def test_discriminant_axes_are_those_of_two_gaussians():
    # Two clouds of unit scatter apart along (1, 1): Fisher's axis, on which the scatter is 1.
    rng = np.random.default_rng(0)
    cloud = rng.normal(size=(20_000, 2))
    far = np.repeat([0.0, 1.0], 10_000)
    features = (cloud + 3 * far[:, None]).astype("f4")
    axes = discriminant_axes(features, np.where(far > 0, 0.2, 0.1) + 0.001 * rng.random(20_000))
    first = axes[:, 0] / np.linalg.norm(axes[:, 0])
    np.testing.assert_allclose(np.abs(first), np.sqrt(0.5), atol=0.02)
    within = (features @ axes[:, 0])[far > 0].std()
    assert within == pytest.approx(1.0, abs=0.03)
    assert discriminant_axes(features[:30], np.linspace(0.1, 0.2, 30)).shape == (2, 0)


def test_weights_are_inverse_distances():
    distance, target = np.array([[1.0, 2.0, np.inf]]), np.array([[0.1, 0.4, 9.0]])
    centre, spread = weigh(distance, target)
    assert centre == pytest.approx((0.1 + 0.4 / 2) / 1.5)
    assert spread**2 == pytest.approx((2 / 3) * 0.1**2 + (1 / 3) * 0.2**2)


def test_weighted_median_is_where_half_of_the_weight_is_reached():
    distance, target = np.array([[1.0, 1.0, 0.2]]), np.array([[0.1, 0.2, 0.3]])
    assert weigh(distance, target, median=True)[0] == pytest.approx(0.3)
    assert weigh(np.ones((1, 3)), target, median=True)[0] == pytest.approx(0.2)


def test_a_neighbour_at_no_distance_decides():
    centre, _ = weigh(np.array([[0.0, 1.0]]), np.array([[0.1, 0.9]]))
    assert centre == pytest.approx(0.1)


@pytest.mark.parametrize("kind", [np.int64, object], ids=["numbers", "text"])
def test_a_galaxy_is_never_its_own_neighbour(fit, splits, kind):
    (features, z), _, _ = splits
    ids = (np.arange(len(z)) // 2 + 2**60).astype(str if kind is object else kind).astype(kind)
    probe = fit(KNN, ids=ids)
    seen = probe.estimate(features, ids=ids)
    assert not (seen.neighbours == ids[:, None]).any()
    assert seen.neighbours.shape == (len(z), probe.recipe_.k)
    leaked = probe.estimate(features)
    assert (leaked.neighbours[:, 0] == ids).mean() > 0.99
    assert summarise(seen.z_phot, z).sigma_nmad > 2 * summarise(leaked.z_phot, z).sigma_nmad


def test_mlp_bends_where_ridge_cannot(fit, splits):
    _, _, (features, z) = splits
    mlp = summarise(fit(MLP).predict(features), z)
    ridge = summarise(fit(Ridge).predict(features), z)
    assert mlp.sigma_nmad < 0.6 * ridge.sigma_nmad
    # The noise on ln(1+z) is 0.01, and nothing can do better than that.
    assert 0.009 < mlp.sigma_nmad < 0.02


def test_mlp_repeats_and_leaves_the_global_generator_alone(fit, splits):
    _, _, (features, _) = splits
    small = {"hidden": 8, "members": 2, "steps": 100}
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    first = fit(MLP, **small).predict(features)
    assert torch.equal(torch.rand(1), expected)
    assert np.array_equal(first, fit(MLP, **small).predict(features))
    other = fit(MLP, **small, seed=1).predict(features)
    assert not np.array_equal(first, other)


def test_a_blend_is_the_mean_of_its_parts_in_ln_one_plus_z(fit, splits):
    _, (val, val_z), (test, _) = splits
    parts = {name: fit(PROBES[name], seed=3) for name in ("svr", "mlp", "ridge")}
    said = np.log1p([part.predict(test) for part in parts.values()])
    for blend in (fit(Blend, seed=3), Blend.of({**parts, "knn": fit(KNN)}, (val, val_z))):
        np.testing.assert_allclose(np.log1p(blend.predict(test)), said[:2].mean(axis=0))
        assert blend.chosen_["svr_penalty"] == parts["svr"].chosen_["penalty"]
    three = fit(Blend, parts=("ridge", "svr", "mlp"), seed=3)
    np.testing.assert_allclose(np.log1p(three.predict(test)), said.mean(axis=0))
    assert three.chosen_["ridge_alpha_per_galaxy"] == parts["ridge"].chosen_["alpha_per_galaxy"]


def test_a_blend_is_better_than_its_parts_where_their_errors_differ(fit, splits):
    _, _, (test, test_z) = splits
    blend = fit(Blend)
    errors = [
        np.mean((np.log1p(probe.predict(test)) - np.log1p(test_z)) ** 2)
        for probe in (blend, *blend.parts_.values())
    ]
    assert errors[0] < np.mean(errors[1:])


@pytest.mark.parametrize("name", EVERY_PROBE)
def test_a_saved_probe_predicts_the_same(fit, splits, name):
    _, _, (features, _) = splits
    probe = fit(EVERY_PROBE[name], ids=np.arange(1200) + 7, **QUICK[name])
    arrays = {key: np.ascontiguousarray(array) for key, array in probe.arrays().items()}
    before, after = (
        p.estimate(features) for p in (probe, EVERY_PROBE[name].from_arrays(load(save(arrays))))
    )
    for field in ("z_phot", "z_lo", "z_hi", "neighbours"):
        np.testing.assert_array_equal(getattr(before, field), getattr(after, field))


@pytest.mark.parametrize("name", PROBES)
def test_intervals_hold_68_per_cent(galaxies, name):
    (features, z), (val, val_z), (test, test_z) = (
        galaxies(n, seed=s) for n, s in ((1500, 4), (1500, 5), (3000, 6))
    )
    probe = PROBES[name](**QUICK[name]).fit(features, z, validation=(val, val_z))
    answer = probe.estimate(test)
    assert np.mean((answer.z_lo <= test_z) & (test_z <= answer.z_hi)) == pytest.approx(
        0.68, abs=0.05
    )
    assert ((answer.z_lo <= answer.z_phot) & (answer.z_phot <= answer.z_hi)).all()


def test_intervals_widen_where_errors_do():
    rng = np.random.default_rng(0)
    predicted = rng.uniform(0, 1, 8000)
    truth = predicted + rng.normal(size=8000) * (0.01 + 0.04 * predicted)
    interval = Interval.fit(predicted, truth)
    low, high = interval.around(np.array([0.05, 0.95]))
    # 68 % of a Gaussian lies within 0.994 sigma.
    half = 0.5 * (np.log1p(high) - np.log1p(low))
    np.testing.assert_allclose(half[1], 0.994 * 0.048, rtol=0.15)
    np.testing.assert_allclose(half[0], 0.994 * 0.012, rtol=0.35)


def test_an_estimate_below_zero_is_within_its_interval():
    interval = Interval(np.empty(0), np.array([0.01]))
    predicted = np.array([-0.02, 0.005, 0.1])
    low, high = interval.around(predicted)
    z = np.expm1(predicted)
    assert (low <= z).all()
    assert (z <= high).all()
    assert low == pytest.approx([z[0], 0.0, np.expm1(0.09)])
    again = Interval.read(interval.for_json()).around(predicted)
    np.testing.assert_array_equal(again, (low, high))


def test_interval_follows_the_spread_it_is_given():
    rng = np.random.default_rng(0)
    spread = rng.uniform(0.5, 2, 4000)
    truth = spread * rng.normal(size=4000)
    interval = Interval.fit(np.zeros(4000), truth, spread=spread)
    assert interval.half_widths == pytest.approx(0.994, rel=0.06)


@pytest.mark.parametrize("name", PROBES)
def test_probes_stay_within_the_redshifts_they_know(fit, splits, name):
    (_, z), _, _ = splits
    answer = fit(PROBES[name], **QUICK[name]).estimate(np.full((1, 6), 50.0, "f4"))
    assert z.min() * (1 - 1e-9) <= answer.z_phot[0] <= z.max() * (1 + 1e-9)


def test_a_feature_that_does_not_vary_is_harmless(fit, splits):
    (features, z), (val, val_z), (test, _) = splits
    flat = [np.hstack([x, np.full((len(x), 1), 3.3, "f4")]) for x in (features, val, test)]
    with_flat = Ridge().fit(flat[0], z, validation=(flat[1], val_z)).predict(flat[2])
    np.testing.assert_allclose(with_flat, fit(Ridge).predict(test), atol=1e-6)


def test_standardise_clips_what_is_ten_sigma_off():
    rng = np.random.default_rng(0)
    standardise = Standardise.fit(rng.normal(5, 2, (1000, 1)).astype("f4"))
    assert standardise.apply(np.array([[1e6]], "f4")) == pytest.approx(10)
    assert standardise.apply(np.array([[7.0]], "f4")) == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("name", ["knn", "ridge", "mlp"])
def test_probes_refuse_other_dimensions_and_nan(fit, splits, name):
    (features, z), (val, val_z), (test, _) = splits
    probe = fit(PROBES[name], **QUICK[name])
    with pytest.raises(ShapeError, match=r"fitted with \(N, 6\)"):
        probe.predict(test[:, :5])
    test[3, 2] = np.nan
    with pytest.raises(DataError, match=r"1 of 600 rows .* row 3"):
        probe.predict(test)
    features[0, 0] = np.inf
    with pytest.raises(DataError, match="infinite"):
        PROBES[name]().fit(features, z, validation=(val, val_z))


def test_a_galaxy_without_an_id_is_not_its_own_neighbour_but_others_without_are():
    rng = np.random.default_rng(0)
    X, z = rng.normal(size=(400, 8)).astype(np.float32), rng.uniform(0.01, 0.5, 400)
    validation = (rng.normal(size=(100, 8)).astype(np.float32), rng.uniform(0.01, 0.5, 100))
    named = KNN().fit(X, z, validation=validation, ids=np.arange(400) + 1000)
    nobody = KNN().fit(X, z, validation=validation, ids=np.zeros(400, np.int64))
    one = named.estimate(X, ids=np.arange(400) + 1000)
    other = nobody.estimate(X, ids=np.zeros(400, np.int64))
    np.testing.assert_allclose(other.z_phot, one.z_phot, rtol=1e-5)
    assert np.median(np.abs(other.z_phot - z)) > 0.05  # nothing can be learnt of noise


def test_small_fits_take_one_thread_and_give_the_others_back():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with threads_for(64):
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 2
        with threads_for(1024):
            assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
