import io
import os
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image

from ssl_photoz.embeddings.store import write_embeddings

DIM = 12


def picture(z, rng, size=32):
    """A round galaxy, redder and smaller with redshift."""
    y, x = np.mgrid[:size, :size] - size / 2 + 0.5
    blob = np.exp(-np.hypot(x, y) / (1.5 + 0.4 / (z + 0.05)))
    colour = np.array([1.0, 1.0 - 0.7 * z, 1.0 - 1.4 * z]).clip(0.1)
    flux = 255 * blob[..., None] * colour + rng.normal(12, 5, (size, size, 3))
    file = io.BytesIO()
    Image.fromarray(flux.clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=90)
    return file.getvalue()


def survey(n=300, *, seed=0, labelled=0.7, pictures=False):
    """Columns and vectors of n galaxies whose embedding bends smoothly with redshift."""
    rng = np.random.default_rng(seed)
    z = rng.gamma(2.0, 0.1, n).astype("f4")
    bend = np.stack([np.sin((j + 1) * 2 * z + j) for j in range(DIM)], axis=1)
    vectors = (bend + 0.15 * rng.normal(size=(n, DIM))).astype(np.float32)
    columns = {
        "id": rng.permutation(n) + 2**60,
        "ra": rng.uniform(0, 360, n),
        "dec": np.degrees(np.arcsin(rng.uniform(-1, 1, n))),
        "z": np.where(rng.random(n) < labelled, z, np.nan).astype("f4"),
        "split": rng.choice(["train", "val", "test"], n, p=[0.6, 0.15, 0.25]),
    }
    if pictures:
        columns["thumbnail"] = [picture(one, rng) for one in z]
    return columns, vectors


@pytest.fixture
def make_store(tmp_path):
    """Write embeddings; keywords of `survey`, and `change`, called on (columns, vectors)."""

    def make(name="embeddings", *, change=None, simulated=True, **keywords):
        columns, vectors = survey(**keywords)
        if change is not None:
            change(columns, vectors)
        return write_embeddings(tmp_path / name, columns, vectors, simulated=simulated, encoder="e")

    return make


@pytest.fixture
def make_file(tmp_path):
    """Write a small cutout file in the challenge's layout; keywords replace or remove (None)."""

    def make(name="cutouts.h5", *, n=12, attrs=None, **replace):
        rng = np.random.default_rng(1)
        datasets = {
            "images": rng.normal(size=(n, 3, 16, 16)).astype(np.float32),
            "TARGETID": np.arange(n) + 39_627_000_000_000_000,
            "RA": rng.uniform(0, 360, n),
            "DEC": rng.uniform(-90, 90, n),
            "Z": rng.uniform(0.01, 0.5, n).astype(np.float32),
        }
        with h5py.File(tmp_path / name, "w") as file:
            for key, values in {**datasets, **replace}.items():
                if values is not None:
                    file[key] = values
            file.attrs.update(attrs or {})
        return tmp_path / name

    return make


@pytest.fixture
def real_data():
    """Return the folder of real data; skip where it is absent."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("SSL_PHOTOZ_DATA", beside))
    if not (folder / "decals_grz_examples.h5").exists():
        pytest.skip(f"no real data in {folder}: set SSL_PHOTOZ_DATA to its folder")
    return folder
