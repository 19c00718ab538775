"""`make compare`: its jobs, its table and its figure."""

import numpy as np
import pytest
import yaml

from benchmarks.compare import figure, table
from benchmarks.compare.__main__ import HERE, main
from benchmarks.redshift_ladder.plan import Job, Size
from benchmarks.redshift_ladder.results import Key, Result
from benchmarks.redshift_ladder.run import DONE
from ssl_photoz import cli
from ssl_photoz.core.artefact import write_json

PLAN = str(HERE / "compare.yaml")
NEARBY = {"head": {"kind": "nearby"}}


def test_every_job_can_be_done_and_has_settings_that_its_verb_takes(tmp_path):
    size, done = Size.read(PLAN, tmp_path), set()
    asked = {
        configuration for about in size.inputs.values() for configuration in about["configurations"]
    }
    for job in size.jobs():
        assert job.ready(done), job
        done.add(job.folder)
        asked.discard(job.configuration)
        if job.verb and job.seed == 0:
            where = {} if job.verb == "correct" else {"data": "c.h5"}
            start = {}
            if job.after:
                on_embeddings = job.verb == "correct" or job.classifies
                start = {"embeddings": "e"} if on_embeddings else {"start": "e"}
            config = tmp_path / "job.yaml"
            config.write_text(yaml.safe_dump({**where, "out": "o", **job.settings, **start}))
            cli.parse(job.verb, [str(config)], tell=pytest.fail)
    assert not asked


def result(configuration, z, offsets):
    z_phot = np.stack([z + offset * (1 + z) for offset in offsets])
    return Result(
        Key("simulated", configuration, "100 %", "", "x"), z_phot, z, np.arange(len(z)), 0.0
    )


def test_a_line_is_the_mean_over_seeds_and_its_error_holds_theirs(tmp_path):
    size = Size.read(PLAN, tmp_path)
    z = np.linspace(0.01, 0.3, 400)
    (line,) = table.lines(size, [result("resnet18", z, (0.01, 0.02, 0.06))], [])
    assert line.values["bias"] == pytest.approx(0.03)
    assert line.values["outliers_05"] == pytest.approx(1 / 3)
    assert line.errors["bias"] == pytest.approx(np.std([0.01, 0.02, 0.06], ddof=1) / np.sqrt(3))
    page = table.markdown(size, [line])
    assert "SIMULATED" in page
    assert "400 test galaxies, 3 seeds" in page
    assert "| ResNet-18 end to end | 100 % |" in page
    assert figure.draw(size, [line], note="").axes


def test_classifiers_are_averaged_over_seeds(tmp_path):
    jobs = [
        Job("toy", seed, "lowz", "supervise", NEARBY, 1.0, tmp_path / f"{seed}")
        for seed in range(3)
    ]
    for job, precision in zip(jobs, (0.1, 0.2, 0.6), strict=True):
        job.folder.mkdir()
        said = {"cnn": {"average_precision": precision}, "cuts": {"purity": 0.25}}
        write_json(job.folder / DONE, {"classified": said})
    page = table.classified_markdown(jobs)
    error = np.std([0.1, 0.2, 0.6], ddof=1) / np.sqrt(3)
    assert f"| cnn | 100 % | 0.300 ± {error:.3f} |" in page
    assert "| cuts | 100 % |  | 0.250 ± 0.000 |" in page


Z_MAX = {"z_max": 0.15}
TINY = {
    **{"workers": 2, "threads": 1, "seeds": [0], "labels": [1.0], "orientations": 1},
    "probes": ["ridge"],
    "inputs": {
        "toy": {
            "simulate": {"galaxies": 400, "size_px": 48},
            "settings": {
                "encoder": {"crop_px": 34},
                "augmentations": {"jitter_px": 0.0},
                "magnitude": "true_mag_r",
            },
            "lowz": ["true_mag_r", "true_mag_g", "true_radius_arcsec"],
            "configurations": ["random", "corrected", "small-cnn", "lowz"],
        }
    },
    "pretrain": {"batch_size": 64, "moco": {"queue_size": 128}},
    "supervise": {"epochs": 1, "least_steps": 2},
    "correct": {"steps": ["balanced"], "bins": 20},
    "configurations": {
        "corrected": {"title": "corrected", "after": "random", "correct": {}},
        "lowz": {
            "title": "classifier",
            "after": "random",
            "supervise": {"network": "small_cnn", "head": {"kind": "nearby", "nearby": Z_MAX}},
        },
    },
}


@pytest.mark.slow
def test_every_kind_of_configuration_gets_a_line_with_its_price(tmp_path, capsys):
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(TINY))
    main([str(tmp_path / "tiny.yaml"), f"out={tmp_path}", f"results={tmp_path / 'results'}"])
    page = (tmp_path / "results" / "tiny.md").read_text()
    assert "SIMULATED" in page
    assert "| frozen | 100 % |" in page
    rows = {line.split(" | ")[0][2:]: line for line in page.splitlines() if " | 100 % | " in line}
    assert set(rows) >= {"random weights", "corrected", "SDSS small CNN, supervised"}
    for title in ("random weights", "SDSS small CNN, supervised"):
        seconds, parameters = rows[title].rstrip(" |").split(" | ")[-2:]
        assert int(seconds) >= 0
        assert int(parameters.replace(",", "")) > 100_000
    assert (tmp_path / "results" / "tiny.png").stat().st_size > 10_000
