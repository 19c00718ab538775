"""HDF5 of ssl-legacysurvey (Stein et al. 2022): 76 million galaxies in files of a million.

``images`` (N, 3, 152, 152) in g, r, z, nanomaggies/px, 0.262 arcsec/px; one dataset per column.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ssl_photoz.core.legacy_surveys import PIXSCALE_ARCSEC
from ssl_photoz.core.types import Array
from ssl_photoz.cutouts.formats.hdf5 import examine, looking_into, root_items
from ssl_photoz.cutouts.formats.hdf5_images import Hdf5Images
from ssl_photoz.cutouts.formats.stored import Stored
from ssl_photoz.cutouts.schema import Overrides, describe

SIGNS = ("brickid", "objid", "release")


def recognise(path: Path) -> str | None:
    """Recognise `images` beside the three numbers that name a Legacy Surveys object."""
    held = root_items(path)
    lower = {name.lower() for name in held}
    if "images" not in held or not lower.issuperset(SIGNS) or "targetid" in lower:
        return None
    return f"HDF5 with `images` {held['images'].shape}, `brickid`, `objid` and `release`"


def open_stored(path: Path, overrides: Overrides) -> Stored:
    """Open a file of this layout.

    Raises:
        DataError: If it cannot be used; the message says why.
    """
    with looking_into(path) as file:
        found = examine(path, file)
    made = {"id": legacy_survey_id} if set(SIGNS) <= set(found.datasets) else {}
    made |= {"z": spectroscopic} if "z_spec" in found.datasets else {}
    return Hdf5Images(
        describe(
            path,
            overrides,
            shape=found.shape,
            dtype=found.dtype.name,
            usual_pixscale_arcsec=PIXSCALE_ARCSEC,
            calibrated=True,
        ),
        found.datasets,
        made=made,
        left_out=found.left_out,
        attributes=found.attributes,
    )


def legacy_survey_id(stored: Hdf5Images) -> Array:
    """One integer per object, (N,) int64: release, brick and number within the brick.

    ``release << 40 | brickid << 16 | objid``, as the Legacy Surveys' databases make ``ls_id`` [1].

    References:
        [1] Astro Data Lab, Legacy Surveys tractor tables, column ls_id.
    """
    release, brick, number = (
        stored.column(name).astype(np.int64) for name in ("release", "brickid", "objid")
    )
    return (release << 40) | (brick << 16) | number


def spectroscopic(stored: Hdf5Images) -> Array:
    """``z_spec``, (N,), with NaN for the -99 of galaxies without."""
    z = stored.column("z_spec").astype(np.float32)
    return np.where(z > -9, z, np.float32(np.nan))
