"""The recipes as files: the job script with a stand-in for srun; YAMLs, read by what reads them."""

import sys
from pathlib import Path

import pytest
import yaml

pytest.importorskip("hats", reason="hats is not installed")

from ssl_photoz.core.errors import ConfigError
from ssl_photoz.embeddings.store import Embeddings
from ssl_photoz.scaleout import runners
from ssl_photoz.scaleout.settings import RunnerConfig, TilesConfig
from tests.scaleout.conftest import require_identical
from tests.test_slurm import Cluster

ROOT = Path(__file__).parents[2]
SETTINGS = ("batch_size=16", "readout.orientations=1", "tiles.most_rows=30")


@pytest.mark.slow
@pytest.mark.dist
def test_the_job_script_makes_tiles_on_two_tasks_and_then_a_catalogue(
    tiled, cutouts, encoder, tmp_path
):
    cluster = Cluster(tmp_path, tasks=2)
    out = tmp_path / "out"
    cluster.submit(
        ROOT / "pretrain/slurm/tiles.sbatch",
        *("embed", f"data={cutouts}", f"using={encoder}", f"out={out}", *SETTINGS),
    )
    status, said = cluster.wait()
    assert status == 0, said
    assert said.count("has made its share of the tiles") == 2
    require_identical(Embeddings.open(out), tiled)


class FakeJobqueue:
    """What of dask-jobqueue is used, without a queue."""

    class SLURMCluster:
        def __init__(self, **options):
            self.options = options

        def adapt(self, **bounds):
            self.bounds = bounds


def test_the_yaml_of_jobs_is_what_the_runner_reads(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "dask_jobqueue", FakeJobqueue)
    path = ROOT / "pretrain/slurm/dask_jobs.yaml"
    cluster = runners._job_cluster(path)
    assert cluster.options["processes"] == 1
    assert "GPU=1" in cluster.options["worker_extra_args"]
    assert cluster.bounds == {"minimum_jobs": 8, "maximum_jobs": 8}
    other = tmp_path / "jobs.yaml"
    other.write_text("cluster: NoCluster\njobs: 8\n")
    with pytest.raises(ConfigError, match="a class of dask_jobqueue"):
        runners._job_cluster(other)


def test_the_cluster_of_kubernetes_gives_each_worker_one_gpu_and_one_tile():
    said = yaml.safe_load((ROOT / "pretrain/kubernetes/dask_cluster.yaml").read_text())
    (worker,) = said["spec"]["worker"]["spec"]["containers"]
    assert {"--nthreads=1", "--resources=GPU=1"} <= set(worker["args"])
    assert worker["resources"]["limits"]["nvidia.com/gpu"] == "1"
    (scheduler,) = said["spec"]["scheduler"]["spec"]["containers"]
    settings = {one["name"]: one["value"] for one in scheduler["env"]}
    deaths = settings["DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES"]
    assert int(deaths) == RunnerConfig().deaths


@pytest.mark.parametrize(
    "given",
    [
        {"kind": "here", "scheduler": "tcp://a:8786"},
        {"kind": "dask", "scheduler": "tcp://a:8786", "jobs": "jobs.yaml"},
        {"retries": -1},
        {"deaths": -1},
        {"workers": -2},
    ],
)
def test_runners_that_cannot_be_meant_are_refused(given):
    with pytest.raises(ConfigError, match=r"runner\."):
        RunnerConfig(**given)


@pytest.mark.parametrize("given", [{"most_rows": 0}, {"coarsest": 5, "finest": 4}, {"finest": 30}])
def test_tiles_that_cannot_be_meant_are_refused(given):
    with pytest.raises(ConfigError, match=r"tiles\."):
        TilesConfig(**given)


def test_missing_libraries_are_said_in_one_line_with_what_to_install(
    monkeypatch, cutouts, encoder, tmp_path
):
    from tests.scaleout.faulty import run

    said = r"pip install 'ssl-photoz\[scaleout\]'"
    with monkeypatch.context() as patched:
        patched.setitem(sys.modules, "hats", None)
        with pytest.raises(ConfigError, match=said):
            run(cutouts, encoder, tmp_path / "out")
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ConfigError, match=said):
        run(cutouts, encoder, tmp_path / "out", runner=RunnerConfig(kind="dask"))
