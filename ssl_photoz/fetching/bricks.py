"""The bricks into which the Legacy Surveys cut the sky; their coadds on disk.

Rows of bricks are 0.25 degrees high; a row has the smallest even number of bricks that are no wider
than that; a polar cap is one brick [1].

References:
    [1] github.com/desihub/desiutil, brick.py; legacysurvey.org/dr9/files, survey-bricks.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ssl_photoz.core.types import Array, Doubles, Ints

BRICK_DEG = 0.25
ROWS = 721


def bricks_in_row(row: Array) -> Ints:
    """Number of bricks in rows of bricks, counted from the south pole, (N,)."""
    low_dec_deg = np.abs(_row_dec_deg(row)) - BRICK_DEG / 2
    pairs = np.ceil(360 / BRICK_DEG * np.cos(np.radians(low_dec_deg)) / 2).astype(np.int64)
    return np.where((row == 0) | (row == ROWS - 1), 1, 2 * pairs)


def brick_row_column(ra_deg: Array, dec_deg: Array) -> tuple[Ints, Ints]:
    """Row and column of the brick that owns a position, (N,) each."""
    row = np.floor((np.asarray(dec_deg) + 90 + BRICK_DEG / 2) / BRICK_DEG).astype(np.int64)
    turn = np.asarray(ra_deg) % 360 / 360
    return row, np.floor(turn * bricks_in_row(row)).astype(np.int64)


def brick_names(ra_deg: Array, dec_deg: Array) -> Array:
    """Name the brick that owns a position by its centre, such as ``2447p120``, (N,) text."""
    row, column = brick_row_column(ra_deg, dec_deg)
    dec = np.rint(1e4 * _row_dec_deg(row)).astype(np.int64)
    ra = np.rint(1e4 * 360 * (column + 0.5) / bricks_in_row(row)).astype(np.int64)
    sign = np.where(dec < 0, "m", "p")
    parts = zip((ra // 1000).tolist(), sign.tolist(), (abs(dec) // 1000).tolist(), strict=True)
    return np.array([f"{a:04d}{sign}{d:03d}" for a, sign, d in parts])


def coadd_path(coadds: Path, region: str, brick: str, band: str) -> Path | None:
    """Find the coadd of a brick; None if it is not there.

    Args:
        coadds: Folder of a data release, with ``north`` and ``south``, or of one of the two.
        region: ``north`` or ``south``.
        brick: Its name.
        band: Its band.
    """
    name = f"legacysurvey-{brick}-image-{band}.fits"
    for top in (coadds / region, coadds):
        for suffix in (".fz", ""):
            path = top / "coadd" / brick[:3] / brick / (name + suffix)
            if path.exists():
                return path
    return None


def _row_dec_deg(row: Array) -> Doubles:
    return np.asarray(row) * BRICK_DEG - 90
