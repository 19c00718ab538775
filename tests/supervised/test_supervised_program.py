"""`supervise`: the same galaxies as a probe, scored and reported as a probe is."""

import json
from dataclasses import fields

import h5py
import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file
from ssl_photoz.recipes.pretrain.embed import embed
from ssl_photoz.recipes.pretrain.supervise import supervise as train
from ssl_photoz.recipes.probe.probe import probe

from ssl_photoz import cli
from ssl_photoz.augment.settings import AugmentationConfig
from ssl_photoz.core import artefact
from ssl_photoz.core.errors import ArtefactError, ContaminatedError, DataError, MismatchError
from ssl_photoz.cutouts.reader import Cutouts
from ssl_photoz.cutouts.split import SplitConfig, assign_splits
from ssl_photoz.cutouts.subset import subset
from ssl_photoz.cutouts.supervision import central_crops
from ssl_photoz.embeddings.store import Embeddings
from ssl_photoz.encoders.artefact import load_encoder, save_encoder
from ssl_photoz.encoders.encoder import fresh_encoder
from ssl_photoz.encoders.settings import EncoderConfig, ReadOutConfig
from ssl_photoz.photoz.artefact import read_predictions
from ssl_photoz.photoz.density_table import read_densities
from ssl_photoz.photoz.labels import fewer, read_labelled
from ssl_photoz.photoz.metrics import summarise
from ssl_photoz.photoz.settings import SampleConfig
from ssl_photoz.training.engine import Engine
from ssl_photoz.training.supervised.artefact import load_network
from ssl_photoz.training.supervised.settings import (
    HeadConfig,
    ModelConfig,
    SmallCNNConfig,
    SupervisedConfig,
)

ROWS, LABELS = 200, 40
SPLIT = SplitConfig(seed=1, nside=32, fractions=(0.6, 0.2, 0.2))
BAD = 7  # a cutout without pixels


def write(path, *, spoil=()):
    """Write blobs whose colour tells their redshift; labels of the splits to spoil are wrong."""
    rng = np.random.default_rng(0)
    ids, ra, dec = rng.permutation(ROWS), rng.uniform(0, 360, ROWS), rng.uniform(-60, 60, ROWS)
    z = rng.uniform(0.03, 0.4, ROWS)
    x = np.arange(36) - 17.5
    blob = np.exp(-(x[:, None] ** 2 + x**2) / 30)
    flux = np.stack([np.full(ROWS, 0.2), 0.8 * z, z], axis=1)[:, :, None, None] * blob
    side = assign_splits(ra, dec, ids, SplitConfig(seed=1, nside=32, fractions=SPLIT.fractions))
    z = np.where(np.isin(side, spoil), z[rng.permutation(ROWS)] ** 2, z)
    z[::10], z[3] = np.nan, -0.001
    with h5py.File(path, "w") as file:
        file["images"] = (flux + rng.normal(0, 0.005, flux.shape)).astype("f4")
        file["images"][BAD] = 0
        file["NOISE"] = np.full((ROWS, 3), 0.005, "f4")
        file["Z"] = z.astype("f4")
        file["TARGETID"], file["RA"], file["DEC"] = ids + 2**60, ra, dec
        file.attrs["simulated"] = True
    return path


def supervise(folder, out, *, data="cutouts.h5", **changes):
    own = [field.name for field in fields(SupervisedConfig)]
    training = {"epochs": 2, "least_steps": 6, "batch_size": 32, "orientations": 1}
    training |= {name: changes.pop(name) for name in own if name in changes}
    network, binning = changes.pop("network", "small_cnn"), changes.pop("binning", 1)
    encoder, small_cnn = EncoderConfig(crop_px=33), SmallCNNConfig(binning)
    given = {
        "model": ModelConfig(network, encoder=encoder, small_cnn=small_cnn),
        "training": SupervisedConfig(**training),
        "augmentations": AugmentationConfig(jitter_px=1, psf_strength=0.2, noise_strength=0.2),
        "split": SPLIT,
        **changes,
    }
    data = folder / data if isinstance(data, str) else data
    return train(data, folder / out, **given).card


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Cutouts, a random encoder, embeddings, and a small network trained on all labels."""
    folder = tmp_path_factory.mktemp("supervised")
    write(folder / "cutouts.h5")
    encoder = fresh_encoder(
        EncoderConfig(crop_px=33, softening=1.0),
        bands=["g", "r", "z"],
        pixscale_arcsec=0.262,
        calibrated=True,
        noise=[0.015] * 3,
        seed=0,
    )
    facts = {"config": {}, "parents": {}, "steps": 0}
    split = {"seed": 1, "nside": 32, "fractions": [0.6, 0.2, 0.2]}
    save_encoder(folder / "encoder", encoder, split=split, **facts)
    embed(
        folder / "cutouts.h5",
        folder / "encoder",
        folder / "embeddings",
        readout=ReadOutConfig(orientations=1),
    )
    supervise(folder, "cnn", epochs=10, least_steps=100, learning_rate=3e-3)
    return folder


def metrics_of(folder):
    return json.loads((folder / "metrics.json").read_text())


def test_it_learns_what_the_colour_tells(folder):
    scores = metrics_of(folder / "cnn")["probes"]
    for split in ("val", "test"):
        cnn, mean = (scores[name][split] for name in ("small_cnn", "mean"))
        assert cnn["sigma_nmad"] < 0.5 * mean["sigma_nmad"]


def test_the_scores_are_those_of_the_predictions_on_the_test_sky(folder):
    store = Embeddings.open(folder / "embeddings")
    test = read_labelled(store, features="aperture")["test"]
    table = read_predictions(folder / "cnn")
    assert table["id"].tolist() == test.id.tolist()
    np.testing.assert_allclose(table["z_spec"], test.z)
    told, card = metrics_of(folder / "cnn"), artefact.read_card(folder / "cnn", "probe")
    mine = summarise(table["z_phot_small_cnn"], table["z_spec"])
    assert told["probes"]["small_cnn"]["test"]["rmse"] == pytest.approx(mine.rmse)
    assert (table["z_lo_small_cnn"] <= table["z_hi_small_cnn"]).all()
    train = told["training"]
    assert train["parameters"] == 421_725 - 2 * 800
    assert 1 <= train["best_epoch"] <= train["epochs"] <= 10
    assert train["seconds"] > 0
    history = [json.loads(line) for line in (folder / "cnn/history.jsonl").open()]
    best = min(history, key=lambda row: row["score"])
    assert best["epoch"] == train["best_epoch"]
    assert card["simulated"] is told["simulated"] is True
    assert card["training"] == train
    assert not list((folder / "cnn").glob("*.ckpt"))
    weights = load_file(folder / "cnn" / "weights.safetensors")
    assert weights["output.weight"].shape == (1, 64)


def test_bins_give_a_table_of_densities_and_the_same_table_of_predictions(folder):
    supervise(
        folder,
        "bins",
        epochs=10,
        least_steps=100,
        learning_rate=3e-3,
        head=HeadConfig("bins", 12),
    )
    table, other = (read_predictions(folder / out) for out in ("bins", "cnn"))
    assert table.keys() == other.keys()
    columns, density = read_densities(folder / "bins" / "pdfs.parquet")
    assert columns["id"].tolist() == table["id"].tolist()
    told = metrics_of(folder / "bins")
    scores = told["probes"]
    assert scores["small_cnn"]["test"]["sigma_nmad"] < 0.7 * scores["mean"]["test"]["sigma_nmad"]
    assert told["densities"]["test"]["n"] == len(density) == len(table["id"])
    assert not (folder / "cnn" / "pdfs.parquet").exists()


@pytest.mark.parametrize("out", ["cnn", "bins"])
def test_a_network_read_back_predicts_the_same(folder, out):
    network = load_network(folder / out)
    table = read_predictions(folder / out)
    with Cutouts.open(folder / "cutouts.h5") as cutouts:
        rows = {one: row for row, one in enumerate(cutouts.column("id").tolist())}
        order = np.array([rows[one] for one in table["id"].tolist()])
        crops = list(central_crops(cutouts, order, size_px=32))
    found = network.predict(crops, orientations=network.card.config["training"]["orientations"])
    np.testing.assert_allclose(np.expm1(found), table["z_phot_small_cnn"], atol=1e-6)
    weights = folder / out / "weights.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1] + b"?")
    with pytest.raises(ArtefactError, match="checksum differs"):
        load_network(folder / out)
    weights.write_bytes(whole)


def test_a_folder_without_a_network_is_said(folder):
    probe(embeddings=folder / "embeddings", out=folder / "knn", probes=("knn",))
    with pytest.raises(ArtefactError, match="holds no network"):
        load_network(folder / "knn")


@pytest.mark.parametrize("seed", [0, 1])
def test_few_labels_are_those_of_a_probe_with_the_same_seed(folder, monkeypatch, seed):
    seen = set()
    step = Engine.take_step

    def watch(self, batch):
        seen.update(batch.z.tolist())
        return step(self, batch)

    monkeypatch.setattr(Engine, "take_step", watch)
    supervise(folder, f"few-{seed}", labels=LABELS, seed=seed, epochs=1)
    store = Embeddings.open(folder / "embeddings")
    probed = fewer(read_labelled(store, features="aperture")["train"], LABELS, seed=seed)
    assert len(set(probed.z)) == LABELS
    assert seen <= set(probed.z.tolist())
    assert len(seen) > 0.7 * LABELS
    assert metrics_of(folder / f"few-{seed}")["labels"]["train"] == LABELS


def test_test_labels_never_touch_the_weights(folder):
    write(folder / "test-spoilt.h5", spoil=("test",))
    clean = supervise(folder, "clean", epochs=4)
    spoilt = supervise(folder, "spoilt", data="test-spoilt.h5", epochs=4)
    assert spoilt["parents"] != clean["parents"]
    assert spoilt["training"]["weights_sha256"] == clean["training"]["weights_sha256"]
    scores = [metrics_of(folder / out)["probes"]["small_cnn"] for out in ("clean", "spoilt")]
    assert scores[0]["val"] == scores[1]["val"]
    assert scores[0]["test"] != scores[1]["test"]


def test_validation_labels_only_choose_the_epoch(folder):
    write(folder / "val-spoilt.h5", spoil=("val",))
    told = {}
    for data in ("cutouts.h5", "val-spoilt.h5", "train-spoilt.h5"):
        if data.startswith("train"):
            write(folder / data, spoil=("train",))
        told[data] = supervise(folder, f"one-{data}", data=data, epochs=1)["training"]
    shas = [one["weights_sha256"] for one in told.values()]
    assert shas[0] == shas[1] != shas[2]
    losses = []
    for data in ("cutouts.h5", "val-spoilt.h5"):
        supervise(folder, f"three-{data}", data=data, epochs=3)
        lines = (folder / f"three-{data}" / "history.jsonl").open()
        losses.append([json.loads(line)["loss"] for line in lines])
    assert losses[0] == losses[1]


def test_an_interrupted_run_ends_as_the_whole(folder, monkeypatch, capsys):
    whole = supervise(folder, "whole", epochs=3)
    assert "SIMULATED" in capsys.readouterr().out
    step = Engine.take_step

    def die(self, batch):
        if self.progress.step == 2 * 3 + 1:
            raise RuntimeError("power cut")
        return step(self, batch)

    monkeypatch.setattr(Engine, "take_step", die)
    with pytest.raises(RuntimeError, match="power cut"):
        supervise(folder, "cut", epochs=3)
    monkeypatch.undo()
    assert not (folder / "cut" / "card.json").exists()
    resumed = supervise(folder, "cut", epochs=3)
    assert "going on from step" in capsys.readouterr().out
    assert resumed["training"]["weights_sha256"] == whole["training"]["weights_sha256"]
    supervise(folder, "cut", epochs=3)
    assert "already made" in capsys.readouterr().out
    with pytest.raises(MismatchError, match="setting training"):
        supervise(folder, "cut", epochs=4)


def test_cutouts_that_were_opened_are_taken_whole_alone(folder):
    given = {"epochs": 1, "least_steps": 2}
    of_path = supervise(folder, "of-path", **given)
    with Cutouts.open(folder / "cutouts.h5") as cutouts:
        of_object = supervise(folder, "of-object", data=cutouts, **given)
        with pytest.raises(MismatchError, match="some rows of"):
            supervise(folder, "of-rows", data=subset(cutouts, np.arange(150)), **given)
    assert of_object.parents == of_path.parents
    assert of_object.training["weights_sha256"] == of_path.training["weights_sha256"]
    assert not (folder / "of-rows").exists()


def test_an_encoder_that_was_read_is_fine_tuned_as_its_folder_is_and_left_as_it_was(folder):
    given = {"network": "resnet", "labels": LABELS, "epochs": 1, "least_steps": 2}
    encoder = load_encoder(folder / "encoder")
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    cards = [
        supervise(folder, f"start-{number}", start=start, **given)
        for number, start in enumerate((folder / "encoder", encoder))
    ]
    assert cards[0].parents == cards[1].parents
    assert len({card.training["weights_sha256"] for card in cards}) == 1
    assert all(torch.equal(value, before[n]) for n, value in encoder.state_dict().items())


def test_fine_tuning_starts_from_the_encoder_and_keeps_its_sky(folder):
    tuned = supervise(
        folder,
        "tuned",
        network="resnet",
        start=folder / "encoder",
        trunk_learning_rate=1e-9,
        weight_decay=0.0,
        split=SplitConfig(seed=9),
        versus=(str(folder / "cnn"),),
    )
    assert tuned["encoder"] == tuned["parents"]["encoder"] == artefact.sha256_of(folder / "encoder")
    weights = load_file(folder / "tuned" / "weights.safetensors")
    encoder = load_encoder(folder / "encoder")
    first = encoder.backbone.stem[0].weight
    np.testing.assert_allclose(weights["trunk.backbone.stem.0.weight"], first.detach(), atol=1e-6)
    assert float(weights["output.weight"].abs().max()) > 1e-4
    table, other = (read_predictions(folder / out) for out in ("tuned", "cnn"))
    assert table["id"].tolist() == other["id"].tolist()
    rows = metrics_of(folder / "tuned")["versus"]
    assert {(r["probe"], r["baseline_probe"], r["baseline"]) for r in rows} == {
        ("fine_tuned", "mean", "predicting the mean"),
        ("fine_tuned", "small_cnn", "trained end to end"),
    }


def test_an_encoder_that_has_seen_test_labels_is_refused(folder):
    encoder = load_encoder(folder / "encoder")
    card = encoder.card
    store = Embeddings.open(folder / "embeddings")
    galaxies = read_labelled(store, features="aperture")
    facts = {"config": {}, "parents": {}, "steps": 0, "split": card["split"]}
    tuned = {"network": "resnet", "labels": LABELS, "epochs": 1, "least_steps": 1}
    for split in ("test", "val"):
        seen = [*galaxies["train"].id[:5].tolist(), *galaxies[split].id[:2].tolist()]
        save_encoder(folder / f"saw-{split}", encoder, labels_seen=seen, **facts)
        with pytest.raises(ContaminatedError, match=f"of 2 galaxies .*id {seen[5]}"):
            supervise(folder, "contaminated", start=folder / f"saw-{split}", **tuned)
    kept = fewer(galaxies["train"], LABELS, seed=0).id.tolist()
    beyond = [one for one in galaxies["train"].id.tolist() if one not in kept][:6]
    save_encoder(folder / "saw-train", encoder, labels_seen=[*kept, *beyond], **facts)
    card = supervise(folder, "aligned", start=folder / "saw-train", **tuned)
    assert (card["labels_seen"], card["labels_seen_beyond"]) == (LABELS + 6, 6)


def test_every_probe_is_compared_with_the_network_and_the_report_shows_it(folder):
    given = {"embeddings": folder / "embeddings", "probes": ("knn", "ridge")}
    probe(**given, out=folder / "probe", versus=(folder / "cnn",))
    rows = [
        r for r in metrics_of(folder / "probe")["versus"] if r["baseline"] == "trained end to end"
    ]
    assert {(r["probe"], r["baseline_probe"]) for r in rows} == {
        ("knn", "small_cnn"),
        ("ridge", "small_cnn"),
    }
    tables = [
        pq.read_table(folder / out / "predictions.parquet").to_pydict() for out in ("probe", "cnn")
    ]
    names = ("z_phot_ridge", "z_phot_small_cnn")
    rmse = [
        summarise(np.array(table[name]), np.array(table["z_spec"])).rmse
        for table, name in zip(tables, names, strict=True)
    ]
    (ridge,) = [r for r in rows if r["probe"] == "ridge" and r["metric"] == "rmse"]
    assert ridge["difference"] == pytest.approx(rmse[0] - rmse[1])
    assert cli.main(["report", str(folder)]) == 0
    page = (folder / "report.html").read_text()
    for text in ("trained end to end: small_cnn", "ridge, against trained end to end"):
        assert text in page
    assert "SIMULATED" in page


def test_a_rival_of_several_probes_needs_a_namesake(folder):
    sample = SampleConfig(features="aperture")
    probe(folder / "embeddings", folder / "several", probes=("knn", "ridge"), sample=sample)
    with pytest.raises(MismatchError, match="none of the probes small_cnn"):
        supervise(folder, "lost", epochs=1, versus=(folder / "several",))
    assert not (folder / "lost").exists()


def test_what_cannot_be_trained_is_refused(folder, capsys):
    with pytest.raises(DataError, match="labels=1000, expected 10 to"):
        supervise(folder, "many", labels=1000)
    with pytest.raises(MismatchError, match="sees 64 px"):
        supervise(folder, "binned", binning=2)
    with pytest.raises(DataError, match="in the val split"):
        supervise(folder, "no-val", split=SplitConfig(fractions=(0.8, 0.0, 0.2)))
    given = [f"data={folder / 'cutouts.h5'}", f"out={folder / 'x'}", f"start={folder / 'encoder'}"]
    assert cli.main(["supervise", *given, "network=small_cnn"]) == 2
    assert "goes with network=resnet" in capsys.readouterr().err
    assert cli.main(["supervise", *given, "orientations=3"]) == 2
    assert cli.main(["supervise", *given, "epochs=0"]) == 2
    assert not (folder / "x").exists()
