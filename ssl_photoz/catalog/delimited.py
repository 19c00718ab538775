"""Delimited text: CSV as pyarrow parses it, with types that are judged by every value."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Collection
from typing import IO, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ssl_photoz.catalog.columns import is_identifier
from ssl_photoz.core.errors import DataError
from ssl_photoz.core.types import Array

# What programs write for a number that is not there.
NOTHING = (
    *("", "--", "---", "-", "...", "NA", "N/A", "n/a", "#N/A", "<NA>", "NULL", "null", "None"),
    *("none", "masked", "NaN", "nan", "NAN", "-nan", "-NaN", "NaT", "\\N"),
)
TRUTH = ("true", "false", "True", "False", "TRUE", "FALSE")
WHOLE, PLAIN_WHOLE = r"^[+-]?[0-9]+$", r"^(0|-?[1-9][0-9]*)$"
EXACT = 2**53  # whole numbers up to here survive as floats
HEAD_BYTES = 1 << 20


class _Header(NamedTuple):
    names: list[str]
    lines: int  # up to and with that of the names
    delimiter: str


def read_delimited(file: IO[bytes], *, ids: Collection[str] = ()) -> dict[str, Array]:
    """Read a table of delimited text.

    The names stand in the first line that is no comment, or in a comment right above the first
    values (``#TARGETID,RA,DEC``). Fields are parted by comma, semicolon or tab.

    Args:
        file: UTF-8, with or without a byte order mark; read from where it stands.
        ids: Columns that are identifiers, beside those whose name says so: kept as text unless
            every value is a whole number without padding.

    Returns:
        As `ssl_photoz.catalog.tables.read_table`.

    Raises:
        DataError: If a name is there twice, or the text is not UTF-8.
    """
    start = file.read(HEAD_BYTES)
    header = _header(start)
    require_distinct(header.names)
    source = io.BufferedReader(_Rejoined(start, file))
    from pyarrow import csv as arrow_csv

    try:
        table = arrow_csv.read_csv(
            source,
            read_options=arrow_csv.ReadOptions(
                column_names=header.names, skip_rows=header.lines, block_size=HEAD_BYTES * 4
            ),
            parse_options=arrow_csv.ParseOptions(
                delimiter=header.delimiter, newlines_in_values=True
            ),
            convert_options=arrow_csv.ConvertOptions(
                column_types=dict.fromkeys(header.names, pa.string())
            ),
        )
    except pa.ArrowInvalid as error:
        if "Empty CSV" in str(error):
            return {name: np.empty(0, object) for name in header.names}
        if "UTF8" in str(error):
            raise DataError(f"its text is not UTF-8 ({error}); save it again as UTF-8") from None
        raise
    return {
        name: values_of_text(table.column(name), is_id=name in ids or is_identifier(name))
        for name in header.names
    }


def require_distinct(names: Collection[str]) -> None:
    """Refuse names that occur twice.

    Raises:
        DataError: If some do; says which.
    """
    if twice := [name for name, times in Counter(names).items() if times > 1]:
        raise DataError(
            f"its columns {', '.join(twice)} are there more than once; rename or drop the others"
        )


def values_of_text(column: pa.ChunkedArray, *, is_id: bool) -> Array:
    """Values of a column of text: numbers or truth values if every known one is, else the text.

    Args:
        column: Text, shape (N,).
        is_id: Whether padding and leading zeros matter: ``000005`` and ``1.50`` stay text.
    """
    trimmed = pc.utf8_trim_whitespace(column).combine_chunks()
    if isinstance(trimmed, pa.ChunkedArray):
        trimmed = pa.concat_arrays(trimmed.chunks) if trimmed.num_chunks else pa.array([], "string")
    missing = pc.fill_null(pc.is_in(trimmed, pa.array(NOTHING)), True)
    known = trimmed.filter(pc.invert(missing))
    text: Array = column.to_numpy()
    gaps = missing.to_numpy(zero_copy_only=False)
    if not len(known):
        return text if pc.any(pc.not_equal(trimmed, "")).as_py() and is_id else _none(len(text))
    if pc.all(pc.match_substring_regex(known, PLAIN_WHOLE if is_id else WHOLE)).as_py():
        return _whole(known, gaps, text)
    if is_id:
        return text
    if pc.all(pc.is_in(known, pa.array(TRUTH))).as_py():
        truth = pc.equal(pc.utf8_lower(known), "true").to_numpy(zero_copy_only=False)
        return _spread(truth, gaps)
    try:
        unsigned = pc.replace_substring_regex(known, r"^\+", "")
        return _spread(pc.cast(unsigned, pa.float64()).to_numpy(), gaps)
    except pa.ArrowInvalid:
        return text


def with_gaps(values: Array, missing: Array) -> Array:
    """Values with NaN or None where they are missing.

    Truth values, text, and whole numbers that a float would round become objects with None.

    Args:
        values: Shape (N,).
        missing: Shape (N,).
    """
    kind = values.dtype.kind
    if not missing.any():
        return values
    rounds = kind in "iu" and bool(((values > EXACT) | (values < -EXACT))[~missing].any())
    exact = values.astype(object if rounds or kind not in "iufc" else np.float64)
    if kind in "fc":
        exact = values.copy()
    exact[missing] = None if exact.dtype == object else np.nan
    return exact


def _spread(known: Array, gaps: Array) -> Array:
    values = np.zeros(len(gaps), known.dtype)
    values[~gaps] = known
    return with_gaps(values, gaps)


def _whole(known: pa.Array, gaps: Array, text: Array) -> Array:
    unsigned = pc.replace_substring_regex(known, r"^\+", "")
    for kind in (pa.int64(), pa.uint64()):
        try:
            return _spread(pc.cast(unsigned, kind).to_numpy(), gaps)
        except pa.ArrowInvalid:  # beyond its range
            continue
    return text


def _none(count: int) -> Array:
    return np.full(count, None, object)


def _header(start: bytes) -> _Header:
    lines = re.split(r"\r\n|\n|\r", start.decode("utf-8-sig", errors="replace"))
    for at, line in enumerate(lines):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        above = lines[at - 1].lstrip() if at else ""
        delimiter = _delimiter(line)
        names = _fields(line, delimiter)
        commented = _fields(above.lstrip("# \t"), delimiter) if above.startswith("#") else []
        if len(commented) == len(names) and any(map(_is_number, names)):
            return _Header(commented, at, delimiter)
        return _Header(names, at + 1, delimiter)
    last = next((line for line in lines[::-1] if line.strip()), "")
    delimiter = _delimiter(last)
    names = _fields(last.lstrip().lstrip("# \t"), delimiter)
    if not last:
        raise DataError("it is empty")
    return _Header(names, len(lines), delimiter)


def _delimiter(line: str) -> str:
    counts = {mark: line.count(mark) for mark in (",", ";", "\t")}
    return max(counts, key=lambda mark: counts[mark])


def _fields(line: str, delimiter: str) -> list[str]:
    return [name.strip() for name in next(csv.reader([line], delimiter=delimiter), [])]


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


class _Rejoined(io.RawIOBase):
    """What was read of a file, and then the rest of it."""

    def __init__(self, start: bytes, rest: IO[bytes]) -> None:
        self._start, self._rest = io.BytesIO(start), rest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - any writable buffer
        taken = self._start.read(len(buffer)) or self._rest.read(len(buffer))
        buffer[: len(taken)] = taken
        return len(taken)
