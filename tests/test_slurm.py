"""The job scripts, run by bash with a stand-in for srun and scontrol."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

from ssl_photoz.core.artefact import read_card, sha256_of

ROOT = Path(__file__).parents[1]
SCRIPTS = sorted((ROOT / "pretrain" / "slurm").glob("*.sbatch"))
TRAIN = (
    "epochs=3 batch_size=20 moco.queue_size=40 encoder.crop_px=36 checkpoint_steps=4 "
    "augmentations.jitter_px=1"
)
# As srun does: a process per task, signals passed on to each, the greatest exit status returned.
SRUN = """#!/bin/bash
echo "$@" > "$STAND_IN/srun-arguments"
while [[ "$1" == --* ]]; do shift; done
export SLURM_STEP_NUM_TASKS=$TASKS SLURM_STEP_NUM_NODES=1 SLURM_NODEID=0
for task in $(seq 0 $((TASKS - 1))); do
  SLURM_PROCID=$task SLURM_LOCALID=$task "$@" & pids[task]=$!
done
trap 'kill -USR1 "${pids[@]}"' USR1
trap 'kill -TERM "${pids[@]}"' TERM
echo "$$ ${pids[@]}" > "$STAND_IN/pids.partial"
mv "$STAND_IN/pids.partial" "$STAND_IN/pids"
greatest=0
for pid in "${pids[@]}"; do
  wait "$pid"; status=$?
  while kill -0 "$pid" 2>/dev/null; do wait "$pid"; status=$?; done
  ((status > greatest)) && greatest=$status
done
exit "$greatest"
"""
SCONTROL = """#!/bin/bash
if [ "$1" = show ]; then echo 127.0.0.1; else echo "$@" >> "$STAND_IN/requeued"; fi
"""


class Cluster:
    """One node without GPUs, and without Slurm."""

    def __init__(self, folder, *, tasks):
        self.folder, self.tasks = folder, tasks
        for name, text in (
            ("srun", SRUN),
            ("scontrol", SCONTROL),
            ("ssl-photoz", f'#!/bin/bash\nexec {sys.executable} -m ssl_photoz.cli "$@"\n'),
            ("activate", ""),
        ):
            path = folder / "bin" / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
            path.chmod(0o755)

    def submit(self, script, *arguments):
        (self.folder / "pids").unlink(missing_ok=True)
        environment = {
            **os.environ,
            "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}",
            "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
            "VENV": str(self.folder),
            "STAND_IN": str(self.folder),
            "TASKS": str(self.tasks),
            "SLURM_JOB_ID": str(os.getpid()),
            "SLURM_JOB_NODELIST": "node[1-1]",
            "SLURM_CPUS_PER_TASK": "1",
        }
        self.job = subprocess.Popen(
            ["bash", script, *arguments],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def pids(self):
        return [int(pid) for pid in (self.folder / "pids").read_text().split()]

    def wait(self):
        said, _ = self.job.communicate(timeout=600)
        return self.job.returncode, said

    def when(self, condition):
        end = time.monotonic() + 500
        while not condition():
            assert self.job.poll() is None, self.job.communicate()[0]
            assert time.monotonic() < end
            time.sleep(0.01)


@pytest.fixture
def cutouts(tmp_path):
    rng = np.random.default_rng(0)
    path = tmp_path / "cutouts.h5"
    with h5py.File(path, "w") as file:
        file["images"] = rng.normal(0, 0.01, (160, 3, 40, 40)).astype("f4")
        file["TARGETID"] = np.arange(160)
        file["RA"] = rng.uniform(0, 360, 160)
        file["DEC"] = rng.uniform(-60, 60, 160)
        file["Z"] = rng.uniform(0.01, 0.5, 160).astype("f4")
    return path


@pytest.mark.slow
@pytest.mark.dist
def test_a_job_of_two_tasks_survives_its_time_limit_and_a_lost_task(cutouts, tmp_path):
    cluster = Cluster(tmp_path, tasks=2)
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    cluster.submit(SCRIPTS[2], f"data={cutouts}", f"out={whole}", *TRAIN.split())
    status, said = cluster.wait()
    assert status == 0, said
    assert said.count("encoder after 24 steps") == 1
    assert read_card(whole, "encoder")["processes"] == 2
    assert "--kill-on-bad-exit=0 --wait=60" in (tmp_path / "srun-arguments").read_text()

    command = [SCRIPTS[2], f"data={cutouts}", f"out={cut}", *TRAIN.split()]
    cluster.submit(*command)
    cluster.when(lambda: list(cut.glob("step-*.ckpt")))
    os.kill(cluster.pids()[0], signal.SIGUSR1)
    status, said = cluster.wait()
    assert status == 75, said
    assert "stopped by SIGUSR1, checkpoint written after step" in said
    assert (tmp_path / "requeued").read_text() == f"requeue {os.getpid()}\n"

    before = set(cut.glob("step-*.ckpt"))
    cluster.submit(*command)
    cluster.when(lambda: set(cut.glob("step-*.ckpt")) - before)
    os.kill(cluster.pids()[2], signal.SIGKILL)
    status, said = cluster.wait()
    assert status == 137, said
    assert "process 0 of 2 has lost another one" in said
    assert "run the same command to go on from the last checkpoint" in said
    assert len((tmp_path / "requeued").read_text().splitlines()) == 1

    cluster.submit(*command)
    status, said = cluster.wait()
    assert status == 0, said
    assert "going on from step" in said
    assert sha256_of(cut / "weights.safetensors") == sha256_of(whole / "weights.safetensors")


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_headers_ask_for_a_task_per_gpu_and_a_signal_in_time(script):
    lines = script.read_text().splitlines()
    asked = dict(
        line.removeprefix("#SBATCH --").partition("=")[::2]
        for line in lines
        if line.startswith("#SBATCH ")
    )
    assert asked["ntasks-per-node"] == asked["gpus-per-node"]
    assert asked["signal"] == "USR1@120"
    assert {"requeue", "time", "nodes", "cpus-per-task"} <= set(asked)
    assert int(asked["nodes"]) > 1 or script.stem != "many_nodes"
    assert any(f"sbatch pretrain/slurm/{script.name} " in line for line in lines)
    assert subprocess.run(["bash", "-n", script]).returncode == 0
