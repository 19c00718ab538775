import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from ssl_photoz.recipes.probe import map as program

from ssl_photoz.catalog.tables import write_table
from ssl_photoz.core import artefact
from ssl_photoz.core.errors import ConfigError, MismatchError
from ssl_photoz.similarity.settings import MapConfig

STIL_READS = {  # scalars of TOPCAT's Parquet reader: no 16-bit floats, no unsigned 64-bit numbers
    *(pa.bool_(), pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16()),
    *(pa.uint32(), pa.float32(), pa.float64(), pa.string()),
}


def more_columns(columns, vectors):
    n = len(vectors)
    columns["mag_r"] = np.linspace(15, 20, n).astype(np.float16)
    columns["objid"] = np.arange(n, dtype=np.uint64)
    columns["hash"] = np.arange(n, dtype=np.uint64) + np.uint64(1 << 63)
    columns["noise"] = np.ones((n, 3), np.float32)
    columns["population"] = np.array(["dwarf", "disc"] * (n // 2))
    columns["x"] = np.arange(n)


@pytest.fixture
def store(make_store):
    return make_store(change=more_columns)


@pytest.fixture
def predictions(store, tmp_path):
    """Predictions of every second galaxy, in another order than the store's."""
    rows = np.arange(len(store))[::-2]
    z = np.nan_to_num(store.column("z"), nan=0.1)[rows]
    table = {"id": store.column("id")[rows], "z_phot": z + 0.01 * (1 + z)}
    write_table(tmp_path / "predictions.parquet", table, simulated=True)
    return tmp_path / "predictions.parquet"


def made(store, out, **settings):
    program.map(store.folder, out, layout=MapConfig(pca_dim=8, epochs=10), **settings)
    return pq.read_table(out / "map.parquet")


def test_every_column_is_one_that_topcat_and_embedding_atlas_read(store, predictions, tmp_path):
    table = made(store, tmp_path / "map", predictions=predictions, magnitude="mag_r")
    assert {field.type for field in table.schema} <= STIL_READS
    assert table.schema.field("id").type == pa.int64()
    assert table["id"].to_pylist() == store.column("id").tolist()  # beyond 2^53
    assert table["row"].to_pylist() == list(range(len(store)))
    np.testing.assert_array_equal(table["objid"], store.column("objid"))
    assert table["hash"].to_pylist() == [str(number) for number in store.column("hash")]
    np.testing.assert_array_equal(table["z_spec"], store.column("z"))
    np.testing.assert_array_equal(table["catalogue_x"], store.column("x"))
    assert table["population"].to_pylist() == store.column("population").tolist()
    assert not {"noise", "embedding"} & set(table.column_names)
    assert all(table["simulated"].to_pylist())


def test_predictions_find_their_galaxies_and_residuals_those_of_the_test_sky(
    store, predictions, tmp_path
):
    table = made(store, tmp_path / "map", predictions=predictions)
    z, z_phot, residual = (np.asarray(table[name]) for name in ("z_spec", "z_phot", "residual"))
    given = np.arange(len(store)) % 2 == 1
    np.testing.assert_array_equal(np.isfinite(z_phot), given)
    scored = given & np.isfinite(z) & (store.column("split") == "test")
    np.testing.assert_array_equal(np.isfinite(residual), scored)
    np.testing.assert_allclose(residual[scored], 0.01, atol=1e-6)
    parents = artefact.read_card(tmp_path / "map", "map")["parents"]
    assert parents["predictions"] == artefact.sha256_of(predictions)


def test_predictions_of_other_galaxies_are_refused(store, tmp_path):
    table = {"id": np.arange(9), "z_phot": np.full(9, 0.1)}
    write_table(tmp_path / "other.csv", table, simulated=True)
    with pytest.raises(MismatchError, match="none of them among"):
        made(store, tmp_path / "map", predictions=tmp_path / "other.csv")
    assert not (tmp_path / "map").exists()


def test_a_map_made_with_other_predictions_is_in_the_way(store, predictions, tmp_path):
    made(store, tmp_path / "map", predictions=predictions)
    table = {"id": store.column("id"), "z_phot": np.full(len(store), 0.1)}
    write_table(predictions, table, simulated=True)
    with pytest.raises(MismatchError, match="predictions"):
        made(store, tmp_path / "map", predictions=predictions)


@pytest.mark.parametrize(
    ("name", "complaint"),
    [("mag_y", "no plain column"), ("noise", "no plain column"), ("population", "expected num")],
)
def test_a_magnitude_that_is_none_is_refused(store, tmp_path, name, complaint):
    with pytest.raises(ConfigError, match=complaint):
        made(store, tmp_path / "map", magnitude=name)
    assert not (tmp_path / "map").exists()


def test_settings_that_umap_would_stumble_over_are_refused():
    with pytest.raises(ConfigError, match="n_neighbors is 1"):
        MapConfig(n_neighbors=1)
