"""A full disk: one line that says so, nothing half-written, the same command goes on later.

A limit on the size of files stands in for it: the system refuses in the middle of one.
"""

import resource
from contextlib import contextmanager

import h5py
import numpy as np
import pytest

from ssl_photoz.cli import main
from ssl_photoz.core.artefact import sha256_of
from ssl_photoz.training.checkpoints import checkpoint_path
from ssl_photoz.training.engine import Engine

TRAIN = (
    "epochs=2 batch_size=20 moco.queue_size=20 encoder.crop_px=36 checkpoint_steps=1 "
    "augmentations.jitter_px=1"
)


@pytest.fixture
def cutouts(tmp_path):
    rng = np.random.default_rng(0)
    path = tmp_path / "cutouts.h5"
    with h5py.File(path, "w") as file:
        file["images"] = rng.normal(0, 0.01, (40, 3, 40, 40)).astype("f4")
        file["TARGETID"] = np.arange(40)
        file["RA"] = rng.uniform(0, 360, 40)
        file["DEC"] = rng.uniform(-60, 60, 40)
        file["Z"] = rng.uniform(0.01, 0.5, 40).astype("f4")
    return path


@contextmanager
def full_disk(room_bytes=200_000):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def command(cutouts, out):
    return ["pretrain", f"data={cutouts}", f"out={out}", *TRAIN.split()]


def refused(arguments, capsys):
    """Run a command that must fail; return the line that it ends with."""
    assert main(arguments) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.startswith("error: ")
    assert "File too large" in said
    assert "free some space, then run the same command" in said
    return said


def test_pretrain_says_that_the_disk_is_full_and_goes_on_later(cutouts, tmp_path, capsys):
    out = tmp_path / "encoder"
    with full_disk():
        assert str(out) in refused(command(cutouts, out), capsys)
    assert {path.name for path in out.iterdir()} <= {
        "started.json",
        *("history.jsonl", "metrics.csv", "tensorboard"),
        "rejects.parquet",
    }
    assert main(command(cutouts, out)) == 0
    assert (out / "weights.safetensors").exists()


def test_the_last_good_checkpoint_stays_when_the_next_does_not_fit(
    cutouts, tmp_path, capsys, monkeypatch
):
    out, whole = tmp_path / "encoder", tmp_path / "whole"
    save = Engine.save

    def filling(self):
        with full_disk(200_000 if self.progress.step == 3 else resource.RLIM_INFINITY):
            save(self)

    monkeypatch.setattr(Engine, "save", filling)
    assert checkpoint_path(out, 3).name in refused(command(cutouts, out), capsys)
    monkeypatch.undo()
    assert sorted(out.glob("*.ckpt")) == [checkpoint_path(out, step) for step in (1, 2)]
    assert main(command(cutouts, out)) == 0
    assert "going on from step 2 of 4" in capsys.readouterr().out
    assert main(command(cutouts, whole)) == 0
    assert sha256_of(out / "weights.safetensors") == sha256_of(whole / "weights.safetensors")
