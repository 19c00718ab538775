"""A catalogue beside a folder of cutouts, and which of its rows belongs to which cutout."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np

from ssl_photoz.core.errors import DataError
from ssl_photoz.core.types import Array, Doubles, Ints
from ssl_photoz.cutouts.formats.hdf5 import require_same_column
from ssl_photoz.cutouts.quality import has_position

SUFFIXES = (".csv", ".parquet", ".vot")
USUAL_NAMES = ("catalog", "catalogue", "metadata", "labels")
FILE_COLUMNS = ("file", "filename", "file_name", "path", "image", "cutout", "key", "name")
ID_COLUMNS = ("targetid", "id", "object_id", "objid", "specobjid", "dr7objid", "ls_id")
REDSHIFTS = ("redshift", "z_spec", "zspec", "spec_z", "z")
NO_REDSHIFT = -1.0  # catalogues write -1, -9, -99, -999 for none
MATCH_ARCSEC = 1.0


class Beside(NamedTuple):
    """What a catalogue says of cutouts.

    Attributes:
        columns: By canonical name, one entry per cutout; NaN, -1 or empty text for nothing.
        how: One sentence on how it was matched.
    """

    columns: dict[str, Array]
    how: str


def find_catalogue(folder: Path, tables: Sequence[str] = ()) -> Path | None:
    """Find the catalogue in a folder, or beside it under the folder's own name.

    Args:
        folder: Folder of cutouts.
        tables: Names of other files in it that hold a table.

    Raises:
        DataError: If there are several and none has a usual name.
    """
    found = [path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES]
    found += [folder / name for name in tables if "/" not in name]
    beside = (folder.parent / f"{folder.name}{suffix}" for suffix in (*SUFFIXES, ".fits"))
    found = sorted(path for path in found if path.name[0] not in "._") or [
        path for path in beside if path.is_file()
    ]
    usual = [path for path in found if path.stem.lower() in USUAL_NAMES] or found
    if len(usual) > 1:
        raise DataError(
            f"{folder} has several tables ({', '.join(path.name for path in usual[:5])}); call the "
            f"catalogue of the cutouts catalogue{usual[0].suffix}"
        )
    return usual[0] if usual else None


def read_beside(path: Path, stems: Sequence[str], ra: Doubles, dec: Doubles) -> Beside:
    """Read a catalogue and bring its rows into the order of the cutouts.

    They are matched by whatever matches most cutouts: the name of the file in a column such as
    ``filename``, an id that is the file's name or the one number in it, or positions within
    1 arcsec.

    Args:
        path: The catalogue.
        stems: Names of the cutouts' files without suffix, length N.
        ra: Right ascension of the cutouts' centres, degrees, (N,); NaN where unknown.
        dec: Declination of the cutouts' centres, degrees, (N,); NaN where unknown.

    Raises:
        DataError: If it cannot be read, or matches no cutout.
    """
    from ssl_photoz.catalog.tables import read_table

    _require_whole_lines(path)
    table = _by_lower_case(path, read_table(path))
    length = len(next(iter(table.values()), ()))
    rows, by = _match(table, stems, ra, dec)
    matched = rows >= 0
    if not matched.any():
        raise DataError(
            f"{path} matches none of {len(stems)} cutouts, neither by file name, nor by id, nor by "
            f"position; give it a column `filename`, or take it out of the way"
        )
    table.pop(by if by in FILE_COLUMNS else "", None)
    columns = {name: _spread(values, rows) for name, values in canonical(table).items()}
    unused = length - len(np.unique(rows[matched]))
    return Beside(
        columns,
        f"catalogue {path.name}: {matched.sum()} of {len(stems)} cutouts matched by {by}, "
        f"{unused} of its rows without a cutout",
    )


def _by_lower_case(path: Path, table: dict[str, Array]) -> dict[str, Array]:
    """Columns by their name in lower case; ``Z`` beside ``z`` is refused unless it is the same."""
    lower: dict[str, Array] = {}
    first: dict[str, str] = {}
    for name, values in table.items():
        before = lower.setdefault(name.lower(), values)
        if before is not values:
            one = first[name.lower()]
            require_same_column(path, name.lower(), (one, before), (name, values))
        first.setdefault(name.lower(), name)
    return lower


def _require_whole_lines(path: Path) -> None:
    """Refuse text that ends within a line: its last number may lack digits."""
    if path.suffix.lower() != ".csv" or not path.stat().st_size:
        return
    with path.open("rb") as file:
        file.seek(-1, 2)
        if file.read() != b"\n":
            raise DataError(
                f"{path} ends in the middle of a line: copy it again, or end it with a line break"
            )


def without_sentinels(z: Array) -> Array:
    """Redshifts with NaN for what catalogues write where there is none."""
    known = np.asarray(z, np.float64)
    return np.where(known > NO_REDSHIFT, known, np.nan).astype(np.float32)


def canonical(table: dict[str, Array]) -> dict[str, Array]:
    """Give the columns of a catalogue their canonical names.

    An id is taken only from whole numbers or text. Of several redshifts the surest name wins over
    ``z``, which may be a magnitude and is then called ``catalogue_z``.

    Args:
        table: Arrays of shape (N,), by name in lower case.
    """
    columns = dict(table)
    for name, kinds in (("id", "iuUO"), ("ra", "iuf"), ("dec", "iuf"), ("ebv", "iuf")):
        if name in columns and columns[name].dtype.kind not in kinds:
            columns[f"catalogue_{name}"] = columns.pop(name)
    ids = next((name for name in ID_COLUMNS if _kind(columns, name) in ("i", "u", "U", "O")), None)
    if ids not in (None, "id"):
        columns = {"id": columns.pop(str(ids)), **columns}
    redshift = next((name for name in REDSHIFTS if _kind(columns, name) in ("i", "u", "f")), None)
    if redshift != "z" and "z" in columns:
        columns["catalogue_z"] = columns.pop("z")
    if redshift is not None:
        columns["z"] = without_sentinels(columns.pop(redshift))
    return columns


def _kind(columns: dict[str, Array], name: str) -> str:
    return columns[name].dtype.kind if name in columns else ""


def _match(
    table: dict[str, Array], stems: Sequence[str], ra: Doubles, dec: Doubles
) -> tuple[Ints, str]:
    tries: list[tuple[Ints, str]] = []
    for name in FILE_COLUMNS:
        if name in table and table[name].dtype.kind in "OU":
            tries.append((_by_text(table[name], stems), name))
    for name in ID_COLUMNS:
        if name in table and table[name].ndim == 1:
            tries.append((_by_id(table[name], stems), name))
    positions = {_kind(table, "ra"), _kind(table, "dec")} <= {"i", "u", "f"}
    if positions and has_position(ra, dec).any():
        tries.append((_by_position(table["ra"], table["dec"], ra, dec), "position"))
    return max(tries, key=lambda one: (one[0] >= 0).sum(), default=(np.full(len(stems), -1), ""))


def _by_text(values: Array, stems: Sequence[str]) -> Ints:
    names = [PurePosixPath(str(value).replace("\\", "/")).name for value in values]
    places: dict[str, int] = {}
    for row, name in enumerate(names):
        places.setdefault(name, row)
        places.setdefault(name.partition(".")[0], row)
        places.setdefault(PurePosixPath(name).stem, row)
    return np.array([places.get(stem, -1) for stem in stems], np.int64)


def _by_id(values: Array, stems: Sequence[str]) -> Ints:
    places: dict[str, int] = {}
    for row, value in enumerate(values.tolist()):
        places.setdefault(str(value), row)
    found = [places.get(stem, -1) for stem in stems]
    if values.dtype.kind in "iu":
        for which, stem in enumerate(stems):
            numbers = re.findall(r"\d+", stem)
            if found[which] < 0 and len(numbers) == 1:
                found[which] = places.get(str(int(numbers[0])), -1)
    return np.array(found, np.int64)


def _by_position(ra_table: Array, dec_table: Array, ra: Doubles, dec: Doubles) -> Ints:
    from scipy.spatial import KDTree

    rows = np.full(len(ra), -1, np.int64)
    there = np.isfinite(ra_table) & np.isfinite(dec_table)
    here = np.isfinite(ra) & np.isfinite(dec)
    if there.any() and here.any():
        tree = KDTree(_unit_vectors(ra_table[there], dec_table[there]))
        chord = 2 * np.sin(np.radians(MATCH_ARCSEC / 3600) / 2)
        distance, nearest = tree.query(
            _unit_vectors(ra[here], dec[here]), distance_upper_bound=chord
        )
        near = np.isfinite(distance)
        rows[np.flatnonzero(here)[near]] = np.flatnonzero(there)[nearest[near]]
    return rows


def _unit_vectors(ra: Array, dec: Array) -> Doubles:
    alpha, delta = np.radians(ra), np.radians(dec)
    cos = np.cos(delta)
    return np.stack([cos * np.cos(alpha), cos * np.sin(alpha), np.sin(delta)], axis=-1)


def _spread(values: Array, rows: Ints) -> Array:
    """Bring a column into the order of the cutouts; say nothing of those without a row."""
    if values.dtype.kind == "O":
        values = np.array(["" if value is None else str(value) for value in values], str)
    elif values.dtype.kind == "b":
        values = values.astype(np.float32)
    spread = values[np.maximum(rows, 0)]
    if (rows < 0).any():
        nothing = {"f": np.nan, "U": ""}.get(spread.dtype.kind, -1)
        if spread.dtype.kind == "u":
            spread = spread.astype(np.int64)
        spread[rows < 0] = nothing
    return spread
