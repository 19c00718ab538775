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
import shutil
import sys
import time
from collections.abc import Callable
from copy import copy
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.similarity.measure import apart, batch_per_s, bytes_of, resident_mb, seconds
from benchmarks.similarity.vectors import draw, queries
from ssl_photoz.catalog.where import cells_where
from ssl_photoz.core.artefact import read_json, write_json
from ssl_photoz.embeddings.store import Embeddings, finish, write_shard
from ssl_photoz.similarity import index_building
from ssl_photoz.similarity.index import Index
from ssl_photoz.similarity.index_files import IndexCard
from ssl_photoz.similarity.index_types import exact_rows, recall_of
from ssl_photoz.similarity.search import Search
from ssl_photoz.similarity.settings import IndexConfig

HERE = Path(__file__).parent
PART_ROWS = 250_000
K = 10
SINGLES = 500
TRUE = 300  # queries that recall is measured with
CONE = "cone(18, 5, 2)"
BOX = "box(0, 60, -30, 30)"  # two of ten shards, where their strips are 36 degrees wide
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
        write_json(HERE / "results" / f"shards-{rows}.json", {**facts, **measured})
        if given.get("clean") == "yes":
            shutil.rmtree(folder)


if __name__ == "__main__":
    main(sys.argv[1:])
