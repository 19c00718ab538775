"""What a file holds: a cutout file, or a catalogue named where cutouts are expected."""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ssl_photoz.catalog.identity import describe_shared
from ssl_photoz.core.artefact import for_json
from ssl_photoz.core.errors import DataError
from ssl_photoz.core.types import Array, Floats
from ssl_photoz.cutouts.formats import registry
from ssl_photoz.cutouts.formats.hdf5 import root_items
from ssl_photoz.cutouts.quality import (
    border_noise,
    has_position,
    pixel_range,
    reasons_of_range,
    row_reasons,
    usable_labels,
)
from ssl_photoz.cutouts.reader import Cutouts, Source

SCAN_ROWS = 256
REDSHIFT_EDGES = (0.0, 0.03, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6, 0.8, 1.0, math.inf)
BAR = 40


@dataclass(frozen=True)
class Summary:
    """What a cutout file holds.

    Attributes:
        source: Bands, shape, pixel scale, type, calibrated or not.
        columns: Names of the per-row columns.
        ids_are_rows: Whether ids are row numbers, for want of any in the file.
        pixel_min: Least pixel of each band, among cutouts without NaN and inf.
        pixel_max: Greatest pixel of each band, among the same.
        noise: Estimated standard deviation per pixel of each band.
        rejects: Number of rows that cannot be used, by reason.
        repeated_ids: Number of ids that occur more than once.
        repeats: Number of rows beyond the first of their id.
        without_position: Rows with neither RA nor Dec.
        labelled: Rows with a usable redshift.
        not_positive: Rows whose redshift is zero or negative, treated as unlabelled.
        redshift_counts: Labelled rows within `REDSHIFT_EDGES`.
        left_out: Names of what the file holds that is no column.
        shared_ids: How many ids are those of several galaxies, in words; empty if none.
    """

    source: Source
    columns: tuple[str, ...]
    ids_are_rows: bool
    pixel_min: tuple[float, ...]
    pixel_max: tuple[float, ...]
    noise: tuple[float, ...]
    rejects: dict[str, int]
    repeated_ids: int
    repeats: int
    without_position: int
    labelled: int
    not_positive: int
    redshift_counts: tuple[int, ...]
    left_out: tuple[str, ...] = ()
    shared_ids: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Summary as plain values that JSON can hold (NaN becomes None)."""
        from dataclasses import asdict

        plain = asdict(self)
        plain["source"]["path"] = str(self.source.path)
        plain["redshift_edges"] = [*REDSHIFT_EDGES[:-1], None]
        return dict(for_json(plain))

    def as_text(self) -> str:
        """Summary as a page of text."""
        return "\n".join([*self._source_lines(), *self._band_lines(), *self._row_lines()])

    def _source_lines(self) -> list[str]:
        source = self.source
        scale = f"{source.pixscale_arcsec:g} arcsec/px"
        if math.isnan(source.pixscale_arcsec):
            scale = "varies from row to row" if "pixscale" in self.columns else "unknown"
            scale += "; pretraining needs one pixel scale"
        unit = "flux, nanomaggies/px" if source.calibrated else "display units (uncalibrated)"
        named = "row numbers: the file has none" if self.ids_are_rows else "those of the file"
        return [
            f"{source.path}" + (" (SIMULATED)" if source.simulated else ""),
            f"  read as      {source.read_as}: {source.recognised}",
            *(f"               {note}" for note in source.notes),
            f"  cutouts      {source.rows}, {len(source.bands)} bands of "
            f"{source.size_px} x {source.size_px} px, {source.dtype}",
            f"  pixels       {unit}",
            f"  pixel scale  {scale}",
            f"  ids          {named}; {self.repeated_ids} repeated, in {self.repeats} extra rows",
            *([f"               {self.shared_ids}"] if self.shared_ids else []),
            f"  columns      {', '.join(self.columns)}",
            *([f"  left out     {', '.join(self.left_out)}"] if self.left_out else []),
        ]

    def _band_lines(self) -> list[str]:
        lines = ["  band         minimum      maximum      noise per pixel"]
        rows = zip(self.source.bands, self.pixel_min, self.pixel_max, self.noise, strict=True)
        lines += [f"  {b:<10} {lo:>12.5g} {hi:>12.5g} {sd:>12.3g}" for b, lo, hi, sd in rows]
        return lines

    def _row_lines(self) -> list[str]:
        lines = [f"  unusable     {sum(self.rejects.values())} rows"]
        lines += [f"    {count:>8}  {reason}" for reason, count in sorted(self.rejects.items())]
        lines += [f"  no position  {self.without_position} rows (kept out of the test sky)"]
        lines += [f"  redshifts    {self.labelled} usable, {self.not_positive} zero or negative"]
        tallest = max(1, *self.redshift_counts)
        edges = zip(REDSHIFT_EDGES[:-1], REDSHIFT_EDGES[1:], self.redshift_counts, strict=True)
        for low, high, count in edges:
            bar = "#" * math.ceil(BAR * count / tallest)
            lines.append(f"    {low:>4g} - {high:<4g} {count:>8}  {bar}".rstrip())
        return lines


def summarise(cutouts: Cutouts, *, sample: int = 2000) -> Summary:
    """Look at every cutout once, with a progress bar.

    Args:
        cutouts: The file.
        sample: Number of cutouts, spread evenly over the file, that the noise is estimated from.
    """
    ra, dec, z = (cutouts.column(name) for name in ("ra", "dec", "z"))
    low, high = _scan_pixels(cutouts)
    finite = (np.isfinite(low) & np.isfinite(high)).all(axis=1)
    reasons = reasons_of_range(low, high)
    reasons = np.where(reasons != "", reasons, row_reasons(ra, dec))
    _, counts = np.unique(cutouts.column("id"), return_counts=True)
    labels = z[usable_labels(z)]
    edges = np.array(REDSHIFT_EDGES)
    return Summary(
        source=cutouts.source,
        columns=cutouts.columns,
        ids_are_rows=cutouts.ids_are_rows,
        pixel_min=tuple(low[finite].astype(float).min(axis=0, initial=math.inf).tolist()),
        pixel_max=tuple(high[finite].astype(float).max(axis=0, initial=-math.inf).tolist()),
        noise=tuple(_sample_noise(cutouts, reasons, sample).tolist()),
        rejects={str(k): v for k, v in Counter(reasons.tolist()).items() if k},
        repeated_ids=int((counts > 1).sum()),
        repeats=int((counts - 1).sum()),
        without_position=int((~has_position(ra, dec)).sum()),
        labelled=len(labels),
        not_positive=int((z <= 0).sum()),
        redshift_counts=tuple(np.histogram(labels, edges)[0].tolist()),
        left_out=cutouts.stored.left_out,
        shared_ids=describe_shared(cutouts.column("id"), ra, dec),
    )


def _scan_pixels(cutouts: Cutouts) -> tuple[Array, Array]:
    from tqdm import tqdm

    lows, highs = [], []
    for start in tqdm(range(0, len(cutouts), SCAN_ROWS), desc="looking at pixels", leave=False):
        rows = np.arange(start, min(start + SCAN_ROWS, len(cutouts)))
        low, high = pixel_range(cutouts.read(rows))
        lows.append(low)
        highs.append(high)
    return np.concatenate(lows), np.concatenate(highs)


def _sample_noise(cutouts: Cutouts, reasons: Array, sample: int) -> Floats:
    good = np.flatnonzero(reasons == "")
    if not len(good):
        return np.full(len(cutouts.source.bands), np.nan, np.float32)
    rows = np.unique(good[np.linspace(0, len(good) - 1, min(sample, len(good))).astype(int)])
    blocks = np.array_split(rows, math.ceil(len(rows) / SCAN_ROWS))
    noise = np.concatenate([border_noise(cutouts.read(block)) for block in blocks])
    median: Floats = np.median(noise, axis=0)
    return median


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
