"""The map: time and trust of ours, beside other ways to lay it out.

    python -m benchmarks.map 250000                       # SIMULATED embeddings
    python -m benchmarks.map runs/real/embeddings name=real limit=10000
    python -m benchmarks.map 250000 ways=command,ours,pacmap

First `ssl-photoz map` as a whole (``command``), then every way of ``layouts.py``, each in a fresh
process, on the same reduced vectors; at most ``limit`` galaxies are laid out, the others placed.
Writes ``results/NAME.json`` beside this file, and from all of them RESULTS.md. Simulated
embeddings, reduced vectors and maps stay under ``work``.
"""

from __future__ import annotations

import datetime
import importlib.util
import os
import platform
import sys
from pathlib import Path
from typing import Any

from benchmarks.map import stages
from benchmarks.map.layouts import WAYS
from benchmarks.map.pages import write_page
from benchmarks.map.vectors import make_store
from benchmarks.similarity.measure import apart
from ssl_photoz.core.artefact import write_json

HERE = Path(__file__).parent
LIMIT = 25_000


def main(arguments: list[str]) -> None:
    """Measure one size, or one embeddings folder."""
    given = dict(one.split("=", 1) for one in arguments if "=" in one)
    (what,) = [one for one in arguments if "=" not in one] or ["250000"]
    results = Path(given.get("results", HERE / "results"))
    threads = int(given.get("threads", os.cpu_count() or 1))
    os.environ["OMP_NUM_THREADS"] = os.environ["NUMBA_NUM_THREADS"] = str(threads)  # inherited
    limit = int(given.get("limit", LIMIT))
    name = given.get("name", f"simulated-{what}" if what.isdigit() else Path(what).parent.name)
    work = Path(given.get("work", "runs/map")) / name
    source = Path(what)
    if what.isdigit():
        source = make_store(work / "embeddings", int(what)).folder
    facts = {
        "name": name,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "threads": threads,
        "limit": limit,
        "date": f"{datetime.date.today()}",
        **apart(stages.reduce, source, work),
    }
    ways = given["ways"].split(",") if "ways" in given else ["command", *WAYS]
    measured = {}
    for way in ways:
        if way == "command":
            measured[way] = _said(way, stages.command(source, work / "map", limit))
        elif _is_there(WAYS[way].needs):
            measured[way] = _said(way, apart(stages.lay_out_and_score, way, source, work, limit))
    write_json(results / f"{name}.json", {**facts, "ways": measured})
    write_page(results)


def _said(way: str, measured: dict[str, Any]) -> dict[str, Any]:
    figures = ", ".join(f"{name} {value:.4g}" for name, value in measured.items())
    print(f"{way}: {figures}", flush=True)
    return measured


def _is_there(library: str) -> bool:
    found = importlib.util.find_spec(library) is not None
    if not found:
        print(f"LEFT OUT: {library} is not installed", flush=True)
    return found


if __name__ == "__main__":
    main(sys.argv[1:])
