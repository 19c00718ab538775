"""The catalogue columns that a query needs, and how to find a galaxy in them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow.parquet as pq

from ssl_photoz.embeddings.store import Embeddings
from ssl_photoz.errors import ConfigError, DataError
from ssl_photoz.types import Array, Bools, Doubles, Ints

SAME_OBJECT_ARCSEC = 2.0


@dataclass(frozen=True)
class Catalogue:
    """Who and where the galaxies of an embeddings folder are; each column has shape (N,).

    Attributes:
        id: Integers or text.
        ra: Right ascension, degrees.
        dec: Declination, degrees.
        z: Redshift, NaN where unknown.
        split: ``train``, ``val`` or ``test``.
    """

    id: Array
    ra: Doubles
    dec: Doubles
    z: Array
    split: Array

    @classmethod
    def read(cls, embeddings: Embeddings) -> Catalogue:
        """Read the columns from a store."""
        names = ("id", "ra", "dec", "z", "split")
        return cls(*(embeddings.column(name) for name in names))

    def __len__(self) -> int:
        return len(self.id)

    def rows_where(self, split: str, *, labelled: bool) -> Ints:
        """Return the rows of one split that have a redshift, or that have none."""
        return np.flatnonzero((self.split == split) & (np.isfinite(self.z) == labelled))

    def separation_arcsec(self, ra: float, dec: float) -> Doubles:
        """Return each galaxy's distance on the sky from a position, arcsec; NaN is infinity."""
        from astropy.coordinates import angular_separation

        here, there = np.radians([ra, dec]), np.radians([self.ra, self.dec])
        away = 3600 * np.degrees(angular_separation(*here, *there))
        return np.where(np.isnan(away), np.inf, away)

    def take(self, rows: Ints) -> Catalogue:
        """Return the catalogue of some rows, in the order given."""
        return Catalogue(*(column[rows] for column in vars(self).values()))

    def same_object(self, other: Catalogue, row: int) -> Bools:
        """Say which rows are row ``row`` of another catalogue: same id, or within 2 arcsec."""
        near = self.separation_arcsec(other.ra[row], other.dec[row]) < SAME_OBJECT_ARCSEC
        same: Bools = near | (self.id == other.id[row])
        return same


def find_id(embeddings: Embeddings, catalogue: Catalogue, wanted: str) -> int:
    """Return the row of the galaxy with an id; of the first, if the id is repeated.

    Args:
        embeddings: The store, for its rejects table.
        catalogue: Its catalogue.
        wanted: The id as text; compared as a number where ids are numbers.

    Raises:
        DataError: If there is none; says so if its cutout was rejected when embedding.
    """
    if catalogue.id.dtype.kind in "iu":
        number = int(wanted) if wanted.strip().removeprefix("-").isdigit() else None
        matches = np.flatnonzero(catalogue.id == number)
    else:
        matches = np.flatnonzero(catalogue.id.astype(str) == wanted)
    if len(matches):
        return int(matches[0])
    rejects = pq.read_table(embeddings.folder / "rejects.parquet").to_pylist()
    reasons = [reject["reason"] for reject in rejects if reject["id"] == wanted]
    if reasons:
        raise DataError(f"galaxy {wanted} has no embedding: its cutout was rejected, {reasons[0]}")
    raise DataError(
        f"no galaxy has id {wanted!r} among the {len(catalogue)} of {embeddings.folder}; ids there "
        f"look like {catalogue.id[0]}; query by ra= and dec= instead, or by cutout="
    )


def find_position(catalogue: Catalogue, ra: float, dec: float, *, radius_arcsec: float) -> int:
    """Return the row of the galaxy nearest to a position, degrees.

    Raises:
        ConfigError: If the position is not on the sky, or the radius is not positive.
        DataError: If none is within the radius; says how far the nearest is.
    """
    if not (0 <= ra <= 360 and -90 <= dec <= 90):
        raise ConfigError(f"RA {ra}, Dec {dec}: expected degrees, 0 to 360 and -90 to 90")
    if not radius_arcsec > 0:
        raise ConfigError(f"radius_arcsec is {radius_arcsec}, expected more than 0")
    away = catalogue.separation_arcsec(ra, dec)
    nearest = int(np.argmin(away))
    if away[nearest] > radius_arcsec:
        raise DataError(
            f'no galaxy within {radius_arcsec:g}" of RA {ra:g}, Dec {dec:g}; the nearest, '
            f'{catalogue.id[nearest]}, is {away[nearest]:.6g}" away; raise radius_arcsec= if that '
            f"is the one meant"
        )
    return nearest
