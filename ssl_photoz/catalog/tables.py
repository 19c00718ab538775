"""Tables that astronomers open: Parquet, FITS, CSV or VOTable, as the suffix says."""

from __future__ import annotations

import re
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ssl_photoz.core.artefact import atomic_path
from ssl_photoz.core.errors import ConfigError, DataError
from ssl_photoz.core.types import Array

SUFFIXES = (".parquet", ".fits", ".csv", ".vot")
FORMATS = {".fits": "fits", ".csv": "csv", ".vot": "votable"}
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
# A VOTable may name a file or an address to read its rows from, also through an entity.
REACHES_OUT = re.compile(rb"<!DOCTYPE|<!ENTITY|<(\w+:)?STREAM\b[^>]*\bhref\b", re.IGNORECASE)


def require_suffix(path: Path) -> None:
    """Refuse a path that `write_table` could not write.

    Raises:
        ConfigError: If its suffix is none of .parquet, .fits, .csv and .vot.
    """
    if path.suffix not in SUFFIXES:
        raise ConfigError(f"out={path} ends in {path.suffix!r}, expected {', '.join(SUFFIXES)}")


def write_table(path: Path, columns: Mapping[str, Array], *, simulated: bool) -> None:
    """Write columns atomically, in the format of the suffix.

    Args:
        path: Ends in .parquet, .fits, .csv or .vot (VOTable).
        columns: Name to array of shape (N,), or (N, K): a list per row in Parquet, and text
            separated by spaces in the others.
        simulated: Becomes a column, so that no copy of the table can lose it.

    Raises:
        ConfigError: If the suffix is another.
    """
    require_suffix(path)
    rows = len(next(iter(columns.values())))
    columns = {**columns, "simulated": np.full(rows, simulated)}
    with atomic_path(path) as scratch:
        if path.suffix == ".parquet":
            table = pa.table({name: _to_arrow(values) for name, values in columns.items()})
            pq.write_table(table, scratch, compression="zstd")
            return
        from astropy.table import Table

        flat = Table({name: _flat(values) for name, values in columns.items()})
        flat.write(scratch, format=FORMATS[path.suffix], overwrite=True)


def read_table(path: Path, *, max_rows: int | None = None) -> dict[str, Array]:
    """Read the columns of a table of unknown origin; data, never code.

    Args:
        path: Ends in .parquet, .fits, .csv or .vot (VOTable). A VOTable that fetches its rows
            from elsewhere is refused.
        max_rows: Refuse a longer table.

    Returns:
        Name to array of shape (N,): numbers, NaN where there is none, or text as objects.
        Columns with a list per row are left out.

    Raises:
        DataError: If the file is missing, damaged, of another format, or too long.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise DataError(f"{path} ends in {path.suffix!r}, expected {', '.join(SUFFIXES)}")
    if not path.is_file():
        raise DataError(f"no table {path}")
    try:
        columns = _READERS[path.suffix.lower()](path, max_rows)
    except DataError:
        raise
    except Exception as error:  # readers of foreign formats raise whatever they stumble over
        detail = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise DataError(f"{path} cannot be read as a {path.suffix} table ({detail})") from None
    _refuse_long(path, len(next(iter(columns.values()), ())), max_rows)
    return columns


def _read_parquet(path: Path, max_rows: int | None) -> dict[str, Array]:
    _refuse_long(path, pq.read_metadata(path).num_rows, max_rows)
    return _from_arrow(pq.read_table(path))


def _read_csv(path: Path, max_rows: int | None) -> dict[str, Array]:
    from pyarrow import csv

    return _from_arrow(csv.read_csv(path))


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


_READERS = {
    ".parquet": _read_parquet,
    ".csv": _read_csv,
    ".fits": _read_fits,
    ".vot": _read_votable,
}


def _refuse_long(path: Path, rows: int, max_rows: int | None) -> None:
    if max_rows is not None and rows > max_rows:
        raise DataError(f"{path} has {rows} rows, expected at most {max_rows}; give a shorter list")


def _from_arrow(table: pa.Table) -> dict[str, Array]:
    nested = {
        name for name in table.column_names if pa.types.is_nested(table.schema.field(name).type)
    }
    return {
        name: table.column(name).to_numpy() for name in table.column_names if name not in nested
    }


def from_astropy(table: Any) -> dict[str, Array]:  # noqa: ANN401 - astropy has no types
    """Columns of an astropy table as `read_table` does."""
    return {name: _unmasked(table[name]) for name in table.colnames if table[name].ndim == 1}


def _unmasked(column: Any) -> Array:  # noqa: ANN401 - astropy has no types
    values: Array = np.asarray(column)
    values = values.astype(values.dtype.newbyteorder("="))
    missing = np.ma.getmaskarray(column)
    if values.dtype.kind == "U":
        values = values.astype(object)
    if missing.any() and values.dtype.kind in "biu":
        values = values.astype(np.float64)
    if missing.any():
        values[missing] = np.nan if values.dtype.kind == "f" else None
    return values


def _to_arrow(values: Array) -> pa.Array:
    plain = values.ndim == 1 and values.dtype.kind in "biuf"
    return pa.array(np.ascontiguousarray(values) if plain else values.tolist())


def _flat(values: Array) -> Array:
    if values.ndim == 2:
        return np.array([" ".join(map(str, row)) for row in values.tolist()], dtype=str)
    if values.dtype == np.float16:  # no type of FITS or of VOTable
        return values.astype(np.float32)
    return values.astype(str) if values.dtype == object else values
