"""Tables that astronomers open: Parquet, FITS or CSV, as the suffix says."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ssl_photoz.errors import ConfigError
from ssl_photoz.runs import atomic_path
from ssl_photoz.types import Array

SUFFIXES = (".parquet", ".fits", ".csv")


def require_suffix(path: Path) -> None:
    """Refuse a path that `write_table` could not write.

    Raises:
        ConfigError: If its suffix is none of .parquet, .fits and .csv.
    """
    if path.suffix not in SUFFIXES:
        raise ConfigError(f"out={path} ends in {path.suffix!r}, expected {', '.join(SUFFIXES)}")


def write_table(path: Path, columns: Mapping[str, Array], *, simulated: bool) -> None:
    """Write columns atomically, in the format of the suffix.

    Args:
        path: Ends in .parquet, .fits or .csv.
        columns: Name to array of shape (N,), or (N, K): a list per row in Parquet, and text
            separated by spaces in FITS and CSV.
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
        flat.write(scratch, format="fits" if path.suffix == ".fits" else "csv", overwrite=True)


def _to_arrow(values: Array) -> pa.Array:
    plain = values.ndim == 1 and values.dtype.kind in "biuf"
    return pa.array(np.ascontiguousarray(values) if plain else values.tolist())


def _flat(values: Array) -> Array:
    if values.ndim == 2:
        return np.array([" ".join(map(str, row)) for row in values.tolist()], dtype=str)
    return values.astype(str) if values.dtype == object else values
