"""One table of the older systems beside frozen embeddings.

    python -m benchmarks.compare
    python -m benchmarks.compare mine.yaml out=runs/mine results=runs/mine/results

The redshift ladder's jobs and workers do it, and those of `benchmarks.adapt` where the plan names
one of its sizes: jobs that are done stay done, and the same command goes on after an interruption.
"""

from __future__ import annotations

import datetime
import os
import platform
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import yaml

from benchmarks.adapt.__main__ import main as adapt
from benchmarks.compare import figure, table
from benchmarks.redshift_ladder import results as scored
from benchmarks.redshift_ladder.__main__ import run_all, spent
from benchmarks.redshift_ladder.inputs import make_inputs
from benchmarks.redshift_ladder.plan import Size
from benchmarks.redshift_ladder.table import nearby_markdown
from ssl_photoz.core.artefact import atomic_path

HERE = Path(__file__).resolve().parent


def main(arguments: list[str]) -> None:
    """Run what is not done yet; write the table and the figure."""
    given = dict(argument.split("=", 1) for argument in arguments if "=" in argument)
    named = [argument for argument in arguments if "=" not in argument]
    plan = named[0] if named else str(HERE / "compare.yaml")
    out = Path(given.get("out", "runs/compare"))
    folder = Path(given.get("results", HERE / "results"))
    size = _in_order(Size.read(plan, out))
    started = time.perf_counter()
    try:
        inputs = make_inputs(size)
        jobs = [job for job in size.jobs() if job.input in inputs]
        run_all(size, jobs)
        adapted = _adapted(plan, out, given)
    finally:
        minutes = spent(size.out / "seconds.json", time.perf_counter() - started) / 60
    note = (
        f"{size.name}: {minutes:.0f} minutes on {os.cpu_count()} cores, {platform.machine()}, "
        f"{datetime.date.today()}"
    )
    lines = table.lines(size, scored.read_results(jobs), jobs)
    text = (
        table.markdown(size, lines)
        + nearby_markdown(size, scored.read_results(jobs), jobs)
        + table.classified_markdown(jobs)
        + adapted
    )
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_path(folder / f"{size.name}.md") as scratch:
        scratch.write_text(f"{note}\n{text}")
    with atomic_path(folder / f"{size.name}.png") as scratch:
        figure.draw(size, lines, note=note).savefig(scratch, format="png")
    print(text)


def _in_order(size: Size) -> Size:
    """Bring the configurations, and so the table, to the order in which the inputs name them."""
    named = [
        configuration
        for about in size.inputs.values()
        for configuration in about.get("configurations", ())
    ]
    order = dict.fromkeys((*named, *size.configurations))
    return replace(
        size,
        configurations={
            configuration: size.configurations[configuration] for configuration in order
        },
    )


def _adapted(plan: str, out: Path, given: Mapping[str, str]) -> str:
    """Compare on two surveys, where the plan says so; return that part of the page."""
    size = yaml.safe_load(Path(plan).read_text()).get("adapt")
    if size is None:
        return ""
    results = [f"results={given['results']}"] if "results" in given else []
    page = adapt([size, f"out={out / 'adapt'}", *results])
    return f"\n### from one survey, with labels, to another, without\n\n{page}"


if __name__ == "__main__":
    main(sys.argv[1:])
