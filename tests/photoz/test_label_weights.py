"""What a label counts, and how far it may be off: weights and errors in fits."""

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsRegressor

from ssl_photoz.core.errors import ConfigError, DataError, ShapeError
from ssl_photoz.photoz.artefact import EVERY_PROBE
from ssl_photoz.photoz.estimator import PhotoZ
from ssl_photoz.photoz.metrics import score

FAST = {"mlp": {"steps": 150, "hidden": 32}, "mixture": {"steps": 150, "hidden": 32}}
FAST |= {"svr": {"gammas": (0.1,), "penalties": (1.0,)}, "boosting": {"most_trees": 60}}


def half_wrong(galaxies):
    """Galaxies of which half have a redshift that is far too high, and those weigh nothing."""
    X, z = galaxies(600, seed=3)
    wrong = np.arange(600) % 2 == 0
    return X, np.where(wrong, z + 0.4, z), (~wrong).astype(float)


@pytest.mark.parametrize(
    "name", ["knn", "ridge", "svr", "mlp", "boosting", "neighbours", "mixture"]
)
def test_labels_without_weight_teach_nothing(name, galaxies) -> None:
    X, z, weight = half_wrong(galaxies)
    tested, truth = galaxies(200, seed=5)
    validation = galaxies(150, seed=4)
    fit = {
        key: PhotoZ(name, **FAST.get(name, {})).fit(X, z, validation=validation, sample_weight=one)
        for key, one in {"all": None, "weighted": weight}.items()
    }
    mae = {key: score(one.predict(tested), truth).mae for key, one in fit.items()}
    assert mae["weighted"] < 0.5 * mae["all"]


def test_an_integer_weight_is_that_many_galaxies(galaxies) -> None:
    X, z = galaxies(120, seed=1)
    times = 1 + np.arange(120) % 3
    validation = galaxies(60, seed=2)
    for name in ("ridge", "mean"):
        weighted = PhotoZ(name).fit(X, z, validation=validation, sample_weight=times)
        repeated = PhotoZ(name).fit(
            np.repeat(X, times, 0), np.repeat(z, times), validation=validation
        )
        # The features are standardised by the galaxies as they come.
        assert np.allclose(weighted.predict(X), repeated.predict(X), atol=2e-3)


@pytest.mark.parametrize("name", ["neighbours", "mixture"])
def test_a_stored_probe_answers_as_before(name, galaxies, tmp_path) -> None:
    X, z = galaxies(200, seed=1)
    weight, error = np.linspace(0.5, 2, 200), np.full(200, 0.02)
    photoz = PhotoZ(name, **FAST.get(name, {})).fit(X, z, sample_weight=weight, z_error=error)
    photoz.save(tmp_path / name)
    again = PhotoZ.load(tmp_path / name)
    assert np.array_equal(again.density(X[:9]).values, photoz.density(X[:9]).values)


def test_a_mixture_sees_through_the_errors_of_its_labels(galaxies) -> None:
    rng = np.random.default_rng(0)
    X, z = galaxies(1500, seed=6, noise=0.005)
    error = np.full(len(z), 0.06)
    noisy = np.maximum(z + error * rng.normal(size=len(z)), 1e-3)
    tested, _ = galaxies(200, seed=7)
    exact = galaxies(300, seed=10, noise=0.005)
    widths = {}
    for name, given in {"as they are": None, "with errors": error}.items():
        photoz = PhotoZ("mixture", steps=300, hidden=32)
        photoz.fit(X, noisy, validation=exact, z_error=given)
        low, high = photoz.density(tested).interval()
        widths[name] = float(np.median((high - low) / 2))
    assert 0.05 < widths["as they are"] < 0.08
    assert widths["with errors"] < 0.75 * widths["as they are"]


def test_neighbours_are_as_wide_as_their_errors(galaxies) -> None:
    X, z = galaxies(800, seed=8)
    tested, _ = galaxies(100, seed=9)
    narrow, wide = (
        PhotoZ("neighbours").fit(X, z, z_error=np.full(len(z), error)).density(tested)
        for error in (0.0, 0.1)
    )
    width = [(high - low) / 2 for low, high in (narrow.interval(), wide.interval())]
    assert np.median(width[0]) < 0.07
    assert np.median(width[1]) == pytest.approx(np.hypot(np.median(width[0]), 0.1), rel=0.15)


@pytest.mark.parametrize(
    ("given", "error", "said"),
    [
        ({"sample_weight": np.full(100, np.nan)}, DataError, "100 of 100 are NaN"),
        ({"sample_weight": np.zeros(100)}, DataError, "some weights above it"),
        ({"sample_weight": np.ones(99)}, ShapeError, r"sample_weight \(99,\)"),
        ({"z_error": np.full(100, -1.0)}, DataError, "z_error: 100 of 100"),
    ],
)
def test_weights_and_errors_that_are_none_are_refused(given, error, said, galaxies) -> None:
    with pytest.raises(error, match=said):
        EVERY_PROBE["mixture"]().fit(*galaxies(100), **given)


def test_a_probe_that_knows_no_weights_says_so(galaxies) -> None:
    X, z = galaxies(100)
    with pytest.raises(ConfigError, match="Ridge takes no z_error"):
        PhotoZ("ridge").fit(X, z, z_error=np.ones(100))
    with pytest.raises(ConfigError, match="KNeighborsRegressor takes no sample_weight"):
        PhotoZ(KNeighborsRegressor()).fit(X, z, sample_weight=np.ones(100))
