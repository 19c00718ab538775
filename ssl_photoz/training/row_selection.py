"""The rows of a cutout file that a training uses, the same in all processes."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np

from ssl_photoz.cutouts.batches import good_rows
from ssl_photoz.cutouts.device import for_training
from ssl_photoz.cutouts.mask import masked_rows
from ssl_photoz.cutouts.reader import Cutouts
from ssl_photoz.cutouts.rejects import SCAN, TRAINING, fault_tolerant, read_rejects, write_rejects
from ssl_photoz.training import ranks


class RowSelection:
    """The rows of a run; ``rejects.parquet`` in its folder lists those that are not used.

    The first process looks at every cutout once per run, not again when it goes on.

    Args:
        cutouts: The cutouts.
        folder: Folder of the run.
        mask: A mask of the cutouts, whose rows are not used.
        resident: Whether to hold the cutouts in GPU memory, see
            `ssl_photoz.cutouts.device.for_training`.

    Attributes:
        rows: The usable rows, (M,).
        cutouts: Cutouts, of which one that turns out bad in training is replaced; see
            `ssl_photoz.cutouts.rejects.FaultTolerant`.
    """

    def __init__(
        self,
        cutouts: Cutouts,
        folder: Path,
        mask: Path | None = None,
        *,
        resident: bool | None = None,
    ) -> None:
        self._path, self._ids = folder / "rejects.parquet", cutouts.column("id")
        self._found = ranks.on_rank_zero(lambda: self._look(cutouts, mask))
        usable = np.ones(len(cutouts), bool)
        usable[list(self._found[SCAN])] = False
        self.rows = np.flatnonzero(usable)
        self.cutouts, self._met = fault_tolerant(cutouts)
        self._resident = resident

    @cached_property
    def for_training(self) -> Cutouts:
        """The cutouts in the form that feeds the training device best."""
        cutouts, rows, resident = self.cutouts, self.rows, self._resident
        return for_training(cutouts, rows, device=ranks.device(), resident=resident)

    def write(self) -> None:
        """Add the rows found bad since to the list; all processes must call it."""
        for met in ranks.all_gather_object(dict(self._met)):
            self._found[TRAINING] |= met
        ranks.on_rank_zero(lambda: write_rejects(self._path, self._ids, self._found))

    @property
    def counts(self) -> dict[str, int]:
        """Numbers of rows rejected, of rows found bad during training, and of processes."""
        return {
            "rows_rejected": len(self._found[SCAN]),
            "rows_bad_in_training": len(self._found[TRAINING]),
            "processes": ranks.world(),
        }

    def _look(self, cutouts: Cutouts, mask: Path | None) -> dict[str, dict[int, str]]:
        if self._path.exists():
            return read_rejects(self._path)
        bad = good_rows(cutouts, masked=masked_rows(mask))[1]
        found: dict[str, dict[int, str]] = {SCAN: bad, TRAINING: {}}
        write_rejects(self._path, self._ids, found)
        return found
