"""The catalogue columns that a query needs, and how to find galaxies in them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from scipy.spatial import cKDTree

from ssl_photoz.catalog.identity import (
    IDENTITY_ARCSEC,
    Identity,
    find_galaxies,
    identity_of,
    means_none,
    same_galaxy,
)
from ssl_photoz.catalog.ids import exact_ids
from ssl_photoz.catalog.redshifts import numbers_of
from ssl_photoz.catalog.sky import (
    PART_ROWS,
    chord_of,
    nearest_rows,
    sphere_points,
    within_radius,
)
from ssl_photoz.catalog.tables import read_table
from ssl_photoz.core.errors import ConfigError, DataError, MismatchError
from ssl_photoz.core.types import Array, Bools, Doubles, Ints
from ssl_photoz.embeddings.store import Embeddings

SAME_OBJECT_ARCSEC = 2.0
PHOTOZ = ("z_phot", "z_lo", "z_hi")


@dataclass(frozen=True)
class Catalogue:
    """Who and where the galaxies of an embeddings folder are; each column has shape (N,).

    Attributes:
        id: Integers or text.
        ra: Right ascension, degrees.
        dec: Declination, degrees.
        z: Redshift, NaN where unknown.
        split: ``train``, ``val`` or ``test``.
        photoz: ``z_phot`` and, where known, its 68 % interval ``z_lo``, ``z_hi``; NaN where a
            galaxy has none. Empty without predictions.
    """

    id: Array
    ra: Doubles
    dec: Doubles
    z: Array
    split: Array
    photoz: Mapping[str, Array] = field(default_factory=dict, kw_only=True)

    @classmethod
    def read(cls, embeddings: Embeddings, mapped: Mapping[str, Array] = {}) -> Catalogue:
        """Read the columns from a store.

        Args:
            embeddings: The store.
            mapped: Columns that are at hand, as those that an index in shards keeps.
        """
        names = ("id", "ra", "dec", "z", "split")
        return cls(*(mapped[one] if one in mapped else embeddings.column(one) for one in names))

    def with_photoz(self, path: Path) -> Catalogue:
        """Catalogue with the predictions of a table that ``ssl-photoz predict`` wrote.

        Raises:
            DataError: If the table cannot be read, or has no columns ``id`` and ``z_phot``.
            MismatchError: If it has none of these galaxies: ids, where it has positions also near
                them.
        """
        table = read_table(path)
        if not {"id", "z_phot"} <= set(table):
            raise DataError(
                f"{path} has the columns {', '.join(table)}; expected id and z_phot: a table that "
                f"ssl-photoz predict wrote"
            )
        theirs = exact_ids(path, "id", table["id"], whole=self.id.dtype.kind in "iu")
        _, ra, dec = identity_of(table)
        place = numbers_of(ra)[0], numbers_of(dec)[0]
        found = find_galaxies((theirs, *place), self.identity)
        if not (found >= 0).any():
            raise MismatchError(
                f"{path} predicts redshifts of {len(table['id'])} galaxies, none of them among "
                f"these {len(self)}; give the predictions for these embeddings"
            )
        columns = {
            name: np.where(found < 0, np.nan, numbers_of(table[name])[0].astype(np.float32)[found])
            for name in PHOTOZ
            if name in table
        }
        return replace(self, photoz=columns)

    def __len__(self) -> int:
        return len(self.id)

    def rows_where(self, split: str, *, labelled: bool) -> Ints:
        """Rows of one split that have a redshift, or that have none."""
        return np.flatnonzero((self.split == split) & (np.isfinite(self.z) == labelled))

    def separation_arcsec(self, ra: float, dec: float) -> Doubles:
        """Each galaxy's distance on the sky from a position, arcsec; NaN is infinity."""
        from astropy.coordinates import angular_separation

        here, there = np.radians([ra, dec]), np.radians([self.ra, self.dec])
        away = 3600 * np.degrees(angular_separation(*here, *there))
        return np.where(np.isnan(away), np.inf, away)

    @property
    def identity(self) -> Identity:
        """What tells galaxies apart: ids, right ascension and declination, each (N,)."""
        return self.id, self.ra, self.dec

    @cached_property
    def points(self) -> Doubles:
        """Positions on the unit sphere, (N, 3); NaN where there are none."""
        return sphere_points(self.ra, self.dec)

    def rows_of(self, ids: Array) -> Ints:
        """Rows that have one of some ids, increasing, found a part of the catalogue at a time.

        Args:
            ids: Integers or text, shape (m,); compared as text, without the spaces around it,
                unless both are integers.
        """
        rows = [np.empty(0, np.int64)]
        numbers = self.id.dtype.kind in "iu" and ids.dtype.kind in "iu"
        wanted = ids if numbers else np.char.strip(ids.astype(str))
        for start in range(0, len(self), PART_ROWS):
            part = self.id[start : start + PART_ROWS]
            part = part if numbers else np.char.strip(part.astype(str))
            rows.append(start + np.flatnonzero(np.isin(part, wanted)))
        return np.concatenate(rows)

    def is_any_of(self, others: Catalogue) -> Bools:
        """Which galaxies are one of the others, shape (N,).

        Those within 2 arcsec of one, and those with its id, unless they lie more than 10 arcsec
        from it: an id at several places, such as a 0 that means none, is no identity. A galaxy
        without a position and with an id that means none is like no other, not even itself.
        """
        same = np.zeros(len(self), bool)
        on_sky = np.isfinite(self.points).all(axis=1)
        there = others.points[np.isfinite(others.points).all(axis=1)]
        if len(there) and on_sky.any():
            chords, _ = cKDTree(there).query(self.points[on_sky])
            same[on_sky] = chords < chord_of(SAME_OBJECT_ARCSEC)
        none = means_none(self.id)
        order = np.argsort(others.id, kind="stable")
        sought = others.id[order]
        first, last = (np.searchsorted(sought, self.id, side) for side in ("left", "right"))
        for row in np.flatnonzero(last > first):
            namesakes = others.points[order[first[row] : last[row]]]
            apart = np.linalg.norm(namesakes - self.points[row], axis=1)
            close = apart <= chord_of(IDENTITY_ARCSEC)
            same[row] |= bool((close | (np.isnan(apart) & ~none[row])).any())
        return same

    def take(self, rows: Ints) -> Catalogue:
        """Catalogue of some rows, in the order given."""
        columns = (self.id, self.ra, self.dec, self.z, self.split)
        photoz = {name: values[rows] for name, values in self.photoz.items()}
        return Catalogue(*(column[rows] for column in columns), photoz=photoz)


def find_id(embeddings: Embeddings, catalogue: Catalogue, wanted: str) -> int:
    """Row of the galaxy with an id; the first, if it has several.

    Args:
        embeddings: The store, for its rejects table.
        catalogue: Its catalogue.
        wanted: The id as text; compared as a number where ids are numbers.

    Raises:
        DataError: If there is none, which says so if its cutout was rejected when embedding, or if
            several galaxies share the id.
    """
    matches = np.empty(0, np.int64)
    if catalogue.id.dtype.kind not in "iu":
        matches = catalogue.rows_of(np.array([wanted]))
        matches = matches[catalogue.id[matches].astype(str) == wanted]
    elif re.fullmatch(r"0|-?[1-9][0-9]*", wanted.strip()):  # 0123 is not galaxy 123
        with suppress(OverflowError):
            matches = catalogue.rows_of(np.array([int(wanted)], catalogue.id.dtype))
    if len(matches):
        galaxies = len(np.unique(same_galaxy(*catalogue.take(matches).identity)))
        if galaxies > 1:
            raise DataError(
                f"{galaxies} galaxies at different places share the id {wanted}; query by ra= and "
                f"dec= instead"
            )
        return int(matches[0])
    rejects = pq.read_table(embeddings.folder / "rejects.parquet").to_pylist()
    reasons = [reject["reason"] for reject in rejects if reject["id"] == wanted]
    if reasons:
        raise DataError(f"galaxy {wanted} has no embedding: its cutout was rejected, {reasons[0]}")
    raise DataError(
        f"no galaxy has id {wanted!r} among the {len(catalogue)} of {embeddings.folder}; ids there "
        f"look like {catalogue.id[0]}; query by ra= and dec= instead, or by cutout="
    )


def find_position(
    catalogue: Catalogue, ra: float, dec: float, *, radius_arcsec: float
) -> tuple[Ints, Doubles]:
    """Rows of the galaxies around a position, degrees, nearest first.

    Returns:
        Rows (n,), at least one, and their separations, arcsec, (n,).

    Raises:
        ConfigError: If the position is not on the sky, or the radius is not positive.
        DataError: If none is within the radius; says how far the nearest is.
    """
    if not (0 <= ra <= 360 and -90 <= dec <= 90):
        raise ConfigError(f"RA {ra}, Dec {dec}: expected degrees, 0 to 360 and -90 to 90")
    if not radius_arcsec > 0:
        raise ConfigError(f"radius_arcsec is {radius_arcsec}, expected more than 0")
    place = catalogue.ra, catalogue.dec
    rows, away = within_radius(*place, ra, dec, radius_arcsec=radius_arcsec)
    if len(rows):
        return rows, away
    (nearest,), (arcsec,) = nearest_rows(*place, np.array([ra]), np.array([dec]))
    if nearest < 0:
        raise DataError(f"none of these {len(catalogue)} galaxies has a position; query by id")
    raise DataError(
        f'no galaxy within {radius_arcsec:g}" of RA {ra:g}, Dec {dec:g}; the nearest, '
        f'{catalogue.id[nearest]}, is {arcsec:.6g}" away; raise radius_arcsec= if that '
        f"is the one meant"
    )
