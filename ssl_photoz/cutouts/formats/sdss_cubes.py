"""HDF5 cubes of SDSS galaxies in u, g, r, i, z, 32 pixels a side, as AstroSpect and others use.

``images`` (N, 32, 32, 5) or (N, 5, 32, 32), ``specz_redshift``, ``specz_redshift_err``. Ids and
positions are not in these files; unit and pixel scale are not stated.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ssl_photoz.cutouts.formats.hdf5 import examine, looking_into, root_items
from ssl_photoz.cutouts.formats.hdf5_images import Hdf5Images
from ssl_photoz.cutouts.formats.stored import Stored
from ssl_photoz.cutouts.schema import SDSS_PIXSCALE_ARCSEC, Overrides, describe

CANONICAL = {
    "specz_redshift": "z",
    "specz_redshift_err": "z_err",
    "targetid": "id",
    "specobjid": "id",
}
BANDS = 5


def recognise(path: Path) -> str | None:
    """Recognise `images` with five bands, first or last, beside `specz_redshift`."""
    held = root_items(path)
    shape = held["images"].shape if "images" in held else None
    if "specz_redshift" not in held or shape is None or len(shape) != 4:
        return None
    if BANDS not in (shape[1], shape[3]):
        return None
    return f"HDF5 with `images` {shape} and `specz_redshift`"


def open_stored(path: Path, overrides: Overrides) -> Stored:
    """Open a file of this layout.

    Raises:
        DataError: If it cannot be used; the message says why.
    """
    held = root_items(path).get("images")
    shape = (held.shape if held else None) or ()
    channels_last = len(shape) == 4 and shape[1] != BANDS
    with looking_into(path) as file:
        found = examine(
            path, file, channels_last=channels_last, canonical=CANONICAL, needs_position=False
        )
    source = describe(
        path,
        overrides,
        shape=found.shape,
        dtype=found.dtype.name,
        usual_pixscale_arcsec=SDSS_PIXSCALE_ARCSEC,
        calibrated=found.dtype != np.uint8,
        notes=("unit and pixel scale are not stated: taken for those of SDSS frames",),
    )
    return Hdf5Images(
        source,
        found.datasets,
        channels_last=channels_last,
        left_out=found.left_out,
        attributes=found.attributes,
    )
