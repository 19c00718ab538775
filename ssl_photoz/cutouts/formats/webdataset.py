"""WebDataset: tars of pictures, each with a JSON of the same key that says what is known of it.

Members belong together if their names agree up to the first dot. Nothing is ever extracted: the
place of each picture is noted once, and its bytes are read from there.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from io import BytesIO
from itertools import groupby
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from ssl_photoz.core.errors import DataError
from ssl_photoz.core.types import Array
from ssl_photoz.cutouts.formats.catalogue import Beside, canonical
from ssl_photoz.cutouts.formats.facts import columns_of, joined
from ssl_photoz.cutouts.formats.gathered import Seen, as_arrays, bounded
from ssl_photoz.cutouts.formats.listing import kept, list_files, list_one, some_files
from ssl_photoz.cutouts.formats.pictures import SUFFIXES as PICTURES
from ssl_photoz.cutouts.formats.pictures import judge, open_pictures
from ssl_photoz.cutouts.formats.stored import Stored
from ssl_photoz.cutouts.schema import Overrides

SUFFIXES = (".tar",)
HEAD_BYTES = MEMBER_BYTES = 1 << 16
MOST_JSON_BYTES = 1 << 20
SAID = "json:"


def recognise(path: Path) -> str | None:
    """Recognise a tar, or a folder with tars in it."""
    if path.is_dir():
        some = some_files(path, SUFFIXES)
        return f"folder of tars such as {min(some).name}, not calibrated" if some else None
    return "tar, not calibrated" if path.suffix == ".tar" and tarfile.is_tarfile(path) else None


def open_stored(path: Path, overrides: Overrides) -> Stored:
    """Open one tar, or all of a folder; each is gone through once.

    Raises:
        DataError: If a tar is damaged or compressed, or holds no square picture.
    """
    folder = path if path.is_dir() else path.parent
    listed = list_files(path, SUFFIXES) if path.is_dir() else list_one(path)
    found = kept(
        f"tars2{listed.identity}",
        lambda: _look_at_all(folder, listed.names),
        files=listed.total_bytes // MEMBER_BYTES,
    )
    said = {name.removeprefix(SAID): found.pop(name) for name in list(found) if SAID in name}
    table = Beside(canonical(said), f"{len(said)} columns from JSON") if said else None
    return open_pictures(path, found, overrides, table=table)


def _look_at_all(folder: Path, names: list[str]) -> dict[str, Array]:
    from tqdm import tqdm

    parts, said = [], []
    for name in tqdm(names, desc="tars", leave=False, delay=1):
        samples = list(_samples(folder / name, name))
        parts.append(as_arrays(seen for seen, _ in samples))
        said.append(columns_of([facts for _, facts in samples]))
    rows = [len(part["file"]) for part in parts]
    seen = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return seen | {SAID + name: values for name, values in joined(said, rows).items()}


def _samples(path: Path, name: str) -> Iterator[tuple[Seen, dict[str, Any]]]:
    try:
        with tarfile.open(path, "r:") as archive:
            for key, members in groupby(_plain_members(archive), key=_key):
                parts = {PurePosixPath(one.name).suffix.lower(): one for one in members}
                picture = next((parts[suffix] for suffix in PICTURES if suffix in parts), None)
                if picture is not None:
                    seen = Seen(name, bounded(key.strip("/")))
                    seen = seen._replace(offset=picture.offset_data)
                    head = BytesIO(_read(archive, picture, HEAD_BYTES))
                    yield judge(seen, head, picture.size), _facts(archive, parts.get(".json"))
            _require_end(archive)
    except tarfile.TarError as error:
        raise DataError(
            f"{path} is no tar, compressed, or damaged ({error}); unpack it (gunzip), or copy it "
            f"again"
        ) from None


def _plain_members(archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    while (member := archive.next()) is not None:
        archive.members = []  # type: ignore[attr-defined] # or it would remember all of them
        if member.isreg() and not member.issparse():
            yield member


def _require_end(archive: tarfile.TarFile) -> None:
    """Refuse an archive without the empty block that ends it: it has been cut off."""
    stream = archive.fileobj
    if stream is not None:
        stream.seek(archive.offset)
        if stream.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
            raise tarfile.ReadError("it ends too soon")


def _key(member: tarfile.TarInfo) -> str:
    folder, _, name = member.name.rpartition("/")
    return f"{folder}/{name.partition('.')[0]}"


def _read(archive: tarfile.TarFile, member: tarfile.TarInfo, most: int) -> bytes:
    stream = archive.fileobj
    if stream is None:
        return b""
    stream.seek(member.offset_data)
    return stream.read(min(member.size, most))


def _facts(archive: tarfile.TarFile, member: tarfile.TarInfo | None) -> dict[str, Any]:
    """Plain values of a JSON object; nothing if it is none."""
    if member is None or member.size > MOST_JSON_BYTES:
        return {}
    try:
        said = json.loads(_read(archive, member, MOST_JSON_BYTES))
    except (ValueError, RecursionError):
        return {}
    plain = said.items() if isinstance(said, dict) else ()
    return {name: one for name, one in plain if isinstance(one, str | int | float)}
