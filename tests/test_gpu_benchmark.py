import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_the_script_for_gpus_runs_small_on_a_processor(tmp_path):
    environment = os.environ | {"PYTHON": sys.executable, "CUDA_VISIBLE_DEVICES": ""}
    command = [ROOT / "benchmarks" / "gpu" / "run.sh", "--smoke", f"out={tmp_path}"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr[-3000:]
    page = (tmp_path / "gpu.md").read_text()
    assert "No GPU" in page
    assert "SIMULATED" in page
    assert "FAILED" not in page
    for stage in ("whole and resumed | bit-equal", "by gloo | right", "lists", "mlp", "epochs of"):
        assert stage in page


def test_without_a_gpu_the_script_says_so(tmp_path):
    environment = os.environ | {"PYTHON": sys.executable, "CUDA_VISIBLE_DEVICES": ""}
    command = [ROOT / "benchmarks" / "gpu" / "run.sh", f"out={tmp_path}"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 1
    assert "--smoke" in done.stderr
