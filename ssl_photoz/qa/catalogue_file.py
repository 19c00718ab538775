"""Catalogues named where cutouts are expected: what they are, and which columns they have."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ssl_photoz.core.errors import DataError
from ssl_photoz.cutouts.formats import registry
from ssl_photoz.cutouts.formats.hdf5 import root_items

FITS_BLOCK = b"SIMPLE  ="
CSV_SUFFIXES = (".csv", ".csv.gz", ".tsv", ".tsv.gz")
WIDTH = 24


@dataclass(frozen=True)
class CatalogueFile:
    """A table without pixels.

    Attributes:
        path: The file.
        kind: What it is a table in: HDF5, CSV, FITS, Parquet.
        rows: Number of objects.
        columns: Type, and shape beyond the rows, of each column.
        others: What else is in the file.
    """

    path: Path
    kind: str
    rows: int
    columns: Mapping[str, str]
    others: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Plain values that JSON can hold."""
        return {**asdict(self), "path": str(self.path)}

    def as_text(self) -> str:
        """Page of text."""
        lines = [
            f"{self.path}: a catalogue without cutouts ({self.kind})",
            f"  rows         {self.rows}",
            f"  columns      {len(self.columns)}",
            *(f"    {name:<{WIDTH}} {kind}" for name, kind in self.columns.items()),
        ]
        if self.others:
            lines.append(f"  not columns  {', '.join(self.others)}")
        lines.append("  Nothing to train on: ssl-photoz fetch gets the cutouts of a catalogue.")
        return "\n".join(lines)


def catalogue_at(path: Path) -> CatalogueFile | None:
    """What a path is, if no format recognises it and it is a catalogue; else None.

    Raises:
        DataError: If it is a damaged one.
    """
    return None if registry.recognise(path) else look_at_catalogue(path)


def look_at_catalogue(path: Path) -> CatalogueFile | None:
    """Look at a table; only its head and its number of rows are read.

    Returns:
        What it is; None if it is no table of a known kind.

    Raises:
        DataError: If it is one, but damaged.
    """
    if not path.is_file():
        return None
    name = path.name.lower()
    try:
        if name.endswith(CSV_SUFFIXES):
            return _csv(path, "\t" if ".tsv" in name else ",")
        if name.endswith(".parquet"):
            return _parquet(path)
        with path.open("rb") as file:
            if file.read(len(FITS_BLOCK)) == FITS_BLOCK:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # of a file that is refused anyway
                    return _fits(path)
        return _hdf5(path)
    except DataError:
        raise
    except Exception as error:  # readers of foreign formats raise whatever they stumble over
        detail = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise DataError(f"{path} is a damaged table ({detail}); copy it again") from None


def _hdf5(path: Path) -> CatalogueFile | None:
    held = {name: one for name, one in root_items(path).items() if one.shape}
    if not held:
        return None
    lengths = Counter(one.shape[0] for one in held.values() if one.shape)
    rows, _ = lengths.most_common(1)[0]
    columns = {
        name: f"{one.dtype}{list(one.shape[1:]) or ''}"
        for name, one in held.items()
        if one.shape and one.shape[0] == rows
    }
    others = tuple(name for name in root_items(path) if name not in columns)
    return CatalogueFile(path, "HDF5", rows, columns, others)


def _csv(path: Path, delimiter: str) -> CatalogueFile:
    """Take types from the head of the file, and count rows block by block."""
    from pyarrow import csv, string

    parse = csv.ParseOptions(delimiter=delimiter)
    with csv.open_csv(path, parse_options=parse) as head:
        columns = {field.name: str(field.type) for field in head.schema}
    first = next(iter(columns))
    convert = csv.ConvertOptions(include_columns=[first], column_types={first: string()})
    with csv.open_csv(path, parse_options=parse, convert_options=convert) as blocks:
        rows = sum(block.num_rows for block in blocks)
    return CatalogueFile(path, "CSV", rows, columns)


def _parquet(path: Path) -> CatalogueFile:
    import pyarrow.parquet as pq

    schema, rows = pq.read_schema(path), pq.read_metadata(path).num_rows
    return CatalogueFile(path, "Parquet", rows, {one.name: str(one.type) for one in schema})


def _fits(path: Path) -> CatalogueFile | None:
    from astropy.io import fits

    with fits.open(path, memmap=True, lazy_load_hdus=True) as hdus:
        table = next((hdu for hdu in hdus if isinstance(hdu, fits.BinTableHDU)), None)
        if table is None:
            return None
        columns = {column.name: column.format for column in table.columns}
        return CatalogueFile(path, "FITS", int(table.header["NAXIS2"]), columns)
