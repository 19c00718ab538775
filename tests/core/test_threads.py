import os
import subprocess
import sys

import pytest

from ssl_photoz.core.threads import cores_by_affinity, usable_cores


def write(root, files):
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


V2 = {"proc/self/cgroup": "0::/job/step\n", "sys/fs/cgroup/job/step/cpu.max": "max 100000\n"}


@pytest.mark.parametrize(
    ("files", "environment", "expected"),
    [
        ({}, {}, 16),
        ({}, {"SLURM_CPUS_PER_TASK": "4"}, 4),
        ({}, {"SLURM_CPUS_PER_TASK": "32"}, 16),
        ({}, {"SLURM_CPUS_PER_TASK": ""}, 16),
        (V2, {}, 16),
        (V2 | {"sys/fs/cgroup/job/cpu.max": "250000 100000\n"}, {}, 2),
        (V2 | {"sys/fs/cgroup/cpu.max": "50000 100000\n"}, {"SLURM_CPUS_PER_TASK": "8"}, 1),
        (
            {
                "proc/self/cgroup": "4:memory:/x\n2:cpu,cpuacct:/docker/1f\n0::/\n",
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "300000\n",
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
            },
            {},
            3,
        ),
        (
            {
                "proc/self/cgroup": "1:cpu:/\n",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            },
            {},
            16,
        ),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "garbage\n"}, {}, 16),
    ],
)
def test_the_tightest_limit_counts(tmp_path, files, environment, expected):
    assert usable_cores(environment, affinity=16, root=write(tmp_path, files)) == expected


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="Linux")
def test_affinity_is_asked_of_the_system(tmp_path):
    assert usable_cores({}, root=tmp_path) == len(os.sched_getaffinity(0))


@pytest.mark.skipif(cores_by_affinity() < 2, reason="one core has nothing to limit")
@pytest.mark.parametrize(("given", "expected"), [({}, "1"), ({"OMP_NUM_THREADS": "2"}, "2")])
def test_pools_of_threads_keep_to_what_slurm_gives(given, expected):
    kept = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    done = subprocess.run(
        [sys.executable, "-c", "import os, ssl_photoz; print(os.environ['OMP_NUM_THREADS'])"],
        env=kept | given | {"SLURM_CPUS_PER_TASK": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == expected
