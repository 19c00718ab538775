"""What the page says of a galaxy, of its look-alikes, and of a selection."""

from __future__ import annotations

import math
import tempfile
import threading
from collections import Counter
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from ssl_photoz.catalog.tables import write_table
from ssl_photoz.core.errors import DataError
from ssl_photoz.core.types import Array, Floats, Ints
from ssl_photoz.explorer.run import Columns, Rows, Run
from ssl_photoz.nearby.truth import words_of
from ssl_photoz.nearby.verdicts import add_verdict, last_words, read_verdicts
from ssl_photoz.similarity.catalogue import Catalogue
from ssl_photoz.similarity.query import LookAlikes, look_alikes

VIEWER = "https://www.legacysurvey.org/viewer?ra={ra:.6f}&dec={dec:.6f}&layer=ls-dr9&zoom=15"
Format = Literal["csv", "fits"]
Facts = dict[str, Any]
LONGEST_QUERY = 100
NEAR_ARCSEC = 30.0
MOST_MATCHES = 20


class Galaxies:
    """Answers about the galaxies of a run, as plain values for JSON; NaN becomes None.

    Attributes:
        run: The run.
        rows: Embeddings and pictures by row.
        columns: Columns to colour galaxies by: redshifts first, densities next.
        journal: The verdicts.
    """

    def __init__(self, run: Run, rows: Rows, journal: Journal, *, k: int) -> None:
        self.run = run
        self.rows = rows
        self.journal = journal
        self._k = k
        self.columns = Columns(run.embeddings, _redshifts(run))

    def line(self, row: int) -> Facts:
        """Who and where a galaxy is, in one line of a table."""
        catalogue, densities = self.run.catalogue, self.run.densities
        z_phot = densities.summary.get("z_phot") if densities is not None else None
        return {
            "row": row,
            "id": str(catalogue.id[row]),  # a 64-bit integer is more than JavaScript can hold
            "ra": _degrees(catalogue.ra[row]),
            "dec": _degrees(catalogue.dec[row]),
            "z": _plain(catalogue.z[row]),
            "z_phot": None if z_phot is None else _plain(z_phot[row]),
            "verdict": self.journal.of(row),
        }

    def about(self, row: int) -> Facts:
        """Say all there is to say of a galaxy, with its look-alikes."""
        line = self.line(row)
        placed = math.isfinite(self.run.places[row, 0])
        here = None not in (line["ra"], line["dec"])
        return {
            **line,
            "place": self.run.places[row].tolist() if placed else None,
            "viewer": VIEWER.format(ra=line["ra"], dec=line["dec"]) if here else None,
            "columns": self._said(row),
            "density": self._density(row),
            "look_alikes": self.look_alikes(self.rows.vector(row), row=row),
        }

    def look_alikes(self, vector: Floats, *, row: int | None) -> Facts:
        """Find the galaxies most like a vector, shape (D,), or like a row and its vector."""
        run = self.run
        answer: LookAlikes = look_alikes(run.index, run.catalogue, vector, k=self._k, row=row)
        near = zip(answer.rows.tolist(), answer.distances.tolist(), strict=True)
        return {
            "galaxies": [{**self.line(one), "distance": round(away, 5)} for one, away in near],
            "repeats": answer.repeats,
        }

    def matches(self, found: list[Match]) -> list[Facts]:
        """Lines of a search."""
        return [{**self.line(m.row), "separation_arcsec": m.separation_arcsec} for m in found]

    def table(self, rows: Ints, kind: Format) -> bytes:
        """Table of some galaxies, with every plain column of the store, as a file.

        Args:
            rows: Catalogue rows, shape (n,).
            kind: Its format.

        Raises:
            DataError: If the format cannot hold a column, such as text beyond ASCII in FITS.
        """
        catalogue = self.run.catalogue
        table = {name: getattr(catalogue, name)[rows] for name in ("id", "ra", "dec")}
        for number, column in enumerate(self.columns.listed):
            table[column.name] = self.columns.values(number)[rows]
        table["verdict"] = np.array([self.journal.of(row) or "" for row in rows.tolist()], str)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"selection.{kind}"
            try:
                write_table(path, table, simulated=self.run.simulated)
            except DataError as error:  # without the path, which is none of the reader's
                reason = str(error).removeprefix(f"out={path}: ")
                raise DataError(f"{kind} cannot hold this selection: {reason}") from None
            return path.read_bytes()

    def _said(self, row: int) -> list[tuple[str, Any]]:
        stored, extra = self.rows.columns(row), self.columns.extra
        names = (column.name for column in self.columns.listed)
        return [
            (name, _plain(extra[name][row] if name in extra else stored[name])) for name in names
        ]

    def _density(self, row: int) -> Facts | None:
        found = self.run.densities and self.run.densities.of(row)
        if not found:
            return None
        pdf = np.round(np.nan_to_num(found.pop("pdf")).astype(float), 4).tolist()
        return {"pdf": pdf, **{name: _plain(value) for name, value in found.items()}}


def _redshifts(run: Run) -> dict[str, Array]:
    """Redshifts by name, (N,) each: measured, estimated, and the residual."""
    z = np.asarray(run.catalogue.z, np.float32)
    columns: dict[str, Array] = {"z": z}
    if run.densities is not None:
        columns |= run.densities.summary
        if "z_phot" in columns:
            columns["residual"] = (columns["z_phot"] - z) / (1 + z)
    return columns


def _plain(value: Any) -> float | int | str | None:  # noqa: ANN401 - whatever a column holds
    """What JSON and JavaScript can hold of a value.

    >>> _plain(np.float32(0.1)), _plain(float("nan")), _plain(2**60)
    (0.1, None, '1152921504606846976')
    """
    value = value.item() if isinstance(value, np.generic) else value
    if isinstance(value, float):
        return float(f"{value:.7g}") if math.isfinite(value) else None
    if value is None or (isinstance(value, int) and abs(value) < 2**53):
        return value
    return str(value)[:200]


def _degrees(value: float) -> float | None:
    return round(float(value), 7) if math.isfinite(value) else None


class Journal:
    """The verdicts file of a run; the last word on a galaxy counts.

    Attributes:
        path: The CSV; made by the first verdict.
    """

    def __init__(self, path: Path, catalogue: Catalogue) -> None:
        self.path = path
        self._catalogue = catalogue
        self._lock = threading.Lock()
        self._last = read_verdicts(path) if path.exists() else []
        self._words = words_of(catalogue, self._last).words

    def of(self, row: int) -> str | None:
        """Last verdict on a galaxy; None if it has none."""
        return str(self._words[row]) or None

    def add(self, row: int, verdict: str) -> None:
        """Write a verdict down.

        Raises:
            DataError: If it is none of `ssl_photoz.nearby.verdicts.WORDS`.
        """
        name = self._catalogue.id[row]
        ra, dec = float(self._catalogue.ra[row]), float(self._catalogue.dec[row])
        with self._lock:
            line = add_verdict(self.path, id=name, ra=ra, dec=dec, verdict=verdict)
            self._last = last_words([*self._last, line])
            namesakes = np.flatnonzero(self._catalogue.id == name)
            near = self._catalogue.take(namesakes)
            itself = near.is_any_of(near.take(np.flatnonzero(namesakes == row)))
            self._words[namesakes[itself | (namesakes == row)]] = verdict

    def counts(self) -> dict[str, int]:
        """How many galaxies last got each verdict."""
        with self._lock:
            return dict(Counter(line.verdict for line in self._last))


class Match(NamedTuple):
    """A galaxy that answers a search.

    Attributes:
        row: Catalogue row.
        separation_arcsec: Distance from the position asked for; None for a search by id.
    """

    row: int
    separation_arcsec: float | None


def search(catalogue: Catalogue, asked: str) -> list[Match]:
    """Find galaxies by id, or by right ascension and declination in degrees.

    Args:
        catalogue: Catalogue to look in.
        asked: One word: an id. Two numbers with a blank or a comma between them: a position.

    Returns:
        Every galaxy with the id; or those within 30 arcsec of the position, nearest first, or
        else the nearest one, at most 20. Never empty.

    Raises:
        DataError: If there is no such id, the position is not on the sky, or it is neither.
    """
    asked = asked.strip()
    if not asked or len(asked) > LONGEST_QUERY:
        raise DataError("nothing to search for; give a TARGETID, or RA and Dec in degrees")
    position = _position(asked)
    if position is not None:
        return _near(catalogue, *position)
    rows = _with_id(catalogue, asked)
    if not len(rows):
        raise DataError(
            f"no galaxy of this run has the id {asked!r}; ids here look like {catalogue.id[0]}; "
            f"or give RA and Dec in degrees, such as 150.1 2.2"
        )
    return [Match(int(row), None) for row in rows[:MOST_MATCHES]]


def _position(asked: str) -> tuple[float, float] | None:
    words = asked.replace(",", " ").split()
    if len(words) != 2:
        return None
    try:
        ra, dec = map(float, words)
    except ValueError:
        return None
    if not (0 <= ra <= 360 and -90 <= dec <= 90):
        raise DataError(f"RA {ra}, Dec {dec}: expected degrees, 0 to 360 and -90 to 90")
    return ra, dec


def _near(catalogue: Catalogue, ra: float, dec: float) -> list[Match]:
    away = catalogue.separation_arcsec(ra, dec)
    near = np.flatnonzero(away <= NEAR_ARCSEC)
    if not len(near):
        near = np.array([np.argmin(away)])
    if not math.isfinite(away[near[0]]):
        raise DataError("no galaxy of this run has a position")
    near = near[np.argsort(away[near], kind="stable")][:MOST_MATCHES]
    return [Match(int(row), float(away[row])) for row in near]


def _with_id(catalogue: Catalogue, asked: str) -> Array:
    if catalogue.id.dtype.kind not in "iu":
        return np.flatnonzero(catalogue.id.astype(str) == asked)
    digits = asked.removeprefix("-")
    if not (digits.isascii() and digits.isdigit()):
        return np.empty(0, np.int64)
    return np.flatnonzero(catalogue.id == int(asked))
