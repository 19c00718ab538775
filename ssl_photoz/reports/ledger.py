"""All trainings below a folder: how far they are, how good, and what was changed between them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ssl_photoz.core import artefact
from ssl_photoz.core.errors import ArtefactError
from ssl_photoz.core.find import flat, read_history

SCORES = ("knn_sigma_nmad", "score")  # of pretraining; of a network trained on redshifts
NOT_COMPARED = ("out",)
TRAINED = ("encoder", "probe")  # kinds; of probes, those of networks have epochs


@dataclass(frozen=True)
class Training:
    """One training, finished or not.

    Attributes:
        folder: Its folder.
        kind: Kind of the artefact it makes: ``encoder`` or ``probe``.
        config: The resolved settings.
        started: Time of the start, seconds since 1970.
        last_sign: Time of the last change in its folder, seconds since 1970.
        finished: Whether its card is written.
        history: A row per epoch, as logged.
        changed: Dotted settings that differ from the training before, of the same kind: old and
            new value; None: there is none before.
    """

    folder: Path
    kind: str
    config: Mapping[str, Any]
    started: float
    last_sign: float
    finished: bool
    history: Sequence[Mapping[str, float]]
    changed: Mapping[str, tuple[str, str]] | None = field(default=None, kw_only=True)

    @property
    def epochs(self) -> int:
        """Epochs that it is to last."""
        return int(dict(_named(self.config, "epochs"))["epochs"])

    @property
    def epoch(self) -> int:
        """Epochs that have been logged."""
        return int(self.history[-1].get("epoch", 0)) if self.history else 0

    @property
    def best(self) -> float | None:
        """The best validation score so far; the lower, the better."""
        scores = [row[name] for row in self.history for name in SCORES if name in row]
        return min(scores, default=None)


def find_trainings(root: Path) -> list[Training]:
    """Every training below a folder, in the order they were started.

    Raises:
        ArtefactError: If there is no such folder, or a file of a training is damaged.
    """
    if not root.is_dir():
        raise ArtefactError(f"{root} is not a folder; expected one that holds runs")
    folders = {path.parent for name in ("started.json", "card.json") for path in root.rglob(name)}
    found = sorted(filter(None, map(_read, folders)), key=lambda one: (one.started, one.folder))
    return list(_with_changes(found))


def _read(folder: Path) -> Training | None:
    """Read one folder; None if what it holds is not trained."""
    started, card = folder / "started.json", folder / "card.json"
    first = started if started.exists() else card
    about = artefact.read_json(card if card.exists() else started)
    config = about.get("config")
    kind = about.get("kind")
    if kind not in TRAINED or not isinstance(config, Mapping) or not any(_named(config, "epochs")):
        return None
    signs = [path.stat().st_mtime for path in folder.iterdir() if path.is_file()]
    return Training(
        folder,
        kind,
        config,
        started=first.stat().st_mtime,
        last_sign=max(signs),
        finished=card.exists(),
        history=read_history(folder),
    )


def _named(config: Mapping[str, Any], name: str) -> Iterator[tuple[str, Any]]:
    """Settings of a name, at any depth."""
    for key, value in config.items():
        if key == name:
            yield key, value
        elif isinstance(value, Mapping):
            yield from _named(value, name)


def _with_changes(trainings: Sequence[Training]) -> Iterator[Training]:
    before: dict[frozenset[str], dict[str, str]] = {}
    for one in trainings:
        settings = dict(flat(one.config))
        like = frozenset(one.config)  # settings of one verb have the same names
        old = before.get(like)
        before[like] = settings
        if old is None:
            yield one
            continue
        names = [name for name in old.keys() | settings.keys() if name not in NOT_COMPARED]
        changed = {
            name: (old.get(name, "-"), settings.get(name, "-"))
            for name in sorted(names)
            if old.get(name) != settings.get(name)
        }
        yield replace(one, changed=changed)


def describe_trainings(root: Path, trainings: Sequence[Training]) -> str:
    """Two lines for each below a folder: where it stands; what differs from the one before."""
    if not trainings:
        return f"no training in {root}; pretrain, align and supervise make some"
    lines = []
    for one in trainings:
        name = one.folder.relative_to(root)
        epochs = f"epoch {one.epoch} of {one.epochs}"
        best = "no score yet" if one.best is None else f"best validation score {one.best:.4f}"
        lines.append(f"{name}: {_state(one)}, {epochs}, {best}")
        if one.changed is not None:
            changes = [f"{key} {old} -> {new}" for key, (old, new) in one.changed.items()]
            lines.append(f"    {', '.join(changes) or 'same settings as the one before'}")
    return "\n".join(lines)


def _state(one: Training) -> str:
    """Whether it is done; what is not may be running, waiting in a queue, or given up."""
    if one.finished:
        return "finished"
    minutes = (time.time() - one.last_sign) / 60
    ago = f"{minutes:.0f} min" if minutes < 120 else f"{minutes / 60:.0f} h"
    return f"unfinished, last sign of life {ago} ago"
