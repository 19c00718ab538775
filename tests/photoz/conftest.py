import numpy as np
import pytest
from ssl_photoz.recipes.probe.probe import probe

from ssl_photoz.embeddings.store import write_embeddings
from ssl_photoz.photoz.settings import SampleConfig

DIM = 6


def draw(n, *, seed=0, noise=0.01):
    """Features and redshifts: ln(1+z) bends with the first two features, the rest are noise."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(n, DIM)).astype("f4")
    bend = 0.06 * np.sin(2 * features[:, 0]) + 0.03 * features[:, 1] ** 2
    return features, np.expm1(0.15 + bend + noise * rng.normal(size=n))


@pytest.fixture
def galaxies():
    """Return the function that draws features and redshifts."""
    return draw


def write(folder, *, n=900, seed=0, change=None, encoder="e" * 64, **facts):
    """Write embeddings of n galaxies, a third of them without redshift."""
    rng = np.random.default_rng(seed)
    features, z = draw(n, seed=seed)
    columns = {
        "id": rng.permutation(n) + 2**60,
        "ra": rng.uniform(0, 360, n),
        "dec": rng.uniform(-60, 60, n),
        "z": np.where(np.arange(n) % 3 == 0, np.nan, z).astype("f4"),
        "split": rng.choice(["train", "val", "test"], n, p=[0.6, 0.2, 0.2]),
        "mag_r": rng.uniform(15, 20, n).astype("f4"),
        "aperture": features[:, :2].copy(),
    }
    if change is not None:
        change(columns, features)
    return write_embeddings(folder, columns, features, encoder=encoder, **facts)


@pytest.fixture
def make_store(tmp_path):
    """Return `write` for folders below this test's own."""
    return lambda name="embeddings", **keywords: write(tmp_path / name, **keywords)


@pytest.fixture(scope="package")
def fitted(tmp_path_factory):
    """Embeddings of simulated galaxies and a probe folder fitted to them: read only."""
    folder = tmp_path_factory.mktemp("fitted")
    store = write(folder / "embeddings", simulated=True)
    sample = SampleConfig(magnitude="mag_r")
    probe(store.folder, folder / "probe", probes=("knn", "ridge"), sample=sample)
    return store, folder / "probe"
