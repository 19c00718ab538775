"""Files that are whole or refused: a line with the sha256 of what follows it, then the content."""

from __future__ import annotations

import hashlib
from pathlib import Path

from ssl_photoz.core.artefact import atomic_path
from ssl_photoz.core.errors import ArtefactError

OPENING = b"ssl_photoz checkpoint, sha256 "


def write_sealed(path: Path, content: bytes | memoryview) -> None:
    """Write beside the target, then rename; a full disk is an OSError, as everywhere."""
    with atomic_path(path) as scratch, scratch.open("wb") as file:
        file.write(OPENING + hashlib.sha256(content).hexdigest().encode() + b"\n")
        file.write(content)


def read_sealed(path: Path) -> bytes:
    """The content.

    Raises:
        ArtefactError: If it is not, byte for byte, what was written.
    """
    with path.open("rb") as file:
        opening, content = file.readline(len(OPENING) + 65), file.read()
    if not opening.startswith(OPENING):
        raise ArtefactError(f"{path} does not begin as a checkpoint does")
    if opening[len(OPENING) :].strip() != hashlib.sha256(content).hexdigest().encode():
        raise ArtefactError(f"the sha256 of {path} is not the one it was written with")
    return content
