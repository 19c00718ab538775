"""List trainings: how far each is, its best score, and what was changed since the one before.

ssl-photoz runs runs/
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ssl_photoz.reports.ledger import Training


@dataclass(frozen=True)
class Settings:
    """Which trainings to list.

    Attributes:
        folder: Folder that holds runs, at any depth.
    """

    folder: Path = Path("runs")


def main(settings: Settings) -> None:
    """Print two lines for each: where it stands; what differs from the one before of its kind."""
    from ssl_photoz.reports.ledger import find_trainings

    trainings = find_trainings(settings.folder)
    if not trainings:
        print(f"no training in {settings.folder}; pretrain, align and supervise make some")
    for one in trainings:
        name = one.folder.relative_to(settings.folder)
        epochs = f"epoch {one.epoch} of {one.config['epochs']}"
        best = "no score yet" if one.best is None else f"best validation score {one.best:.4f}"
        print(f"{name}: {_state(one)}, {epochs}, {best}")
        if one.changed is not None:
            changes = [f"{key} {old} -> {new}" for key, (old, new) in one.changed.items()]
            print(f"    {', '.join(changes) or 'same settings as the one before'}")


def _state(one: Training) -> str:
    """Say whether it is done; what is not may be running, waiting in a queue, or given up."""
    if one.finished:
        return "finished"
    minutes = (time.time() - one.last_sign) / 60
    ago = f"{minutes:.0f} min" if minutes < 120 else f"{minutes / 60:.0f} h"
    return f"unfinished, last sign of life {ago} ago"
