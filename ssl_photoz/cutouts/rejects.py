"""Rows that a training run does without: found by the scan before it, or met bad during it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ssl_photoz.core import artefact
from ssl_photoz.core.errors import ArtefactError, DataError
from ssl_photoz.core.types import Array, Bools, Ints
from ssl_photoz.cutouts.formats.stored import Stored, Wrapped
from ssl_photoz.cutouts.quality import reject_reasons
from ssl_photoz.cutouts.reader import Cutouts, damage_reported

UNREADABLE = "pixels cannot be read"
SCAN, TRAINING = "scan", "training"


def write_rejects(path: Path, ids: Array, reasons: Mapping[str, Mapping[int, str]]) -> None:
    """Write ``row``, ``id``, ``reason`` and ``found`` (by the scan, in training ...) as Parquet.

    Args:
        path: The file.
        ids: Identifiers of all rows of the cutout file, or of the catalogue, (N,).
        reasons: Reasons by where they were found, then by row.
    """
    listed = [(row, found) for found in reasons for row in sorted(reasons[found])]
    columns = {
        "row": pa.array([row for row, _ in listed], pa.int64()),
        "id": pa.array([str(ids[row]) for row, _ in listed], pa.string()),
        "reason": pa.array([reasons[found][row] for row, found in listed], pa.string()),
        "found": pa.array([found for _, found in listed], pa.string()),
    }
    with artefact.atomic_path(path) as scratch:
        pq.write_table(pa.table(columns), scratch)


def read_rejects(path: Path) -> dict[str, dict[int, str]]:
    """Read what `write_rejects` wrote.

    Raises:
        ArtefactError: If the file is damaged.
    """
    found: dict[str, dict[int, str]] = {SCAN: {}, TRAINING: {}}
    try:
        for line in pq.read_table(path).to_pylist():
            found[line["found"]][line["row"]] = line["reason"]
    except (OSError, KeyError, pa.ArrowException) as error:
        raise ArtefactError(
            f"{path} cannot be read ({type(error).__name__}); delete it: the cutouts are then "
            f"looked at again"
        ) from None
    return found


class FaultTolerant(Wrapped):
    """Stored cutouts that can always be read; see `Stored`.

    What is read together stays as long as it was: a cutout that cannot be read, or that is not
    finite or all zero, is replaced by the next good one. So batches stay counted, and which
    cutout stands in is the same each time.

    Args:
        stored: The cutouts as they are.

    Attributes:
        met: Rows that were replaced, and why.
    """

    def __init__(self, stored: Stored) -> None:
        super().__init__(stored)
        self.met: dict[int, str] = {}

    def read(self, rows: Ints, pixels: Array, crop: slice) -> None:
        """Read rows into an array, the next good one in place of a bad one.

        Raises:
            DataError: If none of them is good.
        """
        reasons: dict[int, str] = {}
        try:
            self._read(rows, pixels, crop)
        except DataError as error:
            reasons = self._read_one_by_one(rows, pixels, crop, error)
        for place in np.flatnonzero(suspicious(pixels)):
            reason = str(reject_reasons(pixels[place : place + 1])[0])
            if reason and place not in reasons:
                reasons[int(place)] = reason
        if reasons:
            self._stand_in(rows, pixels, reasons)

    def _read(self, rows: Ints, pixels: Array, crop: slice) -> None:
        with damage_reported(self.source.path):
            super().read(rows, pixels, crop)

    def _read_one_by_one(
        self, rows: Ints, pixels: Array, crop: slice, error: DataError
    ) -> dict[int, str]:
        reasons = {}
        for place in range(len(rows)):
            one = slice(place, place + 1)
            try:
                self._read(rows[one], pixels[one], crop)
            except DataError:
                pixels[one], reasons[place] = 0, UNREADABLE
        if len(reasons) == len(rows):
            raise error
        return reasons

    def _stand_in(self, rows: Ints, pixels: Array, reasons: dict[int, str]) -> None:
        good = np.setdiff1d(np.arange(len(rows)), list(reasons))
        if not len(good):
            raise DataError(
                f"not one of {len(rows)} cutouts read together is usable (first: row {rows[0]}, "
                f"{reasons[0]}), though all were before: has {self.source.path} changed?"
            )
        for place, reason in reasons.items():
            self.met[int(rows[place])] = reason
            pixels[place] = pixels[good[np.searchsorted(good, place) % len(good)]]


def fault_tolerant(cutouts: Cutouts) -> tuple[Cutouts, dict[int, str]]:
    """Cutouts that can always be read, and the list, still empty, of those that could not."""
    stored = FaultTolerant(cutouts.stored)
    return Cutouts(stored), stored.met


def suspicious(pixels: Array) -> Bools:
    """Which cutouts (B, C, H, W) may be not finite or all zero, by their sums, (B,)."""
    import torch

    total = torch.from_numpy(pixels).flatten(1).sum(dim=1, dtype=torch.float32).numpy()
    found: Bools = ~np.isfinite(total) | (total == 0)
    return found
