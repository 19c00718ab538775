"""A full disk: one line that says so, nothing half-written, the same command goes on later."""

import errno
from pathlib import Path

import h5py
import numpy as np
import pytest

from ssl_photoz.cli import main


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


@pytest.fixture
def full_disk(monkeypatch):
    def refuse(path, *_):
        raise OSError(errno.ENOSPC, "No space left on device")

    def switch(on):
        monkeypatch.undo()
        if on:
            monkeypatch.setattr(Path, "write_bytes", refuse)

    return switch


def test_pretrain_says_that_the_disk_is_full_and_goes_on_later(
    cutouts, tmp_path, full_disk, capsys
):
    out = tmp_path / "encoder"
    command = [
        "pretrain",
        f"data={cutouts}",
        f"out={out}",
        *"epochs=2 batch_size=20 moco.queue_size=20 encoder.crop_px=36".split(),
        *"checkpoint_steps=1 nuisances.jitter_px=1".split(),
    ]
    full_disk(True)
    assert main(command) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.startswith("error: ")
    assert "No space left on device" in said
    assert str(out) in said
    assert {path.name for path in out.iterdir()} <= {"started.json", "history.jsonl"}
    full_disk(False)
    assert main(command) == 0
    assert (out / "weights.safetensors").exists()
