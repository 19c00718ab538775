"""`pretrain` as a function: what it gives back, and going on from an encoder."""

from dataclasses import replace

import h5py
import numpy as np
import pytest
import torch
from ssl_photoz.recipes.pretrain.pretrain import pretrain

from ssl_photoz import cli
from ssl_photoz.augment.settings import AugmentationConfig
from ssl_photoz.core import artefact
from ssl_photoz.core.errors import ConfigError, DataError, MismatchError
from ssl_photoz.cutouts.split import SplitConfig
from ssl_photoz.encoders.artefact import load_encoder
from ssl_photoz.encoders.settings import EncoderConfig, plain
from ssl_photoz.training.settings import MoCoConfig, TrainingConfig

ROWS = 48
BUILD, SPLIT = EncoderConfig(crop_px=33), SplitConfig(seed=4)
GIVEN = {
    "training": TrainingConfig(epochs=1, batch_size=16, checkpoint_steps=2),
    "moco": MoCoConfig(queue_size=32, projection_dim=8),
    "augmentations": AugmentationConfig(jitter_px=0),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pretrain")
    rng = np.random.default_rng(0)
    with h5py.File(folder / "cutouts.h5", "w") as file:
        file["images"] = rng.normal(0, 0.01, (ROWS, 3, 36, 36)).astype("f4")
        file["RA"], file["DEC"] = rng.uniform(0, 360, ROWS), rng.uniform(-60, 60, ROWS)
    first = pretrain(
        str(folder / "cutouts.h5"), str(folder / "first"), encoder=BUILD, split=SPLIT, **GIVEN
    )
    assert not first.training
    return folder


def test_it_gives_back_the_encoder_that_it_wrote(folder, capsys):
    first = load_encoder(folder / "first")
    again = pretrain(folder / "cutouts.h5", folder / "first", encoder=BUILD, split=SPLIT, **GIVEN)
    assert "already made" in capsys.readouterr().out
    assert (again.sha256, again.card.steps) == (first.sha256, 3)
    for name, value in first.state_dict().items():
        assert torch.equal(again.state_dict()[name], value)
    more = {**GIVEN, "training": replace(GIVEN["training"], epochs=2)}
    with pytest.raises(MismatchError, match=r"setting training\.epochs = 1, asked for 2"):
        pretrain(folder / "cutouts.h5", folder / "first", encoder=BUILD, split=SPLIT, **more)
    rarely = {**GIVEN, "training": replace(GIVEN["training"], checkpoint_steps=9)}
    pretrain(folder / "cutouts.h5", folder / "first", encoder=BUILD, split=SPLIT, **rarely)


def test_it_goes_on_from_an_encoder_and_keeps_its_build_and_split(folder):
    first = load_encoder(folder / "first")
    more = pretrain(folder / "cutouts.h5", folder / "more", start=folder / "first", **GIVEN)
    pretrain(folder / "cutouts.h5", folder / "same", start=first, **GIVEN)
    assert more.description == first.description
    assert more.card.split == first.card.split
    assert more.card["started_from"] == more.card.parents["encoder"] == first.sha256
    assert "labels_seen" not in more.card
    assert artefact.sha256_of(folder / "same/weights.safetensors") == artefact.sha256_of(
        folder / "more/weights.safetensors"
    )
    name = "backbone.stem.0.weight"
    before, after = load_encoder(folder / "first").state_dict()[name], more.state_dict()[name]
    fresh = pretrain(
        folder / "cutouts.h5",
        folder / "fresh",
        encoder=BUILD,
        **{**GIVEN, "training": TrainingConfig(epochs=0, batch_size=16, seed=9)},
    ).state_dict()[name]
    assert not torch.equal(before, after)
    assert torch.equal(before, first.state_dict()[name]), "an encoder that is given stays as it is"
    assert (before - after).abs().mean() < 0.5 * (fresh - after).abs().mean()


def test_no_epoch_from_an_encoder_is_that_encoder(folder):
    none = {**GIVEN, "training": TrainingConfig(epochs=0, batch_size=16)}
    copy = pretrain(folder / "cutouts.h5", folder / "copy", start=folder / "first", **none)
    first = load_encoder(folder / "first")
    for name, value in first.state_dict().items():
        assert torch.equal(copy.state_dict()[name], value)


def test_another_build_or_split_than_that_of_start_is_refused(folder):
    for wrong in ({"encoder": EncoderConfig(crop_px=34)}, {"split": SplitConfig(seed=5)}):
        with pytest.raises(ConfigError, match=f"{next(iter(wrong))} is that of start"):
            pretrain(folder / "cutouts.h5", folder / "x", start=folder / "first", **GIVEN, **wrong)
    assert not (folder / "x").exists()


def test_alike_negatives_need_an_encoder_that_measures(folder):
    alike = {**GIVEN, "moco": replace(GIVEN["moco"], negatives="alike")}
    made = pretrain(folder / "cutouts.h5", folder / "alike", start=folder / "first", **alike)
    first, name = load_encoder(folder / "first"), "bottleneck.0.weight"
    assert not torch.equal(made.state_dict()[name], first.state_dict()[name])
    assert torch.equal(made.measurements.mean, first.measurements.mean)
    with pytest.raises(ConfigError, match=r"negatives is alike, but the encoder measures nothing"):
        pretrain(folder / "cutouts.h5", folder / "none", encoder=plain(crop_px=33), **alike)
    assert not (folder / "none").exists()


def test_keys_of_the_last_release_are_read_and_contradictions_said(folder, capsys):
    given = [f"data={folder}/cutouts.h5", f"out={folder}/old", "encoder.crop_px=33", "epochs=0"]
    old = ["nuisances.own=drawn", "shuffle_block=2", "moco.queue_size=512"]
    assert cli.main(["pretrain", *given, *old]) == 0
    said = capsys.readouterr().err
    assert "augmentations.own is now augmentations.input_conditions" in said
    made = load_encoder(folder / "old").card.config
    assert made["augmentations"]["input_conditions"] == "drawn"
    assert made["shuffle"] == {"block": 2, "window": 8192}
    assert cli.main(["pretrain", *given, "batch_size=100"]) == 2
    assert "queue_size must be a multiple of batch_size 100" in capsys.readouterr().err


def test_a_refusal_comes_before_the_scan_and_leaves_the_folder_free(folder):
    out = folder / "free"
    with pytest.raises(MismatchError, match="sees crops of 500 px"):
        pretrain(folder / "cutouts.h5", out, encoder=EncoderConfig(crop_px=500))
    assert not out.exists()
    with pytest.raises(DataError, match="do not fill one batch"):
        pretrain(
            folder / "cutouts.h5",
            out,
            encoder=BUILD,
            training=TrainingConfig(batch_size=64),
            moco=MoCoConfig(queue_size=64),
        )
    assert not out.exists()
