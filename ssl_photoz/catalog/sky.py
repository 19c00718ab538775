"""Positions on the sky: found in a table that is read a part at a time, and by survey and cell."""

from __future__ import annotations

from functools import cache

import numpy as np

from ssl_photoz.core.legacy_surveys import NORTH_DEC_DEG
from ssl_photoz.core.types import Array, Bools, Doubles, Ints

ARCSEC_PER_RADIAN = 3600 * 180 / np.pi
GALACTIC_POLE_DEG = 192.85948, 27.12825
"""J2000 direction of the north galactic pole (ESA 1997, The Hipparcos Catalogue, 1.5.3)."""
PART_ROWS = 1 << 20
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


def within_radius(
    ra_deg: Array, dec_deg: Array, ra: float, dec: float, *, radius_arcsec: float
) -> tuple[Ints, Doubles]:
    """Find positions around one, a part of the table at a time: for columns mapped from disk.

    Args:
        ra_deg: Right ascension of the table, degrees, shape (N,); NaN where unknown.
        dec_deg: Declination, degrees, shape (N,).
        ra: Degrees.
        dec: Degrees.
        radius_arcsec: Inclusive.

    Returns:
        Rows (n,), nearest first, and separations, arcsec, (n,).
    """
    centre = sphere_points(np.array(ra), np.array(dec))
    rows, chords = [np.empty(0, np.int64)], [np.empty(0)]
    margin = radius_arcsec / 3600 + 1e-6
    for start in range(0, len(ra_deg), PART_ROWS):
        part = slice(start, start + PART_ROWS)
        near = np.flatnonzero(np.abs(dec_deg[part] - dec) <= margin)
        apart = np.linalg.norm(
            sphere_points(ra_deg[part][near], dec_deg[part][near]) - centre, axis=-1
        )
        inside = apart <= chord_of(radius_arcsec)
        rows.append(start + near[inside])
        chords.append(apart[inside])
    found, away = np.concatenate(rows), arcsec_of(np.concatenate(chords))
    order = np.lexsort((found, away))
    return found[order], away[order]


def nearest_rows(ra_deg: Array, dec_deg: Array, ra: Array, dec: Array) -> tuple[Ints, Doubles]:
    """Find the position nearest to each of some, a part of the table at a time.

    Args:
        ra_deg: Right ascension of the table, degrees, shape (N,); NaN where unknown.
        dec_deg: Declination, degrees, shape (N,).
        ra: Degrees, finite, shape (m,).
        dec: Degrees, finite, shape (m,).

    Returns:
        Rows (m,), the first of several as near, and separations, arcsec, (m,); -1 and infinity if
        no row has a position.
    """
    from scipy.spatial import cKDTree

    wanted = sphere_points(ra, dec)
    rows, chords = np.full(len(ra), -1, np.int64), np.full(len(ra), np.inf)
    for start in range(0, len(ra_deg), PART_ROWS):
        points = sphere_points(
            ra_deg[start : start + PART_ROWS], dec_deg[start : start + PART_ROWS]
        )
        known = np.flatnonzero(np.isfinite(points).all(axis=1))
        if not len(known):
            continue
        tree = cKDTree(points[known], balanced_tree=False, compact_nodes=False)
        apart, found = tree.query(wanted, distance_upper_bound=chords.max(initial=0))
        nearer = np.flatnonzero(apart < chords)
        rows[nearer], chords[nearer] = start + known[found[nearer]], apart[nearer]
    return rows, np.where(rows < 0, np.inf, arcsec_of(np.where(rows < 0, 0, chords)))
