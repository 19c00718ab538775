"""The self-organising map against cases whose answer is known."""

import itertools

import numpy as np
import pytest
from sklearn.base import clone

from ssl_photoz.core.errors import ConfigError, DataError, ShapeError
from ssl_photoz.photoz.som import SelfOrganisingMap


def test_one_cell_is_the_mean() -> None:
    X = np.random.default_rng(0).normal(3, 2, size=(500, 4))
    som = SelfOrganisingMap(1, 1).fit(X)
    assert np.allclose(som.codebook_[0], X.mean(axis=0), atol=1e-5)
    away = np.linalg.norm(X - X.mean(axis=0), axis=1).mean()
    assert som.quantisation_error(X) == pytest.approx(away, rel=1e-5)


def test_two_clusters_are_two_cells() -> None:
    rng = np.random.default_rng(1)
    cluster = rng.integers(0, 2, 400)
    X = rng.normal(size=(400, 3)) * 0.1 + cluster[:, None] * np.array([5.0, -3.0, 1.0])
    cells = SelfOrganisingMap(1, 2).fit_predict(X)
    assert len(set(zip(cells.tolist(), cluster.tolist(), strict=True))) == 2
    means = np.stack([X[cells == cell].mean(axis=0) for cell in (0, 1)])
    assert np.allclose(SelfOrganisingMap(1, 2).fit(X).codebook_, means, atol=0.05)


def test_a_line_of_points_unrolls_in_order() -> None:
    t = np.linspace(0, 1, 600)
    curve = np.stack([np.cos(2.5 * t), np.sin(2.5 * t), t], axis=1)
    shuffled = np.random.default_rng(2).permutation(len(t))
    cells = SelfOrganisingMap(1, 12).fit(curve[shuffled]).predict(curve)
    order = [cell for cell, _ in itertools.groupby(cells.tolist())]
    assert sorted(order) == list(range(12))
    assert order in (list(range(12)), list(range(11, -1, -1)))


def test_neighbouring_cells_are_alike() -> None:
    X = np.random.default_rng(3).uniform(size=(3000, 2))
    codebook = SelfOrganisingMap(6, 6).fit(X).codebook_.reshape(6, 6, 2)
    beside = np.linalg.norm(np.diff(codebook, axis=1), axis=-1)
    away = np.linalg.norm(codebook[:, :-3] - codebook[:, 3:], axis=-1)
    assert beside.mean() < 0.6 * away.mean()
    assert beside.max() < 0.4  # an even sheet has 1/6


def test_more_cells_leave_less_error_and_a_fit_repeats_itself() -> None:
    X = np.random.default_rng(4).normal(size=(800, 5)).astype("f4")
    few, many = (SelfOrganisingMap(n, n).fit(X) for n in (2, 8))
    assert many.quantisation_error(X) < few.quantisation_error(X)
    assert np.array_equal(clone(many).fit(X).codebook_, many.codebook_)
    assert many.predict(X[:0]).shape == (0,)


@pytest.mark.parametrize("row", [7, 431])
def test_features_that_are_not_finite_are_refused(row: int) -> None:
    X = np.random.default_rng(5).normal(size=(500, 2))
    X[row, 1] = np.nan
    with pytest.raises(DataError, match=f"row {row}"):
        SelfOrganisingMap(2, 2).fit(X)


def test_what_cannot_be_mapped_is_refused() -> None:
    X = np.random.default_rng(6).normal(size=(30, 2))
    with pytest.raises(DataError, match="30 galaxies for a map of 6 x 6 cells"):
        SelfOrganisingMap(6, 6).fit(X)
    with pytest.raises(ConfigError, match="columns=0"):
        SelfOrganisingMap(1, 0).fit(X)
    with pytest.raises(ShapeError, match="the map was fitted to"):
        SelfOrganisingMap(2, 2).fit(X).predict(X[:, :1])
