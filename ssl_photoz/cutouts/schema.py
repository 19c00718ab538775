"""What a cutout file must hold, and one clear message for each way it can fail to.

The layout stands in ``docs/architecture.md``. Column names are matched in any case.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ssl_photoz.errors import DataError

LEGACY_SURVEYS_PIXSCALE_ARCSEC = 0.262
DEFAULT_BANDS = {3: ("g", "r", "z"), 4: ("g", "r", "i", "z"), 5: ("u", "g", "r", "i", "z")}
FLUX_DTYPES = ("float16", "float32", "float64")
CANONICAL = {"targetid": "id"}
PER_BAND = ("psfsize", "psfdepth", "noise")


@dataclass(frozen=True)
class Source:
    """What a cutout file is.

    Attributes:
        path: The file.
        rows: Number of cutouts.
        bands: Band names, in the order of the file.
        size_px: Side of a cutout, pixels.
        pixscale_arcsec: Pixel scale, arcsec/px; NaN if it is unknown or varies from row to row.
        calibrated: Whether pixels are linear flux, nanomaggies/px; if not, display units.
        simulated: Whether the galaxies are simulated.
        dtype: Type of the stored pixels.
    """

    path: Path
    rows: int
    bands: tuple[str, ...]
    size_px: int
    pixscale_arcsec: float
    calibrated: bool
    simulated: bool
    dtype: str

    @property
    def about(self) -> dict[str, Any]:
        """What whoever measures or encodes these pixels must be told, as keyword arguments."""
        return {
            "bands": self.bands,
            "pixscale_arcsec": self.pixscale_arcsec,
            "calibrated": self.calibrated,
        }


def open_hdf5(path: Path) -> h5py.File:
    """Open an HDF5 file for reading.

    Raises:
        DataError: If it is missing, unreadable, empty, not HDF5, or damaged.
    """
    if not path.exists():
        raise DataError(f"no cutout file {path}")
    if path.is_dir():
        raise DataError(f"{path} is a folder, expected a cutout file (HDF5)")
    if not os.access(path, os.R_OK):
        raise DataError(f"no permission to read {path}; ask its owner, or chmod +r it")
    if path.stat().st_size == 0:
        raise DataError(f"{path} is empty (0 bytes); copy or download it again")
    if not h5py.is_hdf5(path):
        raise DataError(f"{path} is not an HDF5 file; expected one with `images`, `RA`, `DEC`")
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise DataError(
            f"{path} is a truncated or damaged HDF5 file ({error}); copy or download it again"
        ) from None


def find_columns(file: h5py.File, path: Path, rows: int, n_bands: int) -> dict[str, str]:
    """Map the canonical name of every per-row column to its dataset.

    Raises:
        DataError: If a column is not as long as ``images``, a per-band one has another width,
            a position is missing, or two datasets claim one name.
    """
    found: dict[str, str] = {}
    for name, dataset in file.items():
        if not isinstance(dataset, h5py.Dataset) or name == "images" or not dataset.shape:
            continue
        if len(dataset) != rows:
            raise DataError(
                f"{path}: `images` has {rows} rows but `{name}` has {len(dataset)}; "
                f"every dataset at the root must have one entry per cutout"
            )
        if dataset.ndim > 2 or dataset.dtype.kind not in "biufSO":
            continue
        column = CANONICAL.get(name.lower(), name.lower())
        if column in found:
            raise DataError(f"{path}: `{found[column]}` and `{name}` both mean column {column!r}")
        if column in PER_BAND and dataset.shape != (rows, n_bands):
            raise DataError(
                f"{path}: `{name}` has shape {dataset.shape}, expected ({rows}, {n_bands})"
            )
        found[column] = name
    for column in ("ra", "dec"):
        if column not in found:
            raise DataError(f"{path} has no `{column.upper()}`; it has {_listing(file)}")
    for column in ("ra", "dec", "z", "ebv"):
        if column in found and not _is_real_vector(file[found[column]]):
            raise DataError(
                f"{path}: `{found[column]}` is {file[found[column]].dtype} of shape "
                f"{file[found[column]].shape}, expected real numbers of shape ({rows},)"
            )
    return found


def describe(
    file: h5py.File, path: Path, *, bands: Sequence[str] | None, pixscale_arcsec: float | None
) -> Source:
    """Check ``images`` and gather what is known of a file.

    Args:
        file: The open file.
        path: Its path, for messages.
        bands: Band names, for a file that does not state them.
        pixscale_arcsec: Pixel scale, arcsec/px, for a file that does not state it.

    Raises:
        DataError: If ``images`` is missing, empty, or of the wrong rank, shape or type, or if
            the file states other bands or another pixel scale than were asked for.
    """
    images = file.get("images")
    if not isinstance(images, h5py.Dataset):
        raise DataError(f"{path} has no dataset `images`; it has {_listing(file)}")
    if images.ndim != 4 or images.shape[2] != images.shape[3] or 0 in images.shape[1:]:
        raise DataError(
            f"{path}: `images` has shape {images.shape}, expected (rows, bands, side, side)"
        )
    if len(images) == 0:
        raise DataError(f"{path} holds zero cutouts (`images` has shape {images.shape})")
    if images.dtype.name not in (*FLUX_DTYPES, "uint8"):
        raise DataError(
            f"{path}: `images` is {images.dtype}, expected {', '.join(FLUX_DTYPES)} "
            f"(nanomaggies/px) or uint8 (display values)"
        )
    attributes = {name.lower(): value for name, value in file.attrs.items()}
    names = _bands(path, images.shape[1], attributes.get("bands"), bands)
    calibrated = bool(attributes.get("calibrated", images.dtype != np.uint8))
    stated = _stated_pixscale(file, path, attributes)
    if pixscale_arcsec is not None:
        if stated is not None and not math.isclose(stated, pixscale_arcsec, rel_tol=1e-3):
            raise DataError(
                f"{path} states a pixel scale of {stated:g} arcsec, asked for {pixscale_arcsec:g}; "
                f"leave pixscale_arcsec out, or mend the file"
            )
        stated = pixscale_arcsec
    if stated is None:
        known = calibrated and set(names) <= set("griz")
        stated = LEGACY_SURVEYS_PIXSCALE_ARCSEC if known else math.nan
    return Source(
        path=path,
        rows=len(images),
        bands=names,
        size_px=int(images.shape[2]),
        pixscale_arcsec=float(stated),
        calibrated=calibrated,
        simulated=bool(attributes.get("simulated", False)),
        dtype=images.dtype.name,
    )


def _bands(path: Path, count: int, stated: object, asked: Sequence[str] | None) -> tuple[str, ...]:
    in_file = None if stated is None else _parse_bands(stated)
    if asked is not None and in_file is not None and tuple(asked) != in_file:
        raise DataError(
            f"{path} states bands {','.join(in_file)}, asked for {','.join(asked)}; "
            f"leave bands out, or mend the file"
        )
    names = tuple(asked) if asked is not None else in_file or DEFAULT_BANDS.get(count)
    if names is None:
        raise DataError(f"{path} has {count} bands and does not name them; give bands=")
    if len(names) != count or len(set(names)) != count:
        raise DataError(
            f"{path}: `images` has {count} bands, expected {len(names)} ({','.join(names)})"
        )
    return names


def _parse_bands(stated: object) -> tuple[str, ...]:
    """Read ``"g,r,z"``, an array of names, or a legend such as ``"R,G,B = SDSS i,r,g"``.

    >>> _parse_bands("R,G,B = SDSS i,r,g")
    ('i', 'r', 'g')
    """
    parts = [stated] if isinstance(stated, str | bytes) else np.ravel(np.asarray(stated)).tolist()
    text = ",".join(part.decode() if isinstance(part, bytes) else str(part) for part in parts)
    return tuple(word.split()[-1] for word in text.rpartition("=")[2].split(",") if word.strip())


def _stated_pixscale(file: h5py.File, path: Path, attributes: Mapping[str, object]) -> float | None:
    for name in ("pixscale_arcsec", "pixel_scale_arcsec", "pixscale"):
        value = attributes.get(name, file[name][:] if name in file else None)
        if value is None:
            continue
        values = np.ravel(np.asarray(value))
        if values.dtype.kind not in "iuf" or not np.all(values > 0):
            raise DataError(f"{path}: `{name}` is {values[:3]}, expected arcsec/px above zero")
        return float(values[0]) if np.all(values == values[0]) else math.nan
    return None


def _is_real_vector(dataset: h5py.Dataset) -> bool:
    return dataset.ndim == 1 and dataset.dtype.kind in "iuf"


def _listing(file: h5py.File) -> str:
    return ", ".join(f"`{name}`" for name in file) or "nothing at its root"
