"""Which rows are one galaxy: an id is an identity only where positions agree."""

import numpy as np
import pytest

from ssl_photoz.similarity.catalogue import Catalogue
from ssl_photoz.similarity.lists import rows_to_hide
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
