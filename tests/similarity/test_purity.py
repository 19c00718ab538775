import numpy as np
import pytest
from sklearn.metrics import average_precision_score, precision_recall_curve

from ssl_photoz.similarity.purity import PurityCurve, draw_purity, measure_purity


def ranked(n, rate, seed=0):
    rng = np.random.default_rng(seed)
    truth = rng.random(n) < rate
    return truth, np.round(rng.normal(size=n) + 2 * truth, 1)


def test_the_curve_is_that_of_scikit_learn():
    truth, score = ranked(500, 0.1)
    curve = PurityCurve.measure(truth, score)
    purity, completeness, threshold = precision_recall_curve(truth, score)
    for i in range(len(threshold)):
        j = np.flatnonzero(curve.score == threshold[i])[0]
        assert (curve.purity[j], curve.completeness[j]) == (purity[i], completeness[i])
    assert np.all(np.diff(curve.completeness) >= 0)
    assert curve.completeness[-1] == 1


def test_purity_at_a_completeness_by_counting():
    truth, score = ranked(500, 0.1)
    wanted = []
    for cut in np.unique(score)[::-1]:
        kept = score >= cut
        if truth[kept].sum() >= 0.9 * truth.sum():
            wanted.append(truth[kept].mean())
    curve = PurityCurve.measure(truth, score)
    assert curve.purity_at(0.9) == pytest.approx(wanted[0])


def test_perfect_and_useless_rankings():
    truth = np.arange(100) < 20
    perfect = measure_purity(truth, truth.astype(float))
    assert perfect["average_precision"] == 1
    assert perfect["purity_at_90_completeness"] == 1
    assert perfect["enrichment_at_90_completeness"] == pytest.approx(5)
    useless = measure_purity(truth, np.zeros(100))
    assert useless["purity_at_90_completeness"] == pytest.approx(0.2)
    assert useless["enrichment_at_90_completeness"] == pytest.approx(1)


def test_bootstrap_errors_agree_with_fresh_samples():
    drawn = [measure_purity(*ranked(400, 0.2, seed=s))["average_precision"] for s in range(1, 9)]
    fresh = [average_precision_score(*ranked(400, 0.2, seed=s)) for s in range(300)]
    assert drawn == pytest.approx(fresh[1:9])
    error = measure_purity(*ranked(400, 0.2))["average_precision_error"]
    assert error == pytest.approx(np.std(fresh), rel=0.35)


def test_nothing_to_find(tmp_path):
    empty = measure_purity(np.zeros(10, bool), np.arange(10.0))
    assert empty["average_precision"] is None
    assert empty["base_rate"] == 0
    assert measure_purity(np.zeros(0, bool), np.zeros(0))["base_rate"] is None
    draw_purity(tmp_path / "p.png", np.zeros(10, bool), np.arange(10.0), title="t")
    assert not list(tmp_path.iterdir())
