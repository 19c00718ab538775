"""Whether two sets of cutouts are of one kind."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

SCALE_TOLERANCE = 1e-3


def differences(mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[str]:
    """Names of what two sets of cutouts differ in.

    Args:
        mine: ``bands``, ``pixscale_arcsec``, ``calibrated`` ...; what it lacks is not compared.
        theirs: Values of the same names. Pixel scales are alike within a thousandth, or if neither
            is known.
    """
    return [name for name, value in mine.items() if not _alike(value, theirs[name])]


def _alike(one: object, other: object) -> bool:
    if isinstance(one, tuple | list) and isinstance(other, tuple | list):
        return list(one) == list(other)
    if isinstance(one, float) and isinstance(other, float):
        unknown = math.isnan(one) and math.isnan(other)
        return unknown or math.isclose(one, other, rel_tol=SCALE_TOLERANCE)
    return one == other
