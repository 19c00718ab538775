"""Columns made of what JSON says, object by object; whole numbers stay exact."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ssl_photoz.core.types import Array

MOST_COLUMNS = 300
LONGEST_NAME = 100
EXACT_IN_FLOAT = 1 << 53


def columns_of(objects: Sequence[Mapping[str, Any]]) -> dict[str, Array]:
    """Make a column of each name that the objects use.

    Args:
        objects: N mappings of names to numbers or text; any may lack any name.

    Returns:
        Arrays of shape (N,): int64 if all are whole numbers; float64, NaN where there is none, if
        all are numbers; else text, empty where there is none. Whole numbers that a float cannot
        hold become text rather than others.
    """
    names = dict.fromkeys(name for one in objects for name in one if len(name) <= LONGEST_NAME)
    return {
        name: _column([one.get(name) for one in objects]) for name in list(names)[:MOST_COLUMNS]
    }


def joined(parts: Sequence[Mapping[str, Array]], rows: Sequence[int]) -> dict[str, Array]:
    """Put the columns of several parts, each of so many rows, below each other."""
    names = dict.fromkeys(name for part in parts for name in part)
    whole = {}
    for name in list(names)[:MOST_COLUMNS]:
        pieces = [
            part.get(name, np.full(count, np.nan)) for part, count in zip(parts, rows, strict=True)
        ]
        kinds = {piece.dtype.kind for piece in pieces if len(piece)}
        if "U" in kinds or (len(kinds) > 1 and any(_beyond_float(piece) for piece in pieces)):
            pieces = [_as_text(piece) for piece in pieces]
        whole[name] = np.concatenate(pieces) if pieces else np.empty(0)
    return whole


def _column(values: list[Any]) -> Array:
    known = [value for value in values if value is not None]
    whole = all(type(value) is int and abs(value) < 1 << 63 for value in known)
    if whole and len(known) == len(values):
        return np.array(values, np.int64)
    numbers = all(isinstance(value, int | float) for value in known)
    if numbers and not any(isinstance(one, int) and abs(one) > EXACT_IN_FLOAT for one in known):
        return np.array([np.nan if value is None else value for value in values], np.float64)
    return np.array(["" if value is None else str(value) for value in values], str)


def _beyond_float(values: Array) -> bool:
    return values.dtype.kind == "i" and bool((np.abs(values) > EXACT_IN_FLOAT).any())


def _as_text(values: Array) -> Array:
    if values.dtype.kind != "f":
        return values.astype(str)
    return np.array(["" if np.isnan(value) else repr(float(value)) for value in values], str)
