"""HDF5 of the Multimodal Universe, first version: ``healpix=*/001-of-001.hdf5``, a file per cell.

``image_array`` (N, C, side, side), ``image_band`` such as ``des-g``, ``image_psf_fwhm`` (arcsec),
``image_scale`` (arcsec/px), perhaps ``image_ivar`` and ``image_mask`` or ``bit_mask`` (true:
usable) [1], ``object_id``, ``ra``, ``dec``, and the sweep catalogue's columns in upper case.

References:
    [1] MultimodalUniverse, scripts/legacysurvey/build_parent_sample.py.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ssl_photoz.core.errors import DataError
from ssl_photoz.core.types import Array, Ints
from ssl_photoz.cutouts.formats.catalogue import without_sentinels
from ssl_photoz.cutouts.formats.concat import Concat
from ssl_photoz.cutouts.formats.hdf5 import (
    find_columns,
    looking_into,
    own_items,
    read_column,
    require_inside,
    root_items,
)
from ssl_photoz.cutouts.formats.hdf5_images import Hdf5Images
from ssl_photoz.cutouts.formats.listing import list_files
from ssl_photoz.cutouts.formats.stored import Stored
from ssl_photoz.cutouts.schema import Overrides, describe, require_images

SUFFIXES = (".hdf5", ".h5")
PIXELS = ("image_array", "image_flux")
IVAR, MASKS = "image_ivar", ("image_mask", "bit_mask")
BLOCK_BYTES = 1 << 25
STRIP_PX, CORE_PX = 8, 3
MASKED = "masked at its centre"
UNEXPOSED = "no exposure at its centre in some band"


def recognise(path: Path) -> str | None:
    """Recognise `image_array` beside `image_band`, in a file or in the first file of a folder."""
    if path.is_dir():
        names = list_files(path, SUFFIXES).names
        how = recognise(path / names[0]) if names else None
        return how and f"folder of {len(names)} files: {how}"
    held = root_items(path)
    pixels = next((name for name in PIXELS if name in held), None)
    if pixels is None or "image_band" not in held:
        return None
    return f"HDF5 with `{pixels}` {held[pixels].shape} and `image_band`"


def open_stored(path: Path, overrides: Overrides) -> Stored:
    """Open a file, or every file of a folder.

    Raises:
        DataError: If there is none, or one cannot be used; the message says why.
    """
    if path.is_file():
        return _open_file(path, overrides)
    names = list_files(path, SUFFIXES).names
    if not names:
        raise DataError(f"{path} holds no files that end in {' or '.join(SUFFIXES)}")
    return Concat(path, [_open_file(path / name, overrides) for name in names], names)


def _open_file(path: Path, overrides: Overrides) -> Hdf5Images:
    with looking_into(path) as file:
        items = own_items(file)
        name = next((name for name in PIXELS if name in items), PIXELS[0])
        images = items.pop(name, None)
        if not isinstance(images, h5py.Dataset):
            raise DataError(f"{path} has no dataset `{PIXELS[0]}`; it has {', '.join(items)}")
        require_images(path, images.shape, images.dtype, name)
        require_inside(path, images)
        rows, count = images.shape[:2]
        bands = _bands(path, items.pop("image_band", None))
        scale = items.pop("image_scale", None)
        source = describe(
            path,
            overrides,
            shape=(rows, count, images.shape[2]),
            dtype=images.dtype.name,
            bands=bands,
            pixscale_arcsec=_pixscale(scale),
            usual_pixscale_arcsec=math.nan,
            calibrated=True,
        )
        datasets, left_out = find_columns(
            path,
            {
                old: item
                for old, item in items.items()
                if old == old.lower() or old.lower() not in items
            },
            rows,
            count,
            canonical={"object_id": "id", "image_psf_fwhm": "psfsize"},
        )
        judging = tuple(one for one in (*MASKS, IVAR) if _fits(items.get(one), images))
    return Hdf5Images(
        source,
        datasets,
        images=name,
        made=_made(datasets, source.bands, judging),
        left_out=left_out,
        find_faults=find_faults if judging else None,
    )


def find_faults(stored: Hdf5Images, rows: Ints) -> dict[int, str]:
    """Say which rows have a centre that the mask or the inverse variance calls useless."""
    found: dict[int, str] = {}
    low = (stored.source.size_px - CORE_PX) // 2
    core, wanted = slice(low, low + CORE_PX), np.unique(rows)
    for name, says in ((MASKS[0], MASKED), (MASKS[1], MASKED), (IVAR, UNEXPOSED)):
        dataset = stored.dataset(name)
        if dataset is None or not len(wanted):
            continue
        usable = dataset[wanted, ..., core, core] > 0
        per_band = usable.reshape(len(wanted), -1, CORE_PX**2).any(axis=2)
        found.update({int(row): says for row in wanted[~per_band.all(axis=1)]})
    return found


def depth_per_band(stored: Hdf5Images) -> Array:
    """``psfdepth`` (N, C) of its columns ``psfdepth_g``, ``psfdepth_r`` ..."""
    return np.stack([stored.column(name) for name in _depths(stored.source.bands)], axis=1)


def noise_from_ivar(stored: Hdf5Images) -> Array:
    """Noise per pixel, (N, C): of the median inverse variance in a strip.

    The strip goes through the middle of the cutout. Pixels without exposure do not count; NaN where
    there are no others.
    """
    dataset, source = stored.dataset(IVAR), stored.source
    noise = np.full((source.rows, len(source.bands)), np.nan, np.float32)
    if dataset is None:
        return noise
    low = (source.size_px - STRIP_PX) // 2
    at_once = max(BLOCK_BYTES // (4 * len(source.bands) * STRIP_PX * source.size_px), 1)
    for start in range(0, source.rows, at_once):
        ivar = dataset[start : start + at_once, :, low : low + STRIP_PX].astype(np.float64)
        ivar = np.where(ivar > 0, ivar, np.nan).reshape(*ivar.shape[:2], -1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # of strips without exposure
            noise[start : start + at_once] = 1 / np.sqrt(np.nanmedian(ivar, axis=2))
    return noise


def spectroscopic(stored: Hdf5Images) -> Array:
    """``z_spec`` with NaN where there is none."""
    return without_sentinels(stored.column("z_spec"))


def _made(
    datasets: Mapping[str, str], bands: Sequence[str], judging: Sequence[str]
) -> dict[str, Callable[[Hdf5Images], Array]]:
    made: dict[str, Callable[[Hdf5Images], Array]] = {}
    if "psfdepth" not in datasets and all(name in datasets for name in _depths(bands)):
        made["psfdepth"] = depth_per_band
    elif IVAR in judging and not {"noise", "psfdepth"} & set(datasets):
        made["noise"] = noise_from_ivar
    if "z" not in datasets and "z_spec" in datasets:
        made["z"] = spectroscopic
    return made


def _depths(bands: Sequence[str]) -> list[str]:
    return [f"psfdepth_{band}" for band in bands]


def _fits(item: Any, images: h5py.Dataset) -> bool:  # noqa: ANN401 - h5py has no types
    return isinstance(item, h5py.Dataset) and (
        item.shape in (images.shape, (images.shape[0], *images.shape[2:]))
    )


def _bands(path: Path, names: Any) -> tuple[str, ...] | None:  # noqa: ANN401 - h5py has no types
    """Read names such as ``des-g``, the same in every row."""
    if not isinstance(names, h5py.Dataset):
        return None
    rows = np.atleast_2d(read_column(names))
    if (rows != rows[0]).any():
        raise DataError(
            f"{path}: `image_band` differs from row to row; expected one order of bands"
        )
    return tuple(str(name).rpartition("-")[2].lower() for name in rows[0])


def _pixscale(scales: Any) -> float | None:  # noqa: ANN401 - h5py has no types
    if not isinstance(scales, h5py.Dataset) or scales.dtype.kind not in "iuf":
        return None
    found = np.unique(scales[()])
    if not len(found) or not (found > 0).all():
        return None
    return round(float(found[0]), 6) if len(found) == 1 else float("nan")
