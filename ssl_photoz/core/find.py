"""Find the finished artefacts of a run and what the page says of each."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ssl_photoz.core.artefact import Card, read_card, read_json, sha256_of
from ssl_photoz.core.errors import ArtefactError

KINDS = ("encoder", "embeddings", "probe", "densities", "index", "query", "dwarfs", "map")

SHA256 = re.compile("[0-9a-f]{64}")
PROVENANCE = ("schema_version", "kind", "made_by", "revision", "versions", "config", "parents")


class Artefact(NamedTuple):
    """A finished artefact of the run.

    Attributes:
        folder: Where it is.
        name: Its folder's path inside the run.
        kind: One of `KINDS`, or another that a later room made.
        card: Its card.
        sha256: Checksum of the card, by which children name it.
    """

    folder: Path
    name: str
    kind: str
    card: Card
    sha256: str


def find_artefacts(run: Path) -> list[Artefact]:
    """Every finished artefact below a folder, in the order of the path.

    Raises:
        ArtefactError: If there is no such folder, no artefact in it, or a damaged card.
    """
    if not run.is_dir():
        raise ArtefactError(f"{run} is not a folder; expected the folder of a run")
    found = []
    for path in run.rglob("card.json"):
        card = read_card(path.parent, read_json(path).get("kind", "unknown"))
        name = path.parent.relative_to(run).as_posix()
        found.append(Artefact(path.parent, name, card["kind"], card, sha256_of(path)))
    if not found:
        raise ArtefactError(
            f"no finished artefact in {run}; run pretrain, embed and probe with out= below it"
        )
    order = {kind: place for place, kind in enumerate(KINDS)}
    return sorted(found, key=lambda a: (order.get(a.kind, len(KINDS)), a.name))


def cautions(artefacts: list[Artefact]) -> list[str]:
    """Say what no reader of the results may miss."""
    cards = [artefact.card for artefact in artefacts]
    said = []
    if any(card.get("simulated") for card in cards):
        said.append("SIMULATED: the galaxies are simulated; no figure here is about the sky")
    if any(card.get("calibrated") is False for card in cards):
        said.append("Uncalibrated 8-bit source: fluxes and apertures are in display units")
    if any(card.get("contaminated") for card in cards):
        said.append("CONTAMINATED: an encoder has learnt from redshifts that it is scored on")
    return said


def settings_of(artefact: Artefact) -> list[tuple[str, str]]:
    """An artefact's settings as dotted keys and short texts."""
    config = artefact.card.get("config")
    return list(flat(config)) if isinstance(config, Mapping) else []


def facts_of(artefact: Artefact) -> list[tuple[str, str]]:
    """What an artefact's card says beside settings, parents and checksums."""
    facts = {key: value for key, value in artefact.card.items() if key not in PROVENANCE}
    return [(name, text) for name, text in flat(facts) if not SHA256.fullmatch(text)]


def read_history(folder: Path) -> list[dict[str, float]]:
    """Read the ``history.jsonl`` of a training, one mapping per epoch; empty if there is none.

    Raises:
        ArtefactError: If a line is not JSON.
    """
    path = folder / "history.jsonl"
    if not path.exists():
        return []
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines if line.strip()]
    except json.JSONDecodeError as error:
        raise ArtefactError(f"{path} is not JSON line by line ({error}); train again") from None


def read_seconds(run: Path) -> list[tuple[str, float]]:
    """Read how long each step of a path took; empty if the run was not made by one."""
    path = run / "timings.json"
    return list(read_json(path).get("seconds", {}).items()) if path.exists() else []


def flat(config: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    """Yield nested settings as dotted names and short texts."""
    for name, value in config.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{above}{name}.")
        else:
            text = ", ".join(map(_short, value)) if isinstance(value, list) else _short(value)
            yield f"{above}{name}", text if len(text) <= 120 else f"{text[:117]}..."


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
