"""What ``data=`` stands for: a file, a folder, or a dataset YAML that names several of them.

A dataset YAML has a list ``parts``; each names a file, a folder or a pattern, relative to the YAML.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ssl_photoz.core.config import load_yaml
from ssl_photoz.core.errors import ConfigError, DataError

YAMLS = (".yaml", ".yml")
MIB = 1 << 20
LOOKED_INTO = 64


def fingerprint(path: Path) -> str:
    """Identify input data, which may be large, without reading all of it.

    A file: its size and the sha256 of its first and last MiB; enough to notice that a 24 GB cutout
    file is another one. A folder: names and sizes of all its files, and the same of 64 of them. A
    dataset YAML: its text, and the same of all it names.

    Raises:
        DataError: If there is no such file or folder.
    """
    if path.is_dir():
        return _of_folder(path)
    digest = hashlib.sha256(_of_file(path).encode())
    if path.suffix not in YAMLS:
        return _of_file(path)
    for part in part_paths(path):
        for file in part:
            digest.update(fingerprint(file).encode())
    return digest.hexdigest()


def _of_file(path: Path) -> str:
    if not path.is_file():
        raise DataError(f"{path} is not there; expected cutouts: a file, a folder or a YAML")
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        digest.update(file.read(MIB))
        file.seek(max(0, size - MIB))
        digest.update(file.read(MIB))
    return digest.hexdigest()


def _of_folder(folder: Path) -> str:
    files = listing(folder)
    digest = hashlib.sha256()
    for name, size in files:
        digest.update(f"{name}\0{size}\0".encode())
    step = max(len(files) // LOOKED_INTO, 1)
    for name, _ in files[::step]:
        digest.update(_of_file(folder / name).encode())
    return digest.hexdigest()


def listing(folder: Path) -> list[tuple[str, int]]:
    """Name and size of every file below a folder, sorted; names with a dot first are not.

    Names are relative to the folder, with slashes. Links to folders are not followed.
    """
    found = []
    for below, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            path = Path(below) / name
            if not name.startswith(".") and path.is_file():
                found.append((path.relative_to(folder).as_posix(), path.stat().st_size))
    return sorted(found)


def size_bytes(path: Path) -> int:
    """Size of input data on disk, bytes."""
    if path.is_dir():
        return sum(size for _, size in listing(path))
    if path.suffix in YAMLS:
        return sum(size_bytes(file) for part in part_paths(path) for file in part)
    return path.stat().st_size


def part_paths(yaml: Path) -> list[list[Path]]:
    """Files and folders that each part of a dataset YAML names.

    Raises:
        ConfigError: If the YAML has no parts, or a part no path.
        DataError: If a part names nothing that is there.
    """
    parts = load_yaml(yaml).get("parts")
    if not isinstance(parts, list) or not parts:
        raise ConfigError(f"{yaml} has no list `parts`; expected one with a `path` in each")
    return [_paths(yaml, part) for part in parts]


def _paths(yaml: Path, part: Any) -> list[Path]:  # noqa: ANN401 - any YAML value
    name = part.get("path") if isinstance(part, dict) else part
    if not isinstance(name, str) or not name:
        raise ConfigError(f"{yaml} has the part {part!r}, expected a `path`")
    path = yaml.parent / name
    if path.exists():
        return [path]
    below = yaml.parent if not Path(name).is_absolute() else Path(path.anchor)
    found = sorted(below.glob(str(Path(name).relative_to(Path(name).anchor))))
    if not found:
        raise DataError(f"{yaml} names {name}, which is not there; paths are relative to the YAML")
    return found


SCALE_TOLERANCE = 1e-3


def differences(mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[str]:
    """Names of what two sets of cutouts differ in.

    Args:
        mine: ``bands``, ``pixscale_arcsec``, ``calibrated`` ...; what it lacks is not compared.
        theirs: Values of the same names. Pixel scales are alike within a thousandth, or if neither
            is known.
    """
    return [name for name, value in mine.items() if not _alike(value, theirs[name])]


def _alike(one: object, other: object) -> bool:
    if isinstance(one, tuple | list) and isinstance(other, tuple | list):
        return list(one) == list(other)
    if isinstance(one, float) and isinstance(other, float):
        unknown = math.isnan(one) and math.isnan(other)
        return unknown or math.isclose(one, other, rel_tol=SCALE_TOLERANCE)
    return one == other
