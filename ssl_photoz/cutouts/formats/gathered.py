"""Many small files made one set of cutouts: what most of them agree on, and which ones do not.

A file of another size or other bands, or one that is no cutout at all, stays a row: it is listed
with the rejects, and rows in are rows out.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np

from ssl_photoz.core.errors import DataError
from ssl_photoz.core.types import Array, Bools
from ssl_photoz.cutouts.formats.catalogue import Beside, find_catalogue, read_beside
from ssl_photoz.cutouts.formats.members import Members, Places
from ssl_photoz.cutouts.schema import Overrides, Source, describe

SAME_SCALE = 1e-3
LONGEST_KEY = 256


class Seen(NamedTuple):
    """What one look at a cutout's file says of it.

    Attributes:
        file: Path relative to the folder.
        key: Name of the cutout: its path without suffix, in the folder or the tar.
        fault: Why it is none; empty if it is one.
        offset: First byte of its pixels, or of its picture.
        length: Bytes.
        n_bands: Bands.
        side_px: Side, pixels.
        bands: Their names, with commas; empty if unknown.
        pixscale_arcsec: Pixel scale, arcsec/px.
        ra: Right ascension of the centre, degrees.
        dec: Declination of the centre, degrees.
    """

    file: str
    key: str
    fault: str = ""
    offset: int = 0
    length: int = 0
    n_bands: int = 0
    side_px: int = 0
    bands: str = ""
    pixscale_arcsec: float = float("nan")
    ra: float = float("nan")
    dec: float = float("nan")

    @property
    def kind(self) -> str:
        """What all cutouts of a set have in common."""
        return f"{self.n_bands} bands {self.bands}".strip() + f" of {self.side_px} px"


def key_of(name: str) -> str:
    """Name of a cutout that is a file of its own: its path without suffix.

    >>> key_of("ring/0001.png")
    'ring/0001'
    """
    return bounded(PurePosixPath(name).with_suffix("").as_posix())


def bounded(key: str) -> str:
    """Shorten a very long name so that different names stay different."""
    if len(key) <= LONGEST_KEY:
        return key
    digest = hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()[:16]
    return f"{key[: LONGEST_KEY - 17]}~{digest}"


def as_arrays(seen: Iterable[Seen]) -> dict[str, Array]:
    """One array for each attribute of `Seen`, as `listing.kept` keeps them."""
    rows = list(seen)
    made = {name: np.array([getattr(one, name) for one in rows]) for name in Seen._fields}
    made["file"] = np.array([one.file.encode("utf-8", "surrogateescape") for one in rows])
    return {**made, "kind": np.array([one.kind for one in rows])}


def open_gathered(
    path: Path,
    found: Mapping[str, Array],
    overrides: Overrides,
    *,
    dtype: str,
    default_bands: Sequence[str] | None,
    decode: Callable[[bytes, Source], Array],
    tables: Sequence[str] = (),
    table: Beside | None = None,
) -> Members:
    """Make stored cutouts of files that were looked at.

    Args:
        path: The folder, or the one file that all are in.
        found: What `as_arrays` returns, one entry per cutout.
        overrides: What the user states.
        dtype: ``float32``: flux; ``uint8``: display values.
        default_bands: Band names where neither files nor user state them.
        decode: See `members.Members`.
        tables: Files of the folder that may be its catalogue, besides those that look like one.
        table: What is known of the cutouts, instead of a catalogue.

    Raises:
        DataError: If not one of them is a cutout, or a catalogue cannot be used.
    """
    sound = found["fault"] == ""
    if not sound.any():
        first = f"; of the first: {found['fault'][0]}" if len(sound) else ""
        raise DataError(f"{path}: none of {len(sound)} files in it is a square cutout{first}")
    kinds, counts = np.unique(found["kind"][sound], return_counts=True)
    usual = str(kinds[np.argmax(counts)])
    good = sound & (found["kind"] == usual)
    model = {name: values[good][0] for name, values in found.items()}
    stated = tuple(str(model["bands"]).split(",")) if model["bands"] else None
    count = int(model["n_bands"])
    if stated is None and overrides.bands is None and default_bands is not None:
        stated = tuple(default_bands)
    beside = table or _beside(path, found, tables)
    source = describe(
        path,
        overrides,
        shape=(len(sound), count, int(model["side_px"])),
        dtype=dtype,
        bands=stated,
        pixscale_arcsec=_one_scale(found["pixscale_arcsec"][good]),
        usual_pixscale_arcsec=math.nan,
        calibrated=dtype != "uint8",
        notes=_notes(good, usual, beside),
    )
    faults = {
        int(row): str(found["fault"][row]) or f"{found['kind'][row]}, most are {usual}"
        for row in np.flatnonzero(~good)
    }
    folder = path if path.is_dir() else path.parent
    files, file = np.unique(found["file"], return_inverse=True)
    places = Places(folder, files, file, found["offset"], found["length"])
    columns = _columns(found, beside)
    return Members(source, places, columns, faults=faults, decode=decode)


def _notes(good: Bools, usual: str, beside: Beside | None) -> tuple[str, ...]:
    notes = [f"{good.sum()} of {len(good)} files are {usual}"] if not good.all() else []
    return (*notes, *([beside.how] if beside else []))


def _one_scale(pixscales: Array) -> float | None:
    """Scale that all share, None if none is known, NaN if they differ."""
    known = pixscales[np.isfinite(pixscales)]
    if not len(known):
        return None
    middle = float(np.median(known))
    same = len(known) == len(pixscales) and np.ptp(known) <= SAME_SCALE * middle
    return round(middle, 6) if same else float("nan")


def _beside(path: Path, found: Mapping[str, Array], tables: Sequence[str]) -> Beside | None:
    catalogue = find_catalogue(path, tables) if path.is_dir() else None
    if catalogue is None:
        return None
    return read_beside(catalogue, found["key"].tolist(), found["ra"], found["dec"], folder=path)


def _columns(found: Mapping[str, Array], beside: Beside | None) -> dict[str, Array]:
    columns = dict(beside.columns) if beside else {}
    names = _distinct(found)
    keys = _exact(names)
    ids = columns.get("id")
    if ids is None:
        columns["id"] = keys
    else:
        missing = (ids == "") | (ids == "nan") if ids.dtype.kind == "U" else ids == -1
        if missing.any():
            columns["id"] = np.where(missing, names, ids.astype(str))
    for name in ("ra", "dec"):
        known = columns.get(name)
        if known is None:
            columns[name] = found[name]
        else:
            columns[name] = np.where(np.isfinite(known), known, found[name])
    return columns


def _distinct(found: Mapping[str, Array]) -> Array:
    """Names of the cutouts, as short as they differ: without folders, with, or with the file."""
    keys = found["key"]
    names = np.array([key.rpartition("/")[2] for key in keys.tolist()], str)
    if len(np.unique(names)) < len(names):
        names = keys
    if len(np.unique(names)) < len(names):
        files = [name.decode("utf-8", "surrogateescape") for name in found["file"].tolist()]
        pairs = zip(files, keys.tolist(), strict=True)
        names = np.array([f if key_of(f) == key else f"{f}/{key}" for f, key in pairs], str)
    return names


def _exact(keys: Array) -> Array:
    """Keys as integers if all are integers that come back as they were, else as text."""
    try:
        numbers = keys.astype(np.int64)
    except (ValueError, OverflowError):
        return keys
    return numbers if (numbers.astype(str) == keys).all() else keys
