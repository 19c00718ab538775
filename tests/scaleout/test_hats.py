"""Catalogues in HATS: valid by the library's own rules, and opened by LSDB."""

import numpy as np
import pytest

hats = pytest.importorskip("hats", reason="hats is not installed")

from hats.io.validation import is_valid_catalog  # noqa: E402

from ssl_photoz.embeddings.store import Embeddings  # noqa: E402
from ssl_photoz.scaleout.hats import (  # noqa: E402
    Cell,
    divide,
    finish_hats,
    spatial_index,
    write_hats_embeddings,
)
from ssl_photoz.scaleout.settings import TilesConfig  # noqa: E402
from tests.conftest import survey  # noqa: E402


@pytest.fixture
def catalogue(tmp_path):
    columns, vectors = survey(400, pictures=True)
    made = write_hats_embeddings(
        tmp_path / "galaxies",
        columns,
        vectors.astype(np.float16),
        tiles=TilesConfig(most_rows=35),
        encoder="abc",
        simulated=True,
    )
    return made, columns, vectors


def test_a_catalogue_is_valid_by_the_strict_rules(catalogue):
    made, _, _ = catalogue
    assert is_valid_catalog(made.folder, strict=True)
    read = hats.read_hats(made.folder)
    assert read.catalog_info.total_rows == 400
    assert len(read.get_healpix_pixels()) == len(made.shards) > 12
    said = dict(read.catalog_info.__pydantic_extra__)
    assert (said["ssl_photoz_encoder"], said["ssl_photoz_simulated"]) == ("abc", "True")


def test_a_catalogue_is_embeddings_of_the_same_rows(catalogue):
    made, columns, vectors = catalogue
    opened = Embeddings.open(made.folder)
    row = opened.column("row")
    np.testing.assert_array_equal(np.sort(row), np.arange(400))
    np.testing.assert_array_equal(opened.column("id"), columns["id"][row])
    np.testing.assert_array_equal(opened.vectors(), vectors.astype("f2").astype("f4")[row])
    assert max(len(tile) for tile in opened.shards) <= 35
    for tile in opened.shards:
        index = tile.column("_healpix_29")
        assert (np.diff(index) >= 0).all()
        order, pixel = (int(part.split("=")[1]) for part in tile.name[:-8].split("/")[1::2])
        assert (index >> 2 * (29 - order) == pixel).all()


def test_lsdb_opens_it_without_vectors_and_gives_them_when_asked(catalogue):
    lsdb = pytest.importorskip("lsdb", reason="lsdb is not installed")
    made, _, vectors = catalogue
    plain = lsdb.open_catalog(made.folder)
    assert {"id", "ra", "dec", "z", "split", "row"} <= set(plain.columns)
    assert not {"embedding", "thumbnail"} & set(plain.columns)
    found = lsdb.open_catalog(made.folder, columns=["row", "embedding"]).compute()
    assert len(found) == 400
    expected = vectors.astype(np.float16)[found["row"].to_numpy()]
    np.testing.assert_array_equal(np.stack(list(found["embedding"])), expected)


def test_finishing_twice_gives_the_same_and_clears_what_was_left_over(catalogue):
    made, _, _ = catalogue
    cells = [Cell(*_numbers(tile.name)) for tile in made.shards]
    names = ("partition_info.csv", "dataset/_metadata", "dataset/_common_metadata")
    before = [(made.folder / name).read_bytes() for name in names]
    left = made.shards[0].path.with_name(".Npix=1.abc.partial.parquet")
    left.write_bytes(b"half")
    finish_hats(made.folder, cells[::-1], name="galaxies")
    assert [(made.folder / name).read_bytes() for name in names] == before
    assert not left.exists()
    assert is_valid_catalog(made.folder, strict=True)


def _numbers(name):
    return (int(part.split("=")[1].split(".")[0]) for part in name.split("/")[1::2])


def test_every_row_is_in_the_one_cell_that_holds_it():
    rng = np.random.default_rng(3)
    ra, dec = rng.uniform(149, 151, 3_000), rng.uniform(1, 3, 3_000)
    index = np.sort(spatial_index(ra, dec))
    found = divide(index, TilesConfig(most_rows=200, coarsest=3, finest=9))
    counts = [rows.stop - rows.start for rows in found.values()]
    assert sum(counts) == 3_000
    assert max(counts) <= 200
    assert min(cell.order for cell in found) >= 3
    for cell, rows in found.items():
        assert (index[rows] >> 2 * (29 - cell.order) == cell.pixel).all()
        whole = (index >> 2 * (29 - cell.order)) == cell.pixel
        assert whole.sum() == rows.stop - rows.start  # no row of the cell is elsewhere


def test_rows_at_one_place_stay_together_in_the_smallest_cell():
    index = np.full(50, 12345)
    found = divide(index, TilesConfig(most_rows=10, finest=4))
    assert list(found.values()) == [slice(0, 50)]
    assert next(iter(found)).order == 4


def test_cells_without_rows_are_none():
    assert divide(np.empty(0, np.int64)) == {}
