"""Columns of a catalogue as they stand in a cutout file."""

from __future__ import annotations

import numpy as np

from ssl_photoz.catalog.catalogue import Catalogue
from ssl_photoz.core.types import Array

PER_BAND = {"PSFSIZE": "psfsize", "PSFDEPTH": "psfdepth"}
# Names that mean something in a cutout file, in lower case.
TAKEN = {
    *("images", "targetid", "id", "ra", "dec", "z", "ebv", "psfsize", "psfdepth", "noise"),
    *("bands", "pixscale", "pixscale_arcsec", "pixel_scale_arcsec", "calibrated", "simulated"),
}


def cutout_columns(
    catalogue: Catalogue, bands: tuple[str, ...], ebv_mag: Array | None
) -> dict[str, Array]:
    """Columns of a cutout file, each (N,) or (N, C).

    ``psfsize_g`` and its like become PSFSIZE (N, C), and ``psfdepth_g`` PSFDEPTH, where there is
    one for each band. Every other column is carried along under its own name, or as
    ``catalogue_...`` if that name means something else in a cutout file.

    Args:
        catalogue: Catalogue that has the columns.
        bands: Bands of the cutouts.
        ebv_mag: Reddening, (N,); None: the file has none.
    """
    roles = catalogue.roles
    columns = {"TARGETID": catalogue.ids, "RA": catalogue.ra, "DEC": catalogue.dec}
    used = {roles.ra, roles.dec, roles.id, roles.z}
    used |= {name for name in catalogue.columns if name.lower() == "simulated"}
    if roles.z is not None:
        columns["Z"] = catalogue.z.astype(np.float32)
    if ebv_mag is not None:
        columns["EBV"] = ebv_mag
        used |= {
            name
            for name, values in catalogue.columns.items()
            if name.lower() == "ebv"
            and values.dtype.kind == "f"
            and np.array_equal(values, ebv_mag, equal_nan=True)
        }
    for name, stem in PER_BAND.items():
        found = [catalogue.find(f"{stem}_{band}") for band in bands]
        numbers = [one for one in found if one is not None and one.dtype.kind in "iuf"]
        if len(numbers) == len(bands):
            columns[name] = np.stack(numbers, axis=1).astype(np.float32)
            used |= {n for n in catalogue.columns if n.lower() in {f"{stem}_{b}" for b in bands}}
    taken = set(TAKEN)
    for name, values in catalogue.columns.items():
        if name in used:
            continue
        carried = name.replace("/", "_").strip(".") or "unnamed"
        while carried.lower() in taken:
            carried = f"catalogue_{carried}"
        taken.add(carried.lower())
        columns[carried] = _storable(values)
    return columns


def _storable(values: Array) -> Array:
    """Numbers as they are, and anything else as text."""
    if values.dtype.kind in "biuf":
        return values
    return np.array(["" if one is None else str(one) for one in values.tolist()], dtype=object)
