"""Neighbours by FAISS on a GPU, and the probes at the challenge's size."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import faiss
import numpy as np

from benchmarks.gpu.sizes import Sizes
from benchmarks.probes import speed as made_up
from ssl_photoz.core.types import Array, Floats
from ssl_photoz.photoz.artefact import PROBES
from ssl_photoz.photoz.metrics import residuals, sigma_nmad

if TYPE_CHECKING:
    from benchmarks.gpu.__main__ import Report

DIM, HIDDEN, QUERIES, K, PROBED = 128, 24, 1000, 10, 32


def neighbours(report: Report, sizes: Sizes) -> None:
    """Exact search and inverted lists: seconds to build, queries a second, recall."""
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(HIDDEN, DIM)).astype(np.float32)

    def draw(count: int) -> Floats:
        hidden = rng.normal(size=(count, HIDDEN)).astype(np.float32)
        noise = rng.normal(size=(count, DIM)).astype(np.float32)
        return np.asarray(hidden @ mixing + 0.5 * noise, np.float32)

    vectors, queries = draw(sizes.vectors), draw(QUERIES)
    count = getattr(faiss, "get_num_gpus", lambda: 0)()
    where = "on the GPU" if count else "on the processor"
    lists = max(int(4 * sizes.vectors**0.5) // 16 * 16, 16)
    exact = _search(report, f"exact {where}", faiss.IndexFlatL2(DIM), vectors, queries, None)
    coarse = faiss.IndexIVFFlat(faiss.IndexFlatL2(DIM), DIM, lists)
    coarse.nprobe = PROBED
    _search(report, f"{lists} lists, {PROBED} looked at, {where}", coarse, vectors, queries, exact)


def _search(
    report: Report,
    name: str,
    index: Any,  # noqa: ANN401 (faiss has no types)
    vectors: Floats,
    queries: Floats,
    truth: Array | None,
) -> Array:
    if getattr(faiss, "get_num_gpus", lambda: 0)():
        resources = faiss.StandardGpuResources()
        index = faiss.index_cpu_to_gpu(resources, 0, index)
        if truth is not None:
            index.nprobe = PROBED
    started = time.perf_counter()
    index.train(vectors)
    index.add(vectors)
    built = time.perf_counter() - started
    index.search(queries[:10], K)
    started = time.perf_counter()
    _, found = index.search(queries, K)
    rate = len(queries) / (time.perf_counter() - started)
    remark = f"built in {built:.2f} s"
    if truth is not None:
        shared = np.mean(
            [len(np.intersect1d(*pair)) / K for pair in zip(found, truth, strict=True)]
        )
        remark += f", recall {shared:.3f}"
    report.add(f"{len(vectors):,} vectors, {name}", f"{rate:,.0f} queries/s", remark)
    return np.asarray(found)


def probes(report: Report, sizes: Sizes) -> None:
    """Fit and predict kNN and MLP on made-up features."""
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(made_up.HIDDEN, made_up.DIM)).astype(np.float32)
    draw: Callable[[int], Any] = lambda count: made_up.draw(count, mixing, rng)  # noqa: E731
    (features, z), (val, val_z), (asked, asked_z) = map(
        draw, (sizes.labelled, max(sizes.labelled // 25, 100), max(sizes.labelled // 5, 100))
    )
    for name in ("knn", "mlp"):
        started = time.perf_counter()
        probe = PROBES[name]().fit(features, z, validation=(val, val_z))
        fitted = time.perf_counter()
        predicted = probe.predict(asked)
        done = time.perf_counter()
        sigma = sigma_nmad(residuals(predicted, asked_z))
        report.add(
            f"{name}, {len(features):,} x {features.shape[1]}",
            f"{fitted - started:.1f} s + {done - fitted:.1f} s",
            f"fit, and predict {len(asked):,}; sigma {sigma:.4f}",
        )
