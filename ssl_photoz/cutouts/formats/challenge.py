"""The layout of the redshift challenge, in which this package also writes.

``docs/architecture.md`` describes it. Column names are matched in any case.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ssl_photoz.core.errors import DataError
from ssl_photoz.cutouts.formats.hdf5 import Examined, examine, looking_into, root_items
from ssl_photoz.cutouts.formats.hdf5_images import Hdf5Images
from ssl_photoz.cutouts.formats.stored import Stored
from ssl_photoz.cutouts.schema import Overrides, Source, describe, parse_bands, stated_truth

PIXSCALE_NAMES = ("pixscale_arcsec", "pixel_scale_arcsec", "pixscale")


def recognise(path: Path) -> str | None:
    """Recognise HDF5 with `images` at the root."""
    images = root_items(path).get("images")
    if images is None or images.shape is None:
        return None
    return f"HDF5 with `images` {images.shape} at the root"


def open_stored(path: Path, overrides: Overrides) -> Stored:
    """Open a file of this layout.

    Raises:
        DataError: If it cannot be used; the message says why.
    """
    with looking_into(path) as file:
        found = examine(path, file)
        stated = {name.lower(): value for name, value in found.attributes.items()}
        pixscale_arcsec = _stated_pixscale(path, file, found.datasets, stated)
    return Hdf5Images(
        _describe(path, found, stated, pixscale_arcsec, overrides),
        found.datasets,
        left_out=found.left_out,
        attributes=found.attributes,
    )


def _describe(
    path: Path,
    found: Examined,
    stated: Mapping[str, Any],
    pixscale_arcsec: float | None,
    overrides: Overrides,
) -> Source:
    return describe(
        path,
        overrides,
        shape=found.shape,
        dtype=found.dtype.name,
        bands=parse_bands(stated["bands"]) if "bands" in stated else None,
        pixscale_arcsec=pixscale_arcsec,
        # Files of this package say NaN where the scale is unknown.
        usual_pixscale_arcsec=math.nan if "pixscale_arcsec" in stated else None,
        calibrated=stated_truth(path, stated, "calibrated", default=found.dtype != np.uint8),
        simulated=stated_truth(path, stated, "simulated", default=False),
    )


def _is_nan(value: object) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _stated_pixscale(
    path: Path, file: h5py.File, datasets: Mapping[str, str], stated: Mapping[str, Any]
) -> float | None:
    for name in PIXSCALE_NAMES:
        value = stated.get(name)
        if value is None and name in datasets:
            value = file[datasets[name]][()]
        if value is None or _is_nan(value):
            continue
        values = np.ravel(np.asarray(value))
        if values.dtype.kind not in "iuf" or not values.size or not np.all(values > 0):
            raise DataError(f"{path}: `{name}` is {values[:3]}, expected arcsec/px above zero")
        return float(values[0]) if np.all(values == values[0]) else math.nan
    return None
