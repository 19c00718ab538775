"""The ledger tells finished from unfinished, the best score, and what was changed."""

import json
import os
import time

import pytest

from ssl_photoz import cli
from ssl_photoz.core import artefact
from ssl_photoz.core.errors import ArtefactError
from ssl_photoz.reports.ledger import find_trainings


@pytest.fixture
def train(tmp_path):
    """Leave what a training leaves; each is started a minute after the one before."""
    made = []

    def make(name, *, history=(), finished=True, kind="encoder", **config):
        folder = tmp_path / "runs" / name
        config = {"epochs": 3, "out": str(folder), **config}
        artefact.begin(folder, kind, config=config, parents={})
        if history:
            lines = (json.dumps({"epoch": n, **row}) + "\n" for n, row in enumerate(history, 1))
            (folder / "history.jsonl").write_text("".join(lines))
        if finished:
            artefact.write_card(folder, kind, config=config)
        at = time.time() - 3600 + 60 * len(made)
        for path in folder.iterdir():
            os.utime(path, (at, at))
        made.append(folder)
        return folder

    return make


def test_state_epoch_score_and_changes(train, tmp_path):
    train(
        "z-first", history=[{"knn_sigma_nmad": 0.03}, {"knn_sigma_nmad": 0.02}, {}], moco={"t": 1}
    )
    train("network", kind="probe", history=[{"score": 0.5}, {"score": 0.7}], network="resnet")
    train("a-second", history=[{"loss": 2.0}], finished=False, moco={"t": 2})
    artefact.write_card(tmp_path / "runs" / "index", "index", config={"pca_dim": 3})
    artefact.write_card(tmp_path / "runs" / "map", "map", config={"epochs": 200})
    first, other, second = find_trainings(tmp_path / "runs")
    assert [one.folder.name for one in (first, other, second)] == [
        "z-first",
        "network",
        "a-second",
    ]
    assert (first.finished, first.epoch, first.best) == (True, 3, 0.02)
    assert (other.kind, other.epoch, other.best) == ("probe", 2, 0.5)
    assert (second.kind, second.finished, second.epoch, second.best) == ("encoder", False, 1, None)
    assert first.changed is None
    assert other.changed is None, "a network has other settings than an encoder: nothing to compare"
    assert second.changed == {"moco.t": ("1", "2")}


def test_what_the_verb_prints(train, tmp_path, capsys):
    train("one", history=[{"knn_sigma_nmad": 0.0123}])
    train("two", finished=False)
    assert cli.main(["report", str(tmp_path / "runs"), "trainings=true"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "one: finished, epoch 1 of 3, best validation score 0.0123"
    assert lines[1].startswith("two: unfinished, last sign of life 59 min ago, epoch 0 of 3, no sc")
    assert lines[2] == "    same settings as the one before"


def test_the_verb_of_version_0_1_prints_the_same(train, tmp_path, capsys):
    train("one", history=[{"knn_sigma_nmad": 0.0123}])
    assert cli.main(["report", str(tmp_path / "runs"), "trainings=true"]) == 0
    now = capsys.readouterr().out
    assert cli.main(["runs", f"folder={tmp_path / 'runs'}"]) == 0
    told = capsys.readouterr()
    assert told.out == now
    assert "runs is now report trainings=true" in told.err


def test_epochs_are_found_in_a_group(train, tmp_path):
    folder = tmp_path / "runs" / "grouped"
    config = {"out": str(folder), "training": {"epochs": 7}}
    artefact.write_card(folder, "encoder", config=config)
    assert [one.epochs for one in find_trainings(tmp_path / "runs")] == [7]


def test_nothing_to_list_is_said(tmp_path, capsys):
    assert cli.main(["report", f"run={tmp_path}", "trainings=true"]) == 0
    assert "no training in" in capsys.readouterr().out
    with pytest.raises(ArtefactError, match="not a folder"):
        cli.run("report", [f"run={tmp_path / 'none'}", "trainings=true"])


def test_a_damaged_history_is_named(train, tmp_path):
    (train("one") / "history.jsonl").write_text('{"epoch": 1}\n{"epo')
    with pytest.raises(ArtefactError, match=r"history.jsonl is not JSON line by line"):
        find_trainings(tmp_path / "runs")
