"""Tables that astronomers open: Parquet, CSV or FITS, by suffix."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from ssl_photoz.errors import ConfigError
from ssl_photoz.runs import atomic_path
from ssl_photoz.types import Array

SUFFIXES = (".parquet", ".csv", ".fits")


def require_table_suffix(path: Path) -> None:
    """Refuse a path that `write_table` could not write.

    Raises:
        ConfigError: If the suffix is none of .parquet, .csv and .fits.
    """
    if path.suffix not in SUFFIXES:
        raise ConfigError(f"{path} ends in {path.suffix!r}, expected {', '.join(SUFFIXES)}")


def write_table(path: Path, columns: Mapping[str, Array]) -> None:
    """Write columns of equal length atomically, in the format of the suffix.

    Args:
        path: Ends in .parquet, .csv or .fits.
        columns: Name to array of shape (n,).

    Raises:
        ConfigError: If the suffix is another.
    """
    require_table_suffix(path)
    with atomic_path(path) as scratch:
        if path.suffix == ".fits":
            from astropy.table import Table

            fits = {n: v.astype(str) if v.dtype == object else v for n, v in columns.items()}
            Table(fits).write(scratch, format="fits", overwrite=True)
            return
        table = pa.table({name: _to_arrow(values) for name, values in columns.items()})
        if path.suffix == ".csv":
            pyarrow.csv.write_csv(table, scratch)
        else:
            pyarrow.parquet.write_table(table, scratch, compression="zstd")


def _to_arrow(values: Array) -> pa.Array:
    return pa.array(values.tolist() if values.dtype.kind in "UO" else np.ascontiguousarray(values))
