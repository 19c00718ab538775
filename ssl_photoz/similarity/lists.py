"""Lists of galaxies that somebody brings: by id or by position, matched to the catalogue."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ssl_photoz.catalog.identity import find_galaxies, find_ids
from ssl_photoz.catalog.ids import exact_ids, refuse_rows
from ssl_photoz.catalog.redshifts import numbers_of
from ssl_photoz.catalog.sky import nearest_rows
from ssl_photoz.catalog.tables import read_table
from ssl_photoz.core.errors import DataError
from ssl_photoz.core.types import Array, Bools, Doubles, Ints
from ssl_photoz.embeddings.store import Embeddings
from ssl_photoz.similarity.catalogue import Catalogue
from ssl_photoz.similarity.settings import MatchConfig, Missing

MAX_ROWS = 100_000
MAX_BYTES = 64 << 20


class Listed(NamedTuple):
    """Galaxies of a list that are in the catalogue.

    Attributes:
        rows: Their catalogue rows, each once, in the order of the list.
        absent: Those that are not there, as text.
    """

    rows: Ints
    absent: tuple[str, ...]


def read_list(
    path: Path,
    catalogue: Catalogue,
    config: MatchConfig = MatchConfig(),
    *,
    max_rows: int = MAX_ROWS,
) -> Listed:
    """Match a table of galaxies to the catalogue.

    Args:
        path: CSV, FITS, VOTable (.vot) or Parquet with a column ``id`` or ``targetid``, or else
            with ``ra`` and ``dec``, degrees; in any case of letters.
        catalogue: Catalogue to find them in.
        config: How far from a listed position its galaxy may be, and what to do with galaxies that
            are not in the catalogue.
        max_rows: Refuse a longer list.

    Raises:
        DataError: If the table cannot be read, is empty or too long, lacks the columns, holds
            ids or positions that are none, or galaxies that are not in the catalogue (with
            ``missing="skip"``: if none is).
    """
    if path.is_file() and path.stat().st_size > MAX_BYTES:
        raise DataError(f"{path} is larger than {MAX_BYTES >> 20} MiB: too large for a list")
    table = read_table(path, max_rows=max_rows)
    columns = {name.lower(): values for name, values in reversed(table.items())}
    if columns and not len(next(iter(columns.values()))):
        raise DataError(f"{path} is empty: it has columns but no rows; list at least one galaxy")
    for name in ("id", "targetid"):
        if name in columns:
            ids = exact_ids(path, name, columns[name], whole=catalogue.id.dtype.kind in "iu")
            ra, dec = columns.get("ra"), columns.get("dec")
            if ra is None or dec is None:
                return match_ids(ids, catalogue, config)
            place = numbers_of(ra)[0], numbers_of(dec)[0]
            return match_ids(ids, catalogue, config, place=place)
    if {"ra", "dec"} <= set(columns):
        ra, dec = (_real(path, name, columns[name]) for name in ("ra", "dec"))
        refuse_rows(
            f"{path}:", ~((ra >= 0) & (ra <= 360) & (np.abs(dec) <= 90)), "no position on the sky"
        )
        return match_positions(ra, dec, catalogue, config)
    raise DataError(
        f"{path} has the columns {', '.join(table) or '(none)'}; expected id or targetid, or ra "
        f"and dec in degrees"
    )


def match_ids(
    ids: Array,
    catalogue: Catalogue,
    config: MatchConfig = MatchConfig(),
    *,
    place: tuple[Doubles, Doubles] | None = None,
) -> Listed:
    """Find galaxies by id, integers or text, shape (m,).

    Args:
        ids: Their ids.
        catalogue: Catalogue to find them in.
        config: What to do with galaxies that are not there.
        place: Right ascension and declination, degrees, (m,) each: where they are known, they say
            which of several galaxies that share an id is meant.

    Raises:
        DataError: If there are none, if some are unknown, or if several galaxies share an id: how
            many, and which.
    """
    if not len(ids):
        raise DataError("the list of galaxies is empty; give at least one id")
    nowhere = np.full(len(ids), np.nan)
    namesakes = catalogue.rows_of(ids)
    among = catalogue.take(namesakes)
    places = np.full(len(ids), -1, np.int64)
    if len(among):
        places = find_galaxies(among.identity, (ids, nowhere, nowhere))
    if place is not None and len(among):
        places = np.where(places < 0, find_galaxies(among.identity, (ids, *place)), places)
    rows = np.where(places < 0, -1, np.append(namesakes, -1)[places])
    shared = (rows < 0) & (find_ids(among.id, ids) >= 0)
    if shared.any():
        raise DataError(
            f"{int(shared.sum())} of {len(ids)} listed galaxies have an id that several galaxies "
            f"share, such as {ids[shared][0]}; list them with their ra and dec"
        )
    absent = tuple(str(one) for one in ids[rows < 0])
    hint = f"ids there look like {catalogue.id[0]}" if len(catalogue) else "it is empty"
    return _listed(rows, absent, f"are not in the catalogue ({hint})", config.missing)


def match_positions(
    ra: Array,
    dec: Array,
    catalogue: Catalogue,
    config: MatchConfig = MatchConfig(),
) -> Listed:
    """Find the galaxies nearest to positions, degrees, finite, shape (m,).

    Raises:
        DataError: If some have no galaxy within the radius: how many, and which.
    """
    radius_arcsec = config.radius_arcsec
    rows, away = nearest_rows(catalogue.ra, catalogue.dec, ra, dec)
    far = away > radius_arcsec
    absent = tuple(f"({a:.6f}, {d:.6f})" for a, d in zip(ra[far], dec[far], strict=True))
    what = f'have no galaxy within {radius_arcsec:g}" of their position (RA, Dec)'
    return _listed(np.where(far, -1, rows), absent, what, config.missing)


def _listed(rows: Ints, absent: tuple[str, ...], what: str, missing: Missing) -> Listed:
    if absent and (missing == "refuse" or len(absent) == len(rows)):
        some = ", ".join(absent[:5]) + (", ..." if len(absent) > 5 else "")
        advice = "" if len(absent) == len(rows) else "; mend the list, or give missing=skip"
        raise DataError(f"{len(absent)} of {len(rows)} listed galaxies {what}: {some}{advice}")
    found = rows[rows >= 0]
    return Listed(found[np.sort(np.unique(found, return_index=True)[1])], absent)


def _real(path: Path, name: str, values: Array) -> Array:
    if values.dtype.kind not in "iuf":
        raise DataError(
            f"{path}: column {name} holds {values.dtype} such as {values[0]!r}; expected degrees "
            f"as numbers"
        )
    return values.astype(np.float64)


def rows_to_hide(
    embeddings: Embeddings, *, columns: Sequence[str] = (), listed: Path | None = None
) -> Bools | None:
    """Which rows to hide, shape (N,); None if nothing was asked for.

    Args:
        embeddings: The indexed store.
        columns: Columns of it: rows where one is true (not zero, not NaN) are hidden.
        listed: A table with a column ``id``, or ``ra`` and ``dec``; every row of a galaxy in it is
            hidden, and galaxies that the store does not have are passed over.

    Raises:
        ArtefactError: If there is no such column.
        DataError: If a column is not of numbers or truth values, if none of the list is in the
            store, or if every row would be hidden.
    """
    if not columns and listed is None:
        return None
    hidden = np.zeros(len(embeddings), bool)
    for name in columns:
        values = embeddings.column(name)
        if values.ndim != 1 or values.dtype.kind not in "biuf":
            raise DataError(
                f"column {name} holds {values.dtype} of shape {values.shape}, expected one truth "
                f"value or number per row; hide= takes such columns"
            )
        hidden |= (values == values) & (values != 0)
    if listed is not None:
        catalogue = Catalogue.read(embeddings)
        rows = read_list(listed, catalogue, MatchConfig(missing="skip")).rows
        hidden |= catalogue.is_any_of(catalogue.take(rows))
        hidden[rows] = True
    if hidden.all():
        raise DataError(f"hide= would hide every one of {len(hidden)} galaxies; hide fewer")
    return hidden
