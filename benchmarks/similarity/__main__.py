"""The index ladder: build time, memory, recall and speed, beside baselines in the same run.

    python -m benchmarks.similarity 100000
    python -m benchmarks.similarity 100000 1000000 5000000
    python -m benchmarks.similarity 5000000 types=auto,ivf_sq8,ivf_pq baselines=flat
    python -m benchmarks.similarity 1000000 threads=1 work=runs/similarity

Writes ``results/<size>.json`` beside this file when a size is done, and from all of them
RESULTS.md and SCALE.md. Vectors and indexes stay under ``work``.
"""

from __future__ import annotations

import datetime
import importlib.util
import os
import sys
from pathlib import Path
from typing import Any

from benchmarks.similarity import stages
from benchmarks.similarity.measure import apart
from benchmarks.similarity.pages import write_pages
from ssl_photoz.core.artefact import write_json

HERE = Path(__file__).parent
TYPES = "auto,hnsw,ivf_flat,ivf_sq8,ivf_pq"
BASELINES = "flat,scikit_learn,hnswlib"


def main(arguments: list[str]) -> None:
    """Run the sizes named, one after the other."""
    given = dict(one.split("=", 1) for one in arguments if "=" in one)
    if "rivals" in given:
        raise SystemExit("rivals= is now baselines=")
    sizes = [int(float(one)) for one in arguments if "=" not in one] or [100_000]
    work = Path(given.get("work", "runs/similarity"))
    results = Path(given.get("results", HERE / "results"))
    threads = int(given.get("threads", os.cpu_count() or 1))
    os.environ["OMP_NUM_THREADS"] = str(threads)  # inherited by every stage
    for rows in sizes:
        types = given.get("types", TYPES).split(",")
        baselines = [
            name for name in given.get("baselines", BASELINES).split(",") if _is_there(name)
        ]
        measured = {
            "rows": rows,
            "threads": threads,
            "machine": f"{_processor()}, {os.cpu_count()} cores",
            "date": f"{datetime.date.today()}",
            "simulated": True,
            **_measure(work / str(rows), rows, types, baselines),
        }
        write_json(results / f"{rows}.json", measured)
        write_pages(results)


def _measure(folder: Path, rows: int, types: list[str], baselines: list[str]) -> dict[str, Any]:
    apart(stages.store, folder, rows)
    true = folder / "true.npy"
    built, first = {}, types[0]
    for name in types:
        built[name] = _said(f"{rows} build {name}", apart(stages.build, folder, rows, name))
    # Always first: its answers are the truth that recall is measured against.
    plain = _said(f"{rows} plain FAISS flat", apart(stages.flat, folder, first, true))
    ours = {}
    for name in types:
        searched = apart(stages.search, folder, name, true)
        ours[name] = built[name] | _said(f"{rows} search {name}", searched)
    theirs = {"flat": plain}
    for name in baselines:
        if name != "flat":
            baseline = apart(getattr(stages, name), folder, first, true)
            theirs[name] = _said(f"{rows} {name}", baseline)
    return {"ours": ours, "baselines": theirs}


def _said(what: str, measured: dict[str, Any]) -> dict[str, Any]:
    figures = (
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in measured.items()
    )
    print(f"{what}: {', '.join(figures)}", flush=True)
    return measured


def _is_there(baseline: str) -> bool:
    library = {"flat": "faiss", "scikit_learn": "sklearn"}.get(baseline, baseline)
    if importlib.util.find_spec(library) is None:
        print(f"LEFT OUT: {baseline} is not installed", flush=True)
        return False
    return True


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return "unknown processor"


if __name__ == "__main__":
    main(sys.argv[1:])
