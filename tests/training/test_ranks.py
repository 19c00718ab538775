"""Several processes are one run: what they hold equals what one process would."""

import json
import os
import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest
import torch

from ssl_photoz.core.errors import ConfigError
from ssl_photoz.training import ranks

PROGRAM = Path(__file__).with_name("two_processes.py")
PORT = 29600 + os.getpid() % 400


def start(folder, *, rank=0, world=1, port=PORT):
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(world),
        "LOCAL_WORLD_SIZE": str(world),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    return subprocess.Popen(
        [sys.executable, PROGRAM, folder],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Run the program with one process, and with two."""
    one, two = (tmp_path_factory.mktemp(name) for name in ("one", "two"))
    running = [start(one), start(two, rank=0, world=2), start(two, rank=1, world=2)]
    said = [process.communicate(timeout=300)[0] for process in running]
    for process, text in zip(running, said, strict=True):
        assert process.returncode == 0, text
    assert "this is process 0" in said[1]
    assert "this is process" not in said[2]
    return one, two


def state(folder, name, rank):
    return torch.load(folder / f"{name}-{rank}.pt", weights_only=True)


@pytest.mark.dist
def test_two_processes_do_what_one_does(folders):
    one, two = folders
    for name, rank in product(("still", "supervised"), (0, 1)):
        whole, part = state(one, name, 0), state(two, name, rank)
        for key, value in whole.items():
            torch.testing.assert_close(part[key], value, rtol=0, atol=1e-6, msg=key)


@pytest.mark.dist
def test_with_moving_batch_norm_the_losses_are_nearly_those_of_one_process(folders):
    one, two = (
        [json.loads(line)["loss"] for line in (folder / "moving" / "history.jsonl").open()]
        for folder in folders
    )
    assert two == pytest.approx(one, rel=0.05)
    assert two != one


@pytest.mark.dist
def test_processes_hold_the_same_queue_and_weights(folders):
    _, two = folders
    first, second = (state(two, "moving", rank) for rank in (0, 1))
    assert int(first["queue.pointer"]) == 6 * 8 % 16
    for name, value in first.items():
        if "running" not in name:  # each sees only its own part's statistics
            assert torch.equal(second[name], value), name


@pytest.mark.dist
def test_batch_norm_of_the_keys_mixes_other_galaxies_than_that_of_the_queries(folders):
    _, two = folders
    parts = [json.loads((two / f"keys-{rank}.json").read_text()) for rank in (0, 1)]
    own = 0
    for step, (first, second) in enumerate(zip(*parts, strict=True)):
        assert sorted(first + second) == list(range(8 * step, 8 * step + 8))
        own += sum(galaxy < 8 * step + 4 for galaxy in first)
        assert sorted(first) != list(range(8 * step, 8 * step + 4))
    assert len({tuple(galaxy % 8 for galaxy in step) for step in parts[0]}) > 3
    assert 0.25 < own / 24 < 0.75


@pytest.mark.dist
def test_only_the_first_process_logs_and_the_figures_are_those_of_all(folders):
    rows = [
        [json.loads(line) for line in (folder / "still" / "history.jsonl").read_text().splitlines()]
        for folder in folders
    ]
    assert [row["step"] for row in rows[1]] == [3, 6]
    for alone, together in zip(*rows, strict=True):
        for name in ("loss", "contrastive_loss", "pretext_loss", "contrast_accuracy", "label_loss"):
            assert together[name] == pytest.approx(alone[name], rel=1e-4), name


def test_how_a_process_was_launched():
    torchrun = {
        "RANK": "3",
        "WORLD_SIZE": "4",
        "LOCAL_RANK": "1",
        "LOCAL_WORLD_SIZE": "2",
        "GROUP_RANK": "1",
    }
    srun = {
        "SLURM_STEP_NUM_TASKS": "4",
        "SLURM_STEP_NUM_NODES": "2",
        "SLURM_PROCID": "3",
        "SLURM_LOCALID": "1",
        "SLURM_NODEID": "1",
        "MASTER_ADDR": "node7",
    }
    address = {"MASTER_ADDR": "node7", "MASTER_PORT": "29500"}
    assert ranks.launch(torchrun) == torchrun
    assert ranks.launch(srun) == {**torchrun, **address}
    assert ranks.launch({**torchrun, **srun}) == torchrun
    assert ranks.launch({**srun, "SLURM_STEP_NUM_TASKS": "1"}) == {}
    assert ranks.launch({"SLURM_NTASKS": "4", "SLURM_PROCID": "0"}) == {}  # a shell, no srun
    assert ranks.launch({}) == {}


def test_alone_everything_is_as_it_was():
    part, order = torch.rand(6, 2), torch.randperm(6)
    with ranks.joined():
        assert (ranks.rank(), ranks.world()) == (0, 1)
        for same in (ranks.gathered, ranks.gathered_with_gradient, ranks.average_):
            assert same(part) is part
        assert ranks.batch_shuffle(part, order) is part
        assert ranks.batch_unshuffle(part, order) is part
        assert ranks.on_rank_zero(lambda: 7) == ranks.all_reduce_max(7) == 7
        assert ranks.all_gather_object(7) == [7]
        assert ranks.share(6) == slice(0, 6)


def test_a_batch_that_cannot_be_shared_is_refused(monkeypatch):
    monkeypatch.setattr(ranks, "world", lambda: 4)
    assert ranks.share(8) == slice(0, 2)
    for batch_size in (10, 4):
        with pytest.raises(ConfigError, match="expected a multiple of 4, at least 8"):
            ranks.share(batch_size)
