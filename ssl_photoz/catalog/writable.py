"""What a format of tables can hold, and columns as they are written to it."""

from __future__ import annotations

import datetime
import re
from typing import Any

import numpy as np
import pyarrow as pa

from ssl_photoz.core.errors import DataError
from ssl_photoz.core.types import Array

OTHERS = {"parquet": ".parquet", "csv": ".csv", "fits": ".fits", "vot": ".vot"}
NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff\ud800-\udfff]")
NOT_FITS = re.compile("[^\x20-\x7e]")
NOT_UTF8 = re.compile("[\x00\ud800-\udfff]")
TIMES = (datetime.date, datetime.time, datetime.datetime)
LARGEST = 2**63 - 1


def to_arrow(name: str, values: Array) -> pa.Array:
    """A column for Parquet.

    Raises:
        DataError: If Parquet cannot hold it.
    """
    if values.dtype.kind == "c":
        raise DataError(_refusal("Parquet", name, "complex numbers", "fits", "vot"))
    if values.ndim == 1 and values.dtype.kind in "biuf":
        return pa.array(np.ascontiguousarray(values.astype(values.dtype.newbyteorder("="))))
    if values.dtype.kind == "M":
        return pa.array(values)
    plain = [one.tolist() if isinstance(one, np.ndarray) else one for one in values.tolist()]
    if values.dtype.kind == "S":
        plain = [_decoded(name, one) for one in plain]
    known = [one for one in plain if one is not None]
    whole = bool(known) and all(type(one) is int for one in known)
    beyond = whole and min(known) >= 0 and max(known) > LARGEST
    try:
        return pa.array(plain, pa.uint64() if beyond else None)
    except (pa.ArrowException, UnicodeError, OverflowError, TypeError) as error:
        detail = " ".join(str(error).split())[:120]
        raise DataError(_refusal("Parquet", name, f"values of several kinds ({detail})")) from None


def to_column(suffix: str, name: str, values: Array) -> Any:  # noqa: ANN401 - astropy has no types
    """A column for FITS, CSV or VOTable: of numbers or text, masked where there is nothing.

    Raises:
        DataError: If the format cannot hold it.
    """
    kind = {".fits": "FITS", ".csv": "CSV", ".vot": "VOTable"}[suffix]
    if suffix == ".fits" and NOT_FITS.search(name):
        raise DataError(_refusal(kind, name, "a name beyond ASCII", "parquet", "csv", "vot"))
    known, missing = _plain(name, values)
    if known.dtype.kind == "U":
        return _text(suffix, kind, name, known)
    if known.dtype.kind == "c" and suffix == ".csv":
        raise DataError(_refusal(kind, name, "complex numbers", "fits", "vot"))
    if known.dtype.kind == "c":
        return known
    known = _number(suffix, kind, name, known)
    if not missing.any():
        return known
    if suffix == ".fits" and known.dtype.kind == "b":  # astropy would write True
        return np.where(missing, "", np.where(known, "true", "false"))
    from astropy.table import MaskedColumn

    fill = None if known.dtype.kind == "b" else _unused(known[~missing])
    return MaskedColumn(known, mask=missing, fill_value=fill)


def _plain(name: str, values: Array) -> tuple[Array, Array]:
    """Values of one dtype, and where there are none."""
    nowhere = np.zeros(len(values), bool)
    if values.ndim == 2:
        return np.array([_joined(row) for row in values.tolist()], dtype=str), nowhere
    if values.dtype.kind == "M":
        values = np.array(
            [None if t == "NaT" else t for t in np.datetime_as_string(values)], object
        )
    if values.dtype.kind == "m":
        raise DataError(_refusal("a table", name, "durations"))
    if values.dtype != object:
        if values.dtype.kind == "S":
            values = np.array([_decoded(name, one) for one in values.tolist()], str)
        return values, nowhere
    missing = np.array([one is None for one in values], bool)
    some = [one for one in values.tolist() if one is not None]
    if not some:
        return np.array([""] * len(values), str), nowhere
    if all(isinstance(one, bool | np.bool_) for one in some):
        return np.array([bool(one) for one in values], bool), missing
    if any(isinstance(one, bool | np.bool_) for one in some):
        return np.array([_as_text(name, one) for one in values.tolist()], dtype=str), nowhere
    if all(isinstance(one, int | np.integer) for one in some):
        return _whole(name, some, missing), missing
    if all(isinstance(one, float | int | np.number) for one in some):
        return np.array([np.nan if one is None else float(one) for one in values]), nowhere
    return np.array([_as_text(name, one) for one in values.tolist()], dtype=str), nowhere


def _whole(name: str, known: list[int], missing: Array) -> Array:
    least, most = int(min(known)), int(max(known))
    if least < -LARGEST - 1 or most >= 2**64 or (least < 0 and most > LARGEST):
        raise DataError(_refusal("a table", name, "whole numbers beyond 64 bits"))
    values = np.zeros(len(missing), np.uint64 if most > LARGEST else np.int64)
    values[~missing] = known
    return values


def _as_text(name: str, value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bytes):
        return _decoded(name, value)
    if isinstance(value, np.ndarray | list | tuple):
        return _joined(list(value))
    if isinstance(value, TIMES):
        return value.isoformat()
    return str(value)


def _joined(row: list[Any]) -> str:
    return " ".join("" if one is None else str(one) for one in row)


def _decoded(name: str, value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise DataError(
            f"column {name} holds the bytes {value[:20]!r}, which are not UTF-8; decode it first"
        ) from None


def _text(suffix: str, kind: str, name: str, values: Array) -> Array:
    bad = {".fits": NOT_FITS, ".vot": NOT_XML, ".csv": NOT_UTF8}[suffix]
    odd = [one for one in values.tolist() if bad.search(one)]
    if odd:
        which = "beyond printable ASCII" if suffix == ".fits" else "with control characters"
        what = f"{len(odd)} of {len(values)} texts {which}, such as {odd[0][:40]!r}"
        better = ("parquet", "csv") if suffix == ".fits" else ("parquet",)
        raise DataError(_refusal(kind, name, what, *better))
    return values


def _number(suffix: str, kind: str, name: str, values: Array) -> Array:
    """Numbers of a type that the format has."""
    code, size = values.dtype.kind, values.dtype.itemsize
    if code == "f":
        if size > 8:
            raise DataError(_refusal(kind, name, f"{values.dtype} numbers"))
        return values.astype(np.float32) if size == 2 else values
    if suffix == ".vot" and code == "u" and size == 8 and (values > LARGEST).any():
        raise DataError(_refusal(kind, name, "whole numbers above 2^63", "parquet", "csv", "fits"))
    if suffix == ".fits" and code == "i" and size == 1:  # astropy would write truth values
        return values.astype(np.int16)
    if suffix == ".vot" and ((code == "u" and size > 1) or (code == "i" and size == 1)):
        return values.astype(np.int64)
    return values


def _unused(known: Array) -> int | float:
    """A number that none of the values is, to stand for none."""
    if known.dtype.kind == "f":
        return float("nan")
    taken = set(known.tolist())
    bounds = np.iinfo(known.dtype)
    first = bounds.min if bounds.min < 0 else bounds.max // 2
    return next(int(n) for n in (int(first), *range(len(taken) + 1)) if n not in taken)


def _refusal(kind: str, name: str, what: str, *better: str) -> str:
    advice = f"write {' or '.join(OTHERS[one] for one in better)}" if better else "leave it out"
    return f"{kind} cannot hold column {name}: it has {what}; {advice}"
