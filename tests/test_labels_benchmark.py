"""The benchmark of labels, on a small survey."""

import numpy as np
import pytest

from benchmarks.labels import __main__ as benchmark
from ssl_photoz.embeddings.store import write_embeddings
from ssl_photoz.photoz.labels import Labelled


@pytest.fixture
def store(tmp_path):
    """Embeddings of galaxies whose brightness and redshift are features."""
    rng = np.random.default_rng(0)
    n = 1200
    features = rng.normal(size=(n, 4)).astype("f4")
    z = np.expm1(0.15 + 0.05 * np.tanh(features[:, 1]) + 0.005 * rng.normal(size=n))
    columns = {
        "id": np.arange(n),
        "ra": rng.uniform(100, 200, n),
        "dec": rng.uniform(0, 10, n),
        "z": np.where(rng.uniform(size=n) < 0.7, z, np.nan).astype("f4"),
        "true_z": z,
        "true_mag_r": (19.5 + features[:, 0]).astype("f4"),
        "split": rng.choice(["train", "val", "test"], n, p=[0.6, 0.2, 0.2]),
    }
    folder = tmp_path / "embeddings"
    return write_embeddings(folder, columns, features, encoder="e" * 64, simulated=True)


def test_selections_are_what_they_are_called(store) -> None:
    found = {some.name: some for some in benchmark.selections(store)}
    truth, magnitude = store.column("true_z"), store.column("true_mag_r")
    bright = found["r < 19.5 only"]
    assert magnitude[bright.labelled].max() < 19.5
    assert np.array_equal(bright.z, truth)
    patch = store.column("ra")[found["two patches only"].labelled]
    assert ((patch < 125.5) & (patch > 109)).any()
    assert not ((patch > 126) & (patch < 159)).any()
    wrong = found["5 % wrong"]
    assert (wrong.z != truth).mean() == pytest.approx(0.05, abs=0.02)
    both = found["bright, and photometric"]
    off = (both.z - truth) / (1 + truth)
    assert off[both.labelled & (magnitude >= 19.5)].std() == pytest.approx(0.03, rel=0.15)
    assert np.array_equal(both.z[magnitude < 19.5], truth[magnitude < 19.5])
    splits = benchmark.labelled(store, store.vectors(), both)
    assert isinstance(splits["val"], Labelled)
    assert (splits["val"].trust == 1).all()
    assert np.array_equal(splits["test"].z, truth[store.column("split") == "test"])


def test_a_row_of_the_table(store, tmp_path, monkeypatch) -> None:
    (bright,) = (one for one in benchmark.selections(store) if one.name == "r < 19.5 only")
    row = benchmark.measured(store, store.vectors(), bright, "SOM-merged", "knn")
    assert 0.3 < row["outside"] < 0.7
    assert row["sigma_inside"] < 0.02
    monkeypatch.setattr(benchmark, "HERE", tmp_path)
    benchmark.write([row, row], "tiny", "SIMULATED.")
    table = (tmp_path / "results/tiny.md").read_text()
    assert table.count("| knn | r < 19.5 only | SOM-merged |") == 2
    assert (tmp_path / "results/tiny.png").stat().st_size > 10_000


def test_bins_of_equal_galaxies_give_their_shift() -> None:
    z = np.linspace(0.1, 0.4, 300)
    worst, error = benchmark.off_by(z + np.where(z > 0.3, 0.013, 0.0), z, z)
    assert worst == pytest.approx(0.01, rel=0.05)
    assert error == pytest.approx(0, abs=1e-3)
