"""The redshift ladder: every configuration, on the same galaxies, split and metrics.

    python -m benchmarks.redshift_ladder small
    python -m benchmarks.redshift_ladder medium out=runs/ladder

Jobs that are done stay done: run the same command to go on. The table and the figure are written
beside this file, of whatever jobs are finished.
"""

from __future__ import annotations

import csv
import datetime
import os
import platform
import sys
import time
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from multiprocessing import get_context
from pathlib import Path

from benchmarks.redshift_ladder import crossvalidated, figure, fold_table, table
from benchmarks.redshift_ladder import results as scored
from benchmarks.redshift_ladder.inputs import make_inputs
from benchmarks.redshift_ladder.plan import HERE, TRAININGS, Job, Size
from benchmarks.redshift_ladder.run import DONE, end_with_parent, run_job
from ssl_photoz import cli
from ssl_photoz.core.artefact import atomic_path, read_json, write_json

HOW_LONG = {
    "pretrain": "encoders pretrained for {} epochs",
    "align": "with labels for {} more",
    "supervise": "networks trained for {} at most",
}


def main(arguments: list[str]) -> None:
    """Run a size of the ladder and write what came of it."""
    name, *rest = arguments or ["small"]
    given = dict(argument.split("=", 1) for argument in rest)
    size = Size.read(name, Path(given.get("out", "runs/ladder")))
    started = time.perf_counter()
    try:
        inputs = make_inputs(size)
        jobs = [job for job in size.jobs() if job.input in inputs]
        if given.get("only") != "table":
            run_all(size, jobs)
    finally:
        minutes = spent(size.out / "seconds.json", time.perf_counter() - started) / 60
    trained = {
        verb: size.defaults[verb].get("epochs", cli.default_of(verb, "epochs"))
        for verb in TRAININGS
        if any(job.verb == verb for job in jobs)
    }
    said = ", ".join(HOW_LONG[verb].format(epochs) for verb, epochs in trained.items())
    note = (
        f"{size.name}: {said}; {minutes:.0f} minutes on {os.cpu_count()} cores, "
        f"{platform.machine()}, {datetime.date.today()}"
    )
    results = scored.read_results(jobs)
    results_folder = Path(given.get("results", HERE / "results"))
    results_folder.mkdir(parents=True, exist_ok=True)
    _write_csv(results_folder / f"{size.name}.csv", list(scored.rows(results)))
    parts = crossvalidated.read_cross_validated(jobs)
    folded = crossvalidated.chosen_by_fold(parts)
    if folded:
        rows = list(crossvalidated.rows(parts, folded))
        _write_csv(results_folder / f"{size.name}-folds.csv", rows)
    facts = table.gather_facts(jobs)
    text = (
        table.markdown(size, results, facts)
        + table.duels_markdown(size, results)
        + fold_table.markdown(size, folded)
        + fold_table.gains_markdown(size, folded)
        + table.nearby_markdown(size, results, jobs, folded)
        + table.likeness_markdown(size, jobs)
    )
    with atomic_path(results_folder / f"{size.name}.md") as scratch:
        scratch.write_text(f"{note}\n{text}")
    known = {name: facts.get(f"{name}/references", {}) for name in inputs}
    labels = {name: int(said["training_labels"]) for name, said in known.items() if said}
    figure.draw(size, results, labels, results_folder / f"{size.name}.png", note=note)
    print(text)


def _write_csv(path: Path, rows: list[dict[str, object]]) -> None:
    with atomic_path(path) as scratch, scratch.open("w") as file:
        writer = csv.DictWriter(file, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def spent(path: Path, seconds: float) -> float:
    """Add the seconds of this call to those of earlier, interrupted ones; return all."""
    before = float(read_json(path)["seconds"]) if path.exists() else 0.0
    write_json(path, {"seconds": before + seconds})
    return before + seconds


def run_all(size: Size, jobs: list[Job]) -> None:
    """Do jobs side by side, each after the one it starts from."""
    from tqdm import tqdm

    waiting = [job for job in jobs if not (job.folder / DONE).exists()]
    done = {job.folder for job in jobs} - {job.folder for job in waiting}
    running: dict[Future[Job], Job] = {}
    os.environ["OMP_NUM_THREADS"] = str(size.threads)  # of the workers, before they load anything
    with ProcessPoolExecutor(size.workers, get_context("spawn"), end_with_parent) as pool:
        bar = tqdm(total=len(waiting), desc=f"{size.name} ladder", unit="job")
        while waiting or running:
            free = size.workers - len(running)
            for job in [job for job in waiting if job.ready(done)][:free]:
                waiting.remove(job)
                running[pool.submit(run_job, job, size)] = job
            for finished in wait(running, return_when=FIRST_COMPLETED).done:
                job = running.pop(finished)
                try:
                    finished.result()
                except Exception as error:
                    raise RuntimeError(f"{job}: {error}; see {job.folder / 'log.txt'}") from error
                done.add(job.folder)
                bar.update()
        bar.close()


if __name__ == "__main__":
    main(sys.argv[1:])
