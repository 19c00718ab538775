"""The programs, from embeddings to artefact, predictions and refusals."""

import json
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest
from astropy.table import Table
from ssl_photoz.recipes.probe.predict import predict
from ssl_photoz.recipes.probe.probe import probe

from ssl_photoz import cli
from ssl_photoz.core import artefact
from ssl_photoz.core.errors import ArtefactError, ConfigError, DataError, MismatchError
from ssl_photoz.embeddings.store import Embeddings
from ssl_photoz.photoz import figures
from ssl_photoz.photoz.artefact import PROBES
from ssl_photoz.photoz.folders import ProbeFolder
from ssl_photoz.photoz.metrics import summarise
from ssl_photoz.photoz.settings import SampleConfig

FAST = {"probes": ("knn", "ridge")}


def main(embeddings, out, *, probes=("knn", "ridge", "mlp"), versus=(), **sample):
    return probe(embeddings, out, probes=probes, versus=versus, sample=SampleConfig(**sample))


def read_metrics(folder):
    return json.loads((folder / "metrics.json").read_text())


def test_the_artefact_is_whole(fitted):
    store, folder = fitted
    card = artefact.read_card(folder, "probe")
    assert card["parents"] == {"embeddings": store.sha256}
    assert card["encoder"] == "e" * 64
    assert card["simulated"] is True
    assert card["calibrated"] is True
    assert {path.name for path in folder.iterdir()} == {
        *("card.json", "metrics.json", "predictions.parquet", "zphot_zspec.png", "residuals.png"),
        *("mean.safetensors", "knn.safetensors", "ridge.safetensors"),
        "label_coverage.safetensors",
    }


def test_metrics_are_those_of_the_test_rows_alone(fitted):
    store, folder = fitted
    table = pq.read_table(folder / "predictions.parquet").to_pydict()
    z = store.column("z").astype(float)
    expected = store.column("id")[(store.column("split") == "test") & np.isfinite(z)]
    assert table["id"] == expected.tolist()
    told = read_metrics(folder)["probes"]["knn"]["test"]
    mine = summarise(np.array(table["z_phot_knn"]), np.array(table["z_spec"]))
    assert told["sigma_nmad"] == pytest.approx(mine.sigma_nmad)
    assert told["n"] == len(expected)
    for by in ("redshift", "magnitude"):
        assert sum(row["n"] for row in told["bins"][by]) == len(expected)


def test_the_test_split_decides_nothing(make_store, tmp_path):
    def spoil(columns, features):
        test = columns["split"] == "test"
        columns["z"][test] = np.where(np.isfinite(columns["z"][test]), 0.5, np.nan)
        features[test] = 0.1 * features[test] + 1

    for name, change in (("a", None), ("b", spoil)):
        store = make_store(f"embeddings-{name}", change=change)
        main(embeddings=store.folder, out=tmp_path / name, **FAST)
    for name in FAST["probes"]:
        one, other = ((tmp_path / n / f"{name}.safetensors").read_bytes() for n in "ab")
        assert one == other


def test_probes_beat_the_mean_beyond_the_error(fitted):
    versus = read_metrics(fitted[1])["versus"]
    (knn,) = [r for r in versus if r["probe"] == "knn" and r["metric"] == "sigma_nmad"]
    assert knn["baseline"] == "predicting the mean"
    assert knn["beats"]
    assert knn["difference"] < -2 * knn["error"] < 0


def test_the_same_probe_is_found_in_a_rival_folder(make_store, tmp_path):
    store = make_store(simulated=True)
    for name, features in (("good", "embedding"), ("poor", "aperture")):
        main(
            embeddings=store.folder,
            out=tmp_path / name,
            features=features,
            label=name,
            versus=(tmp_path / "good",) if name == "poor" else (),
            **FAST,
        )
    rows = [r for r in read_metrics(tmp_path / "poor")["versus"] if r["baseline"] == "good"]
    assert {row["baseline_probe"] for row in rows} == {"knn", "ridge"}
    a, b = (
        pq.read_table(tmp_path / n / "predictions.parquet").to_pydict() for n in ("poor", "good")
    )
    scores = [summarise(np.array(t["z_phot_knn"]), np.array(t["z_spec"])).rmse for t in (a, b)]
    (knn,) = [r for r in rows if r["probe"] == "knn" and r["metric"] == "rmse"]
    assert knn["difference"] == pytest.approx(scores[0] - scores[1])


def test_fitting_again_is_no_work_and_other_settings_are_refused(fitted, capsys):
    store, folder = fitted
    before = (folder / "knn.safetensors").stat().st_mtime_ns
    main(embeddings=store.folder, out=folder, magnitude="mag_r", **FAST)
    assert "already made" in capsys.readouterr().out
    assert (folder / "knn.safetensors").stat().st_mtime_ns == before
    with pytest.raises(MismatchError, match="seed"):
        main(embeddings=store.folder, out=folder, magnitude="mag_r", seed=1, **FAST)


def test_labels_that_are_no_redshifts_are_counted_and_left_out(make_store, tmp_path, capsys):
    def spoil(columns, _):
        labelled = np.flatnonzero(np.isfinite(columns["z"]))
        columns["z"][labelled[:4]] = [0, -1, -9999, np.inf]

    main(embeddings=make_store(change=spoil).folder, out=tmp_path / "probe", **FAST)
    assert "without redshift 300; refused 4" in capsys.readouterr().out
    counts = artefact.read_card(tmp_path / "probe", "probe")["labels"]
    assert sum(counts.values()) == 596


def test_few_labels_can_be_asked_for(make_store, tmp_path):
    store = make_store()
    main(embeddings=store.folder, out=tmp_path / "few", labels=40, **FAST)
    assert artefact.read_card(tmp_path / "few", "probe")["labels"]["train"] == 40
    with pytest.raises(DataError, match="labels=100000, expected 10 to"):
        main(embeddings=store.folder, out=tmp_path / "many", labels=100_000, **FAST)


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_a_split_without_labels_is_refused(make_store, tmp_path, split):
    def empty(columns, _):
        columns["z"][columns["split"] == split] = np.nan

    with pytest.raises(DataError, match=f"0 usable redshifts .* in its {split} split"):
        main(embeddings=make_store(change=empty).folder, out=tmp_path / "probe")
    assert not (tmp_path / "probe").exists()


def test_nan_features_are_refused(make_store, tmp_path):
    def spoil(_, features):
        features[1::3, 0] = np.nan

    with pytest.raises(DataError, match="NaN or infinite features"):
        main(embeddings=make_store(change=spoil).folder, out=tmp_path / "probe")


def test_missing_columns_are_named(make_store, tmp_path):
    store = make_store(change=lambda columns, _: columns.pop("aperture"))
    with pytest.raises(ArtefactError, match="no 'aperture' vectors"):
        main(embeddings=store.folder, out=tmp_path / "probe", features="both")
    with pytest.raises(ArtefactError, match="mag_z"):
        main(embeddings=store.folder, out=tmp_path / "probe", magnitude="mag_z")


def read_table(path):
    if path.suffix == ".parquet":
        table = pq.read_table(path).to_pydict()
        return {name: np.array(values) for name, values in table.items()}
    table = Table.read(path)
    return {name: np.array(table[name]) for name in table.colnames}


@pytest.mark.parametrize("suffix", [".parquet", ".fits", ".csv"])
def test_predict_writes_a_row_per_unlabelled_galaxy(fitted, tmp_path, suffix, capsys):
    store, folder = fitted
    out = tmp_path / f"table{suffix}"
    predict(folder, out, embeddings=store.folder, which="knn")
    table = read_table(out)
    unlabelled = np.isnan(store.column("z"))
    assert table["id"].tolist() == store.column("id")[unlabelled].tolist()
    assert ((table["z_lo"] <= table["z_phot"]) & (table["z_phot"] <= table["z_hi"])).all()
    assert table["simulated"].astype(str).tolist() == ["True"] * 300
    neighbours = table["neighbours"].tolist()
    if suffix != ".parquet":
        neighbours = [[int(one) for one in row.split()] for row in neighbours]
    train = set(store.column("id")[(store.column("split") == "train") & ~unlabelled].tolist())
    assert set(np.ravel(neighbours).tolist()) <= train
    assert "SIMULATED: 300 of 900 galaxies" in capsys.readouterr().out


def test_predict_all_repeats_the_test_predictions(fitted, tmp_path):
    store, folder = fitted
    out = tmp_path / "all.parquet"
    predict(folder, out, embeddings=store.folder, which="ridge", rows="all")
    table = read_table(out)
    assert len(table["id"]) == len(store)
    given = dict(zip(table["id"].tolist(), table["z_phot"].tolist(), strict=True))
    tested = pq.read_table(folder / "predictions.parquet").to_pydict()
    np.testing.assert_allclose([given[i] for i in tested["id"]], tested["z_phot_ridge"], rtol=1e-6)
    assert "neighbours" not in table
    opened = ProbeFolder.open(folder)
    predict(opened, tmp_path / "opened.parquet", embeddings=store, which="ridge", rows="all")
    assert pq.read_table(tmp_path / "opened.parquet").equals(pq.read_table(out))


def test_predict_refuses_another_encoder(fitted, make_store, tmp_path):
    other = make_store("other", encoder="f" * 64)
    with pytest.raises(ArtefactError, match="holds no probe 'mlp'; it holds mean, knn, ridge"):
        predict(fitted[1], tmp_path / "t.csv", embeddings=other.folder)
    with pytest.raises(MismatchError, match=r"encoder eeee.* encoder ffff"):
        predict(fitted[1], tmp_path / "t.csv", embeddings=other.folder, which="knn")
    assert not (tmp_path / "t.csv").exists()


def test_predict_refuses_formats_it_cannot_write(fitted, tmp_path):
    store, folder = fitted
    with pytest.raises(ConfigError, match=r"'\.txt', expected \.parquet, \.fits, \.csv"):
        predict(folder, tmp_path / "t.txt", embeddings=store.folder)


def test_predict_says_so_when_nothing_is_unlabelled(fitted, make_store, tmp_path):
    def label(columns, _):
        columns["z"][:] = 0.1

    full = make_store("full", change=label)
    with pytest.raises(DataError, match="rows=all"):
        predict(fitted[1], tmp_path / "t.csv", embeddings=full.folder, which="knn")


def test_a_damaged_probe_file_is_one_clear_line(fitted, tmp_path, capsys):
    store, whole = fitted
    folder = shutil.copytree(whole, tmp_path / "probe")
    (folder / "knn.safetensors").write_bytes(b"not a tensor")
    arguments = [f"probe={folder}", f"embeddings={store.folder}", f"out={tmp_path / 't.csv'}"]
    assert cli.main(["predict", *arguments, "which=knn"]) == 2
    assert "knn.safetensors" in capsys.readouterr().err
    assert not (tmp_path / "t.csv").exists()


def test_a_failed_write_leaves_the_old_table(fitted, tmp_path, monkeypatch):
    store, folder = fitted
    out = tmp_path / "t.parquet"
    out.write_bytes(b"old")

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pq, "write_table", full)
    with pytest.raises(OSError, match="No space"):
        predict(folder, out, embeddings=store.folder, which="knn")
    assert out.read_bytes() == b"old"
    assert [path.name for path in tmp_path.glob(".*")] == []


def test_the_command_line_takes_lists_and_refuses_unknown_probes(make_store, tmp_path, capsys):
    store = make_store()
    arguments = [f"embeddings={store.folder}", f"out={tmp_path / 'probe'}"]
    assert cli.main(["probe", *arguments, "probes=[ridge]"]) == 0
    assert "frozen embedding, test split" in capsys.readouterr().out
    assert Embeddings.open(store.folder).sha256 == store.sha256
    assert cli.main(["probe", *arguments, "probes=[forest]"]) == 2
    assert cli.main(["probe", *arguments, "probes=[]"]) == 2
    assert "expected any of knn, ridge, svr, mlp" in capsys.readouterr().err


def test_it_hands_back_its_folder_open(make_store, tmp_path, galaxies):
    store = make_store(simulated=True)
    made = probe(store, str(tmp_path / "probe"), probes=("ridge",))
    assert made.card.simulated
    assert made.card.labels == made.metrics["labels"]
    told = made.predictions()
    features = store.vectors()[np.isin(store.column("id"), told["id"])]
    np.testing.assert_allclose(made.photoz().predict(features), told["z_phot_ridge"], rtol=1e-6)


def test_every_probe_has_a_name_and_a_colour(make_store, tmp_path):
    for styles in (figures.NAMES, figures.COLOURS, figures.MARKERS):
        assert set(PROBES) <= set(styles)
    made = probe(
        make_store(), tmp_path / "probe", probes=("blend",), sample=SampleConfig(labels=40)
    )
    assert (tmp_path / "probe" / "zphot_zspec.png").exists()
    assert "blend" in made.metrics["probes"]
