"""How many cores a process may use: for every pool of threads or processes, one answer."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

# Read once, by OpenMP, MKL and Arrow, and by Numba, when they load.
POOLS = ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS")


def usable_cores(
    environment: Mapping[str, str] = os.environ,
    *,
    affinity: int | None = None,
    root: Path = Path("/"),
) -> int:
    """Cores that this process may use.

    The least of: the processors it may run on, Slurm's ``SLURM_CPUS_PER_TASK``, and the quota of
    its control groups, version 2 or 1, as containers have one.

    Args:
        environment: The environment.
        affinity: Processors it may run on; by default asked of the system.
        root: Where ``/proc`` and ``/sys`` are.

    Returns:
        At least 1.
    """
    known = [float(cores_by_affinity() if affinity is None else affinity), *_quotas(root)]
    slurm = environment.get("SLURM_CPUS_PER_TASK", "")
    if slurm.isdigit():
        known.append(float(slurm))
    return max(int(min(known)), 1)


def cores_by_affinity() -> int:
    """Processors that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def limit_pools() -> None:
    """Keep pools of threads, made later, within `usable_cores`; what the user has set stays.

    Libraries see affinity by themselves, and know better than to use both halves of a core.
    """
    if (cores := usable_cores()) < cores_by_affinity():
        for name in POOLS:
            os.environ.setdefault(name, str(cores))


def _quotas(root: Path) -> Iterator[float]:
    """Cores' worth of processor time that each control group of this process allows."""
    try:
        groups = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        return
    for line in groups:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        top = root / "sys/fs/cgroup" / controllers
        # In a container the path is often that outside of it: then the top is the group itself.
        inner = Path(path.lstrip("/"))
        for folder in {top, *(top / part for part in (inner, *inner.parents))}:
            try:
                if controllers:
                    quota = (folder / "cpu.cfs_quota_us").read_text(encoding="utf-8")
                    period = (folder / "cpu.cfs_period_us").read_text(encoding="utf-8")
                else:
                    quota, period = (folder / "cpu.max").read_text(encoding="utf-8").split()
                if quota.strip() != "max" and int(quota) > 0:
                    yield int(quota) / int(period)
            except (OSError, ValueError):
                continue
