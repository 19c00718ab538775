"""Which rows are one galaxy: an id is an identity only where positions agree."""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from ssl_photoz.catalog.sky import chord_of, sphere_points
from ssl_photoz.core.types import Array, Bools, Ints

IDENTITY_ARCSEC = 10.0  # rows of one id that lie further apart are different galaxies
NO_IDS = ("0", "-1", "-9", "-99", "-999", "-9999", "", "nan", "none", "null", "--", "n/a")


def means_none(ids: Array) -> Bools:
    """Which ids are what catalogues write for none, such as 0, -1 or empty text; shape (N,)."""
    if ids.dtype.kind in "iu":
        return np.isin(ids, np.array([int(one) for one in NO_IDS[:6]], np.int64))
    words = [str(one).strip().lower() for one in ids.tolist()]
    return np.isin(np.array(words, str), NO_IDS)


def same_galaxy(ids: Array, ra: Array, dec: Array) -> Ints:
    """Number the galaxies of some rows, in the order of their ids.

    Rows of one id are one galaxy if they lie within 10 arcsec of each other, or are joined by
    rows that do. Rows without a position go with the only galaxy of their id; if it has several,
    or if the id means none, each is a galaxy of its own.

    >>> same_galaxy(np.array([7, 0, 0, 7]), np.array([1.0, 2, 9, 1.001]), np.zeros(4))
    array([2, 0, 1, 2])

    Args:
        ids: Identifiers, integers or text, shape (N,).
        ra: Right ascension, degrees, shape (N,); NaN where unknown.
        dec: Declination, degrees, shape (N,); NaN where unknown.

    Returns:
        Number of the galaxy of each row, shape (N,).
    """
    _, member, count = np.unique(ids, return_inverse=True, return_counts=True)
    again = np.flatnonzero(count[member] > 1)
    if not len(again):
        return np.asarray(member, np.int64)
    part = np.zeros(len(ids), np.int64)
    part[again] = _parts(member[again], ids[again], ra[again], dec[again])
    _, galaxy = np.unique(member * (int(part.max()) + 1) + part, return_inverse=True)
    return np.asarray(galaxy, np.int64)


def scattered(ids: Array, ra: Array, dec: Array) -> tuple[int, int]:
    """Count the ids that several galaxies share, and the rows that have one of them."""
    _, member = np.unique(ids, return_inverse=True)
    galaxy = same_galaxy(ids, ra, dec)
    owner = np.empty(int(galaxy.max(initial=-1)) + 1, np.int64)
    owner[galaxy] = member
    galaxies = np.bincount(owner, minlength=1)
    return int((galaxies > 1).sum()), int((galaxies[member] > 1).sum())


def _parts(member: Ints, ids: Array, ra: Array, dec: Array) -> Ints:
    """Which galaxy of its id a row is, as a number that differs between them, shape (n,)."""
    points = sphere_points(ra, dec)
    placed = np.isfinite(points).all(axis=1) & (np.abs(dec) <= 90)
    part = np.arange(len(ids))
    if not placed.any():
        part[~means_none(ids)] = len(ids)
        return part
    spots, spot = np.unique(
        np.column_stack([points[placed], member[placed]]), axis=0, return_inverse=True
    )
    # Ids are a fourth axis, so that no two of them are ever near each other.
    pairs = cKDTree(spots).query_pairs(chord_of(IDENTITY_ARCSEC), output_type="ndarray")
    links = coo_array((np.ones(len(pairs), bool), pairs.T), shape=(len(spots), len(spots)))
    n_galaxies, galaxy = connected_components(links, directed=False)
    part[placed] = len(ids) + galaxy[spot.reshape(-1)]
    owner = np.empty(n_galaxies, np.int64)
    owner[galaxy] = spots[:, 3].astype(np.int64)
    galaxies_of = np.bincount(owner, minlength=int(member.max()) + 1)
    only = np.full(len(galaxies_of), -1, np.int64)
    only[owner] = len(ids) + np.arange(n_galaxies)
    nowhere = ~placed & ~means_none(ids) & (galaxies_of[member] <= 1)
    part[nowhere] = only[member[nowhere]]
    return part
