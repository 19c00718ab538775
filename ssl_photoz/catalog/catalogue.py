"""A catalogue: any table with positions, read whole; its columns are small beside its cutouts."""

from __future__ import annotations

import gzip
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ssl_photoz.catalog.columns import (
    DERIVED_ID,
    ROW_NUMBERS,
    Roles,
    guess_roles,
    survey_id_columns,
)
from ssl_photoz.catalog.identity import describe_shared
from ssl_photoz.catalog.ids import is_rounded
from ssl_photoz.catalog.redshifts import numbers_of, read_redshifts
from ssl_photoz.catalog.tables import SUFFIXES, from_astropy, read_table, read_text_table
from ssl_photoz.core.errors import DataError
from ssl_photoz.core.types import Array, Doubles

# Beyond those that `read_table` reads: name of the format; `ascii`: astropy guesses.
ALSO = {
    **{".fit": "fits", ".fits.gz": "fits", ".fit.gz": "fits"},
    **{".csv.gz": "csv", ".tsv": "csv", ".ecsv": "ascii.ecsv", ".txt": "ascii", ".dat": "ascii"},
}
OBJID_BITS, BRICKID_BITS = 22, 20


@dataclass(frozen=True)
class Catalogue:
    """Columns by name, and which of them are the id, the position and the redshift.

    Attributes:
        path: The table.
        columns: Name to values, shape (N,).
        roles: Names of the columns with a meaning; None where there is none.
        ids: Whole numbers (int64) or text, shape (N,).
        ids_from: What the ids are: a column, `DERIVED_ID`, or `ROW_NUMBERS`.
    """

    path: Path
    columns: dict[str, Array]
    roles: Roles
    ids: Array
    ids_from: str

    def __len__(self) -> int:
        return len(self.ids)

    def find(self, *names: str) -> Array | None:
        """First column with one of these names, in any case, or None."""
        lower = {name.lower(): name for name in self.columns}
        for name in names:
            if name.lower() in lower:
                return self.columns[lower[name.lower()]]
        return None

    @property
    def ra(self) -> Doubles:
        """Right ascension, degrees, (N,)."""
        return self._degrees("ra")

    @property
    def dec(self) -> Doubles:
        """Declination, degrees, (N,)."""
        return self._degrees("dec")

    @property
    def z(self) -> Doubles:
        """Redshift, NaN where unknown, (N,)."""
        if self.roles.z is None:
            return np.full(len(self), np.nan)
        return read_redshifts(self.columns[self.roles.z]).z

    @property
    def simulated(self) -> bool:
        """Whether a column says that some of the galaxies are simulated."""
        found = self.find("simulated")
        return found is not None and bool((found == True).any())  # noqa: E712

    def as_text(self) -> str:
        """Say how the catalogue was read, one line for each column with a meaning."""
        z = "none found; columns.z= names it"
        if self.roles.z:
            z = f"{self.roles.z}; {read_redshifts(self.columns[self.roles.z]).as_text()}"
        repeated = len(self) - len(np.unique(self.ids))
        shared = describe_shared(self.ids, self.ra, self.dec)
        lines = [
            f"{self.path}: {len(self)} rows" + (" (SIMULATED)" if self.simulated else ""),
            f"  ids        {self.ids_from}; {repeated} rows repeat an id",
            *([f"             {shared}"] if shared else []),
            f"  position   {self.roles.ra}, {self.roles.dec} (degrees)",
            f"  redshift   {z}",
        ]
        if left_out := getattr(self.columns, "left_out", ()):
            some = ", ".join(left_out[:8]) + (", ..." if len(left_out) > 8 else "")
            lines.append(f"  left out   {len(left_out)}, with a list or bytes per row: {some}")
        if len(self) >= 20 and np.nanmax(self.ra) <= 24:
            lines.append("  CAUTION    no right ascension is above 24: degrees, or hours?")
        return "\n".join(lines)

    def _degrees(self, role: str) -> Doubles:
        name = getattr(self.roles, role)
        degrees, words = numbers_of(self.columns[name])
        if words:
            raise DataError(
                f"{self.path}: `{name}` holds {len(words)} texts, such as {words[0]!r}, expected "
                f"decimal degrees; convert it, or name another column with columns.{role}="
            )
        return degrees


def read_catalogue(path: Path, columns: Roles | None = None) -> Catalogue:
    """Read a table and guess what its columns mean.

    Args:
        path: Parquet, FITS, CSV or VOTable by its suffix; also compressed FITS and CSV, ECSV,
            and text tables that astropy recognises. Columns with a list per row are left out.
        columns: Names of columns, where the guess would be wrong.

    Raises:
        DataError: If the table cannot be read, is empty, has no positions, or has ids that lost
            digits.
    """
    columns = columns or Roles()
    read = _read(path, [columns.id] if columns.id else [])
    if not read or not len(next(iter(read.values()))):
        raise DataError(f"{path} has no rows")
    roles = guess_roles(read, columns)
    ids, ids_from = _ids(path, read, roles.id)
    return Catalogue(path, read, roles, ids, ids_from)


def _read(path: Path, ids: Collection[str]) -> dict[str, Array]:
    name = path.name.lower()
    ending = next((ending for ending in sorted(ALSO, key=len)[::-1] if name.endswith(ending)), None)
    if ending is None or path.suffix.lower() in SUFFIXES:
        return read_table(path, ids=ids)
    if not path.is_file():
        raise DataError(f"no table {path}")
    if ALSO[ending] != "fits":
        return read_text_table(path, ALSO[ending], ids=ids)
    from astropy.table import Table

    try:
        with gzip.open(path) if name.endswith(".gz") else path.open("rb") as file:
            table = Table.read(file, format="fits", mask_invalid=False)
        table.convert_bytestring_to_unicode()
        return from_astropy(table)
    except Exception as error:  # readers of foreign formats raise whatever they stumble over
        detail = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise DataError(f"{path} cannot be read as a {ending} table ({detail})") from None


def _ids(path: Path, columns: dict[str, Array], name: str | None) -> tuple[Array, str]:
    if name is not None:
        return _exact(path, name, columns[name]), name
    parts = survey_id_columns(columns)
    if parts is not None:
        return target_id(*(_exact(path, part, columns[part]) for part in parts)), DERIVED_ID
    return np.arange(len(next(iter(columns.values())))), ROW_NUMBERS


def target_id(release: Array, brickid: Array, objid: Array) -> Array:
    """TARGETID that DESI gives an object of the Legacy Surveys, int64, (N,).

    Bits 0 to 21 hold the number of the object in its brick, 22 to 41 the brick, 42 to 57 the
    release [1].

    References:
        [1] desidatamodel.readthedocs.io, TARGETID; Myers et al. 2023, AJ 165, 50, table 2.
    """
    parts = (part.astype(np.int64) for part in (release, brickid, objid))
    release, brickid, objid = parts
    combined: Array = (release << (OBJID_BITS + BRICKID_BITS)) | (brickid << OBJID_BITS) | objid
    return combined


def _exact(path: Path, name: str, values: Array) -> Array:
    """Ids as int64 or text; numbers that may have been rounded are refused."""
    if values.dtype.kind == "i" or (values.dtype.kind == "u" and (values < 2**63).all()):
        return values.astype(np.int64)
    text = values.dtype.kind in "OSU" and all(isinstance(v, str) and v for v in values.tolist())
    if text and not is_rounded(values):
        return values.astype(str)
    nothing = sum(one is None or one != one or one == "" for one in values.tolist())
    raise DataError(
        f"{path}: ids in `{name}` are {'text' if text else values.dtype}, {nothing} of "
        f"{len(values)} missing, expected whole numbers of 64 bits or text, none missing; a "
        f"floating-point id has lost its last digits: write the table again, or name another "
        f"column with columns.id="
    )
