"""The comparison of adaptations: settings are those of the verbs, the table says what was found."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.adapt import figure, table
from benchmarks.adapt.jobs import FROZEN, NETWORKS, Plan, _flat
from ssl_photoz import cli
from ssl_photoz.core.artefact import write_json

HERE = Path(__file__).parents[1] / "benchmarks" / "adapt"


@pytest.mark.parametrize("name", ["small", "tiny"])
def test_settings_of_every_job_are_settings_of_its_verb(name, tmp_path):
    plan = Plan.read(HERE / f"{name}.yaml", tmp_path)
    for changes in NETWORKS.values():
        given = {"data": "a", "target": "b", "out": "c", **plan.settings["transfer"], **changes}
        parsed = cli.parse(
            "transfer", [f"{key}={value}" for key, value in _flat(given)], tell=pytest.fail
        )
        assert list(parsed["adaptation"].methods) == changes.get("methods", [])
        assert parsed["augmentations"].psf_strength == 0.0
    given = {"data": "a", "out": "b", **plan.settings["pretrain"]}
    cli.parse("pretrain", [f"{key}={value}" for key, value in _flat(given)], tell=pytest.fail)
    for method in FROZEN[1:-1]:
        cli.parse(
            "harmonize",
            ["embeddings=a", "reference=b", "out=c", f"method={method}"],
            tell=pytest.fail,
        )
    folders = [job.folder for job in plan.jobs()]
    assert len(set(folders)) == len(folders) == len(plan.seeds) * (len(NETWORKS) + 1)


def test_the_table_has_means_and_errors_over_the_seeds_that_are_done(tmp_path):
    plan = Plan.read(HERE / "small.yaml", tmp_path)
    told = {"bias": 0.01, "sigma_nmad": 0.03, "outliers_05": 0.1, "nz_wasserstein": 0.02}
    for job in plan.jobs():
        if job.name == "no adaptation" and job.seed < 2:
            job.folder.mkdir(parents=True)
            bias = told["bias"] + 0.004 * job.seed
            write_json(job.result, {job.name: {**told, "bias": bias, "told_apart": None}})
    found = table.gather(plan)
    assert found["no adaptation"]["bias"] == pytest.approx([0.01, 0.014])
    (row,) = [line for line in table.markdown(found).splitlines() if "no adaptation" in line]
    assert row.startswith("| no adaptation | 0.0120 ± 0.0020 | 0.0300 ± 0.0000 | 0.100 ± 0.000 |")
    assert np.isnan(table.mean_and_error([1.0])[1])
    figure.draw(found, tmp_path / "figure.png", note="SIMULATED")
    assert (tmp_path / "figure.png").stat().st_size > 1000
