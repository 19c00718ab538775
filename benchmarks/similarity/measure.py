"""Time and memory of searches; each stage in a fresh process, whose memory is its own."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from ssl_photoz.core.types import Array

SINGLES = 500
REPEATS = 5
Search = Callable[[Array], Array]


def apart(stage: Callable[..., dict[str, Any]], *given: Any) -> dict[str, Any]:  # noqa: ANN401
    """Run a stage in a fresh process and return what it measured."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(stage, *given).result()


def resident_mb(what: str = "VmRSS") -> float:
    """This process's resident memory now (VmRSS) or at most so far (VmHWM), 10^6 bytes."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    (kib,) = (int(line.split()[1]) for line in lines if line.startswith(what + ":"))
    return kib * 1024 / 1e6


def singles_ms(search: Search, queries: Array, count: int = SINGLES) -> dict[str, float]:
    """Median and the 99th percentile of the time of one query, milliseconds."""
    return percentiles(np.array([seconds(search, one[None]) for one in queries[:count]]))


def percentiles(times_s: Array) -> dict[str, float]:
    """``p50_ms`` and ``p99_ms`` of some times in seconds."""
    p50, p99 = np.percentile(1e3 * times_s, [50, 99])
    return {"p50_ms": float(p50), "p99_ms": float(p99)}


def batch_per_s(search: Search, queries: Array) -> float:
    """Queries per second when all are asked at once; the best of five."""
    return len(queries) / min(seconds(search, queries) for _ in range(REPEATS))


def in_turn(searches: Sequence[Search], asked: Sequence[Array]) -> tuple[Array, Array]:
    """Time several searches so that all see the same machine.

    One after the other, and never the query that was just asked, whose lists would be at hand.

    Args:
        searches: What to time.
        asked: The queries of each, shape (n, D) each.

    Returns:
        Median time of one query, and least time of all at once, of each search, in seconds.
    """
    count = min(SINGLES, len(asked[0]))
    times = np.empty((len(searches), count))
    for i in range(count):
        for which in range(len(searches)):
            one = (i + which * count // len(searches)) % count
            times[which, i] = seconds(searches[which], asked[which][one : one + 1])
    batches = [[seconds(*one) for one in zip(searches, asked, strict=True)] for _ in range(REPEATS)]
    return np.median(times, axis=1), np.min(batches, axis=0)


def seconds(search: Search, queries: Array) -> float:
    """How long one search takes."""
    started = time.perf_counter()
    search(queries)
    return time.perf_counter() - started


def bytes_of(folder: Path, pattern: str) -> int:
    """How many bytes some files of a folder take."""
    return sum(path.stat().st_size for path in folder.glob(pattern))
