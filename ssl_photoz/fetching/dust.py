"""Galactic reddening E(B-V) on the scale of SFD98: not rescaled by 0.86."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ssl_photoz.catalog.catalogue import Catalogue
from ssl_photoz.catalog.columns import Roles
from ssl_photoz.core.errors import ConfigError, DataError
from ssl_photoz.core.extinction import EXTINCTION_PER_EBV
from ssl_photoz.core.types import Array, Doubles, Floats
from ssl_photoz.cutouts.formats.stored import Stored, Wrapped
from ssl_photoz.cutouts.reader import Cutouts
from ssl_photoz.fetching.regions import on_the_sky

# First come, first served.
EXTINCTION = {band: EXTINCTION_PER_EBV["legacy"][band] for band in "rgzi"}


class Reddening(NamedTuple):
    """E(B-V), and where it is from.

    Attributes:
        ebv_mag: Shape (N,), NaN where unknown.
        source: Origin in words; goes into the file.
    """

    ebv_mag: Floats
    source: str


def find_reddening(catalogue: Catalogue, dust: str) -> Reddening | None:
    """Reddening of every galaxy from the catalogue or from an installed map.

    Args:
        catalogue: Catalogue with ``ebv``, or one of ``mw_transmission_{r,g,z,i}``, or positions
            alone.
        dust: ``catalogue``, ``sfdmap2``, ``dustmaps``, ``none``; or ``auto``: the first of them
            that there is.

    Returns:
        None if there is none, or none is wanted.

    Raises:
        DataError: If the source that was asked for is not there.
    """
    if dust == "auto":
        found = (source(catalogue) for source in SOURCES.values())
        return next((one for one in found if one is not None), None)
    if dust == "none":
        return None
    reddening = SOURCES[dust](catalogue)
    if reddening is None:
        raise DataError(
            f"dust={dust}: {MISSING[dust]}; give dust=auto for whatever there is, or dust=none"
        )
    return reddening


def with_reddening(cutouts: Cutouts, dust: str) -> Cutouts:
    """Cutouts with a column ``ebv``, from their other columns or by position from a map.

    Args:
        cutouts: Cutouts of any format.
        dust: Source of E(B-V), see `find_reddening`; ``none``: the cutouts as they are.

    Raises:
        DataError: If there is no such source of E(B-V).
    """
    if dust == "none":
        return cutouts
    columns = {name: cutouts.column(name) for name in ("ra", "dec")}
    names = ("ebv", *(f"mw_transmission_{band}" for band in EXTINCTION))
    columns |= {name: cutouts.column(name) for name in names if name in cutouts.columns}
    path, roles = cutouts.source.path, Roles(ra="ra", dec="dec")
    found = find_reddening(Catalogue(path, columns, roles, cutouts.id, "id"), dust)
    if found is None:
        why = "; ".join(f"{name}: {reason}" for name, reason in MISSING.items())
        raise DataError(f"{path} gets no E(B-V) from dust={dust} ({why})")
    return Cutouts(_WithReddening(cutouts.stored, found))


class _WithReddening(Wrapped):
    """Stored cutouts with another column ``ebv``; see `Stored`."""

    def __init__(self, stored: Stored, reddening: Reddening) -> None:
        super().__init__(stored)
        self._ebv_mag = reddening.ebv_mag
        self.columns = tuple(dict.fromkeys((*stored.columns, "ebv")))
        self.attributes = {**stored.attributes, "ebv_source": reddening.source}

    def column(self, name: str) -> Array:
        return self._ebv_mag if name == "ebv" else super().column(name)


def from_columns(catalogue: Catalogue) -> Reddening | None:
    """Take ``ebv``, or invert ``mw_transmission = 10**(-0.4 R E(B-V))``."""
    ebv = catalogue.find("ebv")
    if ebv is not None and ebv.dtype.kind in "iuf":
        return Reddening(ebv.astype(np.float32), "column ebv of the catalogue, taken as SFD98")
    for band, extinction in EXTINCTION.items():
        passed = catalogue.find(f"mw_transmission_{band}")
        if passed is not None and passed.dtype.kind in "iuf":
            with np.errstate(divide="ignore", invalid="ignore"):
                ebv_mag = -2.5 * np.log10(passed.astype(np.float64)) / extinction
            ebv_mag[~np.isfinite(ebv_mag)] = np.nan
            return Reddening(
                ebv_mag.astype(np.float32),
                f"-2.5 log10(mw_transmission_{band}) / {extinction} (SFD98, not rescaled by 0.86)",
            )
    return None


def from_sfdmap2(catalogue: Catalogue) -> Reddening | None:
    """Look up the map in the folder that SFD_DIR names, with sfdmap2."""
    if not os.environ.get("SFD_DIR"):
        return None
    try:
        from sfdmap2.sfdmap import SFDMap

        # By default sfdmap2 multiplies by 0.86 (Schlafly & Finkbeiner 2011).
        ebv_mag = _look_up(catalogue, SFDMap(scaling=1.0).ebv)
    except (ImportError, OSError):
        return None
    return Reddening(ebv_mag, "sfdmap2, scaling 1.0 (SFD98, not rescaled)")


def from_dustmaps(catalogue: Catalogue) -> Reddening | None:
    """Look up the map with dustmaps."""
    try:
        from astropy.coordinates import SkyCoord
        from dustmaps.sfd import SFDQuery

        query = SFDQuery()
        ebv_mag = _look_up(catalogue, lambda ra, dec: query(SkyCoord(ra, dec, unit="deg")))
    except (ImportError, OSError):
        return None
    return Reddening(ebv_mag, "dustmaps SFDQuery (SFD98, not rescaled)")


def _look_up(catalogue: Catalogue, ebv: Callable[[Doubles, Doubles], Array]) -> Floats:
    """Ask a map about the rows that have a position; NaN for the others, (N,)."""
    on_sky = on_the_sky(catalogue.ra, catalogue.dec)
    ebv_mag = np.full(len(catalogue), np.nan, np.float32)
    ebv_mag[on_sky] = ebv(catalogue.ra[on_sky], catalogue.dec[on_sky])
    return ebv_mag


SOURCES: dict[str, Callable[[Catalogue], Reddening | None]] = {
    "catalogue": from_columns,
    "sfdmap2": from_sfdmap2,
    "dustmaps": from_dustmaps,
}
MISSING = {
    "catalogue": "no column ebv or mw_transmission_r",
    "sfdmap2": "not installed, or SFD_DIR names no folder with its maps",
    "dustmaps": "not installed, or its SFD map is not downloaded",
}


def require_dust(dust: str) -> None:
    """Refuse an unknown source.

    Raises:
        ConfigError: If it is none of auto, none and the keys of `SOURCES`.
    """
    if dust not in ("auto", "none", *SOURCES):
        raise ConfigError(f"dust is {dust!r}, expected auto, none, {', '.join(SOURCES)}")
