import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from benchmarks.formats import galaxies, writers

ROOT = Path(__file__).parents[3]
N, SIDE = 11, 16


class Looked(NamedTuple):
    """What came of looking at cutouts: exit status, what was said, what was read (or None)."""

    code: int
    said: str
    read: dict | None


class Watcher:
    """Has cutouts looked at by a process that may die of it."""

    def __init__(self, folder):
        self.folder, self.count = folder, 0
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1"}
        environment["ARROW_DEFAULT_MEMORY_POOL"] = "system"  # others reserve more than may be used
        self.process = subprocess.Popen(
            [sys.executable, Path(__file__).with_name("looking.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )

    def __call__(self, data, *, inspect=False):
        self.count += 1
        out = self.folder / str(self.count)
        out.mkdir()
        asked = {"data": str(data), "out": str(out), "inspect": inspect}
        print(json.dumps(asked), file=self.process.stdin, flush=True)
        answer = json.loads(self.process.stdout.readline())
        read = out / "read.npz"
        found = dict(np.load(read, allow_pickle=False)) if read.exists() else None
        return Looked(answer["code"], answer["said"], found)


@pytest.fixture(scope="session")
def look(tmp_path_factory):
    watcher = Watcher(tmp_path_factory.mktemp("looked"))
    yield watcher
    watcher.process.stdin.close()
    watcher.process.wait(timeout=60)


@pytest.fixture(scope="session")
def whole(tmp_path_factory, look):
    """Return where galaxies are written in a format, and what is read of them unbroken."""
    made = {}

    def write(name):
        if name == "zarr":
            pytest.importorskip("zarr", reason="the extra zarr is not installed")
        if name not in made:
            drawn = galaxies.draw(N, size_px=SIDE, bands=writers.BANDS.get(name, "grz"))
            data = writers.WRITERS[name](tmp_path_factory.mktemp("whole"), drawn)
            looked = look(data)
            assert looked.code == 0, looked.said
            made[name] = data, looked.read
        return made[name]

    return write


def complaint(looked):
    """Say what is wrong with how broken cutouts were met; empty: read, or one clear error."""
    if looked.code == 0:
        return "" if looked.read is not None else "status 0, but nothing was read"
    if looked.code == -14:
        return "took more than 10 s"
    if looked.code != 2 or "Traceback" in looked.said:
        return f"status {looked.code}: {looked.said[-600:]}"
    errors = re.findall("^error: .+", looked.said, re.MULTILINE)
    return "" if len(errors) == 1 and len(errors[0]) < 2000 else f"said {looked.said[:600]!r}"
