"""Embeddings in files that lie in strips of right ascension, and indexes of them in shards."""

import io

import numpy as np
from PIL import Image

from ssl_photoz.embeddings.store import Embeddings, finish, write_shard
from ssl_photoz.similarity.index import Index
from ssl_photoz.similarity.index_building import build_index
from ssl_photoz.similarity.settings import IndexConfig

FILES, FILE_ROWS, DIM = 4, 500, 12
ROWS = FILES * FILE_ROWS
STRIP_DEG = 20.0


def write_store(folder, *, files=FILES):
    for number in range(files):
        rng = np.random.default_rng([5, number])
        centres = np.random.default_rng(1).normal(size=(20, DIM))
        vectors = centres[rng.integers(20, size=FILE_ROWS)] + 0.4 * rng.normal(
            size=(FILE_ROWS, DIM)
        )
        picture = io.BytesIO()
        Image.fromarray(np.full((8, 8, 3), 40 * number, np.uint8)).save(picture, "JPEG")
        columns = {
            "row": np.arange(FILE_ROWS) + number * FILE_ROWS,
            "id": np.arange(FILE_ROWS) + number * FILE_ROWS + 2**60,
            "ra": 350 + STRIP_DEG * (number + rng.random(FILE_ROWS)),  # across RA 0
            "dec": rng.uniform(-20, 20, FILE_ROWS),
            "z": np.where(rng.random(FILE_ROWS) < 0.5, rng.random(FILE_ROWS), np.nan).astype("f4"),
            "split": rng.choice(["train", "test"], FILE_ROWS),
            "mag_r": rng.uniform(15, 21, FILE_ROWS).astype("f4"),
            "is_star": rng.random(FILE_ROWS) < 0.1,
            "thumbnail": [picture.getvalue()] * FILE_ROWS,
            "embedding": vectors.astype("f4"),
        }
        columns["ra"] %= 360
        write_shard(folder, number, columns)
    facts = {"simulated": True, "calibrated": True, "encoder": "e"}
    finish(folder, rows_in=files * FILE_ROWS, config={}, parents={}, **facts)
    return Embeddings.open(folder)


def write_index(folder, store, *, rows_per_shard=450, index_type="ivf_sq8", hidden=None):
    config = IndexConfig(index_type=index_type, pca_dim=8, rows_per_shard=rows_per_shard)
    build_index(folder, store, config).hiding(hidden).save(folder)
    return Index.load(folder)
