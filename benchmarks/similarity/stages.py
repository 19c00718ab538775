"""What is measured, a process each: building and searching our index, and the baselines."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from benchmarks.similarity.measure import (
    batch_per_s,
    bytes_of,
    in_turn,
    percentiles,
    resident_mb,
    seconds,
    singles_ms,
)
from benchmarks.similarity.vectors import make_store, queries
from ssl_photoz.core import artefact
from ssl_photoz.core.types import Floats
from ssl_photoz.similarity.index import Index
from ssl_photoz.similarity.index_building import build_index
from ssl_photoz.similarity.index_faiss import Approximate, search_faiss
from ssl_photoz.similarity.index_types import recall_of
from ssl_photoz.similarity.reduction import BATCH, Reduction
from ssl_photoz.similarity.settings import IndexConfig

K = 10
SLOW_SINGLES = 20
SLOW_BATCH = 100
EFS = (16, 32, 64, 128, 256, 512, 1024)
RECALL = 0.98


def store(folder: Path, rows: int) -> dict[str, Any]:
    """Draw the vectors."""
    return {"rows": len(make_store(folder / "embeddings", rows))}


def build(folder: Path, rows: int, index_type: str) -> dict[str, Any]:
    """Build our index of one type from the embeddings folder."""
    embeddings = make_store(folder / "embeddings", rows)
    out = folder / index_type.replace(",", "_")
    shutil.rmtree(out, ignore_errors=True)
    started = time.perf_counter()
    card = build_index(out, embeddings, IndexConfig(index_type=index_type)).save(out)
    names = ("index_type", "factory", "effort", "recall_at_10")
    return {
        "build_s": time.perf_counter() - started,
        "build_peak_mb": resident_mb("VmHWM"),
        "index_bytes": bytes_of(out, "index-*") + bytes_of(out, "shard-*"),
        "vectors_bytes": bytes_of(out, "vectors-*"),
        **{f"card_{name}": card.get(name) for name in names},
    }


def search(folder: Path, index_type: str, true: Path) -> dict[str, Any]:
    """Search our index of one type."""
    asked = queries()
    started = time.perf_counter()
    index = Index.load(folder / index_type.replace(",", "_"))
    load_s = time.perf_counter() - started
    found = index.nearest_rows(asked, K)[1]
    measured = {
        "load_s": load_s,
        "recall_at_10": recall_of(found, np.load(true)),
        **singles_ms(lambda one: index.nearest_rows(one, K)[1], asked),
        "batch_per_s": batch_per_s(lambda some: index.nearest_rows(some, K)[1], asked),
        "resident_mb": resident_mb(),
        "resident_peak_mb": resident_mb("VmHWM"),
    }
    return {**measured, **_overhead(index, asked)}


def flat(folder: Path, index_type: str, true: Path) -> dict[str, Any]:
    """Build and search plain FAISS, exactly; its answers are the truth for the others."""
    unit, reduction = _unit_vectors(folder, index_type)
    started = time.perf_counter()
    index = faiss.IndexFlatIP(unit.shape[1])
    index.add(unit)
    build_s = time.perf_counter() - started
    asked = reduction.apply(queries())
    with artefact.atomic_path(true) as scratch:
        np.save(scratch, index.search(asked, K)[1])
    del unit
    return {
        "build_s": build_s,
        "recall_at_10": 1.0,
        **singles_ms(lambda one: index.search(one, K)[1], asked, 100),
        "batch_per_s": batch_per_s(lambda some: index.search(some, K)[1], asked),
        "resident_mb": resident_mb(),
    }


def scikit_learn(folder: Path, index_type: str, true: Path) -> dict[str, Any]:
    """Build and search scikit-learn's brute force; Euclidean, which ranks unit vectors alike."""
    from sklearn.neighbors import NearestNeighbors

    unit, reduction = _unit_vectors(folder, index_type)
    asked = reduction.apply(queries())
    started = time.perf_counter()
    baseline = NearestNeighbors(n_neighbors=K, algorithm="brute").fit(unit)
    build_s = time.perf_counter() - started
    some = asked[:SLOW_BATCH]
    found = baseline.kneighbors(some, return_distance=False)
    alone = [seconds(baseline.kneighbors, one[None]) for one in asked[:SLOW_SINGLES]]
    return {
        "build_s": build_s,
        "recall_at_10": recall_of(found, np.load(true)[:SLOW_BATCH]),
        **percentiles(np.array(alone)),
        "batch_per_s": len(some) / seconds(baseline.kneighbors, some),
        "resident_mb": resident_mb(),
    }


def hnswlib(folder: Path, index_type: str, true: Path) -> dict[str, Any]:
    """Build and search hnswlib, with the least ef whose recall is 0.98."""
    import hnswlib as library

    unit, reduction = _unit_vectors(folder, index_type)
    asked, neighbours = reduction.apply(queries()), np.load(true)
    started = time.perf_counter()
    baseline = library.Index(space="ip", dim=unit.shape[1])
    baseline.init_index(max_elements=len(unit), ef_construction=100, M=32)
    baseline.add_items(unit)
    build_s = time.perf_counter() - started
    del unit
    ef, recall = 0, 0.0
    for ef in EFS:
        baseline.set_ef(ef)
        recall = recall_of(baseline.knn_query(asked, k=K)[0].astype(np.int64), neighbours)
        if recall >= RECALL:
            break
    return {
        "build_s": build_s,
        "recall_at_10": recall,
        "ef": ef,
        **singles_ms(lambda one: baseline.knn_query(one, k=K)[0], asked),
        "batch_per_s": batch_per_s(lambda some: baseline.knn_query(some, k=K)[0], asked),
        "resident_mb": resident_mb(),
    }


def _overhead(index: Index, asked: Floats) -> dict[str, float]:
    """How much longer our search takes than FAISS, and re-ranking where there is any."""
    searcher, unit = index.searcher, index.reduction.apply(asked)
    count = searcher.shortlisted(K) if isinstance(searcher, Approximate) else K
    parameters = searcher.parameters(count) if isinstance(searcher, Approximate) else None

    def bare(one: Floats) -> Floats:
        return search_faiss(searcher.faiss_index, one, count, parameters=parameters)[1]

    whole, ranked, faiss_alone = (
        lambda one: index.nearest_rows(one, K)[1],
        lambda one: searcher.search(one, K)[1],
        bare,
    )
    single, batch = in_turn((whole, ranked, faiss_alone), (asked, unit, unit))
    against = 1 if count > K else 2
    return {
        "bare_p50_ms": float(1e3 * single[2]),
        "rerank_p50_ms": float(1e3 * (single[1] - single[2])) if count > K else 0.0,
        "overhead_single": float(single[0] / single[against] - 1),
        "overhead_batch": float(batch[0] / batch[against] - 1),
    }


def _unit_vectors(folder: Path, index_type: str) -> tuple[Floats, Reduction]:
    """What our index compares: all vectors reduced, and the reduction."""
    embeddings = make_store(folder / "embeddings", 0)
    reduction = Reduction.load(folder / index_type.replace(",", "_") / "reduction.safetensors")
    unit = np.empty((len(embeddings), reduction.dim), np.float32)
    start = 0
    for batch in embeddings.batches(BATCH):
        unit[start : start + len(batch)] = reduction.apply(batch)
        start += len(batch)
    return unit, reduction
