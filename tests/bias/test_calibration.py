import numpy as np
import pytest

from ssl_photoz.photoz.bias.cells import (
    CellCalibration,
    Cells,
    expected_distribution,
    resampling_weights,
)
from ssl_photoz.photoz.bias.outcome import curve, describe, size, total_variation
from ssl_photoz.photoz.bias.steps import calibrate


def planted(phot, magnitude):
    """A residual that depends on both."""
    return 0.02 * np.sin(20 * phot) + 0.01 * (magnitude - 18)


def draw(n, seed, *, tilt=0.0):
    rng = np.random.default_rng(seed)
    magnitude = rng.normal(18, 1, n)
    phot = rng.uniform(0.02, 0.3, n) + tilt * (magnitude - 18)
    return phot, phot - planted(phot, magnitude) + 0.01 * rng.normal(size=n), magnitude


def test_a_planted_residual_is_taken_away():
    phot, spec, magnitude = draw(20_000, 0)
    other, truth, their = draw(20_000, 1)
    fitted = CellCalibration.fit(phot, spec, magnitude, np.ones(20_000), rows=8, columns=20)
    left = fitted.apply(other, their) - truth
    for some in (other < 0.1, other > 0.25, their < 17, their > 19):
        before = np.abs((other - truth)[some].mean())
        assert np.abs(left[some].mean()) < 0.003 < before


def test_cells_of_few_galaxies_are_hardly_moved():
    phot, magnitude = np.array([0.1, 0.2]), np.array([17.0, 19.0])
    fitted = CellCalibration.fit(phot, phot - 0.1, magnitude, np.ones(2), rows=2, columns=2)
    assert np.abs(fitted.residual).max() < 0.02


def test_weights_bring_what_is_wanted():
    rng = np.random.default_rng(2)
    spec, magnitude = rng.beta(2, 5, 5_000), rng.normal(18, 1, 5_000)
    cells = Cells.over(magnitude, spec, rows=3, columns=6)
    wanted = rng.uniform(50, 100, cells.shape)
    weight = resampling_weights(cells, spec, magnitude, wanted)
    cell = cells.of(magnitude, spec)
    held = cells.count(cell, weight)
    full = (cells.count(cell) > 0).all(axis=1)
    np.testing.assert_allclose(held[full] / held.sum(), wanted[full] / wanted.sum(), rtol=1e-9)
    assert weight.mean() == pytest.approx(1)


def test_what_an_empty_cell_should_hold_goes_to_its_neighbour():
    cells = Cells(np.array([18.0]), np.array([1.0, 2.0]))
    spec, magnitude = np.array([0.5, 0.5, 1.5, 0.5]), np.array([17.0, 17, 17, 19])
    wanted = np.array([[2.0, 4.0, 6.0], [1.0, 0.0, 3.0]])
    weight = resampling_weights(cells, spec, magnitude, wanted)
    np.testing.assert_allclose(weight / weight.sum(), np.array([1, 1, 10, 4]) / 16)


def test_a_target_with_other_magnitudes_is_expected_to_have_other_redshifts():
    rng = np.random.default_rng(3)
    magnitude = rng.uniform(16, 20, 40_000)
    spec = 0.05 * (magnitude - 15) + 0.01 * rng.normal(size=40_000)
    bright = rng.uniform(16, 18, 4_000)
    cells = Cells.over(magnitude, spec, rows=4, columns=20)
    wanted = expected_distribution(
        cells, spec, magnitude, np.zeros(4_000), bright, how="magnitudes"
    )
    assert wanted[2:].sum() == 0
    middle = np.linspace(spec.min(), spec.max(), 41)[1::2]
    assert (wanted.sum(axis=0) @ middle) / wanted.sum() == pytest.approx(0.1, abs=0.003)


def test_calibrated_for_the_target_and_not_for_the_training_galaxies():
    """In a cell of estimates, galaxies of two kinds; the target holds only the bright kind."""
    rng = np.random.default_rng(4)
    n = 20_000
    magnitude = rng.uniform(16, 20, n)
    spec = 0.1 + 0.02 * (magnitude > 18) + 0.001 * rng.normal(size=n)
    phot = 0.11 + 0.005 * rng.normal(size=n)
    fitted = calibrate(
        phot,
        spec,
        magnitude,
        phot[magnitude < 18],
        magnitude[magnitude < 18],
        expected="magnitudes",
    )
    bright = magnitude < 17.9
    assert fitted.apply(phot, magnitude)[bright].mean() == pytest.approx(0.1, abs=0.001)


def test_curves_are_means_in_bins():
    rng = np.random.default_rng(5)
    z = rng.uniform(0.0, 0.3, 3_000)
    phot = z + 0.01 * (1 + z) * np.where(z < 0.1, 1, -2)
    bins = curve(phot, z, z, np.array([0.0, 0.1, 0.3, 0.4]))
    assert [b["n"] for b in bins] == [int((z < 0.1).sum()), int((z >= 0.1).sum())]
    np.testing.assert_allclose([b["bias"] for b in bins], [0.01, -0.02])
    assert size(bins) == pytest.approx(np.sqrt((0.01**2 + 0.02**2) / 2))


def test_pure_chance_has_no_size():
    sizes = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        z = rng.uniform(0, 0.3, 2_000)
        said = describe({"a": z + 0.02 * rng.normal(size=2_000)}, z)["a"]
        sizes.append(said["size_z_spec"])
    assert np.mean(sizes) < 0.001


def test_total_variation_of_crowded_estimates():
    z = np.linspace(0.005, 0.995, 100)
    edges = np.linspace(0, 1, 11)
    assert total_variation(z, z, edges) == 0
    assert total_variation(np.full(100, 0.55), z, edges) == pytest.approx(0.9)
    assert total_variation(z + 5, z, edges) == pytest.approx(1)
