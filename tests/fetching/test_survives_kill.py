"""Signals at arbitrary moments, the same command again: every cutout once, none twice."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from ssl_photoz.core.errors import DataError
from ssl_photoz.cutouts.reader import Cutouts
from ssl_photoz.fetching.journal import open_journal

ROWS, CONNECTIONS = 60, 3
SIDE = 16


def start(service, path, out):
    arguments = [f"catalogue={path}", f"out={out}", f"size_px={SIDE}", f"service.url={service.url}"]
    manners = [f"service.connections={CONNECTIONS}", "service.per_second=200"]
    return subprocess.Popen(
        [sys.executable, "-m", "ssl_photoz.cli", "fetch", *arguments, *manners],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def journalled(folder):
    text = (folder / "journal.tsv").read_text()
    return {int(line.split("\t")[0]) for line in text[: text.rfind("\n") + 1].splitlines()}


@pytest.mark.slow
def test_a_killed_fetch_goes_on_and_fetches_nothing_twice(service, make_catalogue, tmp_path):
    path, table = make_catalogue(n=ROWS)
    keys = [(float(ra), float(dec)) for ra, dec in zip(table["RA"], table["DEC"], strict=True)]
    service.scripts[keys[7]] = ["zeros"]
    service.delay_s, checks = 0.02, []
    out, folder = tmp_path / "cutouts.h5", tmp_path / "cutouts.h5.fetching"
    for answered, signum in ((15, signal.SIGKILL), (20, signal.SIGTERM)):
        process, begun = start(service, path, out), len(service.requests)
        end = time.monotonic() + 120
        while len(service.requests) < begun + answered and process.poll() is None:
            assert time.monotonic() < end
            time.sleep(0.002)
        process.send_signal(signum)
        said, _ = process.communicate()
        assert process.returncode == {signal.SIGTERM: 143}.get(signum, -signum), said
        assert not out.exists()
        time.sleep(0.2)  # the service answers the dead
        done = {keys[row] for row in journalled(folder)}
        assert len(done) >= begun + answered - 3 * CONNECTIONS
        asked_after = len(service.requests)
        checks.append((asked_after, done))
    process = start(service, path, out)
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 0, said
    for asked_after, done in checks:
        assert not {key for key, *_ in service.requests[asked_after:]} & done
    assert len(service.requests) <= ROWS + 2 * CONNECTIONS
    with Cutouts.open(out) as cutouts:
        pixels = cutouts.read(np.arange(ROWS - 1))
    good = [key for row, key in enumerate(keys) if row != 7]
    for place, (ra, dec) in enumerate(good):
        assert np.array_equal(pixels[place], service.sky(ra, dec))
    assert f"{ROWS} rows in, {ROWS - 1} cutouts" in said
    assert "1 rejected: all-zero cutout" in said
    assert not folder.exists()


SHAPE = (2, 3, 3)


def some(seed):
    return np.random.default_rng(seed).normal(size=SHAPE).astype("f4")


def test_a_line_cut_short_is_fetched_again(tmp_path):
    with open_journal(tmp_path, 5, SHAPE) as journal:
        journal.take(3, some(3), "")
        journal.take(1, None, "a reason\twith\nwhite space")
        journal.take(4, some(4), "")
    lines = tmp_path / "journal.tsv"
    lines.write_bytes(lines.read_bytes()[:-5])
    with open_journal(tmp_path, 5, SHAPE) as journal:
        assert np.flatnonzero(journal.done).tolist() == [1, 3]
        assert journal.reasons == {1: "a reason with white space"}
        assert np.array_equal(journal.read(3), some(3))
        journal.take(4, some(40), "")
    with open_journal(tmp_path, 5, SHAPE) as journal:
        assert journal.kept.tolist() == [3, 4]
        assert np.array_equal(journal.read(4), some(40))


def test_lost_pixels_are_noticed_and_forgotten(tmp_path):
    with open_journal(tmp_path, 3, SHAPE) as journal:
        journal.take(0, some(0), "")
        journal.take(1, some(1), "")
        with (tmp_path / "pixels.raw").open("r+b") as file:
            file.seek(80)
            file.write(bytes(8))
        assert np.array_equal(journal.read(0), some(0))
        assert journal.read(1) is None
        journal.forget(1)
    with open_journal(tmp_path, 3, SHAPE) as journal:
        assert journal.kept.tolist() == [0]


def test_two_processes_do_not_write_at_once(tmp_path):
    with (
        open_journal(tmp_path, 3, SHAPE),
        pytest.raises(DataError, match="another process"),
        open_journal(tmp_path, 3, SHAPE),
    ):
        pass


def test_a_damaged_journal_is_one_error(tmp_path):
    (tmp_path / "journal.tsv").write_text("7\t-\tno such row\n")
    with pytest.raises(DataError, match="is damaged"), open_journal(tmp_path, 3, SHAPE):
        pass
