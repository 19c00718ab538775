"""Ids of galaxies in tables of others: exact whole numbers, or text."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from ssl_photoz.catalog.delimited import EXACT
from ssl_photoz.core.errors import DataError
from ssl_photoz.core.types import Array, Bools

REAL = re.compile(r"[+-]?\d+(\.\d*)?([eE][+-]?\d+)?")
PLAIN = re.compile(r"[+-]?\d+")
ROUNDED = re.compile(r"[+-]?(\d+\.0*|\d+(\.\d*)?[eE][+-]?\d+)")


def exact_ids(path: Path, name: str, values: Array, *, whole: bool = False) -> Array:
    """Ids as whole numbers or text; those that are missing or have lost digits are refused.

    Args:
        path: The table, for what is said.
        name: Their column, for what is said.
        values: As `ssl_photoz.catalog.tables.read_table` gives them, shape (N,).
        whole: Ids are known to be whole numbers: text such as ``12.0`` is read as a number.

    Raises:
        DataError: If some are missing or have lost digits: how many, and in which rows.
    """
    says = f"{path}: `{name}`:"
    if values.dtype == object:
        refuse_rows(says, np.array([one is None for one in values], bool), "no id")
        if all(isinstance(one, int) and not isinstance(one, bool) for one in values):
            return np.array(values.tolist(), np.int64)
    if values.dtype.kind not in "iuf":
        text = np.array([str(one) for one in values], object)
        refuse_rows(says, np.array([not one.strip() for one in text], bool), "no id")
        if not whole or not all(map(REAL.fullmatch, text)) or all(map(PLAIN.fullmatch, text)):
            return text
        values = text.astype(np.float64)
    if values.dtype.kind == "f":
        refuse_rows(says, ~np.isfinite(values), "no id")
        lost = (values != np.floor(values)) | (np.abs(values) > EXACT)
        refuse_rows(says, lost, "an id stored as a floating-point number, which has lost digits")
        return values.astype(np.int64)
    return values


def is_rounded(text: Array) -> bool:
    """Whether ids are text of floating-point numbers, such as ``12.0`` or ``3.9e16``."""
    words = [str(one).strip() for one in text]
    return all(map(REAL.fullmatch, words)) and any(map(ROUNDED.fullmatch, words))


def refuse_rows(says: str, bad: Bools, what: str) -> None:
    """Refuse a table with bad rows.

    Raises:
        DataError: If there are any: how many, and the first of them.
    """
    rows = np.flatnonzero(bad) + 1
    if len(rows):
        some = ", ".join(map(str, rows[:5])) + (", ..." if len(rows) > 5 else "")
        raise DataError(
            f"{says} {len(rows)} of {len(bad)} rows have {what} (row {some}); mend them"
        )
