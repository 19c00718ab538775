import os
from pathlib import Path

import h5py
import numpy as np
import pytest


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
    beside = Path(__file__).resolve().parents[3] / "shared" / "data"
    folder = Path(os.environ.get("SSL_PHOTOZ_DATA", beside))
    if not (folder / "decals_grz_examples.h5").exists():
        pytest.skip(f"no real data in {folder}: set SSL_PHOTOZ_DATA to its folder")
    return folder
