"""Guess which columns of a catalogue are the id, the position and the redshift."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

from ssl_photoz.core.errors import DataError
from ssl_photoz.core.types import Array

# Names that surveys and archives use, in lower case; the first that is there is taken.
NAMES = {
    "id": ("targetid", "object_id", "objectid", "source_id", "sourceid", "id", "name"),
    "ra": ("ra", "target_ra", "ra_deg", "radeg", "raj2000", "_raj2000", "ra_icrs", "alpha_j2000"),
    "dec": (
        *("dec", "target_dec", "dec_deg", "decdeg", "dej2000", "decj2000", "_dej2000"),
        *("de_icrs", "dec_icrs", "delta_j2000"),
    ),
    "z": ("z_spec", "zspec", "specz", "spec_z", "redshift", "specz_redshift", "z"),
}
# Names of columns that are text or an identifier, whatever their values look like.
NAMING = (
    *("name", "file", "filename", "file_name", "path", "image", "cutout", "key", "designation"),
)
SURVEY_ID = (("release",), ("brickid",), ("brick_objid", "objid"))
DERIVED_ID = "RELEASE, BRICKID and OBJID"
ROW_NUMBERS = "row numbers"


@dataclass(frozen=True)
class Roles:
    """Names of the columns that mean something; null: guessed.

    Attributes:
        id: Identifier of the galaxy: whole numbers or text.
        ra: Right ascension, degrees.
        dec: Declination, degrees.
        z: Spectroscopic redshift.
    """

    id: str | None = None
    ra: str | None = None
    dec: str | None = None
    z: str | None = None


def guess_roles(columns: Mapping[str, Array], given: Roles) -> Roles:
    """Complete what is given with guesses.

    A column `z` beside columns `g` and `r` is taken for a magnitude. An id or a redshift may be
    missing, a position may not.

    Args:
        columns: Columns of the catalogue; names are compared in lower case.
        given: What is known already.

    Raises:
        DataError: If a column that was given is not there, two have one name but for the case, or
            no column looks like a position.
    """
    found = {}
    for role in fields(Roles):
        name = getattr(given, role.name)
        if name is not None and name not in columns:
            raise DataError(f"no column {name!r} for {role.name}; there are {', '.join(columns)}")
        found[role.name] = name or _first(columns, NAMES[role.name])
    if given.z is None and found["z"] in ("z", "Z") and {"g", "r"} <= {c.lower() for c in columns}:
        found["z"] = None
    for role_name in ("ra", "dec"):
        if found[role_name] is None:
            raise DataError(
                f"no column looks like {role_name}; there are {', '.join(columns)}; name it with "
                f"columns.{role_name}="
            )
    return Roles(**found)


def survey_id_columns(columns: Mapping[str, Array]) -> tuple[str, ...] | None:
    """Three columns that identify an object of the Legacy Surveys, if they are there."""
    found = tuple(_first(columns, names) for names in SURVEY_ID)
    return None if None in found else tuple(name for name in found if name is not None)


def is_identifier(name: str) -> bool:
    """Whether a column of that name identifies something, so that ``0123`` is not 123.

    >>> is_identifier("SPECOBJID"), is_identifier("flux_g")
    (True, False)
    """
    lower = name.lower()
    return lower.endswith("id") or lower in NAMES["id"] or lower in NAMING


def _first(columns: Mapping[str, Array], names: tuple[str, ...]) -> str | None:
    for name in names:
        same = [column for column in columns if column.lower() == name]
        if len(same) > 1:
            raise DataError(
                f"columns {' and '.join(same)} differ by case alone; say which one is meant with "
                f"columns.id=, columns.ra=, columns.dec= or columns.z="
            )
        if same:
            return same[0]
    return None
