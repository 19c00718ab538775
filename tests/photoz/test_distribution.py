"""Redshift distributions of selections, against densities and labels of known truth."""

import numpy as np
import pyarrow.parquet as pq
import pytest
from ssl_photoz.recipes.probe.probe import probe

from ssl_photoz.core.errors import ConfigError, DataError
from ssl_photoz.photoz.density import Density
from ssl_photoz.photoz.distribution import RedshiftDistribution, redshift_distribution
from ssl_photoz.photoz.label_coverage import FILE
from ssl_photoz.photoz.settings import DensityConfig

GRID = np.linspace(0, 1, 501)


def gaussians(z, width=0.02):
    return Density.of(GRID, np.exp(-0.5 * ((GRID - z[:, None]) / width) ** 2))


def test_summed_densities_have_the_mean_of_their_galaxies_and_its_error() -> None:
    z = np.random.default_rng(0).uniform(0.2, 0.6, 400)
    found = RedshiftDistribution.summed(gaussians(z))
    assert found.mean == pytest.approx(z.mean(), abs=1e-3)
    assert found.mean_error == pytest.approx(z.std() / 20, rel=0.2)
    assert np.sum(found.values * np.diff(found.edges)) == pytest.approx(1, abs=1e-6)
    flat = (found.edges[:-1] > 0.25) & (found.edges[1:] < 0.55)
    assert np.allclose(found.values[flat], 2.5, rtol=0.35)


def test_cells_weigh_labels_to_the_selection() -> None:
    rng = np.random.default_rng(1)
    label_cells = np.repeat([0, 1], [900, 100])
    label_z = np.where(label_cells == 0, 0.1, 0.5) + rng.normal(0, 0.01, 1000)
    cells = np.repeat([0, 1, 2], [100, 300, 100])
    found = RedshiftDistribution.by_cells(cells, label_cells, label_z)
    assert found.mean == pytest.approx(0.4, abs=0.005)  # of cells 0 and 1: 1 and 3 of 4
    assert found.covered == 0.8
    assert found.mean_error == pytest.approx(0.4 * np.sqrt(0.25 * 0.75 / 400), rel=0.2)
    assert np.sum(found.values * np.diff(found.edges)) == pytest.approx(1)


def test_no_overlap_of_labels_and_selection_is_said() -> None:
    with pytest.raises(DataError, match="none of 2 galaxies is in a cell with labels"):
        RedshiftDistribution.by_cells(np.array([1, 1]), np.array([0]), np.array([0.1]))
    with pytest.raises(DataError, match="of no galaxy"):
        RedshiftDistribution.summed(gaussians(np.empty(0)))
    with pytest.raises(ConfigError, match="increasing"):
        RedshiftDistribution.summed(gaussians(np.array([0.1])), edges=np.array([1.0, 0.5]))


def test_a_selection_of_a_folder_by_either_method(make_store, tmp_path) -> None:
    store = make_store(simulated=True)
    folder = probe(store, tmp_path / "pdf", density=True, densities=DensityConfig(method="knn"))
    columns, _ = folder.densities()
    near = columns["z_phot"] < np.median(columns["z_phot"])
    by_text = redshift_distribution(folder, f"z_phot < {np.median(columns['z_phot'])}")
    assert by_text.n == near.sum()
    assert by_text.mean == redshift_distribution(folder.folder, near).mean
    assert by_text.mean < redshift_distribution(folder).mean
    cells = redshift_distribution(folder, method="cells")
    assert cells.simulated
    assert cells.mean == pytest.approx(columns["z_spec"].mean(), abs=3 * cells.mean_error + 0.01)
    table = pq.read_table(cells.save(tmp_path / "n.parquet"))
    assert table.column_names == ["z_low", "z_high", "n_z", "error", "simulated"]
    for where, error in {"colour < 3": ConfigError, "z_phot > 9": DataError}.items():
        with pytest.raises(error):
            redshift_distribution(folder, where)
    (folder.folder / FILE).unlink()
    with pytest.raises(DataError, match="has no cells of labels"):
        redshift_distribution(folder, method="cells")


def test_qp_reads_it(tmp_path) -> None:
    qp = pytest.importorskip("qp")
    found = RedshiftDistribution.summed(gaussians(np.array([0.3, 0.5])), draws=5)
    ensemble = qp.read(str(found.save(tmp_path / "n.hdf5")))
    assert ensemble.npdf == 6
    middle = 0.5 * (found.edges[1:] + found.edges[:-1])
    assert np.allclose(np.squeeze(ensemble.pdf(middle))[0], found.values, rtol=1e-6)
