"""The log of a run, a row per epoch: lines of JSON, a CSV, and trackers where there are any.

TensorBoard is written where it is installed, to ``tensorboard`` in the folder of the run; Weights &
Biases where it is installed and ``WANDB_PROJECT`` names a project.
"""

from __future__ import annotations

import csv
import hashlib
import importlib.util
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from ssl_photoz.core import artefact

Row = Mapping[str, float]
Tracker = Callable[[Row], None]


class History:
    """``history.jsonl`` and ``metrics.csv`` of a run, a row per epoch; both always whole.

    Args:
        folder: Folder of the run.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.path = folder, folder / "history.jsonl"
        self._trackers: list[Tracker] = []

    def rows(self) -> list[dict[str, float]]:
        """Rows logged so far."""
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        return [json.loads(line) for line in lines]

    def resume(self, step: int) -> None:
        """Forget rows logged after a step."""
        kept = [row for row in self.rows() if row["step"] <= step]
        self._write(kept)
        self._trackers = trackers(self.folder, step)

    def add(self, row: Row) -> None:
        """Log an epoch."""
        self._write([*self.rows(), row])
        for track in self._trackers:
            track(row)

    def _write(self, rows: Sequence[Row]) -> None:
        with artefact.atomic_path(self.path) as scratch:
            scratch.write_text("".join(json.dumps(row) + "\n" for row in rows))
        names = list(dict.fromkeys(name for row in rows for name in row))
        with (
            artefact.atomic_path(self.folder / "metrics.csv") as scratch,
            scratch.open("w") as file,
        ):
            writer = csv.DictWriter(file, names, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)


def trackers(folder: Path, step: int) -> list[Tracker]:
    """Trackers that are installed, set to go on from a step."""
    found: list[Tracker] = []
    if importlib.util.find_spec("tensorboard"):
        found.append(_tensorboard(folder, step))
    if os.environ.get("WANDB_PROJECT") and importlib.util.find_spec("wandb"):
        found.append(_wandb(folder))
    return found


def _tensorboard(folder: Path, step: int) -> Tracker:
    from torch.utils.tensorboard import SummaryWriter

    writer = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)

    def track(row: Row) -> None:
        for name, value in row.items():
            writer.add_scalar(name, value, int(row["step"]))
        writer.flush()

    return track


def _wandb(folder: Path) -> Tracker:
    """Log to one W&B run per folder, however often it is interrupted."""
    import wandb

    name = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16]
    run = wandb.init(id=name, name=folder.name, dir=str(folder), resume="allow")
    return lambda row: run.log(dict(row), step=int(row["step"]))
