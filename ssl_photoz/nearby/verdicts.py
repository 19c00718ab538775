"""What people say of candidates: a table that grows by a line for every look."""

from __future__ import annotations

import csv
import datetime
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ssl_photoz.catalog.identity import same_galaxy
from ssl_photoz.core.errors import DataError

WORDS = ("dwarf", "not_dwarf", "junk")
COLUMNS = ("id", "ra", "dec", "verdict", "when")


class Verdict(NamedTuple):
    """One look at one galaxy.

    Attributes:
        id: Identifier, as text.
        ra: Right ascension, degrees; text, as written.
        dec: Declination, degrees; text, as written.
        verdict: One of `WORDS`.
        when: UTC, ISO 8601; may be empty in a file made by hand.
    """

    id: str
    ra: str
    dec: str
    verdict: str
    when: str

    @property
    def place(self) -> tuple[float, float]:
        """Right ascension and declination, degrees; NaN where there is none.

        Raises:
            DataError: If they are no numbers.
        """
        try:
            return float(self.ra or "nan"), float(self.dec or "nan")
        except ValueError:
            raise DataError(
                f"verdict on {self.id}: position {self.ra!r}, {self.dec!r}, expected degrees"
            ) from None


def add_verdict(path: Path, *, id: object, ra: float, dec: float, verdict: str) -> Verdict:
    """Add a line to a CSV of verdicts, which is made if it is not there.

    The line is written in one piece and flushed to the disk; earlier lines are never touched.

    Args:
        path: The CSV.
        id: Identifier of the galaxy.
        ra: Right ascension, degrees.
        dec: Declination, degrees.
        verdict: One of `WORDS`.

    Raises:
        DataError: If the verdict is another word.
    """
    _require_word(verdict, where=f"galaxy {id}")
    when = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    line = Verdict(str(id), f"{ra:.7f}", f"{dec:.7f}", verdict, when)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", newline="") as file:
        writer = csv.writer(file)
        if file.tell() == 0:
            writer.writerow(COLUMNS)
        writer.writerow(line)
        file.flush()
        os.fsync(file.fileno())
    return line


def read_verdicts(path: Path) -> list[Verdict]:
    """Read a CSV of verdicts, the last word on each galaxy.

    Lines whose verdict is empty are still to be filled in, and are passed over.

    Raises:
        DataError: If it has no columns ``id`` and ``verdict``, or a verdict is an unknown word.
    """
    with path.open(newline="") as file:
        reader = csv.DictReader(file)
        missing = {"id", "verdict"} - set(reader.fieldnames or ())
        if missing:
            raise DataError(
                f"{path} has no column {' and no column '.join(sorted(missing))}; expected a CSV "
                f"with the columns {', '.join(COLUMNS)}"
            )
        lines = [Verdict(*(row.get(name) or "" for name in COLUMNS)) for row in reader]
    for number, line in enumerate(lines, 2):
        if line.verdict:
            _require_word(line.verdict, where=f"{path}, line {number}")
    return last_words([line for line in lines if line.verdict])


def last_words(lines: Sequence[Verdict]) -> list[Verdict]:
    """The last of the verdicts on each galaxy; ids tell galaxies apart where positions agree.

    Raises:
        DataError: If a position is no number.
    """
    if not lines:
        return []
    ra, dec = np.array([line.place for line in lines]).T
    galaxy = same_galaxy(np.array([line.id for line in lines], str), ra, dec)
    return list(dict(zip(galaxy.tolist(), lines, strict=True)).values())


def _require_word(verdict: str, *, where: str) -> None:
    if verdict not in WORDS:
        raise DataError(f"{where}: verdict {verdict!r}, expected one of {', '.join(WORDS)}")
