import numpy as np
import pytest
from sklearn.metrics import average_precision_score, precision_recall_curve

from ssl_photoz.core.errors import ConfigError
from ssl_photoz.nearby.purity import (
    PurityCurve,
    draw_purity,
    measure_purity,
    measure_selection,
    probability_at_base_rate,
    purity_at_base_rate,
)


def ranked(n, rate, seed=0):
    rng = np.random.default_rng(seed)
    truth = rng.random(n) < rate
    return truth, np.round(rng.normal(size=n) + 2 * truth, 1)


def test_the_curve_is_that_of_scikit_learn():
    truth, score = ranked(500, 0.1)
    curve = PurityCurve.measure(truth, score)
    purity, completeness, threshold = precision_recall_curve(truth, score)
    np.testing.assert_array_equal(curve.score[::-1], threshold)
    np.testing.assert_allclose(curve.purity()[::-1], purity[:-1])
    np.testing.assert_allclose(curve.completeness[::-1], completeness[:-1])
    assert curve.average_precision() == pytest.approx(average_precision_score(truth, score))


def test_weights_count_like_repeated_galaxies():
    truth, score = ranked(200, 0.2)
    times = np.random.default_rng(1).integers(0, 4, 200)
    curve = PurityCurve.measure(truth, score, times)
    purity, completeness, _ = precision_recall_curve(
        np.repeat(truth, times), np.repeat(score, times)
    )
    present = np.isin(curve.score, np.repeat(score, times))
    np.testing.assert_allclose(curve.purity()[present][::-1], purity[:-1])
    np.testing.assert_allclose(curve.completeness[present][::-1], completeness[:-1])


def test_purity_at_a_completeness_and_the_converse_by_counting():
    truth, score = ranked(500, 0.1)
    complete, pure = [], [0.0]
    for cut in np.unique(score)[::-1]:
        kept = score >= cut
        if truth[kept].sum() >= 0.9 * truth.sum():
            complete.append(truth[kept].mean())
        if truth[kept].mean() >= 0.6:
            pure.append(truth[kept].sum() / truth.sum())
    curve = PurityCurve.measure(truth, score)
    assert curve.purity_at(0.9) == pytest.approx(complete[0])
    assert curve.completeness_at(0.6) == pytest.approx(max(pure))
    assert max(pure) > 0
    assert curve.completeness_at(1.01) == 0


def test_purity_on_the_sky_is_that_of_a_sample_with_the_skys_mix():
    truth, score = ranked(200_000, 0.3)
    rng = np.random.default_rng(3)
    rate = 0.02
    few = rng.random(len(truth)) < np.where(truth, rate / 0.3 / (0.98 / 0.7), 1.0)
    assert truth[few].mean() == pytest.approx(rate, rel=0.05)
    curve, sky = PurityCurve.measure(truth, score), PurityCurve.measure(truth[few], score[few])
    for completeness in (0.5, 0.9):
        expected = sky.purity_at(completeness)
        assert curve.purity_at(completeness, base_rate=rate) == pytest.approx(expected, rel=0.1)
        assert curve.purity_at(completeness) > 2 * expected


def test_base_rates_by_hand():
    # 1 in 100 is wanted: 9 of 10 of them, and 99 of 990 others, are in the list.
    assert purity_at_base_rate(0.9, 0.1, 0.01) == pytest.approx(9 / (9 + 99))
    assert purity_at_base_rate(0.0, 0.0, 0.01) == 0
    # Evidence that gives even odds at an even mix gives the prior anywhere else.
    even = np.array([0.5, np.nan])
    there = probability_at_base_rate(even, sample_rate=0.5, base_rate=0.01)
    np.testing.assert_allclose(there, [0.01, np.nan])
    back = probability_at_base_rate(there, sample_rate=0.01, base_rate=0.5)
    np.testing.assert_allclose(back, even)
    ends = probability_at_base_rate(np.array([0.0, 1.0]), sample_rate=0.3, base_rate=0.01)
    np.testing.assert_array_equal(ends, [0, 1])
    with pytest.raises(ConfigError, match="expected between 0 and 1"):
        purity_at_base_rate(0.9, 0.1, 1.0)


def test_perfect_and_useless_rankings():
    truth = np.arange(100) < 20
    perfect = measure_purity(truth, truth.astype(float))
    for name in ("average_precision", "purity_at_90_completeness", "completeness_at_20_purity"):
        assert perfect[name] == 1
    assert perfect["sky_purity_at_90_completeness"] == 1
    assert perfect["enrichment_at_90_completeness"] == pytest.approx(5)
    assert perfect["false_at_90_completeness"] == 0
    useless = measure_purity(truth, np.zeros(100), base_rate=0.01)
    assert useless["purity_at_90_completeness"] == pytest.approx(0.2)
    assert useless["enrichment_at_90_completeness"] == pytest.approx(1)
    assert useless["sky_purity_at_90_completeness"] == pytest.approx(0.01)
    assert useless["false_at_90_completeness"] == 80


def test_bootstrap_errors_agree_with_fresh_samples():
    drawn = [measure_purity(*ranked(400, 0.2, seed=s))["average_precision"] for s in range(1, 4)]
    fresh = [average_precision_score(*ranked(400, 0.2, seed=s)) for s in range(300)]
    assert drawn == pytest.approx(fresh[1:4])
    error = measure_purity(*ranked(400, 0.2))["average_precision_error"]
    assert error == pytest.approx(np.std(fresh), rel=0.35)


def test_a_selection_by_counting():
    truth = np.arange(1000) < 100
    selected = (np.arange(1000) % 2 == 0) & (np.arange(1000) < 200)  # 50 right, 50 wrong
    told = measure_selection(truth, selected, base_rate=0.01)
    assert (told["n_selected"], told["purity"], told["completeness"]) == (100, 0.5, 0.5)
    assert told["sky_purity"] == pytest.approx(0.005 / (0.005 + 0.99 * 50 / 900))
    assert told["completeness_error"] == pytest.approx(np.sqrt(0.25 / 100), rel=0.25)
    assert measure_selection(truth, np.zeros(1000, bool))["purity"] is None


def test_nothing_to_find(tmp_path):
    empty = measure_purity(np.zeros(10, bool), np.arange(10.0))
    assert empty["average_precision"] is None
    assert empty["sky_purity_at_90_completeness_error"] is None
    assert empty["base_rate"] == 0
    assert measure_purity(np.zeros(0, bool), np.zeros(0))["base_rate"] is None
    assert set(empty) == set(measure_purity(np.arange(10) < 3, np.arange(10.0)))
    draw_purity(tmp_path / "p.png", np.zeros(10, bool), {"a": np.arange(10.0)}, title="t")
    assert not list(tmp_path.iterdir())
