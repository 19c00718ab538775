"""Positions on the sky in a tree, so that a search looks at few of them."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from ssl_photoz.core.types import Array, Doubles, Ints

ARCSEC_PER_RADIAN = 3600 * 180 / np.pi


def sphere_points(ra: Array, dec: Array) -> Doubles:
    """Return positions, degrees, shape (N,), as points on the unit sphere, shape (N, 3)."""
    longitude, latitude = np.radians(ra, dtype=np.float64), np.radians(dec, dtype=np.float64)
    across = np.cos(latitude)
    return np.stack(
        [across * np.cos(longitude), across * np.sin(longitude), np.sin(latitude)], axis=-1
    )


def chord_of(arcsec: float) -> float:
    """Return the straight distance between two points of the unit sphere an angle apart."""
    return float(2 * np.sin(min(arcsec / ARCSEC_PER_RADIAN, np.pi) / 2))


def arcsec_of(chord: Array) -> Doubles:
    """Return the angle between points of the unit sphere from their straight distance."""
    return 2 * np.arcsin(np.minimum(np.asarray(chord, np.float64) / 2, 1)) * ARCSEC_PER_RADIAN


class Sky:
    """The positions of a catalogue, arranged once; rows without a position are never found.

    Args:
        ra: Right ascension, degrees, shape (N,).
        dec: Declination, degrees, shape (N,).
    """

    def __init__(self, ra: Array, dec: Array) -> None:
        self._rows = np.flatnonzero(np.isfinite(ra) & np.isfinite(dec))
        points = sphere_points(ra[self._rows], dec[self._rows])
        self._tree = cKDTree(points, balanced_tree=False, compact_nodes=False)

    def within(self, ra: float, dec: float, *, radius_arcsec: float) -> tuple[Ints, Doubles]:
        """Return the rows within a radius of a position, and how far each is, nearest first.

        Args:
            ra: Degrees.
            dec: Degrees.
            radius_arcsec: Inclusive.

        Returns:
            Rows (n,), and separations, arcsec, (n,); both empty where there is none.
        """
        centre = sphere_points(np.array(ra), np.array(dec))
        near = np.array(self._tree.query_ball_point(centre, chord_of(radius_arcsec)), np.int64)
        away = arcsec_of(np.linalg.norm(self._tree.data[near] - centre, axis=-1))
        order = np.lexsort((near, away))
        return self._rows[near[order]], away[order]

    def nearest(self, ra: Array, dec: Array) -> tuple[Ints, Doubles]:
        """Return the row nearest to each of some positions, and how far it is.

        Args:
            ra: Degrees, finite, shape (m,).
            dec: Degrees, finite, shape (m,).

        Returns:
            Rows (m,) and separations, arcsec, (m,); -1 and infinity if no row has a position.
        """
        chords, found = self._tree.query(sphere_points(ra, dec))
        missing = found == len(self._rows)
        rows = np.append(self._rows, -1)[found]
        return rows, np.where(missing, np.inf, arcsec_of(np.where(missing, 0, chords)))
