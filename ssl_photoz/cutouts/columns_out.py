"""Columns of any format into a cutout file of this package's own layout."""

from __future__ import annotations

from collections.abc import Iterator

import h5py
import numpy as np

from ssl_photoz.core.errors import DataError
from ssl_photoz.core.types import Array, Ints
from ssl_photoz.cutouts.reader import Cutouts

NAMES = {"id": "TARGETID"}
STATED = ("bands", "pixscale_arcsec", "pixel_scale_arcsec", "pixscale", "calibrated", "simulated")


def write_columns(cutouts: Cutouts, file: h5py.File, rows: Ints | None = None) -> tuple[str, ...]:
    """Write columns as datasets, and as root attributes all that is known of the cutouts.

    Names are in capitals, as those of the challenge. What `Cutouts` derives is not written: it will
    be derived again; save unknown positions, which are NaN.

    Args:
        cutouts: Source of the columns.
        file: The file to write them to.
        rows: The rows to write; all by default.

    Returns:
        What the source holds and the file does not.
    """
    stored, left_out = stored_columns(cutouts)
    with_places = dict.fromkeys(("ra", "dec", *stored))  # which the layout asks for
    for column, name in _named(tuple(with_places)):
        if name is None or name in file:
            left_out.append(column)
            continue
        values = cutouts.column(column)
        _write(file, name, values if rows is None else values[rows])
    _write_attributes(cutouts, file)
    return tuple(left_out)


def stored_columns(cutouts: Cutouts) -> tuple[list[str], list[str]]:
    """Columns that are stored and can be asked for, and what else there is.

    Raises:
        DataError: If the cutouts are corrected for extinction: a copy would be corrected again.
    """
    if cutouts.source.extinction_corrected:
        raise DataError(
            f"these cutouts of {cutouts.source.path} are corrected for extinction, and a copy "
            f"would be corrected once more when it is read; copy them as they are stored"
        )
    stored = cutouts.stored
    usable = [name for name in stored.columns if name in cutouts.columns]
    return usable, [*stored.left_out, *(ascii(n) for n in stored.columns if n not in usable)]


def _named(columns: tuple[str, ...]) -> Iterator[tuple[str, str | None]]:
    """Yield each column and the name of its dataset; None: HDF5 has no such name."""
    for column in columns:
        name = NAMES.get(column, column.upper())
        if column not in NAMES and name.lower() != column:  # such as the German sz
            name = column
        usable = "/" not in name and "\0" not in name and name not in (".", "", "IMAGES")
        yield column, name if usable else None


def _write(file: h5py.File, name: str, values: Array) -> None:
    if values.dtype.kind != "U":
        file[name] = values
        return
    encoded = np.char.encode(values, "utf-8")
    text = h5py.string_dtype("utf-8", max(encoded.dtype.itemsize, 1))
    file.create_dataset(name, data=encoded.astype(text), dtype=text)


def _write_attributes(cutouts: Cutouts, file: h5py.File) -> None:
    """Hand on what the source states, and state what it leaves to be guessed."""
    source = cutouts.source
    for name, value in cutouts.stored.attributes.items():
        if name.lower() not in STATED:
            file.attrs[name] = value
    file.attrs["bands"] = ",".join(source.bands)
    file.attrs["calibrated"] = source.calibrated
    file.attrs["simulated"] = source.simulated
    # NaN says that the scale is unknown, lest it be guessed; a column says that it varies.
    if np.isfinite(source.pixscale_arcsec) or "pixscale" not in cutouts.stored.columns:
        file.attrs["pixscale_arcsec"] = source.pixscale_arcsec
