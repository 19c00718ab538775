"""Every verb, one after the other, on a very small simulated survey."""

import os
import subprocess
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml

DATA = {"data": "{out}/cutouts.h5"}
EMBEDDED = {"embeddings": "{out}/embeddings"}
INDEXED = {"index": "{out}/index", **EMBEDDED}
SEVEN = {"cutout": "{out}/cutouts.h5", "row": 7, "encoder": "{out}/encoder"}
STEPS = [
    ("simulate", "cutouts.h5", {"galaxies": 400, "size_px": 48, "labelled_fraction": 0.7}),
    ("inspect", "inspect", DATA),
    (
        "pretrain",
        "encoder",
        {
            **DATA,
            "epochs": 1,
            "batch_size": 64,
            "encoder": {"crop_px": 40},
            "moco": {"queue_size": 128},
        },
    ),
    (
        "align",
        "aligned",
        {
            **DATA,
            "start": "{out}/encoder",
            "labels": 60,
            "epochs": 1,
            "batch_size": 64,
            "moco": {"queue_size": 128},
        },
    ),
    ("supervise", "supervised", {**DATA, "network": "small_cnn", "epochs": 1, "least_steps": 2}),
    ("convert", "converted.h5", DATA),
    ("inspect", "looked", {"data": "{out}/converted.h5", "mask": "{out}/mask", "page": False}),
    ("convert", "packed.h5", {**DATA, "dtype": "float16"}),
    ("embed", "embeddings", {**DATA, "encoder": "{out}/encoder"}),
    ("embed", "packed", {"data": "{out}/packed.h5", "encoder": "{out}/encoder"}),
    ("join", "joined", {"embeddings": ["{out}/embeddings", "{out}/packed"]}),
    ("probe", "pdf", {**EMBEDDED, "density": True, "method": "knn"}),
    ("probe", "probe", {**EMBEDDED, "label": "end to end"}),
    ("predict", "predictions.parquet", {**EMBEDDED, "probe": "{out}/probe", "which": "knn"}),
    ("index", "index", {**EMBEDDED, "pca_dim": 32}),
    ("query", "query", {**INDEXED, "examples": 2, "k": 3}),
    ("query", "seven.parquet", {**INDEXED, **SEVEN, "k": 3}),
    ("dwarfs", "dwarfs", {**INDEXED, "z_max": 0.1}),
    ("dwarfs", "next_looks.csv", {**INDEXED, "candidates": "{out}/dwarfs", "propose": 3}),
    ("map", "map", EMBEDDED),
    ("report", "report.html", {"run": "{out}"}),
]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("path")
    path = folder / "path.yaml"
    steps = [{verb: {"out": f"{{out}}/{name}", **given}} for verb, name, given in STEPS]
    path.write_text(yaml.safe_dump({"steps": steps}))
    command = [sys.executable, "-m", "ssl_photoz.cli", "run", str(path), f"out={folder / 'run'}"]

    def again():
        return subprocess.run(
            command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
        )

    first = again()
    assert first.returncode == 0, first.stdout[-3000:] + first.stderr[-3000:]
    return folder / "run", first.stdout, again


@pytest.mark.slow
def test_the_whole_path_ends_with_a_report_that_says_simulated(run):
    folder, said, _ = run
    assert said.strip().splitlines()[-1] == f"report: {(folder / 'report.html').resolve()}"
    page = (folder / "report.html").read_text()
    assert "SIMULATED" in page
    assert page.count("data:image/png;base64,") >= 6
    assert 'src="http' not in page
    assert 'href="http' not in page


@pytest.mark.slow
def test_rows_are_neither_lost_nor_added(run):
    folder, _, _ = run
    embedded = pq.read_table(folder / "embeddings" / "part-00000.parquet")
    assert embedded.num_rows == 400
    unlabelled = ~np.isfinite(embedded["z"].to_numpy())
    predicted = pq.read_table(folder / "predictions.parquet")
    assert set(predicted["id"].to_pylist()) == set(embedded["id"].to_numpy()[unlabelled].tolist())
    assert np.isfinite(predicted["z_phot"].to_numpy()).all()
    candidates = pq.read_table(folder / "dwarfs" / "candidates.parquet")
    assert set(candidates["id"].to_pylist()) <= set(predicted["id"].to_pylist())


@pytest.mark.slow
def test_a_cutout_given_as_a_file_finds_itself(run):
    folder, _, _ = run
    embedded = pq.read_table(folder / "embeddings" / "part-00000.parquet")
    found = pq.read_table(folder / "seven.parquet")
    assert found["id"][0].as_py() == embedded["id"][7].as_py()
    assert found["distance"][0].as_py() < 1e-3 < found["distance"][1].as_py()


@pytest.mark.slow
def test_the_same_command_again_repeats_nothing(run):
    folder, _, again = run
    names = [f"{step}/card.json" for step in ("encoder", "embeddings", "probe", "index", "map")]
    before = [(folder / name).stat().st_mtime_ns for name in names]
    repeated = again()
    assert repeated.returncode == 0, repeated.stderr
    assert [(folder / name).stat().st_mtime_ns for name in names] == before


def test_the_steps_above_cover_every_verb():
    from ssl_photoz.cli import VERBS

    elsewhere = {
        *("run", "explore"),  # runs this; serves until interrupted
        *("select", "fetch"),  # begin with a catalogue: tests/fetching
        "adopt",  # what others have trained: tests/encoders, tests/embeddings
        "transfer",  # tests/transfer
        *("detect", "distribute"),  # tests/detection, tests/scaleout
        *("harmonize", "correct"),  # tests/embeddings, tests/bias
    }
    assert {verb for verb, _, _ in STEPS} == set(VERBS) - elsewhere
