"""SYNTHETIC clustered vectors, laid out as an embeddings folder; there is no galaxy behind them.

Two thousand clusters of unequal size; variances along the hidden axes fall as a power law, as
those of a trained encoder's principal components do, and a rotation hides the axes.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from tqdm import tqdm

from ssl_photoz.core.types import Floats
from ssl_photoz.embeddings.store import Embeddings, finish, write_shard

DIM = 128
CLUSTERS = 2000
WITHIN = 0.5  # scatter within a cluster, relative to that of the centres
DRAW_ROWS = 250_000
QUERIES = 1000
QUERY_DRAW = 1 << 20  # a draw that no row comes from


def make_store(folder: Path, rows: int) -> Embeddings:
    """Write the vectors, a shard for each 250,000, or open what is there."""
    if (folder / "card.json").exists():
        return Embeddings.open(folder)
    for number, start in enumerate(tqdm(range(0, rows, DRAW_ROWS), desc="drawing", unit="shard")):
        count = min(DRAW_ROWS, rows - start)
        if (folder / f"part-{number:05d}.parquet").exists():
            continue
        columns = {
            "row": np.arange(start, start + count),
            "id": np.arange(start, start + count),
            "ra": np.zeros(count),
            "dec": np.zeros(count),
            "z": np.full(count, np.nan, np.float32),
            "split": np.full(count, "train"),
            "embedding": draw(number, count).astype(np.float16),
        }
        write_shard(folder, number, columns)
    facts = {"simulated": True, "calibrated": True, "encoder": "none"}
    finish(folder, rows_in=rows, config={}, parents={}, **facts)
    return Embeddings.open(folder)


def queries() -> Floats:
    """Vectors of the same clusters that are not in the store, shape (1000, 128)."""
    return draw(QUERY_DRAW, QUERIES).astype(np.float16).astype(np.float32)


def draw(number: int, count: int) -> Floats:
    """Vectors of one draw, shape (count, 128)."""
    fixed = np.random.default_rng(0)
    centres = fixed.standard_normal((CLUSTERS, DIM), dtype=np.float32)
    axes = np.linalg.qr(fixed.standard_normal((DIM, DIM), dtype=np.float32))[0]
    share = fixed.pareto(2.0, CLUSTERS) + 0.2
    rng = np.random.default_rng([1, number])
    cluster = rng.choice(CLUSTERS, count, p=share / share.sum())
    hidden = WITHIN * rng.standard_normal((count, DIM), dtype=np.float32) + centres[cluster]
    scale = np.arange(1, DIM + 1, dtype=np.float32) ** -0.5
    mixed: Floats = (hidden * scale) @ axes
    return mixed
