"""Probes as scikit-learn knows estimators, and as version 0.1 left them."""

import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ssl_photoz.core.errors import ArtefactError, DataError, ShapeError
from ssl_photoz.photoz.artefact import EVERY_PROBE, load_probe, save_probe
from ssl_photoz.photoz.networks import MLP
from ssl_photoz.photoz.regressors import Boosting, Ridge

# The folder was written, and said.json recorded, by commit a31880e, before probes had
# scikit-learn's contract: fitted to draw(300, seed=1), chosen on draw(120, seed=2), asked for
# draw(8, seed=3).
RELEASE = Path(__file__).parent / "release_0_1"
SAID = json.loads((RELEASE / "said.json").read_text())
STORED = ("mean", "knn", "ridge", "svr", "boosting")
SMALL = {"hidden": 8, "members": 2, "steps": 60}
# Version 0.1 knew principal axes alone, and blended three.
PRINCIPAL: dict[str, object] = {"discriminants": ()}
QUICK = {
    **{"mlp": SMALL, "mixture": SMALL, "boosting": {"leaves": (8,), "most_trees": 30}},
    **{"knn": PRINCIPAL, "neighbours": PRINCIPAL},
    "blend": {"parts": ("ridge", "svr", "mlp")},
}
IDS = np.arange(300) + 2**60


def quick(name):
    return EVERY_PROBE[name](seed=4, **QUICK.get(name, {}))


@pytest.fixture
def fitted(galaxies):
    """Fit a probe as those of version 0.1 were fitted."""

    def fit(name):
        return quick(name).fit(*galaxies(300, seed=1), validation=galaxies(120, seed=2), ids=IDS)

    return fit


def require_said(probe, name, features):
    """Networks may differ in the last bits between processors, and drift with them."""
    said = SAID[name]
    tolerance = 2e-3 if name in ("mlp", "blend", "mixture") else 1e-6
    assert {"discriminant": 0.0, **probe.chosen_} == pytest.approx(
        {"discriminant": 0.0, **said["chosen"]}
    )
    told = probe.estimate(features, ids=IDS[:8])
    for column in ("z_phot", "z_lo", "z_hi"):
        np.testing.assert_allclose(getattr(told, column), said[column], rtol=tolerance)
    if "neighbours" in said:
        assert told.neighbours[:, 0].tolist() == said["neighbours"]


@pytest.mark.parametrize("name", EVERY_PROBE)
def test_a_fit_gives_what_version_0_1_gave(fitted, galaxies, name):
    require_said(fitted(name), name, galaxies(8, seed=3)[0])


@pytest.mark.parametrize("name", STORED)
def test_a_folder_of_version_0_1_is_read_and_written_again(galaxies, tmp_path, name):
    features, _ = galaxies(8, seed=3)
    card, probe = load_probe(RELEASE, name)
    assert (card.probes[0], card.features, card.encoder) == ("mean", "embedding", "e" * 64)
    require_said(probe, name, features)
    save_probe(tmp_path, {name: probe}, metrics={}, predictions={}, config={}, parents={})
    require_said(load_probe(tmp_path, name)[1], name, features)


@pytest.mark.parametrize("name", EVERY_PROBE)
def test_hyper_parameters_are_kept_and_stored(fitted, tmp_path, name):
    probe = fitted(name)
    assert clone(probe).get_params() == probe.get_params() == quick(name).get_params()
    with pytest.raises(NotFittedError):
        clone(probe).predict(np.zeros((2, 6)))
    save_probe(tmp_path, {name: probe}, metrics={}, predictions={}, config={}, parents={})
    assert load_probe(tmp_path, name)[1].get_params() == probe.get_params()


@pytest.mark.parametrize("name", EVERY_PROBE)
def test_one_call_gives_redshifts_or_intervals_too(fitted, galaxies, name):
    features, _ = galaxies(20, seed=5)
    probe = fitted(name)
    z, low, high = probe.predict(features, interval=True)
    np.testing.assert_array_equal(z, probe.predict(features))
    assert z.shape == low.shape == high.shape == (20,)
    assert ((low <= z) & (z <= high)).all()
    assert probe.n_features_in_ == 6


def test_scikit_learn_searches_and_validates(galaxies):
    features, z = galaxies(400)
    search = GridSearchCV(quick("boosting"), {"most_trees": [1, 40]}, cv=2).fit(features, z)
    assert search.best_params_ == {"most_trees": 40}
    scores = cross_val_score(MLP(hidden=16, members=1, steps=400), features, z, cv=2)
    assert (scores > 0).all()
    pipeline = make_pipeline(StandardScaler(), Ridge()).fit(features, z)
    assert pipeline.score(features, z) == pytest.approx(Ridge().fit(features, z).score(features, z))


@pytest.mark.parametrize("name", ["ridge", "knn"])
def test_without_validation_a_tenth_is_held_out(galaxies, name):
    features, z = galaxies(200)
    probe = quick(name).fit(features, z, ids=IDS[:200])
    again = quick(name).fit(features, z, ids=IDS[:200])
    np.testing.assert_array_equal(probe.predict(features), again.predict(features))
    if name == "knn":
        assert len(probe.ids_) == 180
        assert set(probe.ids_) < set(IDS[:200])


def test_what_cannot_be_fitted_is_refused(galaxies):
    features, z = galaxies(30)
    with pytest.raises(ShapeError, match=r"galaxies to fit to: .*\(30, 6\) .*\(29,\)"):
        Ridge().fit(features, z[:-1])
    with pytest.raises(ShapeError, match="validation galaxies"):
        Ridge().fit(features, z, validation=(features, z[:-1]))
    with pytest.raises(ShapeError, match="29 ids for 30"):
        Ridge().fit(features, z, ids=IDS[:29])
    with pytest.raises(DataError, match="at least 2"):
        Ridge().fit(features[:1], z[:1])
    z[3] = np.nan
    with pytest.raises(DataError, match="1 of 30 galaxies to fit to have no finite redshift"):
        Ridge().fit(features, z)


def test_trees_of_a_damaged_file_are_refused(fitted):
    arrays = fitted("boosting").arrays()
    with pytest.raises(ArtefactError, match="fit the probe again"):
        Boosting.from_arrays({**arrays, "booster": arrays["booster"][:-200]})
