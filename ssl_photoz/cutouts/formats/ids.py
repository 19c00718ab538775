"""Identifiers that a file stores as floating point: exact, or none at all."""

from __future__ import annotations

import numpy as np

from ssl_photoz.core.types import Array

EXACT_IN_FLOAT = 1 << 53  # beyond it, neighbouring whole numbers become one
NO_ID = -1


def exact_ids(values: Array) -> Array:
    """Identifiers as they were: whole numbers for floats, -1 for NaN; others unchanged."""
    if values.dtype.kind != "f":
        return values
    known = np.isfinite(values)
    return np.where(known, values, NO_ID).astype(np.int64)


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
