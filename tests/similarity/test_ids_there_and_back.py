"""Ids of every fashion, from our own tables and back."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from ssl_photoz.recipes.probe import predict as predicting

from ssl_photoz.catalog.tables import SUFFIXES, write_table
from ssl_photoz.catalog.where import rows_where
from ssl_photoz.core.errors import ConfigError, DataError, MismatchError
from ssl_photoz.embeddings.store import write_embeddings
from ssl_photoz.photoz.bias.tables import Estimates
from ssl_photoz.similarity.index import Index
from ssl_photoz.similarity.lists import read_list
from ssl_photoz.similarity.search import Search

FASHIONS = {
    "padded": lambda n: f"{n:06d}",
    "decimal": lambda n: f"{n}.50",
    "truth": lambda n: ["true", "false"][n % 2] if n < 2 else f"{n:03d}",
    "spaces": lambda n: f" {n:04d}",
}


def named(make_store, fashion, **more):
    def change(columns, vectors):
        columns["id"] = np.array([fashion(n) for n in range(len(vectors))], object)

    return make_store(change=change, **more)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("fashion", FASHIONS)
def test_an_answer_is_a_list_of_the_galaxies_it_names(make_store, tmp_path, fashion, suffix):
    store = named(make_store, FASHIONS[fashion], pictures=True)
    search = Search(Index.build(store), store)
    answer = search.like_id(FASHIONS[fashion](5), k=6)
    assert answer.query == 5
    search.save(answer, tmp_path / f"a{suffix}")
    listed = read_list(tmp_path / f"a{suffix}", search.catalogue)
    assert sorted(listed.rows.tolist()) == sorted(set(answer.rows.tolist()))


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("fashion", FASHIONS)
def test_predictions_find_their_galaxies(make_store, tmp_path, fashion, suffix):
    store = named(make_store, FASHIONS[fashion])
    path = tmp_path / f"p{suffix}"
    z = np.linspace(0, 0.3, 300).astype("f4")
    rows = np.random.default_rng(0).permutation(300)
    ids = store.column("id")[rows]
    bounds = {"z_lo": z[rows], "z_hi": z[rows]}
    write_table(path, {"id": ids, "z_phot": z[rows], **bounds}, simulated=False)
    found = Search(Index.build(store), store).catalogue.with_photoz(path)
    np.testing.assert_allclose(found.photoz["z_phot"], z, rtol=1e-6)
    assert [one.strip() for one in Estimates.read(path).id] == [one.strip() for one in ids]


def test_a_padded_number_is_no_number(make_store, tmp_path):
    def change(columns, _):
        columns["id"] = np.arange(300)

    store = make_store(change=change)
    search = Search(Index.build(store), store)
    assert 123 not in search.like_id("123", k=299).rows
    for wanted in ("0123", "+123", "1_2_3", "²"):
        with pytest.raises(DataError, match="no galaxy has id"):
            search.like_id(wanted, k=1)
    (tmp_path / "a.csv").write_text("id\n0123\n7\n")
    with pytest.raises(DataError, match=r"1 of 2 listed galaxies are not in the catalogue.*: 0123"):
        read_list(tmp_path / "a.csv", search.catalogue)
    (tmp_path / "a.csv").write_text("id\n123.0\n7.0\n")
    assert read_list(tmp_path / "a.csv", search.catalogue).rows.tolist() == [123, 7]


def test_ids_of_predictions_that_lost_digits_are_refused(make_store, tmp_path):
    store = make_store()
    ids = store.column("id").astype(float)
    pq.write_table(pa.table({"id": ids, "z_phot": np.zeros(300)}), tmp_path / "p.parquet")
    with pytest.raises(DataError, match=r"300 of 300 rows have .* lost digits"):
        Search(Index.build(store), store).catalogue.with_photoz(tmp_path / "p.parquet")
    pq.write_table(pa.table({"id": [1.0, 2.0], "z_phot": [0.1, 0.2]}), tmp_path / "p.parquet")
    with pytest.raises(MismatchError, match="none of them"):
        Search(Index.build(store), store).catalogue.with_photoz(tmp_path / "p.parquet")


def test_an_answer_that_fits_cannot_hold_is_refused_before_it_is_drawn(make_store, tmp_path):
    store = named(make_store, lambda n: f"Große Wolke é{n:04d}", pictures=True)
    search = Search(Index.build(store), store)
    answer = search.like_id("Große Wolke é0005", k=6)
    with pytest.raises(DataError, match=r"FITS cannot hold column \w+: .*write \.parquet or \.csv"):
        search.save(answer, tmp_path / "a.fits")
    assert not list(tmp_path.glob("a.*"))
    search.save(answer, tmp_path / "a.csv")
    assert len(read_list(tmp_path / "a.csv", search.catalogue).rows) == 6


def test_predict_refuses_before_it_predicts(make_store, tmp_path, monkeypatch):
    store = named(make_store, lambda n: f"é{n}")
    monkeypatch.setattr("ssl_photoz.photoz.artefact.load_probe", lambda *_: ({}, None))
    monkeypatch.setattr("ssl_photoz.photoz.artefact.check_belongs", lambda *_: None)
    monkeypatch.setattr(
        "ssl_photoz.photoz.artefact.predict_rows", lambda *_, **__: pytest.fail("predicted")
    )
    with pytest.raises(DataError, match="FITS cannot hold column id"):
        predicting.predict(tmp_path, tmp_path / "p.fits", embeddings=store)


def test_whole_numbers_with_gaps_in_a_store(tmp_path):
    first = 4949486599722954753
    spectra = np.array([first, None, first + 2], object)
    names = np.array(["a", None, "c"], object)
    columns = {"id": np.arange(3), "specobjid": spectra, "name": names}
    store = write_embeddings(tmp_path / "e", columns, np.ones((3, 2), np.float32))
    assert store.column("specobjid").tolist() == [first, None, first + 2]
    assert store.column("name").tolist() == ["a", "", "c"]
    assert rows_where(f"specobjid == {first + 2}", store.column).tolist() == [2]
    assert rows_where(f"specobjid > {first}", store.column).tolist() == [2]
    with pytest.raises(ConfigError, match="which holds numbers"):
        rows_where("specobjid == a", store.column)


def test_unknown_text_fulfils_nothing():
    column = {"name": np.array(["a", None, "c"], object)}.__getitem__
    assert rows_where("name != a", column).tolist() == [2]
