"""What a busy machine costs a probe and an encoder, with threads that wait spinning or passively.

    python -m benchmarks.busy              # about five minutes
    python -m benchmarks.busy --quick      # one; figures are rougher

Each figure is the least of some runs, each in a process of its own: `MLP` fitted to made-up
embeddings, and an encoder with random weights that embeds made-up cutouts. Beside it runs either
nothing, or one process per core that multiplies matrices. Ratios are of figures of one run of this
program, waiting policies in turn, so that whatever else the machine does falls on all of them.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
POLICIES = ("ACTIVE", "PASSIVE")
BUSY = "import numpy as np\na = np.ones((400, 400))\nwhile True: a @ a"
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def fit_mlp(n: int, dim: int) -> float:
    """Seconds to fit the MLP probe to n galaxies with some features."""
    import numpy as np

    from ssl_photoz.photoz.networks import MLP

    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, dim)).astype(np.float32)
    z = np.expm1(np.clip(0.15 + 0.05 * np.tanh(X[:, 0]) + 0.02 * X[:, 1], 0.003, 0.6))
    started = time.perf_counter()
    MLP().fit(X[n // 5 :], z[n // 5 :], validation=(X[: n // 5], z[: n // 5]))
    return time.perf_counter() - started


def embed(n: int, side: int) -> float:
    """Seconds to embed n cutouts of some pixels a side."""
    import numpy as np

    from ssl_photoz.encoders.encoder import fresh_encoder
    from ssl_photoz.encoders.settings import EncoderConfig

    bands = ("g", "r", "z")
    encoder = fresh_encoder(
        EncoderConfig(backbone="resnet18", crop_px=side),
        noise=[0.01] * 3,
        seed=0,
        bands=bands,
        pixscale_arcsec=0.262,
        calibrated=True,
    )
    pixels = np.random.default_rng(0).normal(0, 0.02, (n, 3, side, side)).astype(np.float32)
    encoder.embed(pixels[:8])
    started = time.perf_counter()
    encoder.embed(pixels)
    return time.perf_counter() - started


TASKS = {"mlp": fit_mlp, "embed": embed}
SIZES = {"mlp": (5_000, 512), "embed": (256, 64)}
QUICK = {"mlp": (1_500, 256), "embed": (64, 64)}


@contextmanager
def busy(processes: int) -> Iterator[None]:
    """Keep as many processes at work meanwhile."""
    beside = [
        subprocess.Popen([sys.executable, "-c", BUSY], env={**os.environ, **ONE_THREAD})
        for _ in range(processes)
    ]
    try:
        time.sleep(1 if beside else 0)
        yield
    finally:
        for one in beside:
            one.kill()
            one.wait()


def seconds(task: str, policy: str, size: tuple[int, int]) -> float:
    """Seconds that a task takes in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.busy", "--task", task, "--size", *map(str, size)]
    environment = {**os.environ, "OMP_WAIT_POLICY": policy}
    said = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return float(said.stdout.split()[-1])


def measure(sizes: dict[str, tuple[int, int]], repeats: int) -> dict[str, Any]:
    """Seconds of every task, by waiting policy, alone and beside as many processes as cores."""
    cores = len(os.sched_getaffinity(0))
    found: dict[str, dict[str, dict[str, float]]] = {}
    for beside, processes in (("alone", 0), ("busy", cores)):
        with busy(processes):
            for repeat in range(repeats):
                for task, size in sizes.items():
                    for policy in POLICIES:
                        took = seconds(task, policy, size)
                        kept = found.setdefault(task, {}).setdefault(policy, {})
                        kept[beside] = min(took, kept.get(beside, took))
                        print(f"{task} {policy} {beside} {repeat}: {took:.2f} s", flush=True)
    load = [round(one, 1) for one in os.getloadavg()]
    return {"cores": cores, "load": load, "repeats": repeats, "sizes": sizes, "seconds": found}


def table(measured: dict[str, Any]) -> str:
    """The figures as a table in Markdown."""
    lines = [
        "| | waiting | alone, s | beside, s | beside / alone | active / passive, beside |",
        "|---|---|---|---|---|---|",
    ]
    for task, by_policy in measured["seconds"].items():
        gain = by_policy["ACTIVE"]["busy"] / by_policy["PASSIVE"]["busy"]
        for policy, took in by_policy.items():
            ratio = took["busy"] / took["alone"]
            last = f"{gain:.1f}" if policy == "PASSIVE" else ""
            lines.append(
                f"| {task} | {policy.lower()} | {took['alone']:.1f} | {took['busy']:.1f} "
                f"| {ratio:.1f} | {last} |"
            )
    return "\n".join(lines)


def main() -> None:
    """Measure, print and write, or do one task."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--task", choices=TASKS)
    parser.add_argument("--size", type=int, nargs=2)
    given = parser.parse_args()
    if given.task:
        print(TASKS[given.task](*given.size))
        return
    measured = measure(QUICK if given.quick else SIZES, repeats=given.repeats)
    (HERE / "results.json").write_text(json.dumps(measured, indent=2) + "\n")
    print(table(measured))


if __name__ == "__main__":
    main()
