"""SIMULATED embeddings, as many as wanted: crowds, a bridge between them, and rare far islands.

Variances along the hidden axes fall as a power law, as those of a trained encoder's principal
components do; a rotation hides the axes. The redshift bends along one line through the space.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ssl_photoz.core.types import Floats
from ssl_photoz.embeddings.store import Embeddings, finish, write_shard

DIM = 512
CROWDS, ISLANDS = 60, 10
ISLAND_SHARE = 0.0002  # of all galaxies, each
SHARD_ROWS = 65_536


def make_store(folder: Path, rows: int) -> Embeddings:
    """Write the embeddings as 16-bit floats, or open what is there."""
    if (folder / "card.json").exists():
        return Embeddings.open(folder)
    for number, start in enumerate(range(0, rows, SHARD_ROWS)):
        count = min(SHARD_ROWS, rows - start)
        vectors, z, crowd = draw(number, count)
        rng = np.random.default_rng([2, number])
        columns = {
            "row": np.arange(start, start + count),
            "id": np.arange(start, start + count) + (1 << 60),
            "ra": rng.uniform(0, 360, count),
            "dec": np.degrees(np.arcsin(rng.uniform(-1, 1, count))),
            "z": z,
            "split": rng.choice(["train", "val", "test"], count, p=[0.7, 0.1, 0.2]),
            "mag_r": rng.normal(19, 1, count).astype(np.float32),
            "crowd": crowd,
            "embedding": vectors.astype(np.float16),
        }
        write_shard(folder, number, columns)
    facts = {"simulated": True, "calibrated": True, "encoder": "none"}
    finish(folder, rows_in=rows, config={}, parents={}, **facts)
    return Embeddings.open(folder)


def draw(number: int, count: int) -> tuple[Floats, Floats, Floats]:
    """Vectors (n, 512), redshifts (n,), and the crowd of each; islands come last (n,)."""
    fixed = np.random.default_rng(0)
    centres = fixed.standard_normal((CROWDS + ISLANDS, DIM), dtype=np.float32)
    axes = np.linalg.qr(fixed.standard_normal((DIM, DIM), dtype=np.float32))[0]
    share = fixed.pareto(1.5, CROWDS) + 0.2
    share *= (1 - ISLANDS * ISLAND_SHARE) / share.sum()
    rng = np.random.default_rng([1, number])
    chance = np.append(share, np.full(ISLANDS, ISLAND_SHARE))
    crowd = rng.choice(CROWDS + ISLANDS, count, p=chance / chance.sum())
    along = rng.random(count, dtype=np.float32)
    # Half of a crowd lies on the way to the next one, as galaxies do between their types.
    way = np.where(crowd < CROWDS, np.maximum(along - 0.5, 0), 0)[:, None]
    middle = (1 - way) * centres[crowd] + way * centres[(crowd + 1) % CROWDS]
    middle[crowd >= CROWDS] *= 2
    hidden = middle + 0.6 * rng.standard_normal((count, DIM), dtype=np.float32)
    hidden *= np.arange(1, DIM + 1, dtype=np.float32) ** -0.5
    z = 0.1 + 0.05 * np.tanh(hidden[:, 0]) + 0.03 * hidden[:, 1]
    z = np.maximum(z + 0.005 * rng.standard_normal(count), 0.001)
    mixed: Floats = hidden @ axes
    return mixed, z.astype(np.float32), crowd
