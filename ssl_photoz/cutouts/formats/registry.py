"""Which formats there are, and which of them a path is in."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from ssl_photoz.core.errors import ConfigError, DataError
from ssl_photoz.cutouts.formats import (
    astroclip,
    challenge,
    dataset,
    fits_folder,
    mmu_hdf5,
    parquet,
    pasquet,
    pictures,
    sdss_cubes,
    sdss_jpeg,
    ssl_legacysurvey,
    webdataset,
    zarr_group,
)
from ssl_photoz.cutouts.formats.stored import Stored
from ssl_photoz.cutouts.schema import Overrides


class Format(NamedTuple):
    """A format: its two functions, and what it is."""

    recognise: Callable[[Path], str | None]
    open_stored: Callable[[Path, Overrides], Stored]
    says: str


# The first that recognises a path reads it: special layouts stand above general ones.
FORMATS: dict[str, Format] = {
    "ssl_legacysurvey": Format(
        ssl_legacysurvey.recognise, ssl_legacysurvey.open_stored, "ssl-legacysurvey HDF5"
    ),
    "astroclip": Format(astroclip.recognise, astroclip.open_stored, "AstroCLIP HDF5"),
    "pasquet": Format(pasquet.recognise, pasquet.open_stored, "Pasquet's SDSS npz"),
    "sdss_cubes": Format(sdss_cubes.recognise, sdss_cubes.open_stored, "SDSS 32 x 32 x 5 HDF5"),
    "sdss_jpeg": Format(sdss_jpeg.recognise, sdss_jpeg.open_stored, "JPEG pictures in HDF5"),
    "mmu_hdf5": Format(mmu_hdf5.recognise, mmu_hdf5.open_stored, "Multimodal Universe 1, HDF5"),
    "zarr": Format(zarr_group.recognise, zarr_group.open_stored, "Zarr"),
    "parquet": Format(parquet.recognise, parquet.open_stored, "HATS and other Parquet"),
    "challenge": Format(
        challenge.recognise, challenge.open_stored, "the redshift challenge's HDF5"
    ),
    "dataset": Format(
        dataset.recognise_yaml,
        lambda path, overrides: dataset.open_yaml(path, overrides, open_stored),
        "a YAML that names several",
    ),
    "folder": Format(
        dataset.recognise_folder,
        lambda path, overrides: dataset.open_folder(path, overrides, open_stored),
        "a folder of files of any format that is one file",
    ),
    "fits": Format(fits_folder.recognise, fits_folder.open_stored, "a folder of FITS cutouts"),
    "webdataset": Format(webdataset.recognise, webdataset.open_stored, "tars of pictures"),
    "pictures": Format(pictures.recognise, pictures.open_stored, "a folder of JPEG or PNG"),
}
BY_HAND = "as asked"


def recognise(path: Path) -> tuple[str, str] | None:
    """Name of the format that a path is in and how that was seen, or None."""
    for name, format_ in FORMATS.items():
        try:
            how = format_.recognise(path)
        except Exception:  # whatever a parser says of what it does not know
            continue
        if how is not None:
            return name, how
    return None


def open_stored(path: Path, overrides: Overrides, *, read_as: str | None = None) -> Stored:
    """Open stored cutouts of any format.

    Args:
        path: A file or folder.
        overrides: What the user states of it.
        read_as: Name of a format; recognised by default.

    Raises:
        ConfigError: If there is no such format.
        DataError: If the path is in no format, or cannot be read as the one it is in.
    """
    require_there(path)
    if read_as is not None and read_as not in FORMATS:
        raise ConfigError(f"read_as is {read_as!r}, expected one of {', '.join(FORMATS)}")
    name, how = (read_as, BY_HAND) if read_as else recognise(path) or (_fallback(path), BY_HAND)
    stored = FORMATS[name].open_stored(path, overrides)
    stored.source = replace(stored.source, read_as=name, recognised=how)
    return stored


def require_there(path: Path) -> None:
    """Refuse a path that is not there, empty, or not ours to read.

    Raises:
        DataError: If so.
    """
    if not path.exists():
        raise DataError(f"no cutout file {path}")
    if not os.access(path, os.R_OK):
        raise DataError(f"no permission to read {path}; ask its owner, or chmod +r it")
    if path.is_file() and path.stat().st_size == 0:
        raise DataError(f"{path} is empty (0 bytes); copy or download it again")


def _fallback(path: Path) -> str:
    """Name the format whose error says best what is amiss with a path that none recognised."""
    if path.is_file() and path.suffix.lower() in (".h5", ".hdf5", ".hdf"):
        return "challenge"
    kind = "a folder" if path.is_dir() else "a file"
    raise DataError(
        f"{path} is {kind} that no format recognises; known are {', '.join(FORMATS)} "
        f"(docs/formats.md); name one with read_as="
    )
