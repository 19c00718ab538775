import numpy as np
import pytest
from astropy.coordinates import SkyCoord

from ssl_photoz.catalog import sky
from ssl_photoz.catalog.identity import find_ids
from ssl_photoz.catalog.sky import nearest_rows, within_radius
from ssl_photoz.core.errors import DataError
from ssl_photoz.embeddings.store import Embeddings, Reject, finish, write_shard
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
    distances, rows = Index.build(store).nearest_rows(store.vectors()[7:8], 11)
    assert rows[0, 0] == 7
    np.testing.assert_array_equal(found.rows, rows[0, 1:])
    np.testing.assert_allclose(found.distances, distances[0, 1:])
    assert found.repeats == 0


def test_repeats_are_passed_over_and_counted(make_store):
    def repeat(columns, vectors):
        vectors[1:5] = vectors[0]
        columns["id"][1], columns["ra"][1] = columns["id"][0], columns["ra"][0]
        columns["dec"][1] = columns["dec"][0] + 5 * ARCSEC
        columns["ra"][2] = columns["ra"][0]
        columns["dec"][2] = columns["dec"][0] + 1.5 * ARCSEC
        columns["ra"][3] = columns["ra"][0]
        columns["dec"][3] = columns["dec"][0] - 3 * ARCSEC
        for name in ("id", "ra", "dec"):
            columns[name][4] = columns[name][3]

    found = answer(make_store(change=repeat), 0, 5)
    assert found.repeats == 3  # row 1 by id, row 2 by place, then 3 or 4 by id
    assert not {0, 1, 2} & set(found.rows.tolist())
    assert len({3, 4} & set(found.rows.tolist())) == 1
    assert len(found.rows) == 5


def test_many_repeats_do_not_shorten_the_answer(make_store):
    def repeat(columns, vectors):
        vectors[:100] = vectors[0]
        for name in ("id", "ra", "dec"):
            columns[name][:100] = columns[name][0]

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
        columns["ra"][11], columns["dec"][11] = 0.0006, 0.0

    catalogue = Catalogue.read(make_store(change=wrap))
    rows, away = find_position(catalogue, 0.0002, 0.0, radius_arcsec=2.0)
    np.testing.assert_array_equal(rows, [9, 11])  # 1.08" across 0 h, and 1.44"
    np.testing.assert_allclose(away, [1.08, 1.44], atol=1e-6)
    assert find_position(catalogue, 0.0002, 0.0, radius_arcsec=1.2)[0].tolist() == [9]
    with pytest.raises(DataError, match=r'the nearest, \d+, is 36" away'):
        find_position(catalogue, 359.9999, 0.01, radius_arcsec=2.0)


@pytest.mark.parametrize("part_rows", [7, 1 << 20])
def test_positions_are_found_as_skycoord_finds_them(make_store, part_rows, monkeypatch):
    monkeypatch.setattr(sky, "PART_ROWS", part_rows)
    catalogue = Catalogue.read(make_store(n=400))
    centres = SkyCoord([11.0, 359.5, 200.0], [-33.0, 2.0, 89.7], unit="deg")
    everywhere = SkyCoord(catalogue.ra, catalogue.dec, unit="deg")
    expected, separation, _ = centres.match_to_catalog_sky(everywhere)
    place = catalogue.ra, catalogue.dec
    rows, away = nearest_rows(*place, centres.ra.deg, centres.dec.deg)
    np.testing.assert_array_equal(rows, expected)
    np.testing.assert_allclose(away, separation.arcsec, rtol=1e-9)
    for centre in centres:
        far = centre.separation(everywhere).arcsec
        found, distances = within_radius(*place, centre.ra.deg, centre.dec.deg, radius_arcsec=7e4)
        order = np.argsort(far)
        np.testing.assert_array_equal(found, order[: (far <= 7e4).sum()])
        np.testing.assert_allclose(distances, far[found], rtol=1e-9)
    assert len(found) > 3


def test_ids_are_found_as_a_dictionary_would():
    rng = np.random.default_rng(0)
    ids, wanted = rng.integers(0, 60, 80) + 2**60, rng.integers(0, 80, 50) + 2**60
    first = {}
    for place, one in enumerate(ids.tolist()):
        first.setdefault(one, place)
    expected = [first.get(one, -1) for one in wanted.tolist()]
    assert min(expected) == -1
    assert find_ids(ids, wanted).tolist() == expected
    assert find_ids(ids.astype(str).astype(object), wanted).tolist() == expected
    assert find_ids(ids[:0], wanted).tolist() == [-1] * 50
    assert find_ids(ids, wanted[:0]).tolist() == []


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
