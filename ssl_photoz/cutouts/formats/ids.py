"""Identifiers that a file stores as floating point: exact, or none at all."""

from __future__ import annotations

import numpy as np

from ssl_photoz.catalog.redshifts import numbers_of
from ssl_photoz.core.types import Array

EXACT_IN_FLOAT = 1 << 53  # beyond it, neighbouring whole numbers become one
NO_ID = -1


def exact_ids(values: Array) -> Array:
    """Identifiers as they were: whole numbers for floats, -1 for NaN; others unchanged."""
    if values.dtype.kind != "f":
        return values
    known = np.isfinite(values)
    return np.where(known, values, NO_ID).astype(np.int64)


def as_column(name: str, values: Array) -> Array:
    """Values of a column as it is meant: ids as they were, redshifts that are text as numbers."""
    if name == "id":
        return exact_ids(values)
    if name == "z" and values.dtype.kind in "UO":
        return numbers_of(values)[0]
    return values


def no_numbers(name: str, values: Array) -> str:
    """Say how many texts of a column of numbers are none; empty if all are."""
    words = [word for word in numbers_of(values)[1] if word.strip()]
    if not words:
        return ""
    return f"{name} has {len(words)} texts that are no numbers, such as {words[0][:40]!a}: unknown"


def lost_digits(values: Array) -> str:
    """Say why numbers cannot be identifiers; empty if they can.

    A float of 64 bits holds whole numbers below 2**53 (of 32 bits, 2**24; of 16, 2**11) exactly.
    """
    if values.dtype.kind != "f":
        return ""
    most = 2 ** (np.finfo(values.dtype).nmant + 1)
    known = values[np.isfinite(values)]
    odd = int(((np.abs(known) >= min(most, EXACT_IN_FLOAT)) | (known != np.floor(known))).sum())
    if not odd:
        return ""
    return f"{values.dtype}: {odd} of {len(values)} ids are no whole numbers below {most}; not used"
