import csv
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from astropy.coordinates import SkyCoord
from astropy.table import Table
from ssl_photoz.recipes.probe import similarity

from ssl_photoz.embeddings.store import Embeddings, Reject, finish, write_shard
from ssl_photoz.embeddings.tables import write_table
from ssl_photoz.errors import ConfigError, DataError, MismatchError
from ssl_photoz.similarity.catalogue import Catalogue, find_id, find_position
from ssl_photoz.similarity.index import Index
from ssl_photoz.similarity.query import look_alikes, spread_in_redshift

ARCSEC = 1 / 3600


def answer(store, row, k):
    index = Index.build(store)
    catalogue = Catalogue.read(store)
    return look_alikes(index, catalogue, store.vectors()[row], k=k, row=row)


def test_look_alikes_are_the_neighbours_without_the_query(make_store):
    store = make_store()
    found = answer(store, 7, 10)
    distances, rows = Index.build(store).search(store.vectors()[7:8], 11)
    assert rows[0, 0] == 7
    np.testing.assert_array_equal(found.rows, rows[0, 1:])
    np.testing.assert_allclose(found.distances, distances[0, 1:])
    assert found.repeats == 0


def test_repeats_are_passed_over_and_counted(make_store):
    def repeat(columns, vectors):
        vectors[1:5] = vectors[0]
        columns["id"][1] = columns["id"][0]
        columns["ra"][2] = columns["ra"][0]
        columns["dec"][2] = columns["dec"][0] + 1.5 * ARCSEC
        columns["ra"][3] = columns["ra"][0]
        columns["dec"][3] = columns["dec"][0] - 3 * ARCSEC
        columns["id"][4] = columns["id"][3]

    found = answer(make_store(change=repeat), 0, 5)
    assert found.repeats == 3  # row 1 by id, row 2 by place, then 3 or 4 by id
    assert not {0, 1, 2} & set(found.rows.tolist())
    assert len({3, 4} & set(found.rows.tolist())) == 1
    assert len(found.rows) == 5


def test_many_repeats_do_not_shorten_the_answer(make_store):
    def repeat(columns, vectors):
        vectors[:100] = vectors[0]
        columns["id"][:100] = columns["id"][0]

    found = answer(make_store(change=repeat), 0, 12)
    assert found.repeats == 99
    assert found.rows.min() >= 100
    assert len(found.rows) == 12


def test_a_small_catalogue_gives_what_it_has(make_store):
    found = answer(make_store(n=5), 0, 12)
    assert sorted(found.rows.tolist()) == [1, 2, 3, 4]


def test_separation_agrees_with_skycoord(make_store):
    catalogue = Catalogue.read(make_store())
    everywhere = SkyCoord(catalogue.ra, catalogue.dec, unit="deg")
    expected = SkyCoord(11.0, -33.0, unit="deg").separation(everywhere).arcsec
    np.testing.assert_allclose(catalogue.separation_arcsec(11.0, -33.0), expected, rtol=1e-9)


def test_galaxies_are_found_by_number_or_text(make_store):
    store = make_store()
    catalogue = Catalogue.read(store)
    assert find_id(store, catalogue, str(catalogue.id[17])) == 17

    def name(columns, vectors):
        columns["id"] = np.array([f"J{i:04d}" for i in range(len(vectors))])

    named = make_store("named", change=name)
    assert find_id(named, Catalogue.read(named), "J0017") == 17


@pytest.mark.parametrize("wanted", ["12", "J0017", "", str(2**80)])
def test_an_unknown_id_is_named(make_store, wanted):
    store = make_store()
    with pytest.raises(DataError, match=f"no galaxy has id '{wanted}' among the 300"):
        find_id(store, Catalogue.read(store), wanted)


def test_a_rejected_galaxy_is_told_from_an_unknown_one(tmp_path):
    two = {name: np.array([1.0, 2.0]) for name in ("ra", "dec", "z")}
    two |= {"id": np.array([5, 6]), "split": np.array(["train", "test"])}
    two |= {"row": np.arange(2), "embedding": np.eye(2, dtype=np.float32)}
    write_shard(tmp_path, 0, two, rejects=[Reject(2, "77", "all pixels are zero")])
    finish(tmp_path, rows_in=3, config={}, parents={})
    store = Embeddings.open(tmp_path)
    with pytest.raises(DataError, match=r"77 has no embedding: .* all pixels are zero"):
        find_id(store, Catalogue.read(store), "77")


def test_galaxies_are_found_by_position(make_store):
    def wrap(columns, vectors):
        columns["ra"][9], columns["dec"][9] = 359.9999, 0.0
        columns["ra"][10] = np.nan

    catalogue = Catalogue.read(make_store(change=wrap))
    assert find_position(catalogue, 0.0002, 0.0, radius_arcsec=2.0) == 9  # 1.08", across 0 h
    with pytest.raises(DataError, match=r'the nearest, \d+, is 36" away'):
        find_position(catalogue, 359.9999, 0.01, radius_arcsec=2.0)


def test_examples_span_the_labelled_test_galaxies(make_store):
    catalogue = Catalogue.read(make_store())
    rows = spread_in_redshift(catalogue, 6, seed=0)
    assert np.all(catalogue.split[rows] == "test")
    z = catalogue.z[rows]
    assert np.all(np.diff(z) > 0)
    edges = np.nanquantile(catalogue.z[catalogue.split == "test"], [1 / 6, 5 / 6])
    assert z[0] <= edges[0]
    assert z[-1] >= edges[1]
    np.testing.assert_array_equal(rows, spread_in_redshift(catalogue, 6, seed=0))


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".fits"])
def test_tables_survive_in_each_format(tmp_path, suffix):
    columns = {
        "id": np.array([2**60 + 1, 5]),
        "name": np.array(["a", "bc"], dtype=object),
        "z": np.array([0.25, np.nan], np.float32),
    }
    path = tmp_path / f"t{suffix}"
    write_table(path, columns, simulated=True)
    columns["simulated"] = np.array([True, True])
    if suffix == ".csv":
        back = list(csv.DictReader(path.open()))
        assert [int(row["id"]) for row in back] == columns["id"].tolist()
        assert float(back[0]["z"]) == 0.25
        return
    back = Table.read(path) if suffix == ".fits" else pq.read_table(path).to_pydict()
    for name, values in columns.items():
        if name == "z":
            np.testing.assert_array_equal(np.asarray(back[name], "f4"), values)
        else:
            assert list(back[name]) == list(values)


@pytest.fixture
def made(make_store, tmp_path):
    """Embeddings with pictures, and an index of them."""
    store = make_store(pictures=True)
    similarity.main(similarity.Settings(store.folder, tmp_path / "index", quality_k=5))
    return store, {"index": tmp_path / "index", "embeddings": store.folder}


def test_a_query_writes_a_table_and_a_montage(made, tmp_path, capsys):
    store, folders = made
    wanted = store.column("id")[33]
    out = tmp_path / "answers" / "of_33.csv"
    similarity.query(similarity.QuerySettings(**folders, out=out, id=str(wanted), k=6))
    table = list(csv.DictReader(out.open()))
    assert [int(row["rank"]) for row in table] == [1, 2, 3, 4, 5, 6]
    assert all(row["simulated"] == "True" for row in table)
    assert str(wanted) not in {row["id"] for row in table}
    assert out.with_suffix(".png").stat().st_size > 10_000
    assert f"{out} and" in capsys.readouterr().out

    place = {"ra": float(store.column("ra")[33]), "dec": float(store.column("dec")[33])}
    again = tmp_path / "again.csv"
    similarity.query(similarity.QuerySettings(**folders, out=again, **place, k=6))
    assert again.read_text() == out.read_text()


def test_a_cutout_is_looked_up_by_its_embedding(made, tmp_path, monkeypatch):
    store, folders = made
    out = tmp_path / "mine.parquet"
    asked = {"cutout": tmp_path / "mine.h5", "encoder": tmp_path / "encoder", "out": out}
    (tmp_path / "encoder").mkdir()
    (tmp_path / "encoder" / "card.json").write_text("{}")
    settings = similarity.QuerySettings(**folders, **asked, k=3)
    with pytest.raises(MismatchError, match="give that encoder"):
        similarity.query(settings)
    monkeypatch.setattr(Index, "check_encoder", lambda *_: None)
    monkeypatch.setattr(
        "ssl_photoz.embeddings.embed.embed_cutout",
        lambda *_, like: (store.vectors()[5], store.thumbnails([5])[0]),
    )
    similarity.query(settings)
    table = pq.read_table(out).to_pydict()
    assert table["id"][0] == store.column("id")[5]
    assert table["distance"][0] == pytest.approx(0, abs=1e-6)
    assert out.with_suffix(".png").exists()


def test_examples_make_an_artefact_once(made, tmp_path, capsys):
    _, folders = made
    settings = similarity.QuerySettings(**folders, out=tmp_path / "q", examples=3, k=4)
    similarity.query(settings)
    card = similarity.runs.read_card(tmp_path / "q", "query")
    assert card["simulated"] is True
    table = pq.read_table(tmp_path / "q" / "lookalikes.parquet").to_pydict()
    assert [str(one) for one in table["query_id"][::4]] == card["queries"]
    before = (tmp_path / "q" / "lookalikes.png").stat().st_mtime_ns
    similarity.query(settings)
    assert "already made" in capsys.readouterr().out
    assert (tmp_path / "q" / "lookalikes.png").stat().st_mtime_ns == before
    with pytest.raises(MismatchError, match="k = 4, asked for 5"):
        similarity.query(similarity.QuerySettings(**folders, out=tmp_path / "q", examples=3, k=5))


def test_an_index_of_other_embeddings_is_refused(made, make_store, tmp_path):
    _, folders = made
    other = make_store("other", seed=3)
    asked = {**folders, "embeddings": other.folder, "out": tmp_path / "t.csv"}
    with pytest.raises(MismatchError, match="run index on these embeddings"):
        similarity.query(similarity.QuerySettings(**asked, id="1"))
    assert not (tmp_path / "t.csv").exists()


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({}, "got no query"),
        ({"id": "3", "examples": 2}, "got id and examples"),
        ({"ra": 3.0}, "ra and dec"),
        ({"cutout": "x.h5"}, "cutout and encoder"),
        ({"cutout": "x.h5", "encoder": "e", "ra": 1.0, "dec": 2.0}, "got ra and dec and cutout"),
    ],
)
def test_queries_that_are_no_query_are_refused(tmp_path, asked, says):
    given = {"index": tmp_path, "embeddings": tmp_path, "out": tmp_path / "t.csv"} | asked
    with pytest.raises(ConfigError, match=says):
        similarity.QuerySettings(**given)


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"ra": 361.0, "dec": 0.0}, "expected degrees, 0 to 360"),
        ({"ra": 1.0, "dec": float("nan")}, "expected degrees, 0 to 360"),
        ({"ra": 1.0, "dec": 2.0, "radius_arcsec": 0.0}, r"radius_arcsec is 0\.0"),
        ({"k": 0}, "k is 0"),
        ({"out": Path("answer.txt")}, r"ends in '\.txt'"),
        ({"examples": 2, "out": Path("answer.csv")}, "expected a folder"),
    ],
)
def test_wrong_values_are_refused_and_nothing_is_written(made, tmp_path, asked, says, monkeypatch):
    store, folders = made
    monkeypatch.chdir(tmp_path)
    given = {**folders, "out": Path("answer.csv")} | asked
    if not {"ra", "examples"} & set(asked):
        given["id"] = str(store.column("id")[0])
    with pytest.raises(ConfigError, match=says):
        similarity.query(similarity.QuerySettings(**given))
    assert not list(tmp_path.glob("answer*"))
