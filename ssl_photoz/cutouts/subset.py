"""Some of the rows of stored cutouts, as if there were no others."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np

from ssl_photoz.core.types import Array, Ints
from ssl_photoz.cutouts.formats.stored import Stored, Wrapped
from ssl_photoz.cutouts.reader import Cutouts


class Subset(Wrapped):
    """Rows of stored cutouts; see `Stored`.

    Args:
        stored: All of them.
        rows: Rows to keep, increasing, shape (M,).
    """

    def __init__(self, stored: Stored, rows: Ints) -> None:
        super().__init__(stored)
        self._rows, self.is_subset = rows, True
        self.digest = hashlib.sha256(np.asarray(rows, np.int64).tobytes()).hexdigest()
        self.source = replace(stored.source, rows=len(rows))

    def column(self, name: str) -> Array:
        """Column of the rows that are kept."""
        values: Array = super().column(name)[self._rows]
        return values

    def read(self, rows: Ints, pixels: Array, crop: slice) -> None:
        """Read rows, numbered among those that are kept, into an array."""
        super().read(self._rows[rows], pixels, crop)

    def faults(self, rows: Ints) -> dict[int, str]:
        """Reasons why some of the rows, numbered among those that are kept, are useless."""
        kept = self._rows[rows]
        found = super().faults(kept)
        numbered = zip(rows.tolist(), kept.tolist(), strict=True)
        return {row: found[original] for row, original in numbered if original in found}


def subset(cutouts: Cutouts, rows: Ints) -> Cutouts:
    """Cutouts of some rows, increasing; an id that is not stored counts those kept."""
    return Cutouts(Subset(cutouts.stored, rows))
