import numpy as np
import pytest
from sklearn.svm import SVR as Sklearn

from ssl_photoz.core.errors import ShapeError
from ssl_photoz.photoz import regressors
from ssl_photoz.photoz.metrics import residuals, sigma_nmad
from ssl_photoz.photoz.regressors import SVR, Ridge


def galaxies(n, *, seed=0, dim=12, wrong=0.0):
    """Features in which ln(1+z) is curved, and a share of redshifts that are someone else's."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(n, dim)).astype(np.float32)
    target = 0.15 + 0.04 * np.tanh(features[:, 0]) + 0.02 * features[:, 1] ** 2
    z = np.expm1(target)
    swapped = rng.random(n) < wrong
    z[swapped] = rng.permutation(z)[swapped]
    return features, z


def fitted(n=400, **more):
    known, held = galaxies(n, **more), galaxies(200, seed=1)
    return SVR().fit(*known, validation=held)


def score(probe, seed=2):
    features, z = galaxies(1000, seed=seed)
    return sigma_nmad(residuals(probe.predict(features), z))


def test_it_follows_a_curve_that_a_line_does_not():
    known, held = galaxies(300), galaxies(200, seed=1)
    ridge = Ridge().fit(*known, validation=held)
    assert score(fitted(300)) < 0.6 * score(ridge)


def test_wrong_labels_do_little_harm():
    assert score(fitted(400, wrong=0.05)) < 1.5 * score(fitted(400))


def test_its_own_sum_over_kernels_is_that_of_scikit_learn():
    features, z = galaxies(300)
    probe = fitted(300)
    target = np.log1p(z)
    given = {"gamma": probe.chosen_["gamma"], "C": probe.chosen_["penalty"]}
    rival = Sklearn(**{**given, "epsilon": probe.epsilon})
    rival.fit(probe.axes_.apply(features), (target - target.mean()) / target.std())
    asked = galaxies(50, seed=5)[0]
    expected = rival.predict(probe.axes_.apply(asked)) * target.std() + target.mean()
    np.testing.assert_allclose(
        np.log1p(probe.predict(asked)),
        np.clip(expected, target.min(), target.max()),
        atol=1e-4,  # the solver stops within 1e-3 of a standard deviation
    )


def test_it_is_the_same_after_storing():
    probe, asked = fitted(), galaxies(40, seed=4)[0]
    again = SVR.from_arrays({name: np.array(a) for name, a in probe.arrays().items()})
    pair = (some.predict(asked, interval=True) for some in (again, probe))
    np.testing.assert_array_equal(*pair)
    assert again.chosen_ == probe.chosen_


def test_of_very_many_galaxies_it_keeps_a_random_part(monkeypatch):
    monkeypatch.setattr(regressors, "MOST_SVR_GALAXIES", 150)
    assert len(fitted(600).support_) <= 150


def test_intervals_hold_the_truth_as_often_as_they_say():
    probe, (features, z) = fitted(800), galaxies(2000, seed=7)
    said = probe.estimate(features)
    # 200 calibration galaxies leave an uncertainty of about 0.033.
    assert np.mean((z >= said.z_lo) & (z <= said.z_hi)) == pytest.approx(0.68, abs=0.1)


def test_other_features_are_refused():
    with pytest.raises(ShapeError, match="fitted with"):
        fitted().predict(np.zeros((3, 5), np.float32))
