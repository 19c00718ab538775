"""Some of the rows of stored cutouts, as if there were no others."""

from __future__ import annotations

from dataclasses import replace

from ssl_photoz.core.types import Array, Ints
from ssl_photoz.cutouts.formats.stored import Stored
from ssl_photoz.cutouts.reader import Cutouts


class Chosen:
    """Rows of stored cutouts; see `Stored`.

    Args:
        stored: All of them.
        rows: Those to keep, increasing, shape (M,).
    """

    def __init__(self, stored: Stored, rows: Ints) -> None:
        self._stored, self._rows = stored, rows
        self.source = replace(stored.source, rows=len(rows))
        self.columns, self.left_out = stored.columns, stored.left_out
        self.attributes = stored.attributes

    def column(self, name: str) -> Array:
        """Read a column of the rows that are kept."""
        values: Array = self._stored.column(name)[self._rows]
        return values

    def read(self, rows: Ints, pixels: Array, crop: slice) -> None:
        """Read rows, numbered among those that are kept, into an array."""
        self._stored.read(self._rows[rows], pixels, crop)

    def faults(self, rows: Ints) -> dict[int, str]:
        """Return what the format itself finds wrong with some of the rows."""
        ask = getattr(self._stored, "faults", None)
        if ask is None:
            return {}
        found = ask(self._rows[rows])
        return {
            int(row): found[int(kept)]
            for row, kept in zip(rows, self._rows[rows], strict=True)
            if int(kept) in found
        }

    def close(self) -> None:
        """Close what is underneath."""
        self._stored.close()


def choose(cutouts: Cutouts, rows: Ints) -> Cutouts:
    """Return the cutouts of some rows, increasing; an id that is not stored counts those kept."""
    return Cutouts(Chosen(cutouts.stored, rows))
