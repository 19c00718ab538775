"""A sharded index of SYNTHETIC vectors: time to build, to open and to answer; recall; memory.

    python -m benchmarks.scaleout.shards 1000000
    python -m benchmarks.scaleout.shards 10000000 index_type=IVF8192,SQ8 threads=1 work=/tmp/shards

Every stage is a process of its own and keeps what it measured in ``work``; killed, the same
command goes on. When all are done, ``results/shards-<rows>.json`` beside this file and SHARDS.md
are written, and with ``clean=yes`` the vectors and the index are deleted.
"""

from __future__ import annotations

import datetime
import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from copy import copy
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.similarity.measure import apart, batch_per_s, bytes_of, resident_mb, seconds
from benchmarks.similarity.vectors import draw, queries
from ssl_photoz.catalog.where import cells_where
from ssl_photoz.core.artefact import atomic_path, read_json, write_json
from ssl_photoz.embeddings.store import Embeddings, finish, write_shard
from ssl_photoz.similarity import index_building
from ssl_photoz.similarity.index import Index
from ssl_photoz.similarity.index_files import IndexCard
from ssl_photoz.similarity.index_types import GRAPH_LISTS, exact_rows, lists_for, recall_of
from ssl_photoz.similarity.search import Search
from ssl_photoz.similarity.settings import IndexConfig

HERE = Path(__file__).parent
PART_ROWS = 250_000
K = 10
SINGLES = 500
TRUE = 300  # queries that recall is measured with
CONE = "cone(18, 5, 2)"
BOX = "box(0, 60, -30, 30)"  # in two of ten shards; a third touches its edge
RECALL = 0.99
MEMORY_GB = 2.0


def make_store(folder: Path, rows: int) -> Embeddings:
    """Draw the vectors, a part of 250,000 at a time, each in a strip of right ascension."""
    if (folder / "card.json").exists():
        return Embeddings.open(folder)
    parts = -(-rows // PART_ROWS)
    for number in range(parts):
        if (folder / f"part-{number:05d}.parquet").exists():
            continue
        count = min(PART_ROWS, rows - number * PART_ROWS)
        rng = np.random.default_rng([2, number])
        row = number * PART_ROWS + np.arange(count)
        columns = {
            "row": row,
            "id": row + 10**12,
            "ra": 360 * (number + rng.random(count)) / parts,
            "dec": np.degrees(np.arcsin(rng.uniform(-0.5, 0.5, count))),
            "z": np.full(count, np.nan, np.float32),
            "split": np.full(count, "train"),
            "embedding": draw(number, count).astype(np.float16),
        }
        write_shard(folder, number, columns)
    facts = {"simulated": True, "calibrated": True, "encoder": "none"}
    finish(folder, rows_in=rows, config={}, parents={}, **facts)
    return Embeddings.open(folder)


def store(folder: Path, rows: int, asked: IndexConfig) -> dict[str, Any]:
    """Write the vectors."""
    started = time.perf_counter()
    made = make_store(folder / "embeddings", rows)
    size = bytes_of(made.folder, "part-*")
    return {"rows": len(made), "store_s": time.perf_counter() - started, "store_bytes": size}


def build(folder: Path, rows: int, asked: IndexConfig) -> dict[str, Any]:
    """Build the index; the times of its shards are kept as they come."""
    times, fill = folder / "times.json", index_building.fill_shard

    def timed(*given: Any) -> None:  # noqa: ANN401 - whatever a shard is filled from
        started = time.perf_counter()
        fill(*given)
        known = read_json(times)["shard_s"] if times.exists() else []
        write_json(times, {"shard_s": [*known, time.perf_counter() - started]})

    index_building.fill_shard = timed
    out, started = folder / "index", time.time()
    index = index_building.build_index(out, Embeddings.open(folder / "embeddings"), asked)
    card = index.save(out)
    trained_s = (out / "trained.faiss").stat().st_mtime - started
    return {
        "build_s": time.time() - started,
        "build_peak_mb": resident_mb("VmHWM"),
        "train_s": trained_s if trained_s > 0 else None,  # None: an earlier call had done it
        "shard_s": read_json(times)["shard_s"],
        "lists_bytes": bytes_of(out, "shard-*"),
        "vectors_bytes": bytes_of(out, "vectors-*"),
        "trained_bytes": (out / "trained.faiss").stat().st_size,
        "card_bytes": (out / "card.json").stat().st_size,
        "shards": len(card.index_shards),
        "index_type": card.index_type,
        "factory": card.factory,
        "effort": card.effort,
        "card_recall_at_10": card.recall_at_10,
    }


def truth(folder: Path, rows: int, asked: IndexConfig) -> dict[str, Any]:
    """Exact neighbours, among the stored vectors, of queries that are none of them."""
    index = Index.load(folder / "index")
    started = time.perf_counter()
    found = exact_rows(index.stored, index.reduction.apply(queries()[:TRUE]), K)
    np.save(folder / "true.npy", found)
    return {"exact_s": time.perf_counter() - started, "queries": len(found)}


def search(folder: Path, rows: int, asked: IndexConfig) -> dict[str, Any]:
    """Open the index and ask it."""
    (folder / "index" / "checked.json").unlink(missing_ok=True)
    before = resident_mb()
    first = _timed(lambda: Index.load(folder / "index"))[1]
    index, again = _timed(lambda: Index.load(folder / "index"))
    opened = resident_mb()
    wanted = queries()
    cold = _singles(index, wanted)
    found = index.nearest_rows(wanted, K)[1]
    warm = _singles(index, wanted)
    return {
        "open_checked_s": first,
        "open_s": again,
        "resident_before_mb": before,
        "resident_opened_mb": opened,
        "resident_mb": resident_mb(),
        "resident_peak_mb": resident_mb("VmHWM"),
        "recall_at_10": recall_of(found[:TRUE], np.load(folder / "true.npy")),
        "first_p50_ms": cold[0],
        "first_p95_ms": cold[1],
        "p50_ms": warm[0],
        "p95_ms": warm[1],
        "batch_per_s": batch_per_s(lambda some: index.nearest_rows(some, K)[1], wanted),
    }


def region(folder: Path, rows: int, asked: IndexConfig) -> dict[str, Any]:
    """Ask for a part of the sky, with what the card says of the shards' cells and without."""
    measured: dict[str, Any] = {}
    index, stored = Index.load(folder / "index"), Embeddings.open(folder / "embeddings")
    blind = copy(index)
    anywhere = [{**one, "cells": None} for one in index.card["index_shards"]]
    blind.card = IndexCard({**index.card, "index_shards": anywhere})
    for name, one in (("blind", blind), ("seeing", index), ("blind_again", blind)):
        searching = Search(one, stored)
        row = int(one.restricted_to(np.arange(5)).nearest_rows(queries()[:1], 1)[1][0, 0])
        started = time.perf_counter()
        answer = searching.like_rows([row], k=K, where=CONE)[0]
        measured[f"cone_{name}_first_s"] = time.perf_counter() - started
        measured["cone_shards"] = len(index.spans(cells_where(CONE)))
        measured["cone_note"] = answer.notes[-1]
    searching = Search(index, stored)
    among = searching._among(BOX)
    measured["box_shards"] = len(index.spans(cells_where(BOX)))
    measured["box_rows"] = len(among)
    _singles(among, queries())
    measured["box_p50_ms"], measured["box_p95_ms"] = _singles(among, queries())
    measured["box_resident_mb"] = resident_mb()
    return measured


STAGES = (store, build, truth, search, region)


MEASURED = """# An index in shards: what was measured

SYNTHETIC clustered vectors of 128 dimensions, queries that are not among them. Written by
`python -m benchmarks.scaleout.shards`; README.md says how each figure is taken."""

EXTRAPOLATED = """
## What follows for more vectors

EXTRAPOLATED from the largest size above, not measured. Disk: the same bytes a vector; ids,
positions, redshifts and splits, which are mapped too, add 48. Mapped: the lists,
if queries touch them all; the system may drop them again. Tables: 24 bytes a list and shard
of 10^7 vectors, held once a shard is opened. Training grows as the square of the number of lists
(4 sqrt(N)), filling as vectors times lists; from 65,536 lists on a graph finds the nearest in about
the time that the measured number took, which is assumed here. Hours are of one core as it was."""


def write_page(results: Path) -> None:
    """Write SHARDS.md beside the folder of results."""
    sizes = [read_json(path) for path in sorted(results.glob("shards-*.json"))]
    with atomic_path(results.parent / "SHARDS.md") as scratch:
        scratch.write_text("\n".join(_lines(sizes)) + "\n", encoding="utf-8")


def _lines(sizes: list[dict[str, Any]]) -> Iterator[str]:
    yield MEASURED
    for size in sorted(sizes, key=lambda one: int(one["rows"])):
        build, search, region = (size[name] for name in ("build", "search", "region"))
        rows = size["rows"]
        held, stored = build["lists_bytes"] / rows, build["vectors_bytes"] / rows
        yield ""
        yield f"## {rows:,} vectors in {build['shards']} shards of {build['factory']}"
        yield ""
        yield f"{size['cores']} cores, {size['threads']} thread; {size['date']}; one run."
        yield size.get("remark", "")
        yield ""
        yield "| what | measured |"
        yield "|---|---:|"
        yield f"| recall@10 ({size['truth']['queries']} queries) | {search['recall_at_10']:.4f} |"
        yield f"| one query, p50 / p95, ms | {search['p50_ms']:.2f} / {search['p95_ms']:.2f} |"
        first = f"{search['first_p50_ms']:.2f} / {search['first_p95_ms']:.2f}"
        yield f"| the first {SINGLES} queries after opening, p50 / p95, ms | {first} |"
        yield f"| 1,000 queries at once, queries/s | {search['batch_per_s']:.0f} |"
        opened, used = search["resident_opened_mb"], search["resident_mb"]
        yield f"| resident: libraries / opened / after all queries, MB | {_memory(search)} |"
        yield f"| of which the index, MB | {used - search['resident_before_mb']:.0f} |"
        yield f"| open, checksums taken / known, s | {_opening(search)} |"
        yield f"| train, s | {_seconds(build['train_s'])} |"
        yield f"| a shard, median, s | {np.median(build['shard_s']):.0f} |"
        yield f"| peak memory of the build, MB | {build['build_peak_mb']:.0f} |"
        yield f"| lists + vectors, bytes a vector | {held:.0f} + {stored:.0f} |"
        yield f"| lists visited of {_lists(build['factory']):,} | {build['effort']} |"
        cone = f"{region['cone_seeing_first_s']:.2f} / {region['cone_blind_again_first_s']:.2f}"
        share = f"{region['cone_shards']} of {build['shards']} shards"
        yield f"| `{CONE}`: {share} / all looked at, first answer, s | {cone} |"
        box = f"{region['box_shards']} of {build['shards']} shards, {region['box_rows']:,} galaxies"
        yield (
            f"| `{BOX}`: {box}, p50 / p95, ms | "
            f"{region['box_p50_ms']:.2f} / {region['box_p95_ms']:.2f} |"
        )
        assert opened <= used
    yield from _extrapolated(max(sizes, key=lambda one: int(one["rows"])))


def _extrapolated(size: dict[str, Any]) -> Iterator[str]:
    build, rows = size["build"], size["rows"]
    each = (build["lists_bytes"] + build["vectors_bytes"]) / rows
    known = _lists(build["factory"])
    yield EXTRAPOLATED
    yield ""
    yield "| vectors | lists | shards | disk, GB | mapped, GB | tables, GB | train, h | fill, h |"
    yield "|---:|---:|---:|---:|---:|---:|---:|---:|"
    for more in (10**8, 10**9):
        lists, shards = lists_for(more), -(-more // 10**7)
        slower = lists / known if lists < GRAPH_LISTS else 1
        train = (build["train_s"] or 0) * (lists / known) ** 2 / 3600
        fill = sum(build["shard_s"]) * more / rows * slower / 3600
        tables = 24 * lists * shards / 1e9
        mapped = build["lists_bytes"] / rows * more / 1e9
        yield (
            f"| {more:,} | {lists:,} | {shards} | {each * more / 1e9:,.0f} | {mapped:,.0f} | "
            f"{tables:.1f} | {train:,.1f} | {fill:,.0f} |"
        )


def _lists(factory: str) -> int:
    return int(re.search(r"IVF(\d+)", factory)[1])  # type: ignore[index]


def _memory(search: dict[str, Any]) -> str:
    names = ("resident_before_mb", "resident_opened_mb", "resident_mb")
    return " / ".join(f"{search[name]:.0f}" for name in names)


def _opening(search: dict[str, Any]) -> str:
    return f"{search['open_checked_s']:.1f} / {search['open_s']:.2f}"


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.0f}"


def _singles(index: Index, asked: Any) -> tuple[float, float]:  # noqa: ANN401
    times = [seconds(lambda one: index.nearest_rows(one, K)[1], q[None]) for q in asked[:SINGLES]]
    p50, p95 = np.percentile(1e3 * np.array(times), [50, 95])
    return float(p50), float(p95)


def _timed(work: Callable[[], Index]) -> tuple[Index, float]:
    started = time.perf_counter()
    return work(), time.perf_counter() - started


def main(arguments: list[str]) -> None:
    """Measure the sizes named."""
    given = dict(one.split("=", 1) for one in arguments if "=" in one)
    sizes = [int(float(one)) for one in arguments if "=" not in one] or [1_000_000]
    os.environ["OMP_NUM_THREADS"] = given.get("threads", str(os.cpu_count()))  # for every stage
    shards = int(given.get("shards", 10))
    for rows in sizes:
        asked = IndexConfig(
            index_type=given.get("index_type", "auto"),
            recall=RECALL,
            memory_gb=MEMORY_GB,
            rows_per_shard=-(-rows // shards),
        )
        folder = Path(given.get("work", "runs/shards")) / str(rows)
        kept = folder / "measured.json"
        measured = read_json(kept) if kept.exists() else {}
        for stage in STAGES:
            if stage.__name__ not in measured:
                found = apart(stage, folder, rows, asked)
                measured[stage.__name__] = found
                write_json(kept, measured)
                print(f"{rows} {stage.__name__}: {found}", flush=True)
        facts = {
            "rows": rows,
            "threads": os.environ["OMP_NUM_THREADS"],
            "cores": os.cpu_count(),
            "date": f"{datetime.date.today()}",
            "simulated": True,
        }
        remark = {"remark": given["remark"]} if "remark" in given else {}
        write_json(HERE / "results" / f"shards-{rows}.json", {**facts, **remark, **measured})
        write_page(HERE / "results")
        if given.get("clean") == "yes":
            shutil.rmtree(folder)


if __name__ == "__main__":
    main(sys.argv[1:])
