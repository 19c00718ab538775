"""Who lies beside whom on the sky, and which survey looked there."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ssl_photoz.catalog.sky import sphere_points
from ssl_photoz.core.types import Array, Bools, Doubles, Ints

NEIGHBOURS = 8
CHUNK = 1 << 17
ARCSEC = np.deg2rad(1 / 3600)


class Neighbourhood(NamedTuple):
    """The nearest others of each row.

    Attributes:
        rows: Up to `NEIGHBOURS` others within the search radius, nearest first; -1 for none.
            Of rows that share a position to the last digit, only the first is listed. Shape (N, K).
        arcsec: Their distances; infinite for none. Shape (N, K).
        alike: Rows at the very same position, itself included, shape (N,); 0 without a position.
        pairs: Pairs within the search radius, in all.
    """

    rows: Ints
    arcsec: Doubles
    alike: Ints
    pairs: int

    @property
    def closest_arcsec(self) -> Doubles:
        """How far the nearest other is, infinite for none, shape (N,)."""
        return np.where(self.alike > 1, 0.0, self.arcsec[:, 0])

    def within(self, radius_arcsec: float) -> Bools:
        """Which rows have another within a radius, no larger than that of the search."""
        found: Bools = self.closest_arcsec < radius_arcsec
        return found


def find_neighbours(ra: Array, dec: Array, radius_arcsec: float) -> Neighbourhood:
    """Find the nearest others of each position, with a k-d tree of directions.

    Memory and time are bounded however the positions crowd: only the nearest are listed, and
    pairs are counted, not listed.

    Args:
        ra: Right ascension, degrees, shape (N,); NaN where unknown.
        dec: Declination, degrees, shape (N,).
        radius_arcsec: Search radius.
    """
    from scipy.spatial import cKDTree
    from tqdm import tqdm

    known = np.flatnonzero(np.isfinite(ra) & np.isfinite(dec) & (np.abs(dec) <= 90))
    found = Neighbourhood(
        rows=np.full((len(ra), NEIGHBOURS), -1),
        arcsec=np.full((len(ra), NEIGHBOURS), np.inf),
        alike=np.zeros(len(ra), np.int64),
        pairs=0,
    )
    if not len(known):
        return found
    # Complex numbers are sorted by their first part, then by their second.
    places, first, which, many = np.unique(
        ra[known] + 1j * dec[known], return_index=True, return_inverse=True, return_counts=True
    )
    found.alike[known] = many[which]
    tree = cKDTree(sphere_points(places.real, places.imag), balanced_tree=False)
    chord = 2 * np.sin(radius_arcsec * ARCSEC / 2)
    named = np.append(known[first], -1)
    for start in tqdm(range(0, len(known), CHUNK), desc="neighbours", leave=False):
        asked = known[start : start + CHUNK]
        distance, near = tree.query(
            sphere_points(ra[asked], dec[asked]),
            NEIGHBOURS + 1,
            distance_upper_bound=chord,
            workers=-1,
        )
        near = named[near]
        distance[near == asked[:, None]] = np.inf
        order = np.argsort(distance, axis=1, kind="stable")[:, :NEIGHBOURS]
        distance = np.take_along_axis(distance, order, axis=1)
        near = np.take_along_axis(near, order, axis=1)
        found.rows[asked] = np.where(np.isfinite(distance), near, -1)
        found.arcsec[asked] = 2 * np.arcsin(np.minimum(distance / 2, 1)) / ARCSEC
    found.arcsec[found.rows < 0] = np.inf
    weighed = tree.count_neighbors(tree, chord, weights=(many, many))
    return found._replace(pairs=round((float(weighed) - len(known)) / 2))


def repeats_an_earlier(neighbours: Neighbourhood, radius_arcsec: float) -> Bools:
    """Which rows have an earlier row within a radius, shape (N,)."""
    earlier = neighbours.rows < np.arange(len(neighbours.rows))[:, None]
    close = (neighbours.rows >= 0) & (neighbours.arcsec < radius_arcsec)
    return np.asarray((earlier & close).any(axis=1))


def repeated_ids(ids: Array) -> Bools:
    """Which rows have the id of an earlier row, shape (N,)."""
    found = np.ones(len(ids), bool)
    found[np.unique(ids, return_index=True)[1]] = False
    return found
