import numpy as np
import pyarrow.parquet as pq
import pytest
from matplotlib.image import imread
from sklearn.manifold import trustworthiness
from ssl_photoz.recipes.probe import map as program

from ssl_photoz.core import artefact
from ssl_photoz.core.errors import DataError
from ssl_photoz.similarity.map import lay_out, reduce_all, spread_sample
from ssl_photoz.similarity.map_files import one_per_cell
from ssl_photoz.similarity.settings import MapConfig


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


def islands(*counts, seed=0, dim=10, scatter=0.05):
    """Unit vectors in clumps around orthogonal directions, and which clump each is of."""
    rng = np.random.default_rng(seed)
    clump = np.repeat(np.arange(len(counts)), counts)
    vectors = np.eye(dim)[clump] + scatter * rng.normal(size=(len(clump), dim))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors.astype(np.float32), clump


def test_too_few_galaxies_are_refused():
    with pytest.raises(DataError, match="5 galaxies are too few"):
        lay_out(np.eye(5, dtype=np.float32))
    with pytest.raises(DataError, match="10 galaxies are too few"):
        lay_out(islands(40)[0], MapConfig(fit_limit=10))


def test_a_rare_far_island_is_not_lost_in_the_sample():
    vectors, clump = islands(6000, 8, scatter=0.02)
    kept = [np.sum(clump[spread_sample(vectors, 300, seed=seed)] == 1) for seed in range(5)]
    assert kept == [8] * 5  # of a uniform draw one would expect 0.4


def test_the_sample_is_increasing_and_depends_on_nothing_but_the_seed():
    vectors, _ = islands(500, 300)
    one, again, other = (spread_sample(vectors, 200, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert len(one) == 200
    assert (np.diff(one) > 0).all()
    assert not np.array_equal(one, other)
    np.testing.assert_array_equal(spread_sample(vectors, 900), np.arange(800))


def test_identical_galaxies_can_be_sampled():
    assert len(spread_sample(np.tile(np.eye(3, dtype=np.float32)[0], (50, 1)), 20)) == 20


def test_separate_clumps_stay_separate_also_for_those_that_were_placed():
    vectors, clump = islands(200, 200)
    places, fitted = lay_out(vectors, MapConfig(fit_limit=150))
    assert fitted.sum() == 150
    middles = np.array([places[clump == one].mean(axis=0) for one in (0, 1)])
    gap = np.linalg.norm(middles[0] - middles[1])
    for one in (0, 1):
        assert np.linalg.norm(places[clump == one] - middles[one], axis=1).max() < gap / 2


def test_the_map_keeps_neighbours_and_comes_out_the_same_twice(make_store, tmp_path, capsys):
    store = make_store(pictures=True)
    for name in ("one", "two"):
        program.map(store, tmp_path / name, layout=MapConfig(pca_dim=8, fit_limit=250))
    tables = [pq.read_table(tmp_path / name / "map.parquet") for name in ("one", "two")]
    one, two = ((tmp_path / name / "map.parquet").read_bytes() for name in ("one", "two"))
    assert one == two
    assert tables[0]["fitted"].to_numpy().sum() == 250
    places = np.stack([tables[0]["x"].to_numpy(), tables[0]["y"].to_numpy()], axis=1)
    assert places.shape == (300, 2)
    true = trustworthiness(reduce_all(store, pca_dim=8, seed=0), places, n_neighbors=15)
    assert true > 0.8
    card = artefact.read_card(tmp_path / "one", "map")
    assert card["simulated"] is True
    assert (card["rows_fitted"], card["rows_placed"]) == (250, 50)
    assert card["measured"]["trustworthiness"] == pytest.approx(true, abs=1e-5)
    for picture in ("map.png", "atlas.png"):
        image = imread(tmp_path / "one" / picture)
        assert image[..., :3].std() > 0.05
        assert image.tobytes() == imread(tmp_path / "two" / picture).tobytes()
    again = program.map(store, str(tmp_path / "one"), layout=MapConfig(pca_dim=8, fit_limit=250))
    assert again.card.measured.trustworthiness == card["measured"]["trustworthiness"]
    np.testing.assert_array_equal(again.table()["x"], places[:, 0])
    assert "already made" in capsys.readouterr().out
