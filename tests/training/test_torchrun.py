"""`align` and `supervise` by two processes that torchrun starts, as documented, on a CPU."""

import json
import subprocess
import sys
from dataclasses import asdict

import h5py
import numpy as np
import pytest

from ssl_photoz.core.artefact import read_card
from ssl_photoz.cutouts.split import SplitConfig, assign_splits
from ssl_photoz.encoders.artefact import load_encoder, save_encoder
from ssl_photoz.encoders.encoder import fresh_encoder
from ssl_photoz.encoders.settings import EncoderConfig
from ssl_photoz.training.supervised.artefact import load_network

ROWS = 100
SPLIT = SplitConfig(fractions=(0.6, 0.2, 0.2))
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]


def ssl_photoz(*arguments):
    ended = subprocess.run(
        [*TORCHRUN, "-m", "ssl_photoz.cli", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=300,
    )
    return ended.returncode, ended.stdout + ended.stderr


@pytest.fixture
def cutouts(tmp_path):
    draws = np.random.default_rng(0)
    path = tmp_path / "cutouts.h5"
    with h5py.File(path, "w") as file:
        file["images"] = draws.normal(0, 0.01, (ROWS, 3, 36, 36)).astype("f4")
        file["TARGETID"] = np.arange(ROWS) + 2**60
        file["RA"], file["DEC"] = draws.uniform(0, 360, ROWS), draws.uniform(-60, 60, ROWS)
        file["Z"] = draws.uniform(0.01, 0.5, ROWS).astype("f4")
    return path


@pytest.fixture
def start(tmp_path):
    about = {"bands": ["g", "r", "z"], "pixscale_arcsec": 0.262, "calibrated": True}
    built = EncoderConfig(crop_px=33, softening=1.0)
    encoder = fresh_encoder(built, noise=[0.01] * 3, seed=0, **about)
    folder = tmp_path / "start"
    save_encoder(folder, encoder, config={}, parents={}, split=asdict(SPLIT), steps=0)
    return folder


@pytest.mark.slow
@pytest.mark.dist
def test_two_processes_align_an_encoder(cutouts, start, tmp_path):
    out = tmp_path / "aligned"
    settings = ["batch_size=24", "epochs=1", "moco.queue_size=48", "augmentations.jitter_px=0"]
    given = [f"data={cutouts}", f"start={start}", f"out={out}", *settings]
    status, said = ssl_photoz("align", *given)
    assert status == 0, said
    steps = ROWS // 12
    assert said.count(f"encoder after {steps} more steps") == 1
    card = read_card(out, "encoder")
    assert card["processes"] == 2
    with h5py.File(cutouts) as file:
        ids = file["TARGETID"][:]
        side = assign_splits(file["RA"][:], file["DEC"][:], ids, SPLIT)
    assert set(card["labels_seen"]) == set(ids[side == "train"].tolist())
    before, after = (load_encoder(folder).state_dict() for folder in (start, out))
    assert any(not np.array_equal(before[name], after[name]) for name in before)
    status, said = ssl_photoz("align", *given)
    assert (status, said.count("is already made")) == (0, 1), said


@pytest.mark.slow
@pytest.mark.dist
def test_two_processes_train_a_network(cutouts, tmp_path):
    out = tmp_path / "network"
    settings = ["network=small_cnn", "epochs=2", "least_steps=4", "augmentations.jitter_px=0"]
    split = [f"split.fractions={list(SPLIT.fractions)}"]
    given = [f"data={cutouts}", f"out={out}", "training.batch_size=17", *settings, *split]
    status, said = ssl_photoz("supervise", *given)
    assert status == 0, said
    assert said.count("was best ->") == 1
    history = [json.loads(line) for line in (out / "history.jsonl").open()]
    training = read_card(out, "probe")["training"]
    assert training["batch_size"] == 16, "both have equal parts"
    assert [row["step"] for row in history] == [
        training["steps_per_epoch"] * row["epoch"] for row in history
    ]
    assert len(history) == 2
    assert not list(out.glob("*.ckpt"))
    load_network(out)
    status, said = ssl_photoz("supervise", *given)
    assert (status, said.count("is already made")) == (0, 1), said
