import json

import numpy as np
import pytest
from ssl_photoz.recipes.probe import probe
from ssl_photoz.recipes.probe.correct import correct
from ssl_photoz.recipes.probe.predict import predict

from ssl_photoz.core import artefact
from ssl_photoz.core.errors import ArtefactError, ConfigError, DataError, MismatchError
from ssl_photoz.photoz.artefact import read_predictions
from ssl_photoz.photoz.settings import CorrectionConfig, DensityConfig, SampleConfig
from ssl_photoz.reports.page import write_report

pytestmark = pytest.mark.usefixtures("hasty")
STEPS = ("uncorrected", "channels", "balanced", "extended", "calibrated")


def main(embeddings, out, predictions=None, *, magnitude="mag_r", seed=0, **correction):
    given = {"sample": SampleConfig(magnitude=magnitude, seed=seed)}
    return correct(embeddings, out, predictions, correction=CorrectionConfig(**correction), **given)


@pytest.fixture
def make(make_store, tmp_path):
    """Return a function that runs the program on fresh embeddings."""
    store = make_store(simulated=True)

    def run(name="correct", **keywords):
        main(store.folder, tmp_path / name, **{"bins": 20, "channels": 2, **keywords})
        return store, tmp_path / name

    return run


def test_the_folder_is_a_probe_that_says_what_every_step_costs(make, capsys, tmp_path):
    store, folder = make()
    card = artefact.read_card(folder, "probe")
    assert card["simulated"] is True
    assert card["parents"] == {"embeddings": store.sha256}
    predictions = read_predictions(folder)
    test = (store.column("split") == "test") & np.isfinite(store.column("z").astype(float))
    np.testing.assert_array_equal(np.sort(predictions["id"]), np.sort(store.column("id")[test]))
    assert {f"z_phot_{step}" for step in (*STEPS, "mean")} <= set(predictions)
    metrics = json.loads((folder / "metrics.json").read_text())
    assert set(metrics["residuals"]["test"]) == set(STEPS)
    prices = {v["probe"] for v in metrics["versus"] if v["metric"] == "sigma_nmad"}
    assert prices == set(STEPS[1:])
    said = capsys.readouterr().out
    assert "SIMULATED" in said
    assert all(f"\n{step}" in said for step in STEPS)
    assert (folder / "mean_residuals.png").stat().st_size > 10_000
    page = write_report(tmp_path, tmp_path / "report.html").read_text()
    assert "frozen embedding: calibrated" in page
    assert "mean residuals" in page


def test_it_is_made_once_and_never_over_another(make, capsys):
    make(steps=("balanced",))
    make(steps=("balanced",))
    assert "already made" in capsys.readouterr().out
    with pytest.raises(MismatchError, match="seed"):
        make(steps=("balanced",), seed=1)


def test_the_test_split_decides_nothing(make_store, tmp_path):
    def spoil(columns):
        test = columns["split"] == "test"
        columns["z"][test] = np.where(np.isfinite(columns["z"][test]), 0.1, np.nan)

    tables = []
    for name, change in (("a", None), ("b", spoil)):
        store = make_store(f"embeddings-{name}", change=change)
        steps = ("balanced", "calibrated")
        main(embeddings=store.folder, out=tmp_path / name, bins=20, steps=steps)
        tables.append(read_predictions(tmp_path / name))
    for step in ("uncorrected", "balanced", "calibrated"):
        np.testing.assert_array_equal(*(table[f"z_phot_{step}"] for table in tables))


def test_a_table_of_predict_is_calibrated_and_one_of_pdf_balanced(make_store, tmp_path, capsys):
    store = make_store(simulated=True)
    probe.probe(store.folder, tmp_path / "probe", probes=("ridge",))
    asked = {"embeddings": store.folder, "out": tmp_path / "photoz.parquet", "which": "ridge"}
    predict(tmp_path / "probe", rows="all", **asked)
    densities = DensityConfig(method="knn")
    probe.probe(store.folder, tmp_path / "pdf", density=True, densities=densities)
    for path, step in ((asked["out"], "calibrated"), (tmp_path / "pdf/pdfs.parquet", "balanced")):
        out = tmp_path / step
        main(embeddings=store.folder, out=out, predictions=path, steps=(step,))
        predictions = read_predictions(out)
        assert not np.array_equal(predictions[f"z_phot_{step}"], predictions["z_phot_uncorrected"])
    before = read_predictions(tmp_path / "probe")
    theirs = dict(zip(before["id"], before["z_phot_ridge"], strict=True))
    after = read_predictions(tmp_path / "calibrated")
    np.testing.assert_allclose(after["z_phot_uncorrected"], [theirs[i] for i in after["id"]])


def test_what_cannot_be_done_is_refused(make, make_store, tmp_path):
    with pytest.raises(ConfigError, match="steps is empty"):
        make(steps=())
    with pytest.raises(ConfigError, match="kept=0"):
        make(kept=0.0)
    with pytest.raises(ArtefactError, match="mag_q"):
        make(magnitude="mag_q")

    def lose(columns):
        columns["mag_r"][:] = np.nan

    store = make_store("dark", change=lose)
    with pytest.raises(DataError, match="no finite magnitude"):
        main(embeddings=store.folder, out=tmp_path / "dark-out")

    def lose_in_the_test(columns):
        columns["mag_r"][columns["split"] == "test"] = np.nan

    store = make_store("dim", change=lose_in_the_test)
    with pytest.raises(DataError, match="no finite magnitude"):
        main(embeddings=store.folder, out=tmp_path / "dim-out")
