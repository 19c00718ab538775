"""From what somebody types to galaxies: an id, or a position on the sky."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from ssl_photoz.core.errors import DataError
from ssl_photoz.core.types import Array
from ssl_photoz.similarity.catalogue import Catalogue

LONGEST_QUERY = 100
NEAR_ARCSEC = 30.0
MOST_MATCHES = 20


class Match(NamedTuple):
    """A galaxy that answers a search.

    Attributes:
        row: In the catalogue.
        separation_arcsec: From the position asked for; None for a search by id.
    """

    row: int
    separation_arcsec: float | None


def search(catalogue: Catalogue, asked: str) -> list[Match]:
    """Find galaxies by id, or by right ascension and declination in degrees.

    Args:
        catalogue: Where to look.
        asked: One word: an id. Two numbers with a blank or a comma between them: a position.

    Returns:
        Every galaxy with the id; or those within 30 arcsec of the position, nearest first, or
        else the nearest one, at most 20. Never empty.

    Raises:
        DataError: If there is no such id, the position is not on the sky, or it is neither.
    """
    asked = asked.strip()
    if not asked or len(asked) > LONGEST_QUERY:
        raise DataError("nothing to search for; give a TARGETID, or RA and Dec in degrees")
    position = _position(asked)
    if position is not None:
        return _near(catalogue, *position)
    rows = _with_id(catalogue, asked)
    if not len(rows):
        raise DataError(
            f"no galaxy of this run has the id {asked!r}; ids here look like {catalogue.id[0]}; "
            f"or give RA and Dec in degrees, such as 150.1 2.2"
        )
    return [Match(int(row), None) for row in rows[:MOST_MATCHES]]


def _position(asked: str) -> tuple[float, float] | None:
    words = asked.replace(",", " ").split()
    if len(words) != 2:
        return None
    try:
        ra, dec = map(float, words)
    except ValueError:
        return None
    if not (0 <= ra <= 360 and -90 <= dec <= 90):
        raise DataError(f"RA {ra}, Dec {dec}: expected degrees, 0 to 360 and -90 to 90")
    return ra, dec


def _near(catalogue: Catalogue, ra: float, dec: float) -> list[Match]:
    away = catalogue.separation_arcsec(ra, dec)
    near = np.flatnonzero(away <= NEAR_ARCSEC)
    if not len(near):
        near = np.array([np.argmin(away)])
    if not math.isfinite(away[near[0]]):
        raise DataError("no galaxy of this run has a position")
    near = near[np.argsort(away[near], kind="stable")][:MOST_MATCHES]
    return [Match(int(row), float(away[row])) for row in near]


def _with_id(catalogue: Catalogue, asked: str) -> Array:
    if catalogue.id.dtype.kind not in "iu":
        return np.flatnonzero(catalogue.id.astype(str) == asked)
    digits = asked.removeprefix("-")
    if not (digits.isascii() and digits.isdigit()):
        return np.empty(0, np.int64)
    return np.flatnonzero(catalogue.id == int(asked))
