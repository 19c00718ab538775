"""Faults on a Dask cluster of two processes: the rows in the end are those of a quiet run."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("hats", reason="hats is not installed")
pytest.importorskip("distributed", reason="distributed is not installed")

from ssl_photoz.core.errors import ArtefactError, ConfigError, DataError
from ssl_photoz.scaleout.settings import RunnerConfig
from tests.scaleout.conftest import require_identical
from tests.scaleout.faulty import FaultyTiles, run

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
TWO = RunnerConfig(kind="dask", workers=2, deaths=1)


def names(tiled):
    return [one.name.removeprefix("dataset/").removesuffix(".parquet") for one in tiled.shards]


@pytest.fixture
def faults(monkeypatch, tmp_path):
    """Make tiles fail as said."""

    def make(**said):
        monkeypatch.setattr("ssl_photoz.scaleout.work.EmbedTiles", FaultyTiles)
        monkeypatch.setenv("MARKS", str(tmp_path / "marks"))
        monkeypatch.setenv("FAULTS", json.dumps({tile: fault for fault, tile in said.items()}))
        (tmp_path / "marks").mkdir()

    return make


def test_workers_and_tiles_that_fail_cost_nothing_but_themselves(
    tiled, cutouts, encoder, tmp_path, faults, monkeypatch
):
    first, second, third, fourth = names(tiled)[1:5]
    faults(
        **{
            "kills once": first,
            "crashes once": second,
            "bad": third,
            "loses the scheduler once": fourth,
        }
    )
    out = tmp_path / "out"
    with pytest.raises(DataError, match=rf"1 of \d+ tiles failed: {third} \(DataError: this tile"):
        run(cutouts, encoder, out, runner=TWO)
    marks = [path.name.rsplit("-", 1)[0] for path in (tmp_path / "marks").iterdir()]
    assert marks.count("kills once") >= 2
    assert marks.count("crashes once") >= 2
    assert marks.count("loses the scheduler once") >= 2
    assert {path.relative_to(out).as_posix() for path in out.glob("dataset/**/*.parquet")} == {
        one.name for one in tiled.shards if third not in one.name
    }
    monkeypatch.setenv("FAULTS", "{}")
    require_identical(run(cutouts, encoder, out), tiled)


def test_a_tile_that_always_kills_its_worker_is_named_and_the_others_are_made(
    tiled, cutouts, encoder, tmp_path, faults
):
    bad = names(tiled)[3]
    faults(kills=bad)
    runner = RunnerConfig(kind="dask", workers=2, deaths=0)
    made = run(cutouts, encoder, tmp_path / "out", runner=runner, holes="leave")
    assert made.card["tiles_missing"] == [bad]
    assert {one.name for one in made.shards} == {
        one.name for one in tiled.shards if bad not in one.name
    }
    record = json.loads(
        (tmp_path / "out/failed" / f"{bad.replace('/Dir=0/', '_')}.json").read_text()
    )
    assert (record["name"], record["error"]) == (bad, "KilledWorker")


def test_a_client_that_is_killed_leaves_tiles_from_which_the_same_command_goes_on(
    tiled, cutouts, encoder, tmp_path
):
    out = tmp_path / "out"
    started = subprocess.Popen(
        [sys.executable, "-m", "tests.scaleout.faulty", cutouts, encoder, out],
        cwd=ROOT,
        env={**os.environ, "SLOW": "0.5", "MARKS": str(tmp_path)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait(lambda: len(list(out.glob("dataset/**/[!.]*.parquet"))) >= 2)
        with pytest.raises(ArtefactError, match="another process is at work"):
            run(cutouts, encoder, out)
    finally:
        started.send_signal(signal.SIGKILL)
        started.wait()
    made = set(out.glob("dataset/**/[!.]*.parquet"))
    assert 0 < len(made) < len(tiled.shards)
    assert not (out / "card.json").exists()
    require_identical(run(cutouts, encoder, out), tiled)


def _wait(done, seconds=120):
    until = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < until
        time.sleep(0.1)


def test_a_scheduler_that_is_not_there_is_said_in_one_line(cutouts, encoder, tmp_path, monkeypatch):
    monkeypatch.setattr("ssl_photoz.scaleout.runners.PATIENCE", "1s")
    runner = RunnerConfig(kind="dask", scheduler="tcp://127.0.0.1:9")
    with pytest.raises(ConfigError, match=r"no Dask scheduler answers at .*127\.0\.0\.1:9"):
        run(cutouts, encoder, tmp_path, runner=runner)
