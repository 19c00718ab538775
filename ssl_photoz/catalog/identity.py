"""Which rows are one galaxy: an id is an identity only where positions agree."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ssl_photoz.catalog.sky import chord_of, sphere_points
from ssl_photoz.core.types import Array, Bools, Ints

IDENTITY_ARCSEC = 10.0  # rows of one id that lie further apart are different galaxies
NO_IDS = ("0", "-1", "-9", "-99", "-999", "-9999", "", "nan", "none", "null", "--", "n/a")

Identity = tuple[Array, Array, Array]
"""Ids, right ascension and declination in degrees, each (N,)."""


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

    >>> galaxy = same_galaxy(np.array([7, 0, 0, 7]), np.array([1.0, 2, 9, 1.001]), np.zeros(4))
    >>> bool(galaxy[0] == galaxy[3]), bool(galaxy[1] == galaxy[2])
    (True, False)

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


def describe_shared(ids: Array, ra: Array, dec: Array) -> str:
    """Say how many ids are no identity; empty text if all are."""
    shared, rows = scattered(ids, ra, dec)
    if not shared:
        return ""
    return f"{shared} ids at several places, in {rows} rows: told apart by position"


def find_ids(ids: Array, wanted: Array) -> Ints:
    """Where each wanted id stands among ids: its first place, or -1; shape (m,).

    Args:
        ids: Integers or text, shape (N,).
        wanted: Integers or text, shape (m,); compared as text unless both are integers. Text that
            is not there is sought without the spaces around it.
    """
    if ids.dtype.kind in "iu" and wanted.dtype.kind in "iu":
        return _places(ids, wanted)
    ids, wanted = ids.astype(str), wanted.astype(str)
    found = _places(ids, wanted)
    if (found < 0).any():
        found = np.where(found < 0, _places(np.char.strip(ids), np.char.strip(wanted)), found)
    return found


def identity_of(columns: Mapping[str, Array]) -> Identity:
    """Ids and positions of a table with a column ``id``; NaN where it has no ``ra`` or ``dec``."""
    nowhere = np.full(len(columns["id"]), np.nan)
    return columns["id"], columns.get("ra", nowhere), columns.get("dec", nowhere)


def pair_galaxies(one: Identity, other: Identity) -> tuple[Ints, Ints]:
    """Rows of the galaxies that are in both tables, each once, in the order of their ids.

    Returns:
        Rows of one and of the other, (p,) each.
    """
    found = find_galaxies(other, one)
    hits = np.flatnonzero(found >= 0)
    theirs, first = np.unique(found[hits], return_index=True)
    mine = hits[first]
    order = np.argsort(one[0][mine], kind="stable")
    return mine[order], theirs[order]


def _places(ids: Array, wanted: Array) -> Ints:
    sought, again = np.unique(wanted, return_inverse=True)
    place = np.minimum(np.searchsorted(sought, ids), len(sought) - 1)
    hits = np.flatnonzero(sought[place] == ids) if len(sought) else np.empty(0, np.int64)
    first = np.full(len(sought), -1, np.int64)
    first[place[hits[::-1]]] = hits[::-1]  # the first hit is written last, and stays
    return first[again]


def find_galaxies(known: Identity, wanted: Identity) -> Ints:
    """Row of each wanted galaxy among known ones: the first, or -1; shape (m,).

    They have the same id (`find_ids`), and lie within 10 arcsec where both have positions. Where
    several galaxies share an id, one without a position is not found.
    """
    (ids, *place), (asked, *there) = known, wanted
    found = find_ids(ids, asked)
    away = np.linalg.norm(sphere_points(*there) - sphere_points(*place)[found], axis=1)
    hits = np.flatnonzero(found >= 0)
    first = find_ids(ids, ids)
    repeated = np.bincount(first, minlength=len(ids)) > 1
    repeated |= np.bincount(found[hits], minlength=len(ids)) > 1
    found = np.where(away > chord_of(IDENTITY_ARCSEC), -1, found) if len(ids) else found
    rows = np.flatnonzero(repeated[first])
    if not len(rows):
        return found
    names = find_ids(ids, asked[hits])
    hits, names = hits[repeated[names]], names[repeated[names]]
    galaxy = same_galaxy(
        np.concatenate([ids[rows], ids[names]]),
        *(np.concatenate([a[rows], b[hits]]) for a, b in zip(place, there, strict=True)),
    )
    at = find_ids(galaxy[: len(rows)], galaxy[len(rows) :])
    found[hits] = np.where(at < 0, -1, rows[at])
    return found


def _parts(member: Ints, ids: Array, ra: Array, dec: Array) -> Ints:
    """Which galaxy of its id a row is, as a number that differs between them, shape (n,)."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components
    from scipy.spatial import cKDTree

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
