"""Tables that astronomers open: Parquet, FITS, CSV or VOTable, as the suffix says."""

from __future__ import annotations

import gzip
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ssl_photoz.catalog.columns import NAMES, is_identifier
from ssl_photoz.catalog.delimited import (
    read_delimited,
    require_distinct,
    values_of_text,
    with_gaps,
)
from ssl_photoz.catalog.writable import to_arrow, to_column
from ssl_photoz.core.artefact import atomic_path
from ssl_photoz.core.errors import ConfigError, DataError
from ssl_photoz.core.types import Array, PathLike
from ssl_photoz.core.workplace import require_place

SUFFIXES = (".parquet", ".fits", ".csv", ".vot")
FORMATS = {".fits": "fits", ".vot": "votable"}
POSITIONS = (*NAMES["ra"], *NAMES["dec"])
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
ECSV = re.compile(rb"(\xef\xbb\xbf)?# %ECSV")
TRAILING_ZEROS = re.compile(r"\.?0*(?=Z?$)")  # of a fraction of a second
# A VOTable may name a file or an address to read its rows from, also through an entity.
REACHES_OUT = re.compile(rb"<!DOCTYPE|<!ENTITY|<(\w+:)?STREAM\b[^>]*\bhref\b", re.IGNORECASE)


class Columns(dict[str, Array]):
    """Columns of a table, by name.

    Attributes:
        left_out: Names of columns that are neither numbers nor text, one value per row.
    """

    left_out: tuple[str, ...] = ()


def require_suffix(path: Path) -> None:
    """Refuse a path that `write_table` could not write.

    Raises:
        ConfigError: If its suffix is none of .parquet, .fits, .csv and .vot, or nothing can be
            written there.
    """
    if path.suffix not in SUFFIXES:
        raise ConfigError(f"out={path} ends in {path.suffix!r}, expected {', '.join(SUFFIXES)}")
    require_place(path, folder=False)


def require_writable(path: Path, columns: Mapping[str, Array]) -> None:
    """Refuse what `write_table` would refuse; call it before the work, with what is known then.

    Args:
        path: Table to write.
        columns: Columns of it that are known already, such as the ids.

    Raises:
        ConfigError: If the suffix is another.
        DataError: If the format cannot hold a column; says which, why, and what can.
    """
    require_suffix(path)
    _prepared(path, columns)


def write_table(path: PathLike, columns: Mapping[str, Array], *, simulated: bool) -> None:
    """Write columns atomically, in the format of the suffix.

    Dates and times become ISO text but in Parquet. Where there is nothing (None, NaN), the table
    has a null, or empty text.

    Args:
        path: Ends in .parquet, .fits, .csv or .vot (VOTable).
        columns: Name to array of shape (N,), or (N, K): a list per row in Parquet, and text
            separated by spaces in the others.
        simulated: Becomes a column, so that no copy of the table can lose it.

    Raises:
        ConfigError: If the suffix is another.
        DataError: If the format cannot hold a column; says which, why, and what can.
    """
    path = Path(path)
    require_suffix(path)
    rows = len(next(iter(columns.values())))
    kept = {name: values for name, values in columns.items() if name.lower() != "simulated"}
    table = _prepared(path, {**kept, "simulated": np.full(rows, simulated)})
    with atomic_path(path) as scratch:
        if path.suffix == ".parquet":
            pq.write_table(table, scratch, compression="zstd")
        elif path.suffix == ".csv":
            with scratch.open("w", encoding="utf-8", newline="") as file:
                table.write(file, format="csv")
        else:
            table.write(scratch, format=FORMATS[path.suffix], overwrite=True)


def _prepared(path: Path, columns: Mapping[str, Array]) -> Any:  # noqa: ANN401 - two libraries' tables
    try:
        if path.suffix == ".parquet":
            return pa.table({name: to_arrow(name, values) for name, values in columns.items()})
        lower = Counter(name.lower() for name in columns)
        if path.suffix == ".fits" and (alike := [n for n in columns if lower[n.lower()] > 1]):
            raise DataError(
                f"FITS cannot hold columns {' and '.join(alike)}, which differ by case alone; "
                f"write .parquet, .csv or .vot"
            )
        from astropy.table import Table

        return Table({name: to_column(path.suffix, name, v) for name, v in columns.items()})
    except DataError as error:
        raise DataError(f"out={path}: {error}") from None


def read_table(
    path: Path, *, max_rows: int | None = None, ids: Collection[str] = ()
) -> dict[str, Array]:
    """Read the columns of a table of unknown origin; data, never code.

    Args:
        path: Ends in .parquet, .fits, .csv or .vot (VOTable). A VOTable that fetches its rows
            from elsewhere is refused.
        max_rows: Refuse a longer table.
        ids: Columns of a CSV that are identifiers, beside those whose name says so: ``0123`` stays
            text.

    Returns:
        Name to array of shape (N,): numbers, NaN where there is none, or text as objects, None
        where there is none. Whole numbers with gaps are floats if these hold all of them exactly,
        else objects: integers and None. Dates and times are ISO text. Columns with a list or with
        bytes per row are left out, and named (`Columns.left_out`).

    Raises:
        DataError: If the file is missing, damaged, of another format, or too long.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise DataError(f"{path} ends in {path.suffix!r}, expected {', '.join(SUFFIXES)}")
    if not path.is_file():
        raise DataError(f"no table {path}")
    with _reading(path, path.suffix.lower()):
        if path.suffix.lower() == ".csv":
            columns = _read_csv(path, ids)
        else:
            columns = _READERS[path.suffix.lower()](path, max_rows)
    _refuse_long(path, len(next(iter(columns.values()), ())), max_rows)
    return columns


def read_text_table(path: Path, format_name: str, *, ids: Collection[str] = ()) -> dict[str, Array]:
    """Read text, also compressed by gzip, in a format of astropy, as `read_table` does.

    Args:
        path: The file; UTF-8.
        format_name: ``csv``, ``ascii.ecsv``, or ``ascii``: astropy guesses.
        ids: As `read_table` takes them.

    Raises:
        DataError: If it cannot be read.
    """
    with _reading(path, format_name), _opened(path) as file:
        if format_name == "csv":
            return read_delimited(file, ids=ids)
        return _read_ascii(file.read().decode("utf-8-sig"), format_name, ids)


@contextmanager
def _reading(path: Path, kind: str) -> Iterator[None]:
    try:
        yield
    except DataError as error:
        if str(path) in str(error):
            raise
        raise DataError(f"{path} cannot be read as a {kind} table: {error}") from None
    except Exception as error:  # readers of foreign formats raise whatever they stumble over
        detail = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise DataError(f"{path} cannot be read as a {kind} table ({detail})") from None


def _opened(path: Path) -> IO[bytes]:
    if path.suffix.lower() == ".gz":
        return cast("IO[bytes]", gzip.open(path))
    return path.open("rb")


def _read_ascii(text: str, format_name: str, ids: Collection[str]) -> dict[str, Array]:
    from astropy.table import Table

    if format_name == "ascii.ecsv":
        return from_astropy(Table.read(text, format=format_name))
    table = Table.read(text, format=format_name, converters={"*": [str]})
    columns = {}
    for name in table.colnames:
        values = np.ma.filled(np.ma.asarray(table[name]).astype(object), "")
        column = pa.chunked_array([pa.array(values.tolist(), pa.string())])
        columns[name] = values_of_text(column, is_id=name in ids or is_identifier(name))
    return columns


def _read_parquet(path: Path, max_rows: int | None) -> dict[str, Array]:
    _refuse_long(path, pq.read_metadata(path).num_rows, max_rows)
    require_distinct(pq.read_schema(path).names)
    return _from_arrow(pq.read_table(path))


def _read_csv(path: Path, ids: Collection[str]) -> dict[str, Array]:
    with path.open("rb") as file:
        if ECSV.match(file.read(64)):
            file.seek(0)
            return _read_ascii(file.read().decode("utf-8-sig"), "ascii.ecsv", ids)
        file.seek(0)
        return read_delimited(file, ids=ids)


def _read_fits(path: Path, max_rows: int | None) -> dict[str, Array]:
    from astropy.table import Table

    with path.open("rb") as file:
        if file.read(6) != b"SIMPLE":  # astropy would unpack a compressed file of any size
            raise DataError(f"{path} is not a plain FITS file; unpack it if it is compressed")
    table = Table.read(path, format="fits", memmap=False, mask_invalid=False)
    table.convert_bytestring_to_unicode()
    return from_astropy(table)


def _read_votable(path: Path, max_rows: int | None) -> dict[str, Array]:
    from astropy.io.votable import parse_single_table

    content = path.read_bytes().removeprefix(BYTE_ORDER_MARK)
    if REACHES_OUT.search(content) or b"\0" in content or not content.lstrip().startswith(b"<"):
        raise DataError(
            f"{path} is not a VOTable whose rows stand in the file itself, in UTF-8; save it again "
            f"so, or as CSV"
        )
    return from_astropy(parse_single_table(BytesIO(content)).to_table(use_names_over_ids=True))


_READERS = {".parquet": _read_parquet, ".fits": _read_fits, ".vot": _read_votable}


def _refuse_long(path: Path, rows: int, max_rows: int | None) -> None:
    if max_rows is not None and rows > max_rows:
        raise DataError(f"{path} has {rows} rows, expected at most {max_rows}; give a shorter list")


def _from_arrow(table: pa.Table) -> dict[str, Array]:
    columns = {name: from_arrow(table.column(name)) for name in table.column_names}
    return _without_lists(columns, table.column_names)


def from_arrow(column: pa.ChunkedArray) -> Array | None:
    """Values of an Arrow column as `read_table` gives them; None for a list per row."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        column, kind = column.cast(kind.value_type), kind.value_type
    if pa.types.is_nested(kind):
        return None
    if pa.types.is_decimal(kind):
        kind = pa.int64() if kind.scale <= 0 and kind.precision <= 18 else pa.float64()
        column = column.cast(kind)
    if pa.types.is_temporal(kind):
        return _iso(column)
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        missing = column.is_null().to_numpy()
        return with_gaps(
            column.fill_null(0 if pa.types.is_integer(kind) else False).to_numpy(), missing
        )
    if "binary" in str(kind):
        return _decoded(column)
    if "string" in str(kind):
        column = column.cast(pa.large_string())
    values: Array = column.to_numpy()
    return values


def _iso(column: pa.ChunkedArray) -> Array:
    """Dates and times as ISO text."""
    if pa.types.is_duration(column.type):
        return with_gaps(
            column.cast(pa.int64()).fill_null(0).to_numpy(), column.is_null().to_numpy()
        )
    iso = [
        TRAILING_ZEROS.sub("", one.replace(" ", "T"), count=1)
        if one and "." in one
        else one and one.replace(" ", "T")
        for one in column.cast(pa.string()).to_pylist()
    ]
    return np.array([*iso, None], object)[:-1]


def _decoded(column: pa.ChunkedArray) -> Array | None:
    try:
        text = [None if one is None else one.decode() for one in column.to_pylist()]
    except UnicodeDecodeError:  # not text: no more of use than a list per row
        return None
    return np.array([*text, None], object)[:-1]


def from_astropy(table: Any) -> dict[str, Array]:  # noqa: ANN401 - astropy has no types
    """Columns of an astropy table as `read_table` does.

    Raises:
        DataError: If a position has a unit that is no angle.
    """
    columns = {
        name: _unmasked(_in_degrees(name, getattr(table[name], "isot", table[name])))
        for name in table.colnames
        if table[name].ndim == 1 and not hasattr(table[name], "represent_as")
    }
    plain = {name: None if _has_lists(values) else values for name, values in columns.items()}
    return _without_lists(plain, table.colnames)


def _in_degrees(name: str, column: Any) -> Any:  # noqa: ANN401 - astropy has no types
    """A position in degrees, in whatever angle its column states it; any other column as it is."""
    from astropy import units

    stated = str(getattr(column, "unit", None) or "deg")
    if name.lower() not in POSITIONS or column.dtype.kind not in "iuf":
        return column
    if stated.lower() in ("deg", "degree", "degrees"):
        return column
    try:
        return column * units.Unit(stated).to(units.deg)
    except (ValueError, units.UnitConversionError):
        raise DataError(f"column {name} is in {stated!r}, expected degrees") from None


def _without_lists(columns: Mapping[str, Array | None], names: Sequence[str]) -> Columns:
    kept = Columns({name: values for name, values in columns.items() if values is not None})
    kept.left_out = tuple(name for name in names if name not in kept)
    return kept


def _has_lists(values: Array) -> bool:
    return values.dtype == object and any(isinstance(one, np.ndarray | list) for one in values)


def _unmasked(column: Any) -> Array:  # noqa: ANN401 - astropy has no types
    values: Array = np.asarray(column)
    values = values.astype(values.dtype.newbyteorder("="))
    if values.dtype.kind == "S":
        values = np.char.decode(values, "utf-8")
    if values.dtype.kind == "U":
        values = values.astype(object)
    return with_gaps(values, np.ma.getmaskarray(column))
