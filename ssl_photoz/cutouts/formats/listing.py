"""What lies in a folder of many files; what was found out about it is kept for later processes."""

from __future__ import annotations

import hashlib
import os
import stat
import zipfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ssl_photoz.core.artefact import atomic_path
from ssl_photoz.core.errors import DataError
from ssl_photoz.core.types import Array

MOST_FILES = 20_000_000
DEEPEST = 8
PREFIX = "kept "  # numpy.savez has arguments with names of its own
KEPT_FROM = 1000  # files; fewer are looked through faster than anybody notices


class Listed(NamedTuple):
    """Files of a folder, sorted by name.

    Attributes:
        names: Paths relative to the folder, with ``/``.
        identity: Changes whenever a file comes, goes, or changes its size or its time.
        total_bytes: Their size.
    """

    names: list[str]
    identity: str
    total_bytes: int


def list_files(folder: Path, suffixes: Sequence[str]) -> Listed:
    """List the files of a folder and of the folders in it.

    Names that begin with a dot or an underscore are passed over, and so are links to folders.

    Args:
        folder: Folder to look in.
        suffixes: Suffixes in lower case, with their dots.

    Raises:
        DataError: If there are more files than can be meant.
    """
    found: list[tuple[str, int, int]] = []
    for place, folders, files in os.walk(folder):
        depth = len(Path(place).relative_to(folder).parts)
        folders[:] = [
            name for name in folders if depth < DEEPEST and not name.startswith((".", "_"))
        ]
        for name in files:
            if not name.lower().endswith(tuple(suffixes)) or name.startswith((".", "_")):
                continue
            path = Path(place, name)
            with suppress(OSError):  # a link that leads nowhere
                status = path.stat()
                if stat.S_ISREG(status.st_mode):
                    relative = path.relative_to(folder).as_posix()
                    found.append((relative, status.st_size, status.st_mtime_ns))
        if len(found) > MOST_FILES:
            raise DataError(f"{folder} holds more than {MOST_FILES} files; name a folder in it")
    return _listed(folder, sorted(found))


def list_one(path: Path) -> Listed:
    """List a single file as that of its folder."""
    status = path.stat()
    return _listed(path.parent, [(path.name, status.st_size, status.st_mtime_ns)])


def _listed(folder: Path, found: list[tuple[str, int, int]]) -> Listed:
    digest = hashlib.sha256(str(folder.resolve()).encode())
    for one in found:
        digest.update(repr(one).encode())
    return Listed(
        [name for name, _, _ in found], digest.hexdigest(), sum(size for _, size, _ in found)
    )


def some_files(folder: Path, suffixes: Sequence[str], *, most: int = 8) -> list[Path]:
    """A few files with one of the suffixes, from a folder or the first few folders in it."""
    found: list[Path] = []
    for place in (folder, *_first_folders(folder, most)):
        with os.scandir(place) as entries:
            for entry in entries:
                if entry.name.lower().endswith(tuple(suffixes)) and entry.name[0] not in "._":
                    found.append(Path(entry.path))
                    if len(found) == most:
                        return found
    return found


def _first_folders(folder: Path, most: int) -> list[Path]:
    with os.scandir(folder) as entries:
        names = sorted(one.name for one in entries if one.is_dir() and one.name[0] not in "._")
    return [folder / name for name in names[:most]]


def kept(identity: str, make: Callable[[], dict[str, Array]], *, files: int) -> dict[str, Array]:
    """Arrays that take long to make: as kept by an earlier process, or made now and kept.

    They are kept in the user's cache folder (``$XDG_CACHE_HOME/ssl_photoz``, by default in
    ``~/.cache``), which may be deleted at any time.

    Args:
        identity: Identity of what they are made from and how.
        make: Makes them; no arrays of objects.
        files: Number of files that had to be looked at; few are not worth keeping.
    """
    if files < KEPT_FROM:
        return make()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ssl_photoz"
    path = cache / f"{identity[:40]}.npz"
    with suppress(OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        with np.load(path, allow_pickle=False) as archive:
            return {name.removeprefix(PREFIX): archive[name] for name in archive.files}
    made = make()
    with suppress(OSError), atomic_path(path) as scratch, scratch.open("wb") as file:
        named: dict[str, Any] = {PREFIX + name: values for name, values in made.items()}
        np.savez(file, **named)
    return made
