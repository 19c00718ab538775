import numpy as np
import pytest

from ssl_photoz.core.errors import DataError
from ssl_photoz.photoz.bias.cells import (
    Bins,
    Cells,
    balance_weights,
    membership,
    most_per_cell,
    nearly_balanced,
    rows_for,
)


@pytest.mark.parametrize("fraction", [0.05, 0.33, 0.8, 1.0])
def test_most_per_cell_keeps_the_fraction(fraction):
    counts = np.random.default_rng(0).integers(0, 200, (5, 30))
    most = most_per_cell(counts, fraction)
    assert np.minimum(counts, most).sum() == pytest.approx(fraction * counts.sum())


def test_a_balanced_subset_caps_full_cells_and_keeps_the_others_whole():
    rng = np.random.default_rng(1)
    cell = rng.choice(6, 500, p=[0.6, 0.2, 0.1, 0.06, 0.03, 0.01])
    rows = nearly_balanced(cell, 17.5, seed=3)
    kept, before = np.bincount(cell[rows], minlength=6), np.bincount(cell, minlength=6)
    np.testing.assert_array_equal(kept, np.minimum(before, 18))
    assert len(np.unique(rows)) == len(rows)
    assert set(rows) != set(nearly_balanced(cell, 17.5, seed=4))


def test_weights_of_other_galaxies_balance_them_as_the_subset_is():
    rng = np.random.default_rng(2)
    train, other = (rng.choice(4, 40_000, p=[0.7, 0.2, 0.07, 0.03]) for _ in range(2))
    counts = np.bincount(train)
    weight = balance_weights(other, counts, 1_000)
    kept = np.bincount(train[nearly_balanced(train, 1_000, seed=0)])
    np.testing.assert_allclose(np.bincount(other, weights=weight), kept, rtol=0.1)


def test_cells_hold_what_a_histogram_says():
    rng = np.random.default_rng(3)
    magnitude, target = rng.normal(18, 1, 800), rng.uniform(0, 0.3, 800)
    cells = Cells.over(magnitude, target, rows=4, columns=10)
    edges = [
        np.concatenate([[-np.inf], e, [np.inf]])
        for e in (cells.magnitude_edges, cells.target_edges)
    ]
    expected = np.histogram2d(magnitude, target, edges)[0]
    np.testing.assert_array_equal(cells.count(cells.of(magnitude, target)), expected)
    assert expected.sum(axis=1).tolist() == [200] * 4


def test_magnitudes_that_are_no_numbers_are_refused():
    with pytest.raises(DataError, match="1 of 3 galaxies have no finite magnitude"):
        Cells.over(np.array([1.0, np.nan, 2.0]), np.zeros(3), rows=2, columns=2)


def test_channels_overlap_in_every_second_row_of_magnitude():
    cells = Cells(np.arange(1.0, rows_for(3)), np.empty(0))
    member = membership(cells, np.arange(5) + 0.5, 3)
    wanted = [[1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 1, 1], [0, 0, 1]]
    np.testing.assert_array_equal(member, wanted)


def test_bins_extend_without_moving():
    bins = Bins.over(np.array([0.1, 0.4]), 20)
    wider = bins.extended()
    assert wider.count == 40
    np.testing.assert_allclose(wider.centres()[10:30], bins.centres())
    target = np.array([0.03, 0.2])
    np.testing.assert_allclose(bins.at(bins.place(target)), target)
    np.testing.assert_allclose(wider.place(target), bins.place(target) + 10)


def test_points_read_off_probabilities():
    bins = Bins.over(np.array([0.4]), 4)
    probabilities = np.array([[0.1, 0.2, 0.6, 0.1]])
    centres = (np.arange(4) + 0.5) * 0.1
    assert bins.point(probabilities, "mode")[0] == pytest.approx(centres[2], rel=1e-5)
    assert bins.point(probabilities, "mean")[0] == pytest.approx(
        probabilities[0] @ centres, rel=1e-5
    )
