"""How long a candidate list takes at the challenge's size, on made-up embeddings.

    python -m benchmarks.dwarfs.speed 250000 512

A tenth of the galaxies have a redshift. The embeddings and their index are made first, and are not
counted; everything that `ssl-photoz dwarfs` does is.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from ssl_photoz.recipes.probe import dwarfs

from ssl_photoz.core.types import Array
from ssl_photoz.embeddings.store import write_embeddings
from ssl_photoz.similarity.index import Index
from ssl_photoz.similarity.settings import IndexConfig

HIDDEN, LABELLED = 24, 0.1


def make(folder: Path, n: int, dim: int) -> None:
    """Write embeddings, and an index beside them."""
    rng = np.random.default_rng(0)
    hidden = rng.normal(size=(n, HIDDEN)).astype(np.float32)
    mixing = rng.normal(size=(HIDDEN, dim)).astype(np.float32)
    vectors = hidden @ mixing + 0.5 * rng.standard_normal((n, dim), dtype=np.float32)
    z = np.exp(-2 + 0.6 * hidden[:, 0] + 0.2 * hidden[:, 1]).astype(np.float32)
    columns: dict[str, Array] = {
        "id": np.arange(n),
        "ra": rng.uniform(110, 260, n),
        "dec": rng.uniform(-5, 35, n),
        "z": np.where(rng.random(n) < LABELLED, z, np.nan).astype(np.float32),
        "split": rng.choice(["train", "val", "test"], n, p=[0.7, 0.15, 0.15]),
    }

    store = write_embeddings(
        folder / "embeddings", columns, vectors.astype(np.float16), simulated=True
    )
    Index.build(store, config=IndexConfig(index_type="flat")).save(folder / "index")


def main(n: int, dim: int) -> None:
    """Time the program, and all that it imports."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        make(folder, n, dim)
        started, worked = time.perf_counter(), time.process_time()
        dwarfs.dwarfs(folder / "index", folder / "embeddings", folder / "dwarfs")
        spent = time.perf_counter() - started
        print(f"{n} x {dim}: {spent:.1f} s, {time.process_time() - worked:.1f} s of processor")


if __name__ == "__main__":
    main(*(int(word) for word in sys.argv[1:]))
