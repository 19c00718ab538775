"""How many of the true neighbours an approximate index finds, and how hard it must look."""

from __future__ import annotations

import numpy as np
from tqdm import tqdm

from ssl_photoz.core.types import Floats, Ints
from ssl_photoz.similarity.index_search import Approximate, exact_neighbours
from ssl_photoz.similarity.index_vectors import StoredVectors

K = 10
QUERIES = 500
BATCH_ROWS = 1 << 16


def tune(
    searcher: Approximate, stored: StoredVectors, *, wanted: float, seed: int
) -> tuple[int, float]:
    """Find the least effort that finds enough of the ten nearest neighbours.

    Asks for the neighbours of catalogue rows, drawn with ``seed``, and does not count a row's
    finding itself.

    Args:
        searcher: Over all rows.
        stored: The vectors of all rows.
        wanted: The recall to reach.
        seed: Of the draw.

    Returns:
        The effort and the recall measured with it; the most effort where none is enough.
    """
    rng = np.random.default_rng(seed)
    own = np.sort(rng.choice(len(stored), min(QUERIES, len(stored)), replace=False))
    unit = stored.take(own)
    true = exact_rows(stored, unit, K + 1)
    effort, recall = 0, 0.0
    for effort in searcher.efforts():
        _, found = searcher.with_effort(effort).search(unit, K + 1)
        recall = recall_of(found, true, own=own)
        if recall >= wanted:
            break
    return effort, recall


def exact_rows(stored: StoredVectors, unit: Floats, k: int) -> Ints:
    """Return the rows of the k nearest stored vectors of each query, shape (B, K)."""
    distances = np.full((len(unit), k), np.inf, np.float32)
    rows = np.full((len(unit), k), -1, np.int64)
    with tqdm(total=len(stored), desc="searching exactly", unit="galaxy") as progress:
        for first, batch in stored.batches(BATCH_ROWS):
            near, found = exact_neighbours(unit, batch, min(k, len(batch)))
            distances = np.concatenate([distances, near], axis=1)
            rows = np.concatenate([rows, first + found], axis=1)
            best = np.argsort(distances, axis=1, kind="stable")[:, :k]
            distances = np.take_along_axis(distances, best, axis=1)
            rows = np.take_along_axis(rows, best, axis=1)
            progress.update(len(batch))
    return rows


def recall_of(found: Ints, true: Ints, *, own: Ints | None = None) -> float:
    """Return the fraction of true neighbours that were found.

    Args:
        found: Rows, shape (B, K); -1 for none.
        true: Rows, shape (B, K'); -1 for none.
        own: Each query's own row, shape (B,), which does not count.
    """
    counted = true >= 0
    if own is not None:
        counted &= true != own[:, None]
    hit = (true[:, :, None] == found[:, None, :]).any(axis=2)
    return float(hit[counted].mean()) if counted.any() else 1.0
