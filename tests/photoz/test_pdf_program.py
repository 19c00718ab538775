"""The program that makes a table of densities."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from ssl_photoz.recipes.probe.probe import probe

from ssl_photoz import cli
from ssl_photoz.core import artefact
from ssl_photoz.core.errors import ArtefactError, MismatchError
from ssl_photoz.photoz import density_table
from ssl_photoz.photoz.density import Density
from ssl_photoz.photoz.density_table import read_densities
from ssl_photoz.photoz.settings import DensityConfig, SampleConfig


def main(embeddings, out, *, method="mlp", seeing=None, rows="test", qp=False, **sample):
    densities = DensityConfig(method=method, seeing=seeing, rows=rows, qp=qp)
    return probe(embeddings, out, density=True, densities=densities, sample=SampleConfig(**sample))


@pytest.fixture
def make(make_store, tmp_path):
    """Return a function that runs the program on fresh embeddings."""
    store = make_store(simulated=True)

    def run(name="pdf", **keywords):
        main(store.folder, tmp_path / name, **{"method": "knn", **keywords})
        return store, tmp_path / name

    return run


def test_the_artefact_is_whole_and_about_the_test_galaxies(make, capsys):
    store, folder = make(magnitude="mag_r", seeing="mag_r")
    card = artefact.read_card(folder, "densities")
    assert card["simulated"] is True
    assert card["parents"] == {"embeddings": store.sha256}
    assert card["qp"] == "not asked for"
    figures = ("calibration.png", "quality.png", "residuals.png", "examples.png")
    fitted = ("density_probe.safetensors", "densities.safetensors")  # gives others a density
    files = {"card.json", "metrics.json", "pdfs.parquet", *figures, *fitted}
    assert {path.name for path in folder.iterdir()} == files
    assert "SIMULATED" in capsys.readouterr().out

    columns, density = read_densities(folder / "pdfs.parquet")
    z = store.column("z").astype(float)
    mask = np.isfinite(z) & (store.column("split") == "test")
    np.testing.assert_array_equal(columns["id"], store.column("id")[mask])
    np.testing.assert_allclose(columns["z_spec"], z[mask])
    np.testing.assert_allclose(columns["z_phot"], density.median(), atol=1e-5)
    np.testing.assert_allclose(columns["p_below_005"], density.cdf_at(0.05), atol=1e-5)
    np.testing.assert_array_equal(columns["good"], columns["odds"] >= 0.95)
    assert columns["simulated"].all()
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["test"]["n"] == mask.sum() == card["rows"]
    assert set(metrics["test"]["bins"]) == {"z_spec", "z_phot", "mag_r"}


def test_unseen_rows_are_all_but_those_fitted_to(make):
    store, folder = make(rows="unseen")
    columns, density = read_densities(folder / "pdfs.parquet")
    z = store.column("z").astype(float)
    mask = ~np.isfinite(z) | (store.column("split") == "test")
    np.testing.assert_array_equal(columns["id"], store.column("id")[mask])
    assert len(density) == mask.sum()
    assert np.isnan(columns["z_spec"]).sum() == np.isnan(z).sum()


def test_it_is_made_once_and_never_over_another(make, capsys):
    make()
    make()
    assert "already made" in capsys.readouterr().out
    with pytest.raises(MismatchError, match="seed"):
        make(seed=1)


def test_the_test_split_decides_nothing(make_store, tmp_path):
    def spoil(columns, features):
        test = columns["split"] == "test"
        columns["z"][test] = np.where(np.isfinite(columns["z"][test]), 0.1, np.nan)

    tables = []
    for name, change in (("a", None), ("b", spoil)):
        store = make_store(f"embeddings-{name}", change=change)
        main(embeddings=store.folder, out=tmp_path / name, method="knn")
        tables.append(read_densities(tmp_path / name / "pdfs.parquet")[1].values)
    np.testing.assert_array_equal(*tables)


def test_labels_that_the_encoder_has_seen_do_not_calibrate(make_store, tmp_path):
    def seen_ids(store):
        train = (store.column("split") == "train") & np.isfinite(store.column("z").astype(float))
        return store.column("id")[train].tolist()

    store = make_store(labels_seen=seen_ids(make_store("before")))
    main(embeddings=store.folder, out=tmp_path / "pdf", method="knn")
    assert artefact.read_card(tmp_path / "pdf", "densities")["calibrators"]["which"] == "validation"


def test_other_files_are_refused(tmp_path):
    pq.write_table(pa.table({"pdf": [1.0]}), tmp_path / "other.parquet")
    with pytest.raises(ArtefactError, match="run probe density=true again"):
        read_densities(tmp_path / "other.parquet")


def test_qp_reads_the_same_densities_back(make):
    qp = pytest.importorskip("qp", reason="the extra qp is not installed")
    _, folder = make(qp=True)
    columns, density = read_densities(folder / "pdfs.parquet")
    ensemble = qp.read(str(folder / "qp.hdf5"))
    assert artefact.read_card(folder, "densities")["qp"] == "qp.hdf5"
    np.testing.assert_array_equal(ensemble.ancil["id"], columns["id"])
    for z in (0.05, 0.12, 0.2):
        np.testing.assert_allclose(ensemble.cdf(z)[:, 0], density.cdf_at(z), atol=2e-3)
        np.testing.assert_allclose(ensemble.pdf(z)[:, 0], density.pdf_at(z), rtol=1e-6, atol=1e-9)


def test_qp_takes_identifiers_that_are_text(tmp_path):
    qp = pytest.importorskip("qp", reason="the extra qp is not installed")
    density = Density.of(np.linspace(0, 1, 50), np.ones((2, 50)))
    names = np.array(["NGC 1", "NGC 22"], dtype=object)
    density_table.write_qp(tmp_path / "qp.hdf5", density, id=names, z_phot=density.median())
    assert qp.read(str(tmp_path / "qp.hdf5")).ancil["id"].tolist() == names.tolist()


def test_without_qp_the_export_is_skipped_and_says_so(monkeypatch, tmp_path):
    monkeypatch.setattr(density_table, "find_spec", lambda name: None)
    assert density_table.export_qp(tmp_path, wanted=True).startswith("skipped: qp is not installed")


def test_the_former_verb_still_does_it(make_store, tmp_path, capsys):
    """A card of version 0.1 holds the same settings, so that its folder is known again."""
    store = make_store()
    arguments = [f"embeddings={store.folder}", f"out={tmp_path / 'pdf'}", "method=knn", "seed=3"]
    assert cli.main(["pdf", *arguments, "labels=100"]) == 0
    said = capsys.readouterr()
    assert "densities in" in said.out
    assert said.err.startswith("note: pdf is now probe density=true\n")
    card = artefact.read_card(tmp_path / "pdf", "densities")
    assert set(card["config"]) == {
        *("embeddings", "out", "method", "features", "label", "magnitude", "seeing", "labels"),
        *("rows", "qp", "contaminated", "seed"),
    }
    told = probe(
        store,
        str(tmp_path / "pdf"),
        density=True,
        densities=DensityConfig(method="knn"),
        sample=SampleConfig(labels=100, seed=3),
    )
    assert "already made" in capsys.readouterr().out
    assert told.card.rows == len(told.densities()[1]) == told.metrics["test"]["n"]
    assert told.card.method == "knn"
