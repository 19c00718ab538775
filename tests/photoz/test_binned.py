"""Densities of bins are even within a bin; what is written is calibrated on validation."""

import numpy as np
import pytest

from ssl_photoz.photoz.density_table import density_of_bins, read_densities, save_densities
from ssl_photoz.photoz.labels import Labelled

EDGES = np.array([0.0, 0.1, 0.3, 0.4])


def test_a_bin_is_even_and_holds_its_probability():
    density = density_of_bins(EDGES, np.array([[0.5, 0.2, 0.3], [0.0, 1.0, 0.0]]))
    np.testing.assert_allclose(density.pdf_at(0.05), [5.0, 0.0], atol=1e-5)
    np.testing.assert_allclose(density.pdf_at(0.22), [1.0, 5.0], rtol=1e-5)
    for z, below in ((0.1, [0.5, 0.0]), (0.2, [0.6, 0.5]), (0.3, [0.7, 1.0])):
        np.testing.assert_allclose(density.cdf_at(z), below, atol=1e-5)
    np.testing.assert_allclose(density.median(), [0.1, 0.2], atol=1e-4)


def test_densities_are_calibrated_judged_and_written(tmp_path):
    rng = np.random.default_rng(0)
    edges = np.linspace(0, 1, 101)
    centres = 0.5 * (edges[1:] + edges[:-1])
    galaxies, densities = {}, {}
    for split, n in (("val", 800), ("test", 600)):
        middle = rng.uniform(0.3, 0.7, n)
        z = middle + 0.02 * rng.normal(size=n)
        share = np.exp(-0.5 * ((centres - middle[:, None]) / 0.06) ** 2)  # three times too wide
        ids = np.arange(n)
        galaxies[split] = Labelled(features=np.empty((n, 0), "f4"), z=z, id=ids, ra=z, dec=z)
        share /= share.sum(axis=1, keepdims=True)
        densities[split] = density_of_bins(edges, share)
    said = save_densities(tmp_path, densities, galaxies, simulated=True)
    assert said["test_uncalibrated"]["coverage"]["0.68"] > 0.95
    assert said["test"]["coverage"]["0.68"] == pytest.approx(0.68, abs=0.06)
    assert said["test"]["ks"] < 0.5 * said["test_uncalibrated"]["ks"]
    columns, density = read_densities(tmp_path / "pdfs.parquet")
    np.testing.assert_array_equal(columns["id"], galaxies["test"].id)
    assert columns["simulated"].all()
    np.testing.assert_allclose(columns["z_phot"], density.median(), atol=1e-5)
