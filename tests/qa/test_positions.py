"""Neighbours against every pair of astropy, and the edge between the surveys."""

import numpy as np
from astropy import units
from astropy.coordinates import SkyCoord

from ssl_photoz.catalog.sky import in_north
from ssl_photoz.qa.positions import find_neighbours, repeated_ids, repeats_an_earlier


def crowd(n=300, seed=0):
    """Positions in clumps, across RA 0 and at the pole, some of them doubled, two unknown."""
    rng = np.random.default_rng(seed)
    centres = np.array([[0, 0], [359.999, 40], [180, 89.99], [77, -60]])
    ra, dec = centres[rng.integers(0, 4, n)].T.copy()
    dec = np.clip(dec + rng.normal(0, 12 / 3600, n), -90, 90)
    ra = (ra + rng.normal(0, 12 / 3600, n) / np.cos(np.deg2rad(dec))) % 360
    ra[[10, 200, 250]], dec[[10, 200, 250]] = ra[5], dec[5]
    ra[7], dec[8] = np.nan, np.nan
    return ra, dec


def separations(ra, dec):
    places = SkyCoord(np.nan_to_num(ra), np.nan_to_num(dec), unit="deg")
    apart = places[:, None].separation(places[None]).arcsec
    unknown = np.isnan(ra) | np.isnan(dec)
    apart[unknown], apart[:, unknown] = np.inf, np.inf
    np.fill_diagonal(apart, np.inf)
    return apart


def test_every_pair_is_counted_and_the_nearest_found():
    ra, dec = crowd()
    apart = separations(ra, dec)
    for radius in (1.0, 9.0, 33.5):
        near = find_neighbours(ra, dec, radius)
        assert near.pairs == (apart < radius).sum() / 2
        np.testing.assert_array_equal(near.within(radius), (apart < radius).any(axis=1))
        np.testing.assert_array_equal(near.within(radius / 2), (apart < radius / 2).any(axis=1))
        one_of_each = near.alike <= 1
        nearest = np.where(apart.min(axis=1) < radius, apart.min(axis=1), np.inf)
        np.testing.assert_allclose(
            near.arcsec[one_of_each, 0], nearest[one_of_each], atol=1e-5, rtol=1e-6
        )
        listed = near.rows >= 0
        told = np.where(listed, apart[np.arange(len(ra))[:, None], near.rows], np.inf)
        np.testing.assert_allclose(near.arcsec, told, atol=1e-5)


def test_a_repeat_has_an_earlier_row_beside_it():
    ra, dec = crowd()
    close = separations(ra, dec) < 2
    earlier = np.tril(close, -1).any(axis=1)
    assert earlier[[10, 200, 250]].all()
    found = repeats_an_earlier(find_neighbours(ra, dec, 30.0), 2.0)
    np.testing.assert_array_equal(found, earlier)


def test_a_hundred_thousand_in_one_place_are_no_burden():
    n = 100_000
    near = find_neighbours(np.full(n, 33.0), np.full(n, 3.0), 33.5)
    assert near.pairs == n * (n - 1) // 2
    assert repeats_an_earlier(near, 1.0).sum() == n - 1
    assert near.within(33.5).all()


def test_no_position_has_no_neighbour():
    near = find_neighbours(np.full(3, np.nan), np.full(3, np.nan), 33.5)
    assert near.pairs == 0
    assert not near.within(33.5).any()


def test_repeated_ids_are_all_but_the_first():
    assert repeated_ids(np.array([5, 7, 5, 5, 8])).tolist() == [False, False, True, True, False]
    assert repeated_ids(np.array(["a", "b", "a"])).tolist() == [False, False, True]


def test_the_north_is_north_of_32_degrees_and_of_the_galactic_plane():
    rng = np.random.default_rng(3)
    ra, dec = rng.uniform(0, 360, 4000), rng.uniform(-30, 85, 4000)
    galactic = SkyCoord(ra * units.deg, dec * units.deg).galactic.b.deg
    np.testing.assert_array_equal(in_north(ra, dec), (dec > 32.375) & (galactic > 0))
    assert in_north(np.array([150.0, 150.0, 20.0]), np.array([32.4, 32.3, 40.0])).tolist() == [
        True,
        False,
        False,
    ]
