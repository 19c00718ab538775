import numpy as np
import pyarrow.parquet as pq
import pytest
from matplotlib.image import imread
from sklearn.manifold import trustworthiness
from ssl_photoz.recipes.probe import map as program

from ssl_photoz import runs
from ssl_photoz.errors import DataError
from ssl_photoz.similarity.map import lay_out, one_per_cell, reduce_all


def test_one_galaxy_per_cell_the_most_central():
    rng = np.random.default_rng(0)
    places = rng.uniform([0, 0], [8, 5], (300, 2)).astype(np.float32)
    rows, cell, (x, y, width) = one_per_cell(places, cells=6)
    low = places.min(axis=0)
    assert (x, y) == tuple(low)
    assert width == pytest.approx(np.ptp(places[:, 0]) / 6)
    own = np.minimum((places - low) // width, 5)
    assert len(rows) == len(np.unique(own, axis=0))
    for row, place in zip(rows, cell, strict=True):
        there = np.flatnonzero((own == place).all(axis=1))
        away = np.hypot(*(places[there] - (low + (place + 0.5) * width)).T)
        assert row == there[np.argmin(away)]


def test_too_few_galaxies_are_refused():
    with pytest.raises(DataError, match="5 galaxies are too few"):
        lay_out(np.eye(5, dtype=np.float32))


def test_the_map_keeps_neighbours_and_comes_out_the_same_twice(make_store, tmp_path, capsys):
    store = make_store(pictures=True)
    for name in ("one", "two"):
        program.main(program.Settings(store.folder, tmp_path / name, pca_dim=8, fit_limit=250))
    tables = [pq.read_table(tmp_path / name / "map.parquet") for name in ("one", "two")]
    assert tables[0].equals(tables[1])
    places = np.stack([tables[0]["x"].to_numpy(), tables[0]["y"].to_numpy()], axis=1)
    assert places.shape == (300, 2)
    assert trustworthiness(reduce_all(store, pca_dim=8, seed=0), places, n_neighbors=10) > 0.8
    assert runs.read_card(tmp_path / "one", "map")["simulated"] is True
    image = imread(tmp_path / "one" / "map.png")
    assert image[..., :3].std() > 0.05
    assert image.tobytes() == imread(tmp_path / "two" / "map.png").tobytes()
    program.main(program.Settings(store.folder, tmp_path / "one", pca_dim=8, fit_limit=250))
    assert "already made" in capsys.readouterr().out
