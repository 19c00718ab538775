"""Cutouts of any format as Parquet, laid out as release 1.5 of the Multimodal Universe is.

A folder of ``part-00000.parquet`` ... with ``object_id``, ``ra``, ``dec``, ``z_spec``, ``image`` (a
struct of ``band``, ``flux``, ``psf_fwhm`` and ``scale``) and every other column; rows keep their
order. What the layout has no place for is in the metadata of every part and on the card.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from ssl_photoz.core import artefact
from ssl_photoz.core.errors import MismatchError
from ssl_photoz.core.types import Array, Ints
from ssl_photoz.cutouts.columns_out import stored_columns
from ssl_photoz.cutouts.packing import rows_digest
from ssl_photoz.cutouts.reader import Cutouts

NAMES = {"id": "object_id", "z": "z_spec"}
IN_STRUCT = ("psfsize",)
METADATA = b"ssl_photoz"
GROUP_BYTES = 1 << 25


class Parquet(NamedTuple):
    """What became of cutouts.

    Attributes:
        rows: Cutouts written, in all parts.
        left_out: What the source holds and the parts do not.
    """

    rows: int
    left_out: tuple[str, ...]


def write_parquet(
    cutouts: Cutouts, folder: Path, *, size_px: int, shard_rows: int, config: object
) -> Parquet | None:
    """Write cutouts as Parquet; the same call continues after an interruption.

    Args:
        cutouts: What to write.
        folder: Folder of the parts.
        size_px: Side of the central crop that is written.
        shard_rows: Rows of a part.
        config: The resolved settings; what changes them changes the result.

    Returns:
        What was done; None if the same is there already.

    Raises:
        MismatchError: If the folder holds other work.
    """
    source = cutouts.source
    given: dict[str, Any] = {
        "config": config,
        "parents": {"cutouts": artefact.fingerprint(source.path)},
    }
    if digest := rows_digest(cutouts):
        given["parents"]["rows"] = digest
    _require_same_source(folder, cutouts)
    if not artefact.begin(folder, "cutouts", ignore=("data", "out"), **given):
        return None
    columns, left_out = parquet_columns(cutouts)
    with tqdm(total=len(cutouts), desc="convert", unit="cutout") as bar:
        for number, start in enumerate(range(0, len(cutouts), shard_rows)):
            rows = np.arange(start, min(start + shard_rows, len(cutouts)))
            path = folder / f"part-{number:05d}.parquet"
            if not _is_whole(path, len(rows)):
                _write_part(path, cutouts, columns, rows, size_px)
            bar.update(len(rows))
    parts = sorted(folder.glob("part-*.parquet"))
    written = sum(pq.read_metadata(path).num_rows for path in parts)
    about = {
        **_about(cutouts),
        "size_px": size_px,
        "dtype": source.dtype,
        "read_as": source.read_as,
    }
    artefact.write_card(
        folder, "cutouts", rows_in=len(cutouts), rows_written=written, left_out=left_out,
        **about, **given,
    )  # fmt: skip
    return Parquet(written, left_out)


def _require_same_source(folder: Path, cutouts: Cutouts) -> None:
    """Refuse a folder, finished or not, whose first part states other bands, scale or calibration.

    Settings alone do not tell: cutouts that were opened before have their own.
    """
    first = folder / "part-00000.parquet"
    try:
        stated = json.loads((pq.read_metadata(first).metadata or {}).get(METADATA, b"{}"))
    except (OSError, pa.ArrowException):  # none, or not finished
        return
    card = artefact.read_json(folder / "card.json") if (folder / "card.json").is_file() else {}
    wanted = {**_about(cutouts), "read_as": cutouts.source.read_as}
    found = {**wanted, **stated, **{name: card[name] for name in ("read_as",) if name in card}}
    for name, value in wanted.items():
        if found[name] != value:
            raise MismatchError(
                f"{folder} already holds cutouts with {name} = {found[name]}, asked for {value}; "
                f"give another out=, or delete the folder"
            )


def parquet_columns(cutouts: Cutouts) -> tuple[dict[str, str], tuple[str, ...]]:
    """Map names in Parquet to columns, and name what has no place."""
    stored, left_out = stored_columns(cutouts)
    columns: dict[str, str] = {"ra": "ra", "dec": "dec"}
    first = [name for name in ("id", "z") if name in stored]
    for column in (*first, *stored):
        name = NAMES.get(column, column)
        if column in IN_STRUCT or columns.get(name) == column:
            continue
        if name in columns or name == "image":
            left_out.append(column)
        else:
            columns[name] = column
    return columns, tuple(left_out)


def _write_part(
    path: Path, cutouts: Cutouts, columns: dict[str, str], rows: Ints, size_px: int
) -> None:
    """Write rows a group at a time, so that no more than a group is in memory."""
    writer: pq.ParquetWriter | None = None
    with artefact.atomic_path(path) as scratch:
        try:
            for some in row_groups(cutouts, rows, size_px):
                table = cutout_table(cutouts, columns, some, size_px)
                if writer is None:
                    writer = pq.ParquetWriter(scratch, table.schema, compression="zstd")
                writer.write_table(table)
        finally:
            if writer is not None:
                writer.close()


def row_groups(cutouts: Cutouts, rows: Ints, size_px: int) -> Iterator[Ints]:
    """Yield as many rows at a time as are held in memory while they are written."""
    source = cutouts.source
    row_bytes = len(source.bands) * size_px**2 * np.dtype(source.dtype).itemsize
    at_once = max(GROUP_BYTES // row_bytes, 1)
    return (rows[start : start + at_once] for start in range(0, len(rows), at_once))


def cutout_table(cutouts: Cutouts, columns: dict[str, str], rows: Ints, size_px: int) -> pa.Table:
    """Rows as Parquet has them, pixels in ``image``.

    Args:
        cutouts: The cutouts.
        columns: Result of `parquet_columns`.
        rows: Rows to read, shape (n,).
        size_px: Side of the central crop.
    """
    arrays = {name: _arrow(cutouts.column(column)[rows]) for name, column in columns.items()}
    arrays["image"] = _images(cutouts, rows, size_px)
    about = {METADATA: json.dumps(_about(cutouts)).encode()}
    return pa.table(arrays).replace_schema_metadata(about)


def _images(cutouts: Cutouts, rows: Ints, size_px: int) -> pa.StructArray:
    source = cutouts.source
    per_band = (len(rows), len(source.bands))
    scale = np.full(per_band, source.pixscale_arcsec, np.float32)
    if "pixscale" in cutouts.columns:
        scale[:] = cutouts.column("pixscale")[rows, None]
    whole = (len(cutouts), len(source.bands))
    fields = {
        "band": np.tile(np.array(source.bands), (len(rows), 1)),
        "flux": cutouts.read(rows, size_px=size_px),
        "psf_fwhm": cutouts.column_or_nan("psfsize", whole)[rows],
        "scale": scale,
    }
    arrays = [_arrow(values) for values in fields.values()]
    return pa.StructArray.from_arrays(arrays, names=list(fields))


def _arrow(values: Array) -> pa.Array:
    """Array whose axes beyond the first are lists of fixed size."""
    flat = values.reshape(-1)
    array = pa.array(flat.tolist(), pa.string()) if values.dtype.kind == "U" else pa.array(flat)
    for length in values.shape[:0:-1]:
        array = pa.FixedSizeListArray.from_arrays(array, length)
    return array


def _about(cutouts: Cutouts) -> dict[str, Any]:
    source = cutouts.source
    scale = source.pixscale_arcsec
    return {
        "bands": list(source.bands),
        "pixscale_arcsec": scale if np.isfinite(scale) else None,
        "calibrated": source.calibrated,
        "simulated": source.simulated,
    }


def _is_whole(path: Path, rows: int) -> bool:
    try:
        return bool(pq.read_metadata(path).num_rows == rows)
    except (OSError, pa.ArrowException):
        return False
