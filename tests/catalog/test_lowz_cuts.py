"""The cuts for z < 0.03 against the same inequalities written as plain loops."""

import math

import numpy as np
import pytest

from ssl_photoz.catalog.lowz_cuts import select_lowz
from ssl_photoz.core.errors import ShapeError
from ssl_photoz.photoz.metrics import score_selection


def passes(r, gr, radius, mu_error=0.0, gr_error=0.0):
    mu = r + 2.5 * math.log10(2 * math.pi * radius**2)
    diffuse = mu + mu_error - 0.7 * (r - 14) > 16.8
    blue = gr - gr_error + 0.06 * (r - 14) < 0.99
    return diffuse, blue


def test_the_cuts_agree_with_plain_loops():
    rng = np.random.default_rng(0)
    r, gr = rng.uniform(14, 21, 2000), rng.uniform(0, 1.4, 2000)
    radius = np.exp(rng.normal(0, 1, 2000))
    mu_error, gr_error = rng.uniform(0, 0.3, (2, 2000))
    for errors in ({}, {"mu_error": mu_error, "gr_error": gr_error}):
        told = select_lowz(r, gr, radius, **errors)
        per_row = np.array([passes(*row) for row in zip(r, gr, radius, *errors.values())])  # noqa: B905
        assert told.selected.tolist() == per_row.all(axis=1).tolist()
        assert told.cuts == ("surface brightness", "colour")
        assert 0.1 < per_row[:, 0].mean() < 0.9
        assert 0.1 < per_row[:, 1].mean() < 0.9
        colour = select_lowz(r, gr, None, **errors)
        assert colour.selected.tolist() == per_row[:, 1].tolist()
        assert colour.cuts == ("colour",)


def test_galaxies_on_either_side_of_each_limit():
    # At r = 14 the limits are mu = 16.8 and g - r = 0.99.
    radius = math.sqrt(10 ** ((16.8 - 14) / 2.5) / (2 * math.pi))
    r = np.full(4, 14.0)
    gr = np.array([0.98, 1.0, 0.98, 1.0])
    radii = radius * np.array([1.01, 1.01, 0.99, 0.99])
    assert select_lowz(r, gr, radii).selected.tolist() == [True, False, False, False]
    assert select_lowz(r, gr, radii, gr_error=0.02).selected.tolist() == [True, True, False, False]
    both = select_lowz(r, gr, radii, mu_error=0.1, gr_error=0.02)
    assert both.selected.all()


def test_what_is_not_known_does_not_pass():
    nan = np.nan
    told = select_lowz(
        np.array([18.0, nan, 18.0, 18.0, 18.0]),
        np.array([0.5, 0.5, nan, 0.5, 0.5]),
        np.array([5.0, 5.0, 5.0, nan, 0.0]),
    )
    assert told.selected.tolist() == [True, False, False, False, False]


def test_columns_of_different_lengths_are_refused():
    with pytest.raises(ShapeError, match=r"\(3,\), \(2,\)"):
        select_lowz(np.zeros(3), np.zeros(2), None)
    with pytest.raises(ShapeError, match="expected"):
        select_lowz(np.zeros(3), np.zeros(3), np.zeros(4))


def test_a_selection_counted_by_hand():
    z = np.array([0.01, 0.02, 0.029, 0.03, 0.10, 0.20])
    selected = np.array([True, True, False, True, False, True])
    told = score_selection(selected, z)
    assert (told["n"], told["selected"], told["z_max"]) == (3, 4, 0.03)
    assert told["purity"] == pytest.approx(2 / 4)
    assert told["completeness"] == pytest.approx(2 / 3)
    assert score_selection(selected, z, z_max=0.05)["purity"] == pytest.approx(3 / 4)


def test_errors_are_those_of_a_binomial():
    rng = np.random.default_rng(0)
    z = np.where(rng.random(4000) < 0.3, 0.01, 0.1)
    selected = rng.random(4000) < np.where(z < 0.03, 0.8, 0.1)
    told = score_selection(selected, z, draws=400)
    for name, n in (("purity", selected.sum()), ("completeness", (z < 0.03).sum())):
        p = told[name]
        assert told[f"error_{name}"] == pytest.approx(math.sqrt(p * (1 - p) / n), rel=0.15)
    assert told == score_selection(selected, z, draws=400)


def test_an_empty_selection_has_no_purity():
    told = score_selection(np.zeros(5, bool), np.array([0.01, 0.1, 0.1, 0.1, 0.1]))
    assert math.isnan(told["purity"])
    assert math.isnan(told["error_purity"])
    assert told["completeness"] == 0
    told = score_selection(np.ones(5, bool), np.full(5, 0.1))
    assert math.isnan(told["completeness"])
    assert told["purity"] == 0
