"""Positions on the sky: in a tree, so that a search looks at few of them, and by survey."""

from __future__ import annotations

from functools import cache

import numpy as np

from ssl_photoz.core.legacy_surveys import NORTH_DEC_DEG
from ssl_photoz.core.types import Array, Bools, Doubles, Ints

ARCSEC_PER_RADIAN = 3600 * 180 / np.pi
GALACTIC_POLE_DEG = 192.85948, 27.12825
"""J2000 direction of the north galactic pole (ESA 1997, The Hipparcos Catalogue, 1.5.3)."""
CELL_NSIDE = 32
CELLS = 12 * CELL_NSIDE**2
"""HEALPix cells, nested, of 3.4 square degrees, by which it is noted what part of the sky a file
holds."""
CELL_RADIUS_DEG = 1.9
"""No point of a cell is further from its centre; 1.78 were found, on a grid of 0.1 degrees."""


def sphere_points(ra: Array, dec: Array) -> Doubles:
    """Positions, degrees, shape (N,), as points on the unit sphere, shape (N, 3)."""
    longitude, latitude = np.radians(ra, dtype=np.float64), np.radians(dec, dtype=np.float64)
    across = np.cos(latitude)
    return np.stack(
        [across * np.cos(longitude), across * np.sin(longitude), np.sin(latitude)], axis=-1
    )


def chord_of(arcsec: float) -> float:
    """Straight distance between two points of the unit sphere an angle apart."""
    return float(2 * np.sin(min(arcsec / ARCSEC_PER_RADIAN, np.pi) / 2))


def arcsec_of(chord: Array) -> Doubles:
    """Angle between points of the unit sphere from their straight distance."""
    return 2 * np.arcsin(np.minimum(np.asarray(chord, np.float64) / 2, 1)) * ARCSEC_PER_RADIAN


def in_north(ra_deg: Array, dec_deg: Array) -> Bools:
    """Which positions BASS and MzLS saw, shape (N,); DECam saw the others.

    North of Dec 32.375 degrees *and* of the Galactic plane: where Data Release 9 joins them [1],
    the surveys' viewer its layers [2], and DESI resolves its targets [3].

    References:
        [1] https://datalab.noirlab.edu/ls/decals.php
        [2] github.com/legacysurvey/imagine, map/views.py, LegacySurveySplitLayer.
        [3] github.com/desihub/desitarget, targets.py, resolve; io.py, desitarget_resolve_dec.
    """
    ra, dec = np.radians(ra_deg), np.radians(dec_deg)
    pole_ra, pole_dec = np.radians(GALACTIC_POLE_DEG)
    sin_b = np.sin(dec) * np.sin(pole_dec) + np.cos(dec) * np.cos(pole_dec) * np.cos(ra - pole_ra)
    north: Bools = (np.asarray(dec_deg) >= NORTH_DEC_DEG) & (sin_b > 0)
    return north


def cells_of(ra_deg: Array, dec_deg: Array) -> Ints:
    """Cell of each position, of `CELLS`, shape (N,); -1 where there is none.

    >>> cells_of(np.array([45.0, np.nan]), np.array([0.0, 0.0])).tolist()
    [0, -1]
    """
    from astropy_healpix.healpy import ang2pix

    found = np.full(len(ra_deg), -1, np.int64)
    known = np.flatnonzero(np.isfinite(ra_deg) & (np.abs(dec_deg) <= 90))
    found[known] = ang2pix(CELL_NSIDE, ra_deg[known] % 360, dec_deg[known], nest=True, lonlat=True)
    return found


@cache
def cell_centres() -> tuple[Doubles, Doubles]:
    """Right ascension and declination of the centres of all cells, degrees."""
    from astropy_healpix.healpy import pix2ang

    ra, dec = pix2ang(CELL_NSIDE, np.arange(CELLS), nest=True, lonlat=True)
    return ra, dec


class Sky:
    """The positions of a catalogue, arranged once; rows without a position are never found.

    Args:
        ra: Right ascension, degrees, shape (N,).
        dec: Declination, degrees, shape (N,).
    """

    def __init__(self, ra: Array, dec: Array) -> None:
        from scipy.spatial import cKDTree

        self._rows = np.flatnonzero(np.isfinite(ra) & np.isfinite(dec))
        points = sphere_points(ra[self._rows], dec[self._rows])
        self._tree = cKDTree(points, balanced_tree=False, compact_nodes=False)

    def within(self, ra: float, dec: float, *, radius_arcsec: float) -> tuple[Ints, Doubles]:
        """Rows within a radius of a position, and how far each is, nearest first.

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
        """Row nearest to each of some positions, and how far it is.

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
