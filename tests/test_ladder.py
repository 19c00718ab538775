"""The redshift ladder's plan and its table; what it measures is in benchmarks/."""

import csv
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml

from benchmarks.redshift_ladder import results
from benchmarks.redshift_ladder.inputs import make_inputs
from benchmarks.redshift_ladder.photometry import photometry
from benchmarks.redshift_ladder.plan import HERE, Size, count, merged, says
from benchmarks.redshift_ladder.read_outs import last_stage
from ssl_photoz import cli
from ssl_photoz.core.errors import ConfigError
from ssl_photoz.embeddings.store import write_embeddings
from ssl_photoz.encoders.encoder import Encoder
from ssl_photoz.encoders.readout import read_out
from ssl_photoz.encoders.settings import EncoderConfig, ReadOutConfig
from ssl_photoz.photoz.labels import read_labelled

SIZES = sorted(path.stem for path in HERE.glob("*.yaml") if path.stem != "configurations")


@pytest.mark.parametrize("name", SIZES)
def test_every_job_of_every_size_has_settings_that_its_verb_takes(name, tmp_path):
    jobs = list(Size.read(name, tmp_path).jobs())
    assert len({job.folder for job in jobs}) == len(jobs)
    for number, job in enumerate(jobs):
        if job.verb:
            given = {"data": "c.h5", "out": "o", **job.settings}
            given |= {"start": "e"} if job.after else {}
            config = tmp_path / f"{number}.yaml"
            config.write_text(yaml.safe_dump(given))
            cli.parse(job.verb, [str(config)], tell=pytest.fail)


@pytest.mark.parametrize("name", SIZES)
def test_jobs_can_be_done_in_order(name, tmp_path):
    done = set()
    for job in Size.read(name, tmp_path).jobs():
        assert job.ready(done), job
        done.add(job.folder)


@pytest.mark.parametrize(
    ("old", "now"),
    [
        ({"rungs": {}}, "configurations"),
        ({"inputs": {"toy": {"rungs": []}}}, "configurations"),
        ({"configurations": {"lowz": {"classify": {}}}}, "supervise"),
    ],
)
def test_keys_of_version_0_1_are_answered_with_those_of_today(old, now, tmp_path):
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({**TINY, **old}))
    with pytest.raises(ConfigError, match=f"is now {now}"):
        Size.read(str(tmp_path / "mine.yaml"), tmp_path)


def test_settings_are_laid_over_each_other():
    assert merged({"a": {"b": 1, "c": 2}}, {"a": {"c": 3}, "d": [1]}) == {
        "a": {"b": 1, "c": 3},
        "d": [1],
    }


def test_label_counts():
    assert [count(share, 4709) for share in (1.0, 0.1, 0.02, 256, 10_000)] == [
        *(4709, 471, 94, 256),
        4709,
    ]
    assert [says(share) for share in (1.0, 0.02, 256)] == ["100 %", "2 %", "256"]


def test_real_input_that_is_absent_is_left_out_aloud(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("benchmarks.redshift_ladder.inputs.DATA", tmp_path / "nowhere")
    size = Size.read("small", tmp_path)
    only_real = {k: v for k, v in size.inputs.items() if "file" in v}
    assert make_inputs(Size(**{**vars(size), "inputs": only_real})) == []
    assert "left out" in capsys.readouterr().out


WORKER_THAT_OUTSTAYS = """
import os, sys, time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from benchmarks.redshift_ladder.run import end_with_parent
if __name__ == "__main__":
    with ProcessPoolExecutor(1, get_context("spawn"), end_with_parent) as pool:
        print(pool.submit(os.getpid).result(), flush=True)
        pool.submit(time.sleep, 600)
        time.sleep(600)
"""


def test_workers_do_not_outlive_a_ladder_that_is_killed(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(WORKER_THAT_OUTSTAYS)
    command = [sys.executable, str(script)]
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env) as ladder:
        worker = int(ladder.stdout.readline())
        os.kill(worker, 0)
        ladder.kill()
    deadline = time.monotonic() + 30
    while runs(worker) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not runs(worker)


def runs(process):
    """Whether a process is there and has not ended; nobody may have collected it yet."""
    status = Path(f"/proc/{process}/status")
    return status.exists() and "State:\tZ" not in status.read_text()


@pytest.mark.parametrize("crop_px", [40, 64, 86, 128])
def test_last_stage_is_the_mean_of_the_last_map(crop_px):
    import torch

    given = {"backbone": "resnet18", "stem": "standard", "crop_px": crop_px}
    encoder = Encoder(
        EncoderConfig(**given),
        bands=["g"],
        pixscale_arcsec=0.262,
        calibrated=True,
        softening=[1.0],
    ).eval()
    flux = torch.randn(2, 1, crop_px, crop_px)
    with torch.no_grad():
        whole, last = (read_out(encoder, flux, ReadOutConfig(s, 1)) for s in ("all", "last"))
    assert torch.equal(whole[:, last_stage(given)], last)


def result(z_spec, z_phot, *, configuration="a", probe="ridge", tuning=0.0):
    key = results.Key("sdss", configuration, "100 %", "all", probe)
    return results.Result(key, np.atleast_2d(z_phot), z_spec, np.arange(len(z_spec)), tuning)


def test_the_probe_is_chosen_on_validation_not_on_test():
    z = np.linspace(0.01, 0.3, 200)
    bad_on_test = result(z, z + 0.1, probe="knn", tuning=0.01)
    good_on_test = result(z, z, probe="mlp", tuning=0.02)
    assert results.chosen([good_on_test, bad_on_test]) == [bad_on_test]


def test_a_difference_is_positive_for_the_better_and_its_error_is_that_of_pairs():
    rng = np.random.default_rng(0)
    z = rng.uniform(0.05, 0.25, 2000)
    shared = rng.normal(0, 0.02, (3, 2000))
    better = result(z, z + shared)
    worse = result(z, z + 1.2 * shared, configuration="b")
    there, back = results.gains(better, worse), results.gains(worse, better)
    for metric in results.SHOWN:
        assert there[metric][0] > 0
        assert back[metric][0] == -there[metric][0]
    gain, error = there["sigma_nmad"]
    # One is 1.2 times the other galaxy by galaxy: the difference is known to 0.2 of each's error.
    assert gain == pytest.approx(0.2 * better.metric("sigma_nmad"), rel=1e-2)
    assert error == pytest.approx(0.2 * results.errors(better)["sigma_nmad"], rel=0.05)


def test_different_galaxies_are_not_compared():
    z = np.linspace(0.01, 0.3, 20)
    other = results.Result(
        results.Key("sdss", "b", "100 %", "", "x"), z[None], z, np.arange(1, 21), 0
    )
    with pytest.raises(ValueError, match="different galaxies"):
        results.gains(result(z, z), other)


def test_true_photometry_gets_the_noise_of_its_pixels(tmp_path):
    n = 4000
    bright, faint = np.full(n // 2, 17.0), np.full(n // 2, 22.0)
    columns = {
        "id": np.arange(n),
        "ra": np.zeros(n),
        "dec": np.zeros(n),
        "z": np.full(n, 0.1, np.float32),
        "split": np.array(["train", "val", "test", "train"] * (n // 4)),
        "true_mag_g": np.concatenate([bright, faint]).astype(np.float32),
        "true_mag_r": np.concatenate([bright, faint]).astype(np.float32),
        "true_radius_arcsec": np.ones(n, np.float32),
        "psfsize": np.ones((n, 2), np.float32),
        "noise": np.full((n, 2), 0.005, np.float32),
    }
    embeddings = write_embeddings(tmp_path / "e", columns, np.zeros((n, 2), np.float32))
    names = ["true_mag_g", "true_mag_r", "true_radius_arcsec"]
    splits = photometry(embeddings, read_labelled(embeddings), names, seed=0)
    mags = np.concatenate([some.features[:, 0] for some in splits.values()])
    known = np.concatenate([columns["true_mag_g"][some.id] for some in splits.values()])
    scatter = {m: float(np.std((mags - known)[known == m])) for m in (17.0, 22.0)}
    # A circle of twice sqrt(1 + 0.25) arcsec holds 229 pixels: 0.0756 nmgy of noise, and a
    # galaxy of 22 mag has 1.585 nmgy.
    assert scatter[17.0] == pytest.approx(0.02, rel=0.08)
    assert scatter[22.0] == pytest.approx(np.hypot(0.02, 1.0857 * 0.0756 / 1.585), rel=0.08)


TINY = {
    **{"workers": 2, "threads": 1, "seeds": [0], "labels": [1.0, 20], "orientations": 1},
    **{"probes": ["knn"], "folds": 2, "draws": 2, "fold_probes": ["ridge"]},
    "inputs": {
        "toy": {
            "simulate": {"galaxies": 260, "size_px": 48},
            "catalogue": ["true_mag_g", "true_mag_r", "true_mag_z", "true_radius_arcsec"],
            "lowz": ["true_mag_r", "true_mag_g", "true_radius_arcsec"],
            "likeness": ["true_mag_g - true_mag_r"],
            "configurations": ["measured", "random", "small-cnn"],
            "settings": {"encoder": {"crop_px": 34}, "augmentations": {"jitter_px": 0.0}},
        }
    },
    "pretrain": {"epochs": 1, "batch_size": 64, "moco": {"queue_size": 128}},
    "align": {},
    "supervise": {"epochs": 1, "least_steps": 2},
    "configurations": {"small-cnn": {"labels": [1.0]}},
}


@pytest.mark.slow
def test_a_ladder_is_run_once_and_its_table_says_simulated(tmp_path):
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(TINY))
    command = [sys.executable, "-m", "benchmarks.redshift_ladder", str(tmp_path / "tiny.yaml")]
    command += [f"out={tmp_path}", f"results={tmp_path / 'results'}"]

    def run():
        done = subprocess.run(
            command, cwd=Path(__file__).parents[1], capture_output=True, text=True, env=os.environ
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return {path: path.stat().st_mtime_ns for path in tmp_path.rglob("facts.json")}

    first = run()
    assert len(first) == 4 + 3 * (1 + 2)  # of three frozen lines, all labels once, 20 twice
    page = (tmp_path / "results" / "tiny.md").read_text()
    assert "SIMULATED" in page
    for title in (
        "measurements + 32 learnt by contrast",
        "random weights",
        "SDSS small CNN",
        "aperture photometry",
        "LOW-Z-style cuts",
    ):
        assert title in page
    with (tmp_path / "results" / "tiny.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["configuration"] for row in rows} >= {
        "mean",
        "aperture",
        "catalogue",
        *("measured", "measured: measurements", "measured: learnt"),
        "random",
        "small-cnn",
    }
    assert all(0 < float(row["sigma_nmad"]) < 1 for row in rows)
    for heading in ("cross-validated: 260 galaxies in 2 folds", "gains in cross-validation"):
        assert heading in page
    assert "100 % of labels, 1 seed | 20 labels, 1 seed, 2 draws |" in page
    assert "they train on labels: SDSS small CNN, supervised." in page
    assert "nan" not in page
    with (tmp_path / "results" / "tiny-folds.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["chosen"] == "True"]
    assert {row["galaxies"] for row in rows} == {"260"}
    assert all(0 < float(row["error_sigma_nmad"]) < 1 for row in rows)
    assert (tmp_path / "results" / "tiny.png").stat().st_size > 10_000
    assert run() == first
