"""Several files or folders as one dataset: named in a YAML, or simply all of a folder.

The YAML, with all it can say (only ``path`` is needed; a part may also be just a path):

    parts:
      - path: south/images_npix152_*.h5   # relative to the YAML; a pattern, a file or a folder
        name: south                       # in the column `part`; by default the name of the file
      - path: sdss.npz
        read_as: pasquet
        bands: [u, g, r, i, z]            # for a file that does not state them
        pixscale_arcsec: 0.396            # for a file that does not state it
        zero_point_mag: {g: 22.5, r: 22.5, z: 22.5}   # or one number: pixels become nanomaggies
        rename: {petro_r: mag_r}          # columns
    bands: [g, r, z]                      # those to keep, in this order
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from ssl_photoz.core.config import load_yaml
from ssl_photoz.core.errors import ConfigError, DataError
from ssl_photoz.core.inputs import YAMLS, listing, part_paths
from ssl_photoz.cutouts.formats.adjusted import Adjusted
from ssl_photoz.cutouts.formats.concat import Concat
from ssl_photoz.cutouts.formats.stored import Stored
from ssl_photoz.cutouts.schema import Overrides

CUTOUT_SUFFIXES = (".h5", ".hdf5", ".npz")
MOST_FILES = 100_000
Open = Callable[..., Stored]


@dataclass(frozen=True)
class PartConfig:
    """What a YAML says of a part.

    Attributes:
        path: File, folder or pattern.
        name: Value in the column ``part``.
        read_as: Name of its format.
        bands: Band names, for a file that does not state them.
        pixscale_arcsec: Pixel scale, for a file that does not state it.
        zero_point_mag: AB magnitude of one unit of flux, for all bands or by band.
        rename: New names of columns.
    """

    path: str
    name: str | None = None
    read_as: str | None = None
    bands: Sequence[str] | None = None
    pixscale_arcsec: float | None = None
    zero_point_mag: float | Mapping[str, float] | None = None
    rename: Mapping[str, str] | None = None


def recognise_yaml(path: Path) -> str | None:
    """Recognise a YAML with parts."""
    if path.suffix not in YAMLS or not path.is_file():
        return None
    parts = load_yaml(path).get("parts")
    return f"YAML with {len(parts)} parts" if isinstance(parts, list) else None


def recognise_folder(path: Path) -> str | None:
    """Recognise a folder with files that may be cutouts."""
    files = _cutout_files(path) if path.is_dir() else []
    return f"folder with {len(files)} files ({files[0]}, ...)" if files else None


def open_yaml(path: Path, overrides: Overrides, open_one: Open) -> Stored:
    """Open all that a YAML names as one.

    Args:
        path: The YAML.
        overrides: Bands to keep, and the pixel scale of files that do not state it.
        open_one: Opens a part: `registry.open_stored`.

    Raises:
        ConfigError: If the YAML is not as it should be.
        DataError: If a part cannot be opened, or parts cannot be one dataset.
    """
    content = load_yaml(path)
    _require_known(path, content, ("parts", "bands"))
    keep = overrides.bands or _names(path, content.get("bands"))
    stored, names = [], []
    for part, files in zip(content["parts"], part_paths(path), strict=True):
        settings = _part(path, part)
        for file in files:
            stored.append(_open_part(path, file, settings, overrides, keep, open_one))
            names.append(settings.name or file.stem)
    return Concat(path, stored, names)


def open_folder(path: Path, overrides: Overrides, open_one: Open) -> Stored:
    """Open all files of a folder as one, in the order of their names.

    Raises:
        DataError: If there are none, one cannot be opened, or they cannot be one dataset.
    """
    names = _cutout_files(path)
    if not names:
        raise DataError(f"{path} has no files *{', *'.join(CUTOUT_SUFFIXES)}")
    return Concat(path, [open_one(path / name, overrides) for name in names], names)


def _cutout_files(folder: Path) -> list[str]:
    names = [name for name, _ in listing(folder) if name.lower().endswith(CUTOUT_SUFFIXES)]
    if len(names) > MOST_FILES:
        raise DataError(f"{folder} has {len(names)} files, expected at most {MOST_FILES}")
    return names


def _open_part(
    yaml: Path,
    file: Path,
    settings: PartConfig,
    overrides: Overrides,
    keep: Sequence[str] | None,
    open_one: Open,
) -> Stored:
    if file.suffix in YAMLS:
        raise ConfigError(f"{yaml} names {file}; a part is a file or a folder of cutouts")
    of_part = Overrides(
        bands=_names(yaml, settings.bands),
        pixscale_arcsec=settings.pixscale_arcsec or overrides.pixscale_arcsec,
        in_order=overrides.in_order,
    )
    stored = open_one(file, of_part, read_as=settings.read_as)
    return Adjusted(
        stored, bands=keep, zero_point_mag=settings.zero_point_mag, rename=settings.rename
    )


def _part(yaml: Path, part: object) -> PartConfig:
    if not isinstance(part, dict):
        return PartConfig(str(part))
    _require_known(yaml, part, tuple(field.name for field in fields(PartConfig)))
    settings = PartConfig(**part)
    for name, numbers in _numbers(settings):
        if not all(isinstance(one, int | float) and not isinstance(one, bool) for one in numbers):
            raise ConfigError(f"{yaml}: {name} is {getattr(settings, name)!r}, expected numbers")
    if not isinstance(settings.rename or {}, Mapping):
        raise ConfigError(f"{yaml}: rename is {settings.rename!r}, expected old: new")
    return settings


def _numbers(settings: PartConfig) -> Iterator[tuple[str, list[Any]]]:
    for name in ("pixscale_arcsec", "zero_point_mag"):
        value = getattr(settings, name)
        if value is not None:
            yield name, list(value.values()) if isinstance(value, Mapping) else [value]


def _names(yaml: Path, bands: object) -> tuple[str, ...] | None:
    if bands is None:
        return None
    if not isinstance(bands, list | tuple) or not all(isinstance(band, str) for band in bands):
        raise ConfigError(
            f"{yaml}: bands are {bands!r}, expected a list of names such as [g, r, z]"
        )
    return tuple(bands)


def _require_known(yaml: Path, content: Mapping[str, Any], known: Sequence[str]) -> None:
    for key in content:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1) or [", ".join(known)]
            raise ConfigError(f"{yaml}: unknown key {key!r}; nearest valid: {near[0]}")
