"""Epochs are logged as JSON, CSV and to trackers; what came after a checkpoint is forgotten."""

import csv
import sys
from types import SimpleNamespace

import pytest

from ssl_photoz.training.history import History


@pytest.fixture
def no_trackers(monkeypatch):
    monkeypatch.delenv("WANDB_PROJECT", raising=False)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)


def epochs(history, *numbers):
    for n in numbers:
        history.add({"epoch": n, "step": 10 * n, "loss": 1 / n, "seconds": 1.5 * n})


def read(path):
    return [{k: float(v) for k, v in row.items() if v} for row in csv.DictReader(path.open())]


@pytest.mark.usefixtures("no_trackers")
def test_both_files_say_the_same_and_forget_alike(tmp_path):
    history = History(tmp_path)
    history.resume(0)
    assert history.rows() == []
    epochs(history, 1, 2, 3)
    history.add({"epoch": 4, "step": 40, "seconds": 6.0, "knn_sigma_nmad": 0.03})
    assert read(tmp_path / "metrics.csv") == history.rows()
    again = History(tmp_path)
    again.resume(25)
    assert [row["step"] for row in again.rows()] == [10, 20]
    assert read(tmp_path / "metrics.csv") == again.rows()
    again.resume(5)
    assert again.rows() == []


def test_tensorboard_has_every_figure_once(tmp_path, monkeypatch):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    monkeypatch.delenv("WANDB_PROJECT", raising=False)
    first = History(tmp_path)
    first.resume(0)
    epochs(first, 1, 2)
    again = History(tmp_path)
    again.resume(10)
    epochs(again, 2, 3)
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [(one.step, round(one.value, 4)) for one in events.Scalars("loss")] == [
        (10, 1.0),
        (20, 0.5),
        (30, 0.3333),
    ]


def test_a_wandb_run_is_gone_on_with(tmp_path, monkeypatch):
    logged, started = [], []

    def init(**given):
        started.append(given)
        return SimpleNamespace(log=lambda row, step: logged.append((step, row["loss"])))

    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=init))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name == "wandb" or None)
    for n in (1, 2):
        history = History(tmp_path)
        history.resume(10 * (n - 1))
        epochs(history, n)
    assert logged == []
    monkeypatch.setenv("WANDB_PROJECT", "galaxies")
    for n in (3, 4):
        history = History(tmp_path)
        history.resume(10 * (n - 1))
        epochs(history, n)
    assert logged == [(30, 1 / 3), (40, 1 / 4)]
    assert len(started) == 2
    assert started[0] == started[1]
    assert started[0]["resume"] == "allow"
