"""Signals at arbitrary moments, the same command again: the result of an uninterrupted run.

`benchmarks/chaos` does this more often, with processes that share their start.
"""

import os
import signal
import subprocess
import sys
import time

import h5py
import numpy as np
import pyarrow.parquet as pq
import pytest

from ssl_photoz.core.artefact import sha256_of

ROWS = 400
STATUS = {signal.SIGUSR1: 75, signal.SIGTERM: 143, signal.SIGKILL: -signal.SIGKILL}
PRETRAIN = (
    "epochs=3 batch_size=20 moco.queue_size=100 encoder.crop_px=40 checkpoint_steps=3 "
    "augmentations.jitter_px=1"
)
EMBED = "shard_rows=16 batch_size=16 readout.orientations=2"


@pytest.fixture(scope="module")
def cutouts(tmp_path_factory):
    path = tmp_path_factory.mktemp("survey") / "cutouts.h5"
    rng = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        file["images"] = rng.normal(0, 0.01, (ROWS, 3, 44, 44)).astype("f4")
        file["images"][7] = 0
        file["TARGETID"] = np.arange(ROWS) + 2**60
        file["RA"] = rng.uniform(0, 360, ROWS)
        file["DEC"] = rng.uniform(-60, 60, ROWS)
        file["Z"] = rng.uniform(0.01, 0.5, ROWS).astype("f4")
    return path


def start(verb, arguments):
    command = [sys.executable, "-m", "ssl_photoz.cli", verb, *arguments]
    return subprocess.Popen(
        command,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(verb, arguments):
    process = start(verb, arguments)
    said, _ = process.communicate(timeout=300)
    assert process.returncode == 0, said
    return said


def kill_when(signum, verb, arguments, folder, pattern, count, rng):
    """Signal a run a random moment after ``count`` files of its kind are there."""
    process = start(verb, arguments)
    end = time.monotonic() + 200
    while len(list(folder.glob(pattern))) < count and process.poll() is None:
        assert time.monotonic() < end, f"{verb} wrote no {pattern}"
        time.sleep(0.002)
    time.sleep(rng.uniform(0, 0.15))
    process.send_signal(signum)
    said, _ = process.communicate()
    assert process.returncode == STATUS[signum], said
    assert not (folder / "card.json").exists(), "it ended before it was killed"


@pytest.mark.slow
def test_pretrain_and_embed_survive_signals(cutouts, tmp_path):
    rng = np.random.default_rng()
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    train = [f"data={cutouts}", *PRETRAIN.split()]
    finish("pretrain", [f"out={whole}", *train])
    for count, signum in ((1, signal.SIGUSR1), (2, signal.SIGKILL)):
        kill_when(signum, "pretrain", [f"out={killed}", *train], killed, "step-*.ckpt", count, rng)
    said = finish("pretrain", [f"out={killed}", *train])
    assert "going on from step" in said
    weights = [run / "weights.safetensors" for run in (whole, killed)]
    assert sha256_of(weights[0]) == sha256_of(weights[1])
    assert "already made" in finish("pretrain", [f"out={killed}", *train])

    embed = [f"data={cutouts}", f"encoder={whole}", *EMBED.split()]
    one, two = tmp_path / "one", tmp_path / "two"
    finish("embed", [f"out={one}", *embed])
    for count, signum in ((3, signal.SIGTERM), (9, signal.SIGKILL)):
        kill_when(signum, "embed", [f"out={two}", *embed], two, "part-*.parquet", count, rng)
    assert f"{ROWS} rows in, {ROWS - 1} embedded" in finish("embed", [f"out={two}", *embed])
    for shard in sorted(one.glob("*.parquet")):
        assert pq.read_table(shard).equals(pq.read_table(two / shard.name))
    assert pq.read_table(two / "rejects.parquet").to_pylist() == [
        {"row": 7, "id": str(2**60 + 7), "reason": "all-zero cutout"}
    ]
