"""From one simulated survey to another: what adaptation brings.

    python -m benchmarks.adapt small
    python -m benchmarks.adapt small out=runs/adapt results=benchmarks/adapt/results

Jobs that are done stay done: run the same command to go on. Table and figure are of whatever jobs
are finished.
"""

from __future__ import annotations

import datetime
import os
import platform
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

from benchmarks.adapt import figure, table
from benchmarks.adapt.jobs import Job, Plan, do, observe
from ssl_photoz.core.artefact import atomic_path, read_json, write_json

HERE = Path(__file__).resolve().parent


def main(arguments: list[str]) -> str:
    """Run a size, write what came of it, and return the page."""
    name, *rest = arguments or ["small"]
    given = dict(argument.split("=", 1) for argument in rest)
    plan = Plan.read(HERE / f"{name}.yaml", Path(given.get("out", "runs/adapt")))
    started = time.perf_counter()
    try:
        for seed in plan.seeds:
            observe(plan, seed)
        _do_all(plan)
    finally:
        minutes = _spent(plan.out / "seconds.json", time.perf_counter() - started) / 60
    found = table.gather(plan)
    note = (
        f"SIMULATED south to SIMULATED north, {plan.settings['galaxies']} galaxies each, "
        f"{len(plan.seeds)} seeds; {minutes:.0f} minutes on {os.cpu_count()} cores, "
        f"{platform.machine()}, {datetime.date.today()}"
    )
    folder = Path(given.get("results", HERE / "results"))
    folder.mkdir(parents=True, exist_ok=True)
    text = f"{note}\n\n{table.markdown(found)}"
    with atomic_path(folder / f"{name}.md") as scratch:
        scratch.write_text(text)
    write_json(folder / f"{name}.json", found)
    figure.draw(found, folder / f"{name}.png", note=note)
    return text


def _spent(path: Path, seconds: float) -> float:
    """Add the seconds of this call to those of earlier, interrupted ones; return all."""
    before = float(read_json(path)["seconds"]) if path.exists() else 0.0
    write_json(path, {"seconds": before + seconds})
    return before + seconds


def _do_all(plan: Plan) -> None:
    from tqdm import tqdm

    os.environ["OMP_NUM_THREADS"] = "1"  # of the workers, before they load anything
    waiting: list[Job] = [job for job in plan.jobs() if not job.result.exists()]
    with ProcessPoolExecutor(plan.settings["workers"], get_context("spawn")) as pool:
        running = {pool.submit(do, job, plan): job for job in waiting}
        for finished in tqdm(as_completed(running), total=len(running), desc="adapt", unit="job"):
            try:
                finished.result()
            except Exception as error:
                pool.shutdown(cancel_futures=True)
                log = running[finished].folder / "log.txt"
                raise RuntimeError(f"{running[finished]}: {error}; see {log}") from error


if __name__ == "__main__":
    print(main(sys.argv[1:]))
