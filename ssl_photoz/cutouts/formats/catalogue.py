"""A catalogue beside a folder of cutouts, and which of its rows belongs to which cutout."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np

from ssl_photoz.catalog.redshifts import stand_for_none
from ssl_photoz.core.errors import DataError
from ssl_photoz.core.types import Array, Doubles, Ints
from ssl_photoz.cutouts.formats.hdf5 import require_same_column
from ssl_photoz.cutouts.quality import has_position

SUFFIXES = (".csv", ".parquet", ".vot")
USUAL_NAMES = ("catalog", "catalogue", "metadata", "labels")
FILE_COLUMNS = ("file", "filename", "file_name", "path", "image", "cutout", "key", "name")
ID_COLUMNS = ("targetid", "id", "object_id", "objid", "specobjid", "dr7objid", "ls_id")
REDSHIFTS = ("redshift", "z_spec", "zspec", "spec_z", "z")
MATCH_ARCSEC = 1.0


class Beside(NamedTuple):
    """What a catalogue says of cutouts.

    Attributes:
        columns: Columns by canonical name, one entry per cutout; NaN, -1 or empty text for nothing.
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


def read_beside(
    path: Path,
    names: Sequence[str],
    ra: Doubles,
    dec: Doubles,
    *,
    folder: Path | None = None,
) -> Beside:
    """Read a catalogue and bring its rows into the order of the cutouts.

    They are matched by whatever matches most cutouts: the path of the file in a column such as
    ``filename``, an id that is the file's name or the one number in it, or positions within
    1 arcsec. A name is its whole path, as far as both sides give it.

    Args:
        path: The catalogue.
        names: Paths of the cutouts' files within their folder, without suffix, length N.
        ra: Right ascension of the cutouts' centres, degrees, (N,); NaN where unknown.
        dec: Declination of the cutouts' centres, degrees, (N,); NaN where unknown.
        folder: Folder of the cutouts; by default that of the catalogue.

    Raises:
        DataError: If it cannot be read, matches no cutout, or two rows match one or the reverse.
    """
    from ssl_photoz.catalog.tables import read_table

    _require_whole_lines(path)
    table = _by_lower_case(path, read_table(path))
    length = len(next(iter(table.values()), ()))
    rows, by, doubt = _match(table, names, ra, dec, path.parent if folder is None else folder)
    if doubt:
        raise DataError(
            f"{path} is ambiguous: {doubt}; give it a column `filename` with the whole path of "
            f"each file, such as ring/0001.png"
        )
    matched = rows >= 0
    if not matched.any():
        raise DataError(
            f"{path} matches none of {len(names)} cutouts, neither by file name, nor by id, nor by "
            f"position; give it a column `filename`, or take it out of the way"
        )
    table.pop(by if by in FILE_COLUMNS else "", None)
    columns = {name: _spread(values, rows) for name, values in canonical(table).items()}
    unused = length - len(np.unique(rows[matched]))
    return Beside(
        columns,
        f"catalogue {path.name}: {matched.sum()} of {len(names)} cutouts matched by {by}, "
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
    return np.where(stand_for_none(known), np.nan, known).astype(np.float32)


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


class _Found(NamedTuple):
    """Row of the table for each cutout, -1 for none; what it went by; and the first doubt."""

    rows: Ints
    by: str
    doubt: str = ""


def _match(
    table: dict[str, Array], names: Sequence[str], ra: Doubles, dec: Doubles, folder: Path
) -> _Found:
    tries: list[_Found] = []
    for name in FILE_COLUMNS:
        if name in table and table[name].dtype.kind in "OU":
            candidates = _by_text(table[name], names, folder)
            tries.append(_settle(candidates, name, table, names, ra, dec))
    for name in ID_COLUMNS:
        if name in table and table[name].ndim == 1:
            candidates = _by_id(table[name], names)
            tries.append(_settle(candidates, name, table, names, ra, dec))
    positions = {_kind(table, "ra"), _kind(table, "dec")} <= {"i", "u", "f"}
    if positions and has_position(ra, dec).any():
        tries.append(_Found(_by_position(table["ra"], table["dec"], ra, dec), "position"))
    nothing = _Found(np.full(len(names), -1), "")
    return max(tries, key=lambda one: ((one.rows >= 0).sum(), bool(one.doubt)), default=nothing)


def _settle(
    candidates: Sequence[Sequence[int]],
    by: str,
    table: dict[str, Array],
    names: Sequence[str],
    ra: Doubles,
    dec: Doubles,
) -> _Found:
    """Take the one row of each cutout; rows and cutouts at one place are the same object."""
    rows = np.full(len(names), -1, np.int64)
    cutout_of: dict[int, int] = {}
    doubt = ""
    listed = tuple(table[name] for name in ("ra", "dec") if _kind(table, name) in ("i", "u", "f"))
    for which, found in enumerate(candidates):
        if not found:
            continue
        row = found[0]
        other = next((one for one in found[1:] if not _same_place(listed, row, one)), None)
        if other is not None:
            doubt = doubt or (
                f"its rows {row} and {other} ({table[by][row]} and {table[by][other]} in `{by}`) "
                f"both match {names[which]}"
            )
            continue
        first = cutout_of.setdefault(row, which)
        if first != which and not _same_place((ra, dec), first, which):
            doubt = doubt or (
                f"{names[first]} and {names[which]} both match its row {row} "
                f"({table[by][row]} in `{by}`)"
            )
            rows[first] = -1
            continue
        rows[which] = row
    return _Found(rows, by, doubt)


def _same_place(position: Sequence[Array], one: int, other: int) -> bool:
    if len(position) != 2:
        return False
    here, there = (_unit_vectors(position[0][row], position[1][row]) for row in (one, other))
    return bool(np.linalg.norm(here - there) <= _chord())  # NaN is no place


def _by_text(values: Array, names: Sequence[str], folder: Path) -> list[list[int]]:
    """Rows whose path is that of a cutout, as far as both are given.

    A row that names more folders than agree is another file, such as ``spiral/0001.png`` for
    ``ring/0001``; folders above those of the cutouts may be those of another machine, and decide
    only among several rows.
    """
    paths = [PurePosixPath(str(value).replace("\\", "/")) for value in values]
    exact: dict[str, list[int]] = {}
    loose: dict[str, list[int]] = {}
    for row, path in enumerate(paths):
        for name in {path.name, path.stem}:
            exact.setdefault(name, []).append(row)
        loose.setdefault(path.name.partition(".")[0], []).append(row)
    above = folder.resolve().parts
    folders = [path.parts[:-1] for path in paths]

    def found_in(places: dict[str, list[int]], name: str, within: tuple[str, ...]) -> list[int]:
        agreed = {}
        for row in places.get(name, ()):
            count = _common_tail(folders[row], (*above, *within))
            if count >= min(len(folders[row]), len(within)):
                agreed[row] = count
        return [row for row, count in agreed.items() if count == max(agreed.values())]

    found: list[list[int]] = []
    for name in names:
        *within, last = name.split("/")
        found.append(found_in(exact, last, tuple(within)))
    taken = {row for rows in found for row in rows}
    for which, name in enumerate(names):
        if not found[which]:
            *within, last = name.split("/")
            some = found_in(loose, last, tuple(within))
            found[which] = [row for row in some if row not in taken]
    return found


def _common_tail(one: Sequence[str], other: Sequence[str]) -> int:
    pairs = zip(reversed(one), reversed(other), strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def _by_id(values: Array, names: Sequence[str]) -> list[list[int]]:
    """Rows whose id is the file's name, or the one number in it."""
    places: dict[str, list[int]] = {}
    for row, value in enumerate(values.tolist()):
        places.setdefault(str(value), []).append(row)
    stems = [name.rpartition("/")[2] for name in names]
    found = [places.get(stem, []) for stem in stems]
    if values.dtype.kind in "iu":
        for which, stem in enumerate(stems):
            numbers = re.findall(r"\d+", stem)
            if not found[which] and len(numbers) == 1:
                found[which] = places.get(str(int(numbers[0])), [])
    return found


def _by_position(ra_table: Array, dec_table: Array, ra: Doubles, dec: Doubles) -> Ints:
    from scipy.spatial import KDTree

    rows = np.full(len(ra), -1, np.int64)
    there = np.isfinite(ra_table) & np.isfinite(dec_table)
    here = np.isfinite(ra) & np.isfinite(dec)
    if there.any() and here.any():
        tree = KDTree(_unit_vectors(ra_table[there], dec_table[there]))
        distance, nearest = tree.query(
            _unit_vectors(ra[here], dec[here]), distance_upper_bound=_chord()
        )
        near = np.isfinite(distance)
        rows[np.flatnonzero(here)[near]] = np.flatnonzero(there)[nearest[near]]
    return rows


def _chord() -> float:
    return float(2 * np.sin(np.radians(MATCH_ARCSEC / 3600) / 2))


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
