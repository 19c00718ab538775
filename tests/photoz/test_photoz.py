"""The estimator that notebooks use."""

import textwrap
from pathlib import Path

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.ensemble import RandomForestRegressor
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ssl_photoz.core.errors import ArtefactError, ConfigError, DataError, MismatchError
from ssl_photoz.photoz.base import Interval, PointProbe, to_target
from ssl_photoz.photoz.estimator import PhotoZ
from ssl_photoz.photoz.metrics import bootstrap_errors, score, summarise
from ssl_photoz.photoz.regressors import Ridge
from ssl_photoz.reports.page import write_report

SMALL = {"hidden": 8, "members": 1, "steps": 60}


def test_galaxies_without_a_redshift_are_left_out_and_counted(galaxies):
    (features, z), (val, val_z) = galaxies(200, seed=1), galaxies(80, seed=2)
    holes, val_holes = z.copy(), val_z.copy()
    holes[::4] = np.nan
    holes[1], val_holes[:3] = -1.0, np.nan
    photoz = PhotoZ("mlp", **SMALL).fit(features, holes, validation=(val, val_holes))
    assert photoz.card.labels == {"train": 149, "val": 77}
    assert photoz.card["without_redshift"] == {"train": 51, "val": 3}
    kept = np.isfinite(holes) & (holes > 0)
    plain = PhotoZ("mlp", **SMALL).fit(features[kept], z[kept], validation=(val[3:], val_z[3:]))
    np.testing.assert_array_equal(photoz.predict(val), plain.predict(val))
    with pytest.raises(DataError, match="none of 200 galaxies to fit to has a redshift"):
        PhotoZ("ridge").fit(features, np.full(200, np.nan))
    with pytest.raises(DataError, match="none of 80 validation galaxies"):
        PhotoZ("ridge").fit(features, z, validation=(val, np.full(80, np.nan)))


@pytest.mark.parametrize("name", ["mlp", "knn", "neighbours"])
def test_saved_and_loaded_it_says_the_same(galaxies, tmp_path, name):
    features, z = galaxies(200, seed=1)
    photoz = PhotoZ(name, **(SMALL if name == "mlp" else {"ks": (4, 8)})).fit(features, z)
    assert photoz.save(tmp_path / "photoz", encoder="e" * 64) == tmp_path / "photoz"
    again = PhotoZ.load(str(tmp_path / "photoz"))
    for one, other in zip(
        *(p.predict(features, interval=True) for p in (photoz, again)), strict=True
    ):
        np.testing.assert_array_equal(one, other)
    assert again.card == photoz.card
    assert (again.card.encoder, again.card.labels) == ("e" * 64, {"train": 200})
    assert str(again) == str(photoz)
    assert write_report(tmp_path, tmp_path / "report.html").exists()
    with pytest.raises(ArtefactError, match="holds no probe 'svr'"):
        PhotoZ.load(tmp_path / "photoz", which="svr")


def test_it_loads_what_the_verb_wrote(fitted, galaxies):
    _, folder = fitted
    assert PhotoZ.load(folder, which="ridge").predict(galaxies(5)[0]).shape == (5,)
    assert PhotoZ.load(folder, which="ridge").card.simulated
    with pytest.raises(ArtefactError, match="holds knn, ridge; say which="):
        PhotoZ.load(folder)


def test_it_is_never_saved_over_other_work(fitted, galaxies, tmp_path):
    store, folder = fitted
    photoz = PhotoZ("ridge").fit(*galaxies(100))
    with pytest.raises(MismatchError, match="already holds probes of a verb"):
        photoz.save(folder)
    with pytest.raises(MismatchError, match="'embeddings' artefact"):
        photoz.save(store.folder)
    photoz.save(tmp_path / "mine")
    PhotoZ("mean").fit(*galaxies(100)).save(tmp_path / "mine")
    assert PhotoZ.load(tmp_path / "mine").card.probes == ["mean"]


def test_scikit_learn_clones_and_searches(galaxies):
    features, z = galaxies(200)
    photoz = PhotoZ("boosting", leaves=(8,), most_trees=5).fit(features, z)
    assert clone(photoz).get_params()["estimator__most_trees"] == 5
    with pytest.raises(NotFittedError):
        clone(photoz).predict(features)
    search = GridSearchCV(PhotoZ("ridge"), {"estimator__alphas": [(1e-6,), (1e3,)]}, cv=2)
    assert search.fit(features, z).best_params_ == {"estimator__alphas": (1e-6,)}
    given = PhotoZ(Ridge()).fit(features, z)
    np.testing.assert_array_equal(
        given.predict(features), PhotoZ("ridge").fit(features, z).predict(features)
    )


def test_only_some_probes_give_densities(galaxies):
    features, z = galaxies(100)
    density = PhotoZ("neighbours").fit(features, z).density(features[:3])
    assert density.values.shape == (3, len(density.grid))
    with pytest.raises(ConfigError, match="ridge gives no densities"):
        PhotoZ("ridge").fit(features, z).density(features)


def test_wrong_names_are_refused():
    with pytest.raises(ConfigError, match="no probe 'forest'; expected one of knn, ridge"):
        PhotoZ("forest")
    with pytest.raises(ConfigError, match="hiden"):
        PhotoZ("mlp", hiden=3)
    with pytest.raises(ConfigError, match="hidden belong to the estimator"):
        PhotoZ(Ridge(), hidden=3)


def test_score_is_the_summary_of_known_galaxies_in_one_line():
    rng = np.random.default_rng(0)
    spec = rng.uniform(0.05, 0.4, 300)
    phot = spec + 0.02 * rng.normal(size=300)
    holes = np.where(np.arange(300) < 50, np.nan, spec)
    told = score(phot, holes, seed=3)
    assert told.sigma_nmad == summarise(phot[50:], spec[50:]).sigma_nmad
    assert told.errors == bootstrap_errors(phot[50:], spec[50:], seed=3)
    assert (told.n, told.without_z_spec) == (250, 50)
    assert "\n" not in str(told)
    for words in ("bias ", "sigma_NMAD ", "|dz| > 0.05 ", "R2 ", "250 galaxies, 50 without z_spec"):
        assert words in str(told)
    with pytest.raises(DataError, match="no galaxies"):
        score(phot, np.full(300, np.nan))
    with pytest.raises(DataError, match="NaN or infinity"):
        score(np.full(300, np.nan), spec)


def test_any_regressor_gets_intervals(galaxies, tmp_path):
    (features, z), (test, test_z) = galaxies(1500, seed=1), galaxies(1500, seed=2)
    forest = make_pipeline(StandardScaler(), RandomForestRegressor(20, random_state=0))
    photoz = clone(PhotoZ(forest)).fit(features, z, validation=galaxies(500, seed=3))
    told, low, high = photoz.predict(test, interval=True)
    assert score(told, test_z).sigma_nmad < 0.02
    assert np.mean((low <= test_z) & (test_z <= high)) == pytest.approx(0.68, abs=0.06)
    with pytest.raises(ConfigError, match="Regressor cannot be stored; fit one of knn"):
        photoz.save(tmp_path / "forest")
    assert not (tmp_path / "forest").exists()
    features[0, 0] = np.nan
    with pytest.raises(DataError, match="NaN or infinite features"):
        PhotoZ(forest).fit(features, z)


def test_a_probe_of_ones_own_is_a_short_class(galaxies):
    """The class of docs/redshifts.md, word for word."""
    page = (Path(__file__).parents[2] / "docs" / "redshifts.md").read_text(encoding="utf-8")
    code = textwrap.dedent(page[page.index("    class Median") : page.index("To be stored")])
    known = {"PointProbe": PointProbe, "Interval": Interval, "np": np, "to_target": to_target}
    exec(code, known, made := {})
    (features, z), (val, val_z) = galaxies(300, seed=1), galaxies(800, seed=2)
    photoz = PhotoZ(made["Median"](seed=3)).fit(features, z)
    told, low, high = photoz.predict(val, interval=True)
    np.testing.assert_allclose(told, np.median(z), rtol=0.05)
    assert np.mean((low <= val_z) & (val_z <= high)) == pytest.approx(0.68, abs=0.15)
