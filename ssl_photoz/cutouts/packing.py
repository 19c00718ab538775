"""A copy of cutouts of any format as a cutout file: cropped, in half precision, in one piece.

The copy is an ordinary cutout file. Its ``images`` lie contiguously, which `layout` reads fastest.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
import torch
from tqdm import tqdm

from ssl_photoz.core import artefact, workplace
from ssl_photoz.core.errors import DataError, MismatchError
from ssl_photoz.core.types import Array, Ints, PathLike
from ssl_photoz.cutouts.columns_out import write_columns
from ssl_photoz.cutouts.formats.hdf5 import open_hdf5
from ssl_photoz.cutouts.mask import cutout_parents, masked_rows
from ssl_photoz.cutouts.reader import Cutouts
from ssl_photoz.cutouts.rejects import SCAN, TRAINING, write_rejects
from ssl_photoz.cutouts.sample import typical_noise
from ssl_photoz.cutouts.schema import Source

HALF = np.finfo(np.float16)
BLOCK_BYTES = 1 << 25
PAGE_BYTES = 4096


class Packed(NamedTuple):
    """What became of a file.

    Attributes:
        rows: Cutouts copied: all there are, the bad ones too, but not those that a mask rejects.
        masked: Cutouts that it rejects.
        saturated: Rows with a finite pixel too bright for the type, cut to the greatest it has.
        left_out: What the source holds and the copy does not.
    """

    rows: int
    masked: int
    saturated: int
    left_out: tuple[str, ...]


def pack(
    cutouts: Cutouts,
    out: Path,
    *,
    size_px: int | None,
    dtype: str,
    where: str | None = None,
    mask: PathLike | None = None,
    dust: str = "none",
) -> Packed | None:
    """Write a packed copy; it appears when it is complete.

    Half precision has 11 bits, so a pixel is off by at most ``2**-11 = 0.05 %`` of itself, or of
    the noise where it is fainter than that. That holds while the noise is no less than the smallest
    number with all 11 bits, 6.1e-5; fainter files are refused. The Legacy Surveys have 3e-3 nmgy.

    Args:
        cutouts: What to copy.
        out: The HDF5 file to write.
        size_px: Side of the central crop that is kept; None: all of it.
        dtype: ``float16``, ``float32`` or ``float64``; 8-bit pixels stay 8-bit.
        where: Condition by which the cutouts were chosen, if they are not all of their file; stated
            in the copy.
        mask: A mask of the cutouts; what it rejects is left out, listed in a table beside the copy,
            and a column ``source_row`` says where the others come from.
        dust: Source of the column ``ebv``, where it is not the file's own; stated in the copy.

    Returns:
        What was done; None if the same copy is there already.

    Raises:
        MismatchError: If another file is in the way, or the mask was made for other data.
        DataError: If the crop does not fit, the disk is too small, or the pixels are too faint.
    """
    workplace.require_place(out, folder=False)
    source = cutouts.source
    size_px, dtype = kept_size(source, size_px), source.dtype if source.dtype == "uint8" else dtype
    identity = {
        "packed_from": artefact.fingerprint(source.path),
        "packed_size_px": size_px,
        "packed_dtype": dtype,
        "packed_where": where or "",
        "packed_mask": cutout_parents(cutouts, mask).get("mask"),
        "packed_dust": None if dust == "none" else dust,
    }
    read_as = {"packed_read_as": source.read_as, "packed_rows": rows_digest(cutouts)}
    if out.exists():
        _require_same(out, identity, read_as, source)
        return None
    if dtype == "float16" and source.dtype != "float16":
        _require_bright(cutouts)
    masked = masked_rows(mask)
    kept = np.setdiff1d(np.arange(source.rows), list(masked))
    if not len(kept):
        raise DataError(f"the mask {mask} rejects every cutout of {source.path}; nothing to copy")
    shape = (len(kept), len(source.bands), size_px, size_px)
    _require_room(out, int(np.prod(shape)) * np.dtype(dtype).itemsize)
    if masked:
        listed = out.with_name(f"{out.name}.rejects.parquet")
        write_rejects(listed, cutouts.column("id"), {SCAN: masked, TRAINING: {}})
    # Pixels begin on a page of memory, where reading is cheapest.
    aligned = {"alignment_threshold": PAGE_BYTES, "alignment_interval": PAGE_BYTES}
    with artefact.atomic_path(out) as scratch, h5py.File(scratch, "w", **aligned) as file:
        left_out = write_columns(cutouts, file, kept if masked else None)
        if masked and "SOURCE_ROW" not in file:
            file["SOURCE_ROW"] = kept
        images = file.create_dataset("images", shape, dtype)
        saturated = _copy_pixels(cutouts, kept, images, size_px)
        stated = {**identity, **read_as}
        file.attrs.update({name: value for name, value in stated.items() if value is not None})
    return Packed(len(kept), len(masked), saturated, left_out)


def as_half(pixels: Array) -> tuple[Array, Array]:
    """Round to half precision.

    Args:
        pixels: Shape (B, C, H, W).

    Returns:
        The same in float16; NaN and infinities stay, finite values that it cannot hold become the
        greatest that it can. And which cutouts had such a value, shape (B,).
    """
    exact = torch.from_numpy(pixels)  # its conversion is ten times as fast as numpy's
    half = exact.half()
    over = half.isinf() & exact.isfinite()
    half = torch.where(over, exact.sign().half() * float(HALF.max), half)
    return half.numpy(), over.flatten(1).any(dim=1).numpy()


def _copy_pixels(cutouts: Cutouts, kept: Ints, images: h5py.Dataset, size_px: int) -> int:
    rows, saturated = len(kept), 0
    at_once = max(BLOCK_BYTES // (images.dtype.itemsize * int(np.prod(images.shape[1:]))), 1)
    with tqdm(total=rows, desc="convert", unit="cutout") as bar:
        for start in range(0, rows, at_once):
            stop = min(start + at_once, rows)
            pixels = cutouts.read(kept[start:stop], size_px=size_px)
            if images.dtype == np.float16 and pixels.dtype != np.float16:
                pixels, over = as_half(pixels)
                saturated += int(over.sum())
            images[start:stop] = pixels
            bar.update(stop - start)
    return saturated


def kept_size(source: Source, size_px: int | None) -> int:
    """Side of the crop that a copy keeps, pixels; None: all of it.

    Raises:
        DataError: If the crop does not fit, or its centre would be another.
    """
    if size_px is None:
        return source.size_px
    if not 0 < size_px <= source.size_px or (source.size_px - size_px) % 2:
        raise DataError(
            f"size_px is {size_px}, {source.path} has cutouts of {source.size_px} px; expected no "
            f"more, and an even number fewer, so that the centre stays where it is"
        )
    return size_px


def rows_digest(cutouts: Cutouts) -> str:
    """What tells these rows of a file from others; empty for all of them."""
    return str(getattr(cutouts.stored, "digest", ""))


def _require_same(
    out: Path, identity: Mapping[str, Any], read_as: Mapping[str, Any], source: Source
) -> None:
    """Refuse a copy made otherwise.

    Args:
        out: The copy.
        identity: What it has to state of how it was made.
        read_as: Format that was asked for; copies of earlier versions do not state it.
        source: The cutouts as they are read now, which it states as any file does.
    """
    with open_hdf5(out) as file:
        found = {**dict.fromkeys(identity), "packed_where": "", **read_as, **file.attrs}
    now = {
        "bands": ",".join(source.bands),
        "calibrated": source.calibrated,
        "simulated": source.simulated,
        "pixscale_arcsec": source.pixscale_arcsec,
    }
    # Without an attribute the scale varies from row to row.
    found = {"pixscale_arcsec": np.nan, **found}
    for name, wanted in {**identity, **read_as, **now}.items():
        if found.get(name) != wanted and not (_is_nan(found.get(name)) and _is_nan(wanted)):
            raise MismatchError(
                f"{out} is there already and has {name} = {found[name]}, asked for {wanted}; "
                f"give another out=, or delete it"
            )


def _is_nan(value: object) -> bool:
    return isinstance(value, float) and bool(np.isnan(value))


def _require_bright(cutouts: Cutouts) -> None:
    noise = typical_noise(cutouts, np.arange(len(cutouts)))
    if not (noise >= HALF.smallest_normal).all():
        raise DataError(
            f"{cutouts.source.path} has a noise of {', '.join(f'{one:.2g}' for one in noise)} per "
            f"pixel in its bands, float16 is exact to 0.05 % of it from {HALF.smallest_normal:.2g} "
            f"on; give dtype=float32"
        )


def _require_room(out: Path, needed: int) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(out.parent).free
    if free < needed:
        raise DataError(
            f"{out} needs {needed / 1e9:.1f} GB, its disk has {free / 1e9:.1f} GB free; make room, "
            f"choose a smaller size_px, or another out="
        )
