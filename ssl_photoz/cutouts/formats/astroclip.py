"""HDF5 of AstroCLIP: groups "0" to "9", each with ``images`` (n, 152, 152, 3) and its columns.

g, r, z of the Legacy Surveys, nanomaggies/px, 0.262 arcsec/px; ``redshifts`` and ``targetids`` of
DESI. Positions are not in these files; spectra are left out.
"""

from __future__ import annotations

from pathlib import Path

import h5py

from ssl_photoz.core.errors import DataError
from ssl_photoz.core.legacy_surveys import PIXSCALE_ARCSEC
from ssl_photoz.cutouts.formats.concat import Concat
from ssl_photoz.cutouts.formats.hdf5 import (
    examine,
    looking_into,
    own_items,
    root_items,
)
from ssl_photoz.cutouts.formats.hdf5_images import Hdf5Images
from ssl_photoz.cutouts.formats.stored import Stored
from ssl_photoz.cutouts.schema import Overrides, describe

CANONICAL = {"targetids": "id", "redshifts": "z", "targetid": "id"}
SKIP = ("spectra",)


def recognise(path: Path) -> str | None:
    """Recognise numbered groups with `images` in the first."""
    groups = [name for name, held in root_items(path).items() if held.shape is None]
    numbered = _numbered(groups)
    if not numbered or len(numbered) < len(groups):
        return None
    with h5py.File(path, "r") as file:
        if "images" not in own_items(file[numbered[0]]):
            return None
    return f"HDF5 with groups {numbered[0]!r} to {numbered[-1]!r}, each with `images`"


def open_stored(path: Path, overrides: Overrides) -> Stored:
    """Open a file of this layout.

    Raises:
        DataError: If it cannot be used; the message says why.
    """
    with looking_into(path) as file:
        groups = {name: item for name, item in own_items(file).items() if name.isdecimal()}
        if not all(isinstance(group, h5py.Group) for group in groups.values()) or not groups:
            raise DataError(f"{path} has no groups with numbers for names")
        names = _numbered(list(groups))
        parts = [_open_group(path, groups[name], overrides) for name in names]
    return Concat(path, parts, names)


def _open_group(path: Path, group: h5py.Group, overrides: Overrides) -> Stored:
    found = examine(
        path, group, channels_last=True, canonical=CANONICAL, skip=SKIP, needs_position=False
    )
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
        images=f"{group.name}/images",
        channels_last=True,
        left_out=found.left_out,
        attributes=found.attributes,
    )


def _numbered(names: list[str]) -> list[str]:
    return sorted((name for name in names if name.isdecimal()), key=int)
