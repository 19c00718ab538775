"""`align`: what the encoder may see of labels, and what its card says of it."""

import json

import h5py
import numpy as np
import pytest
from ssl_photoz.recipes.pretrain.align import align as run
from ssl_photoz.recipes.pretrain.embed import embed

from ssl_photoz import cli
from ssl_photoz.augment.settings import AugmentationConfig
from ssl_photoz.core import artefact
from ssl_photoz.core.errors import ArtefactError, DataError, MismatchError
from ssl_photoz.cutouts.split import SplitConfig, assign_splits
from ssl_photoz.embeddings.store import Embeddings
from ssl_photoz.encoders.artefact import save_encoder
from ssl_photoz.encoders.encoder import fresh_encoder
from ssl_photoz.encoders.settings import EncoderConfig, ReadOutConfig
from ssl_photoz.photoz.labels import fewer, read_labelled
from ssl_photoz.training.moco import MoCo
from ssl_photoz.training.settings import LabelLossConfig, MoCoConfig, TrainingConfig

ROWS, LABELS = 120, 20
SPLIT = {"seed": 1, "nside": 32, "fractions": [0.6, 0.2, 0.2]}
BAD = 7  # a cutout without pixels


def write(path, *, spoil=()):
    """Write cutouts; redshifts of the splits named in ``spoil`` are garbage."""
    rng = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        file["images"] = rng.normal(0, 0.01, (ROWS, 3, 36, 36)).astype("f4")
        file["images"][BAD] = 0
        ids, ra, dec = np.arange(ROWS), rng.uniform(0, 360, ROWS), rng.uniform(-60, 60, ROWS)
        ids = rng.permutation(ids) + 2**60
        z = rng.uniform(0.01, 0.5, ROWS).astype("f4")
        side = assign_splits(ra, dec, ids, SplitConfig(seed=1, fractions=(0.6, 0.2, 0.2)))
        garbage = rng.choice([np.nan, 9.0, -1.0, np.inf, 0.3], ROWS).astype("f4")
        z = np.where(np.isin(side, spoil), garbage, z)
        z[::10] = np.nan
        for name, values in (("TARGETID", ids), ("RA", ra), ("DEC", dec), ("Z", z)):
            file[name] = values
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("align")
    write(folder / "cutouts.h5")
    encoder = fresh_encoder(
        EncoderConfig(crop_px=33, softening=1.0),
        bands=["g", "r", "z"],
        pixscale_arcsec=0.262,
        calibrated=True,
        noise=[0.01] * 3,
        seed=0,
    )
    save_encoder(folder / "start", encoder, config={}, parents={}, split=SPLIT, steps=0)
    align(folder, "aligned")
    return folder


def align(
    folder, out, *, data="cutouts.h5", start="start", loss="rank_n_contrast", weight=1.0, **changes
):
    given = {"epochs": 1, "batch_size": 24, "checkpoint_steps": 50, **changes}
    run(
        folder / data,
        folder / start,
        folder / out,
        labels=given.pop("labels", LABELS),
        training=TrainingConfig(**given),
        label_loss=LabelLossConfig(loss=loss, weight=weight, bins=4),
        moco=MoCoConfig(queue_size=24 * 40, projection_dim=8),
        augmentations=AugmentationConfig(jitter_px=0),
    )
    return artefact.read_card(folder / out, "encoder")


def test_the_card_says_what_was_seen_and_where_it_started(folder):
    card = artefact.read_card(folder / "aligned", "encoder")
    assert card["started_from"] == artefact.sha256_of(folder / "start")
    assert card["split"] == SPLIT
    assert card["steps"] == (ROWS - 1) // 12
    history = [json.loads(line) for line in (folder / "aligned/history.jsonl").open()]
    assert {"label_loss", "pretext_loss", "contrastive_loss", "knn_sigma_nmad"} <= set(history[0])
    assert not list((folder / "aligned").glob("step-*.ckpt"))
    assert (
        card["weights_sha256"] != artefact.read_card(folder / "start", "encoder")["weights_sha256"]
    )


def test_a_probe_with_the_same_labels_and_seed_uses_the_galaxies_that_were_seen(folder):
    embed(
        folder / "cutouts.h5",
        folder / "aligned",
        folder / "embeddings",
        readout=ReadOutConfig(orientations=1),
    )
    store = Embeddings.open(folder / "embeddings")
    seen = artefact.read_card(folder / "aligned", "encoder")["labels_seen"]
    assert store.card["labels_seen"] == seen
    probed = fewer(read_labelled(store, features="aperture")["train"], LABELS, seed=0)
    assert sorted(probed.id.tolist()) == seen
    assert len(set(seen)) == LABELS
    other = fewer(read_labelled(store, features="aperture")["train"], LABELS, seed=1)
    assert sorted(other.id.tolist()) != seen


def test_an_encoder_that_saw_no_labels_makes_embeddings_that_list_none(folder):
    embed(
        folder / "cutouts.h5",
        folder / "start",
        folder / "plain",
        readout=ReadOutConfig(orientations=1),
    )
    assert "labels_seen" not in Embeddings.open(folder / "plain").card


def test_validation_and_test_labels_do_not_touch_the_weights(folder):
    clean = artefact.read_card(folder / "aligned", "encoder")
    write(folder / "poisoned.h5", spoil=("val", "test"))
    poisoned = align(folder, "poisoned", data="poisoned.h5")
    assert poisoned["parents"]["cutouts"] != clean["parents"]["cutouts"]
    assert poisoned["weights_sha256"] == clean["weights_sha256"]
    assert poisoned["labels_seen"] == clean["labels_seen"]


def test_training_labels_do(folder):
    clean = artefact.read_card(folder / "aligned", "encoder")
    write(folder / "other.h5")
    with h5py.File(folder / "other.h5", "r+") as file:
        file["Z"][:] = file["Z"][:] ** 2
    other = align(folder, "other", data="other.h5")
    assert other["labels_seen"] == clean["labels_seen"]
    assert other["weights_sha256"] != clean["weights_sha256"]


def test_without_weight_it_is_a_control_that_sees_no_label(folder):
    write(folder / "different.h5")
    with h5py.File(folder / "different.h5", "r+") as file:
        file["Z"][:] = file["Z"][:] ** 2
    one = align(folder, "control", weight=0.0)
    other = align(folder, "different", data="different.h5", weight=0.0)
    assert one["weights_sha256"] == other["weights_sha256"]
    assert (
        one["weights_sha256"] != artefact.read_card(folder / "aligned", "encoder")["weights_sha256"]
    )
    assert one["labels_seen"] == []


def test_an_interrupted_run_ends_as_the_whole_and_inherits_labels(folder, monkeypatch, capsys):
    again = {"start": "aligned", "loss": "regression", "seed": 5}
    whole = align(folder, "whole", **again)
    step = MoCo.training_step

    def die(self, batch, number):
        if number == 5:
            raise RuntimeError("power cut")
        return step(self, batch, number)

    monkeypatch.setattr(MoCo, "training_step", die)
    with pytest.raises(RuntimeError, match="power cut"):
        align(folder, "cut", checkpoint_steps=4, **again)
    monkeypatch.undo()
    assert [path.name for path in (folder / "cut").glob("*.ckpt")] == ["step-000000004.ckpt"]
    resumed = align(folder, "cut", **again)
    assert "going on from step 4 of 9" in capsys.readouterr().out
    assert resumed["weights_sha256"] == whole["weights_sha256"]
    first = set(artefact.read_card(folder / "aligned", "encoder")["labels_seen"])
    assert first < set(resumed["labels_seen"])
    assert LABELS < len(resumed["labels_seen"]) <= 2 * LABELS


def test_it_is_made_once_and_other_settings_are_refused(folder, capsys):
    align(folder, "aligned", checkpoint_steps=5)
    assert "already made" in capsys.readouterr().out
    with pytest.raises(MismatchError, match="labels = 20, asked for 30"):
        align(folder, "aligned", labels=30)


def test_what_cannot_be_aligned_is_refused(folder, capsys):
    with pytest.raises(DataError, match="labels=1000, expected 10 to"):
        align(folder, "many", labels=1000)
    with pytest.raises(ArtefactError, match="not a folder"):
        align(folder, "nowhere", start="nothing")
    with pytest.raises(DataError, match="do not fill one batch"):
        align(folder, "large", batch_size=480)
    arguments = ["data=a", "start=b", "out=c", "batch_size=100", "moco.queue_size=150"]
    assert cli.main(["align", *arguments]) == 2
    assert "multiple of batch_size 100" in capsys.readouterr().err
