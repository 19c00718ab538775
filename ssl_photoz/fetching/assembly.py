"""Put fetched cutouts together: a cutout file in the order of the catalogue, and its rejects."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from tqdm import tqdm

from ssl_photoz.core import artefact, version
from ssl_photoz.core.errors import DataError, MismatchError
from ssl_photoz.core.types import Array, Ints
from ssl_photoz.core.version import __version__
from ssl_photoz.cutouts.rejects import write_rejects
from ssl_photoz.fetching.journal import Journal

FETCHED_AS = "fetched_as"


def assemble(
    out: Path,
    journal: Journal,
    columns: Mapping[str, Array],
    attributes: Mapping[str, Any],
    identity: Mapping[str, Any],
) -> None:
    """Write the cutout file, whole or not at all, with its rejects and its card beside it.

    Args:
        out: The HDF5 file.
        journal: Every row of it is done.
        columns: Columns of all rows of the catalogue, each (N,) or (N, C).
        attributes: Attributes of the file.
        identity: What the cutouts depend on; kept in the file.

    Raises:
        DataError: If no row has a cutout, or some are damaged; these are then to be fetched again.
    """
    kept = journal.kept
    if not len(kept):
        reason = next(iter(journal.reasons.values()), "the catalogue is empty")
        raise DataError(f"not one cutout to write; the first row was rejected: {reason}")
    facts = {"rows_in": len(journal.done), "rows_rejected": len(journal.reasons)}
    write_rejects(rejects_path(out), columns["TARGETID"], {"fetch": journal.reasons})
    with artefact.atomic_path(out) as scratch, h5py.File(scratch, "w") as file:
        images = file.create_dataset("images", (len(kept), *journal.shape), "<f4")
        _copy(journal, kept, images)
        for name, values in columns.items():
            some = values[kept]
            text = some.dtype.kind in "OU"
            kind = h5py.string_dtype() if text else some.dtype
            file.create_dataset(name, data=some.astype(object) if text else some, dtype=kind)
        file.attrs.update({**attributes, **facts})
        file.attrs[FETCHED_AS] = json.dumps(dict(identity), sort_keys=True)
    card = {
        "schema_version": artefact.SCHEMA_VERSION,
        "kind": "cutouts",
        "made_by": f"ssl_photoz {__version__}",
        "revision": version.git_revision(),
        "versions": version.versions(),
        "config": identity,
        "parents": {"catalogue": identity["catalogue_sha256"]},
        "rows_written": len(kept),
    }
    artefact.write_json(out.with_name(out.name + ".card.json"), {**card, **facts, **attributes})


def _copy(journal: Journal, rows: Ints, images: h5py.Dataset) -> None:
    damaged = []
    for place, row in enumerate(tqdm(rows.tolist(), desc="assemble", unit="cutout")):
        pixels = journal.read(row)
        if pixels is None:
            damaged.append(row)
            journal.forget(row)
        else:
            images[place] = pixels
    if damaged:
        raise DataError(
            f"{len(damaged)} cutouts on disk are not what was fetched, the first in row "
            f"{damaged[0]} (was there a power cut?); run the same command to fetch them again"
        )


def is_made(out: Path, identity: Mapping[str, Any]) -> bool:
    """Say whether a cutout file fetched just so is there already.

    Raises:
        MismatchError: If another file is in the way.
    """
    if not out.exists():
        return False
    remedy = "give another out=, or delete it"
    try:
        with h5py.File(out) as file:
            made = json.loads(file.attrs[FETCHED_AS])
    except (OSError, KeyError, ValueError):
        raise MismatchError(f"{out} exists and was not fetched; {remedy}") from None
    wanted = json.loads(json.dumps(dict(identity)))
    for name in sorted(set(made) | set(wanted)):
        if made.get(name) != wanted.get(name):
            raise MismatchError(
                f"{out} is there already and was fetched with {name} = {made.get(name)!r}, asked "
                f"for {wanted.get(name)!r}; {remedy}"
            )
    return True


def rejects_path(out: Path) -> Path:
    """Path of the table of rejected rows."""
    return out.with_suffix(".rejects.parquet")


def require_room(folder: Path, journal: Journal) -> None:
    """Refuse to begin what the disk cannot hold: in the end every cutout is there twice.

    Args:
        folder: Folder on the disk that will hold the cutouts.
        journal: What is fetched already.

    Raises:
        DataError: If there is too little room.
    """
    cutout = 4 * int(np.prod(journal.shape))
    rows, missing = len(journal.done), int((~journal.done).sum())
    needed, free = (rows + missing) * cutout, shutil.disk_usage(folder).free
    if free < needed:
        raise DataError(
            f"{rows} cutouts, twice while they are put together, need {needed / 1e9:.1f} GB more, "
            f"the disk of {folder} has {free / 1e9:.1f} GB; make room, choose a smaller size_px, "
            f"or another out="
        )
