"""Which rows are one galaxy: an id is an identity only where positions agree."""

import numpy as np
import pytest
from astropy.coordinates import SkyCoord

from ssl_photoz.catalog.identity import same_galaxy, scattered
from ssl_photoz.catalog.tables import write_table
from ssl_photoz.core.errors import DataError
from ssl_photoz.similarity.catalogue import Catalogue, find_id
from ssl_photoz.similarity.lists import read_list, rows_to_hide
from ssl_photoz.similarity.query import best_of

ARCSEC = 1 / 3600


def catalogue(ids, ra, dec):
    n = len(ids)
    return Catalogue(
        np.asarray(ids),
        np.asarray(ra, float),
        np.asarray(dec, float),
        np.full(n, np.nan),
        np.full(n, "train"),
    )


@pytest.mark.parametrize("none", [0, -1, ""])
def test_an_id_that_means_none_is_no_identity(none):
    one = catalogue([none] * 3, [10.0, 10.0 + ARCSEC, 50.0], [0.0, 0.0, 20.0])
    assert one.is_any_of(one.take(np.array([0]))).tolist() == [True, True, False]


def test_two_spectra_of_a_galaxy_are_one_and_so_are_rows_without_position():
    one = catalogue([7, 7, 7, 8], [10.0, 10.0 + 5 * ARCSEC, np.nan, 10.1], [0, 0, np.nan, 0])
    assert one.is_any_of(one.take(np.array([0]))).tolist() == [True, True, True, False]


def test_every_row_of_a_listed_galaxy_is_hidden(make_store, tmp_path):
    def repeat(columns, vectors):
        for name in ("id", "ra", "dec"):
            columns[name][200] = columns[name][100]
        columns["id"][[5, 6]] = 0

    store = make_store(change=repeat)
    ids = store.column("id")
    (tmp_path / "hide.csv").write_text(f"TARGETID\n{ids[100]}\n")
    hidden = rows_to_hide(store, listed=tmp_path / "hide.csv")
    assert np.flatnonzero(hidden).tolist() == [100, 200]
    ra, dec = store.column("ra"), store.column("dec")
    (tmp_path / "place.csv").write_text(f"ra,dec\n{float(ra[5])!r},{float(dec[5])!r}\n")
    hidden = rows_to_hide(store, listed=tmp_path / "place.csv")
    assert np.flatnonzero(hidden).tolist() == [5]


class Nearest:
    """Answers of an index: all rows in order."""

    def __init__(self, n):
        self.rows, self.distances = np.arange(n), np.linspace(0, 1, n)

    def nearest(self, index, k):
        return self.rows[:k], self.distances[:k], k >= len(self.rows)


def test_look_alikes_with_an_id_that_means_none_are_listed():
    one = catalogue([0] * 6, 10 + np.arange(6.0), np.zeros(6))
    found = best_of(None, one, Nearest(6), k=4, leave_out=np.array([0]))
    assert found.rows.tolist() == [1, 2, 3, 4]
    assert found.repeats == 0


@pytest.fixture
def shared(make_store):
    """Rows 0 to 9 have the id 0; rows 20 and 21 are two spectra of one galaxy."""

    def change(columns, vectors):
        columns["id"][:10] = 0
        for name in ("id", "ra", "dec"):
            columns[name][21] = columns[name][20]

    return make_store(change=change)


def test_an_id_that_galaxies_share_is_asked_for_by_place(shared, tmp_path):
    one = Catalogue.read(shared)
    with pytest.raises(DataError, match="10 galaxies at different places share the id 0; query by"):
        find_id(shared, one, "0")
    assert find_id(shared, one, str(one.id[20])) == 20
    listed = tmp_path / "list.csv"
    listed.write_text(f"id\n{one.id[20]}\n0\n")
    for read in (lambda: read_list(listed, one), lambda: rows_to_hide(shared, listed=listed)):
        with pytest.raises(DataError, match="1 of 2 listed galaxies have an id that several galax"):
            read()
    places = "".join(f"{one.id[r]},{one.ra[r]:.7f},{one.dec[r]:.7f}\n" for r in (20, 7, 3))
    listed.write_text("id,ra,dec\n" + places)
    assert read_list(listed, one).rows.tolist() == [20, 7, 3]
    assert np.flatnonzero(rows_to_hide(shared, listed=listed)).tolist() == [3, 7, 20, 21]


def test_an_id_is_found_though_the_list_has_other_positions(shared, tmp_path):
    """A list in B1950, say: its ids are enough as long as nobody shares them."""
    one, listed = Catalogue.read(shared), tmp_path / "list.csv"
    listed.write_text(f"id,ra,dec\n{one.id[30]},{(one.ra[30] + 1) % 360},0\n")
    assert read_list(listed, one).rows.tolist() == [30]


def test_a_predicted_redshift_is_that_of_the_galaxy_at_its_place(shared, tmp_path):
    one = Catalogue.read(shared)
    rows = np.array([5, 2, 9, 20, 40])
    columns = {"id": one.id, "ra": one.ra, "dec": one.dec}
    table = {name: values[rows] for name, values in columns.items()}
    path = tmp_path / "photoz.parquet"
    write_table(path, {**table, "z_phot": rows / 100}, simulated=False)
    expected = np.full(len(one), np.nan, np.float32)
    expected[rows], expected[21] = rows / 100, 0.2
    np.testing.assert_array_equal(one.with_photoz(path).photoz["z_phot"], expected)
    write_table(path, {"id": table["id"], "z_phot": rows / 100}, simulated=False)
    expected[:10] = np.nan
    np.testing.assert_array_equal(one.with_photoz(path).photoz["z_phot"], expected)


@pytest.mark.parametrize("seed", range(5))
def test_galaxies_are_the_same_as_in_a_slow_search(seed):
    """Rows of one id, chained through steps of 10 arcsec, against all pairs of astropy."""
    rng = np.random.default_rng(seed)
    n = 120
    ids = rng.integers(1, 12, n)
    ra, dec = 20 + rng.uniform(0, 40, n) * ARCSEC, rng.uniform(0, 40, n) * ARCSEC
    place = SkyCoord(ra, dec, unit="deg")
    linked = (ids[:, None] == ids) & (place[:, None].separation(place).arcsec <= 10)
    group = np.arange(n)
    for _ in range(n):
        group = np.where(linked, group, n).min(axis=1)
    found = same_galaxy(ids, ra, dec)
    np.testing.assert_array_equal(found[:, None] == found, group[:, None] == group)
    assert (np.diff(ids[np.argsort(found, kind="stable")]) >= 0).all()
    shared_by = [len(set(group[ids == one])) for one in np.unique(ids)]
    many = np.isin(ids, np.unique(ids)[np.array(shared_by) > 1])
    assert scattered(ids, ra, dec) == (sum(n > 1 for n in shared_by), many.sum())
