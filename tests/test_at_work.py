"""A folder in which one process is at work is refused to another, whatever the verb."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import ssl_photoz as sp
from ssl_photoz.core.errors import ArtefactError
from ssl_photoz.embeddings.store import write_embeddings

AT_WORK = """
import sys
from pathlib import Path
from ssl_photoz.core import workplace
with workplace.claimed(Path(sys.argv[1])):
    print("at work", flush=True)
    sys.stdin.read()
"""


class Other:
    """Another process that is at work in a folder until it is told to end."""

    def __init__(self, folder: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", AT_WORK, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "at work\n"

    def end(self) -> None:
        self.process.communicate()


def store(folder, n):
    rng = np.random.default_rng(0)
    columns = {
        "id": np.arange(n) + 2**60,
        "ra": rng.uniform(0, 360, n),
        "dec": rng.uniform(-60, 60, n),
        "z": rng.uniform(0.01, 0.5, n).astype("f4"),
        "split": rng.choice(["train", "val", "test"], n),
    }
    vectors = np.random.default_rng(1).normal(size=(n, 8)).astype("f4")
    return write_embeddings(folder, columns, vectors, simulated=True, encoder="e")


def test_an_index_grows_in_one_process_at_a_time(tmp_path):
    made = sp.index(store(tmp_path / "few", 200), tmp_path / "index")
    more, other = store(tmp_path / "more", 300), Other(tmp_path / "index")
    with pytest.raises(ArtefactError, match="another process is at work in"):
        sp.index(more, tmp_path / "index")
    assert len(sp.Index.load(tmp_path / "index")) == len(made) == 200
    other.end()


def test_a_catalogue_is_fetched_by_one_process_at_a_time(tmp_path):
    catalogue, out = tmp_path / "c.csv", tmp_path / "cutouts.h5"
    catalogue.write_text("TARGETID,RA,DEC\n1,150.1,2.2\n")
    (tmp_path / "coadds" / "south" / "coadd").mkdir(parents=True)
    other = Other(tmp_path / "cutouts.h5.fetching")
    with pytest.raises(ArtefactError, match="another process is at work in"):
        sp.fetch(catalogue, out, tmp_path / "coadds")
    other.end()
    assert list((tmp_path / "cutouts.h5.fetching").iterdir()) == []
    shutil.rmtree(tmp_path / "cutouts.h5.fetching")
