from urllib.parse import parse_qs, urlparse

import numpy as np
import pytest
from astropy.coordinates import SkyCoord

from ssl_photoz.nearby.candidates import first_of_each, nearest_confirmed, sky_columns
from ssl_photoz.similarity.catalogue import Catalogue
from ssl_photoz.similarity.index import Index

ARCSEC = 1 / 3600
NOBODY = np.empty(0, np.int64)


def sky(ra, dec, ids=None):
    n = len(ra)
    ids = np.arange(n) if ids is None else np.array(ids)
    return Catalogue(ids, np.array(ra), np.array(dec), np.full(n, np.nan), np.full(n, "train"))


def test_the_best_of_each_object_is_kept():
    ra = [10, 10 + ARCSEC, 10 + 10 * ARCSEC, 359.9999, 0.0001, 50, 50]
    catalogue = sky(ra, [0, 0, 0, 0, 0, 89.9999, 89.9999 + ARCSEC / 2], ids=[1, 2, 3, 4, 5, 6, 7])
    order = np.array([1, 0, 6, 2, 3, 5, 4])
    assert first_of_each(catalogue, order, known=NOBODY).tolist() == [1, 6, 2, 3]
    assert first_of_each(catalogue, order, known=np.array([0])).tolist()[0] == 6


def test_the_same_id_is_one_object_where_positions_agree():
    ra = [1.0, 2.0, np.nan, 1 + 5 * ARCSEC, np.nan]
    catalogue = sky(ra, np.zeros(5), ids=[7, 8, 7, 7, 9])
    order = np.array([2, 1, 0, 3, 4])
    assert first_of_each(catalogue, order, known=NOBODY).tolist() == [2, 1, 4]
    assert first_of_each(catalogue, order[:2], known=np.array([3])).tolist() == [1]


def test_galaxies_that_share_an_id_are_all_listed():
    catalogue = sky([1.0, 2.0, np.nan, 4.0, np.nan], np.zeros(5), ids=[0, 8, 0, 0, 9])
    order = np.array([2, 1, 0, 3, 4])
    assert first_of_each(catalogue, order, known=NOBODY).tolist() == [2, 1, 0, 3, 4]
    assert first_of_each(catalogue, order[:2], known=np.array([3])).tolist() == [2, 1]


def test_repeats_agree_with_a_slow_search():
    rng = np.random.default_rng(0)
    n = 400
    ra, dec = 180 + rng.uniform(0, 60 * ARCSEC, n), 60 + rng.uniform(0, 30 * ARCSEC, n)
    catalogue, order = sky(ra, dec), rng.permutation(n)
    place = SkyCoord(ra, dec, unit="deg")
    close = place[:, None].separation(place).arcsec < 2
    group = np.arange(n)
    for _ in range(n):  # the lowest number spreads through each chain of neighbours
        spread = np.where(close, group, n).min(axis=1)
        if np.array_equal(spread, group):
            break
        group = spread
    seen, expected = set(), []
    for row in order:
        if group[row] not in seen:
            seen.add(group[row])
            expected.append(row)
    assert first_of_each(catalogue, order, known=NOBODY).tolist() == expected
    assert 5 < len(expected) < n - 5


def test_evidence_is_the_nearest_confirmed(make_store):
    store = make_store()
    index = Index.build(store)
    confirmed, rows = np.arange(50, 90), np.array([7, 3, 200])
    near, distances = nearest_confirmed(index, rows, confirmed)
    unit = index.vectors(np.arange(300))
    away = 1 - unit[rows] @ unit[confirmed].T
    np.testing.assert_array_equal(near, confirmed[np.argsort(away, axis=1)[:, :3]])
    np.testing.assert_allclose(distances, np.sort(away, axis=1)[:, :3], atol=1e-5)
    near, _ = nearest_confirmed(index, rows, confirmed[:2])
    assert near.shape == (3, 2)


def test_positions_can_be_copied():
    rng = np.random.default_rng(0)
    ra, dec = rng.uniform(0, 360, 50), np.degrees(np.arcsin(rng.uniform(-1, 1, 50)))
    ra[0], dec[0] = 10.68470833, -0.0041
    columns = sky_columns(np.append(ra, np.nan), np.append(dec, 1.0))
    back = SkyCoord(columns["ra_hms"][:50], columns["dec_dms"][:50], unit=("hourangle", "deg"))
    assert back.separation(SkyCoord(ra, dec, unit="deg")).arcsec.max() < 0.15
    assert columns["ra_hms"][0] == "00:42:44.33"
    assert columns["dec_dms"][0] == "-00:00:14.8"
    assert [columns[name][50] for name in columns] == ["", "", ""]
    link = urlparse(str(columns["viewer"][0]))
    assert (link.scheme, link.netloc, link.path) == ("https", "www.legacysurvey.org", "/viewer")
    asked = {name: values[0] for name, values in parse_qs(link.query).items()}
    assert float(asked["ra"]) == pytest.approx(ra[0], abs=1e-6)
    assert float(asked["dec"]) == pytest.approx(dec[0], abs=1e-6)
    assert (asked["layer"], asked["zoom"]) == ("ls-dr9", "16")
