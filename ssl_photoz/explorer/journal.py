"""Verdicts given on the page: in memory to show, in a file to keep."""

from __future__ import annotations

import threading
from collections import Counter
from pathlib import Path

from ssl_photoz.dwarfs.verdicts import add_verdict, read_verdicts
from ssl_photoz.similarity.catalogue import Catalogue


class Journal:
    """The verdicts file of a run; the last word on a galaxy counts.

    Attributes:
        path: The CSV; made by the first verdict.
    """

    def __init__(self, path: Path, catalogue: Catalogue) -> None:
        self.path = path
        self._catalogue = catalogue
        self._lock = threading.Lock()
        known = read_verdicts(path) if path.exists() else {}
        self._last = {name: line.verdict for name, line in known.items()}

    def of(self, row: int) -> str | None:
        """Return the last verdict on a galaxy; None if it has none."""
        return self._last.get(str(self._catalogue.id[row]))

    def add(self, row: int, verdict: str) -> None:
        """Write a verdict down.

        Raises:
            DataError: If it is none of `ssl_photoz.dwarfs.verdicts.WORDS`.
        """
        name = self._catalogue.id[row]
        ra, dec = float(self._catalogue.ra[row]), float(self._catalogue.dec[row])
        with self._lock:
            line = add_verdict(self.path, id=name, ra=ra, dec=dec, verdict=verdict)
            self._last[line.id] = line.verdict

    def counts(self) -> dict[str, int]:
        """Return how many galaxies last got each verdict."""
        with self._lock:
            return dict(Counter(self._last.values()))
