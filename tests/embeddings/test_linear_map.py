"""CORAL against the closed form, Procrustes against SciPy, and folders that come out whole."""

from functools import partial

import numpy as np
import pytest
from scipy.linalg import orthogonal_procrustes, sqrtm

from ssl_photoz import cli
from ssl_photoz.core import artefact
from ssl_photoz.core.errors import DataError, ShapeError
from ssl_photoz.embeddings.linear_map import fit_coral, fit_procrustes, fit_shift
from ssl_photoz.embeddings.store import Embeddings
from ssl_photoz.photoz.labels import read_labelled
from ssl_photoz.photoz.metrics import summarise
from ssl_photoz.photoz.regressors import Ridge

DIM = 6


def vectors(n, *, seed):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, DIM)) @ rng.normal(size=(DIM, DIM)) + rng.normal(size=DIM)


def test_coral_makes_means_and_covariances_equal():
    target, reference = vectors(500, seed=0), vectors(300, seed=1)
    mapped = fit_coral(target, reference, ridge=0.0)
    found = (target - mapped.before) @ mapped.matrix + mapped.after
    np.testing.assert_allclose(found.mean(0), reference.mean(0), atol=1e-10)
    np.testing.assert_allclose(np.cov(found.T), np.cov(reference.T), atol=1e-8)
    covariances = [np.cov(some.T) for some in (target, reference)]
    by_scipy = np.linalg.inv(sqrtm(covariances[0])) @ sqrtm(covariances[1])
    np.testing.assert_allclose(mapped.matrix, by_scipy, atol=1e-8)


def test_the_ridge_of_coral_is_that_of_the_paper():
    target, reference = vectors(500, seed=0), vectors(300, seed=1)
    floor = 0.3 * np.trace(np.cov(reference.T)) / DIM * np.eye(DIM)
    one, other = (np.cov(some.T) + floor for some in (target, reference))
    by_scipy = np.linalg.inv(sqrtm(one)) @ sqrtm(other)
    np.testing.assert_allclose(fit_coral(target, reference, ridge=0.3).matrix, by_scipy, atol=1e-8)
    same = fit_coral(reference, reference, ridge=0.3)
    np.testing.assert_allclose(same.matrix, np.eye(DIM), atol=1e-10)


def test_coral_of_fewer_galaxies_than_dimensions_is_finite():
    target, reference = vectors(4, seed=0), vectors(5, seed=1)
    assert np.isfinite(fit_coral(target, reference, ridge=0.0)(target)).all()


def test_procrustes_finds_a_turn_a_scale_and_a_shift():
    rng = np.random.default_rng(2)
    reference = vectors(80, seed=3)
    turn = np.linalg.qr(rng.normal(size=(DIM, DIM)))[0]
    target = 0.5 * (reference - 7.0) @ turn
    mapped = fit_procrustes(target, reference)
    np.testing.assert_allclose(mapped(target), reference, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(mapped.matrix, 2.0 * turn.T, atol=1e-10)


def test_procrustes_agrees_with_scipy_where_no_turn_is_right():
    target, reference = vectors(80, seed=4), vectors(80, seed=5)
    mapped = fit_procrustes(target, reference)
    one, other = target - target.mean(0), reference - reference.mean(0)
    turn, _ = orthogonal_procrustes(one, other)
    turned = one @ turn
    scale = np.sum(turned * other) / np.sum(turned**2)  # least squares
    np.testing.assert_allclose(mapped.matrix, scale * turn, atol=1e-10)


def test_the_shift_changes_nothing_but_the_mean():
    target, reference = vectors(50, seed=6), vectors(60, seed=7)
    found = fit_shift(target, reference)(target)
    np.testing.assert_allclose(found.mean(0), reference.mean(0), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(np.diff(found, axis=0), np.diff(target, axis=0), atol=1e-5)


@pytest.mark.parametrize(
    ("target", "reference", "error"),
    [
        (np.ones((9, 3)), np.ones((9, 4)), ShapeError),
        (np.ones(9), np.ones(9), ShapeError),
        (np.ones((1, 3)), np.ones((9, 3)), DataError),
        (np.ones((9, 3)), np.full((9, 3), np.nan), DataError),
    ],
)
def test_vectors_that_cannot_be_aligned_are_refused(target, reference, error):
    for fit in (fit_shift, partial(fit_coral, ridge=0.01), fit_procrustes):
        with pytest.raises(error):
            fit(target, reference)


def test_procrustes_needs_pairs():
    with pytest.raises(ShapeError, match="no pairs"):
        fit_procrustes(vectors(9, seed=0), vectors(8, seed=0))


def shifted(columns, vectors):
    vectors += 2.0


def stretched(columns, vectors):
    vectors[:] = vectors * np.linspace(0.6, 1.6, vectors.shape[1]) + 2.0


def turned(columns, vectors):
    rng = np.random.default_rng(9)
    turn = np.linalg.qr(rng.normal(size=2 * vectors.shape[1:]))[0]
    vectors[:] = 1.3 * vectors @ turn + 2.0


def adapt(folder, name, *arguments):
    given = [f"embeddings={folder / 'north'}", f"reference={folder / 'south'}"]
    return cli.main(["adapt", *given, f"out={folder / name}", *arguments])


@pytest.mark.parametrize(
    ("method", "change"), [("shift", shifted), ("coral", stretched), ("procrustes", turned)]
)
def test_a_probe_of_one_survey_is_of_use_for_the_other(
    make_store, tmp_path, method, change, capsys
):
    south = make_store("south", n=400, labelled=1.0)
    north = make_store("north", n=400, labelled=1.0, change=change)
    blocks = {"magnitudes": 10, "conditions": 2}
    card = artefact.read_card(north.folder, "embeddings")
    artefact.write_json(north.folder / "card.json", {**card, "blocks": blocks})
    north = Embeddings.open(north.folder)
    assert adapt(tmp_path, "out", f"method={method}") == 0
    assert "SIMULATED: 400 embeddings" in capsys.readouterr().out
    made = Embeddings.open(tmp_path / "out")
    train, val, _ = read_labelled(south).values()
    probe = Ridge().fit(train.features, train.z, validation=(val.features, val.z))
    home, plain, mapped = (
        summarise(probe.predict(some.vectors()), some.column("z")) for some in (south, north, made)
    )
    assert mapped.rmse < 0.6 * plain.rmse
    assert abs(mapped.bias) < 0.2 * abs(plain.bias)
    if method != "coral":
        assert mapped.rmse == pytest.approx(home.rmse, rel=0.03)
    for name in north.columns:
        if name != "embedding":
            np.testing.assert_array_equal(made.column(name), north.column(name))
    assert made.card["harmonized"] == {"method": method, "reference": south.sha256}
    assert made.card["parents"] == {"embeddings": north.sha256, "reference": south.sha256}
    assert made.card["encoder"] == south.card["encoder"]  # what `predict` asks for
    assert list(made.card.blocks.items()) == list(blocks.items())
    assert adapt(tmp_path, "out", f"method={method}") == 0
    assert "already made" in capsys.readouterr().out


def test_test_skies_are_not_looked_at(make_store, tmp_path):
    def spoil(columns, vectors):
        stretched(columns, vectors)
        vectors[columns["split"] == "test"] += 1000.0

    make_store("south")
    for name, change in (("north", stretched), ("spoilt", spoil)):
        make_store(name, change=change)
    given = [f"reference={tmp_path / 'south'}"]
    for name in ("north", "spoilt"):
        out = [f"embeddings={tmp_path / name}", f"out={tmp_path / name}-mapped"]
        assert cli.main(["adapt", *given, *out]) == 0
    one, other = (Embeddings.open(tmp_path / f"{name}-mapped") for name in ("north", "spoilt"))
    outside = one.column("split") != "test"
    np.testing.assert_array_equal(one.vectors()[outside], other.vectors()[outside])


def test_what_was_not_made_alike_is_refused(make_store, tmp_path, capsys):
    folder, south = tmp_path, make_store("south")
    make_store("north")
    card = artefact.read_card(south.folder, "embeddings")
    artefact.write_json(folder / "north" / "card.json", {**card, "encoder": "another"})
    assert adapt(folder, "refused") == 2
    assert "made with one encoder" in capsys.readouterr().err
    for name in ("harmonized", "adapted"):  # the word of version 0.1
        artefact.write_json(folder / "north" / "card.json", {**card, name: {"method": "coral"}})
        assert adapt(folder, "refused") == 2
        assert "has harmonized {'method': 'coral'}" in capsys.readouterr().err
    assert not (folder / "refused").exists()


def test_strangers_make_no_pairs(make_store, tmp_path, capsys):
    def strangers(columns, vectors):
        columns["id"] = columns["id"] + 10**6

    make_store("south")
    make_store("north", change=strangers)
    assert adapt(tmp_path, "out", "method=procrustes") == 2
    assert "0 galaxies outside the test skies are in both" in capsys.readouterr().err
    assert adapt(tmp_path, "coral", "ridge=-1") == 2
