"""The jobs of the comparison, and how one is done: verbs of ``ssl-photoz``, then a score."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from ssl_photoz import cli
from ssl_photoz.core import artefact
from ssl_photoz.core.types import Array
from ssl_photoz.embeddings.store import Embeddings
from ssl_photoz.photoz.artefact import load_probe, predict_rows, read_predictions
from ssl_photoz.photoz.end_to_end import compare_nz
from ssl_photoz.photoz.metrics import summarise

NETWORKS: dict[str, dict[str, Any]] = {
    "no adaptation": {},
    "reweighting": {"methods": ["reweight"]},
    "matched augmentation": {"methods": ["match"]},
    "adversarial 0.1": {"methods": ["adversarial"], "strength": 0.1},
    "adversarial 1": {"methods": ["adversarial"], "strength": 1.0},
    "matched + adversarial 0.1": {"methods": ["match", "adversarial"], "strength": 0.1},
    "trained on the target": {},
}
FROZEN = ("none", "shift", "coral", "procrustes", "probe of the target")
HOME = "trained on the target"
NORTH_SEED = 1000


@dataclass(frozen=True)
class Job:
    """One network, or the frozen embeddings, with one seed.

    Attributes:
        name: Key of `NETWORKS`, or ``frozen``.
        seed: Seed for the surveys and the training.
        folder: Where it works.
    """

    name: str
    seed: int
    folder: Path

    @property
    def result(self) -> Path:
        """The file that is written last."""
        return self.folder / "result.json"


@dataclass(frozen=True)
class Plan:
    """What a YAML asks for.

    Attributes:
        out: Folder of the run.
        settings: The YAML.
    """

    out: Path
    settings: Mapping[str, Any]

    @classmethod
    def read(cls, path: Path, out: Path) -> Plan:
        """Read a size."""
        return cls(out / path.stem, yaml.safe_load(path.read_text()))

    @property
    def seeds(self) -> list[int]:
        """One comparison each."""
        return list(self.settings["seeds"])

    def jobs(self) -> Iterator[Job]:
        """Yield every job."""
        for seed in self.seeds:
            for name in (*NETWORKS, "frozen"):
                yield Job(name, seed, self.sky(seed) / name.replace(" ", "-"))

    def sky(self, seed: int) -> Path:
        """Folder of one seed's surveys."""
        return self.out / f"seed-{seed}"


def observe(plan: Plan, seed: int) -> None:
    """Simulate the south, the north elsewhere, and the north's view of some of the south."""
    surveys = {
        "south": ("south", seed, plan.settings["galaxies"]),
        "north": ("north", NORTH_SEED + seed, plan.settings["galaxies"]),
        "overlap": ("north", seed, plan.settings["overlap"]),
    }
    for name, (survey, of_seed, galaxies) in surveys.items():
        path = plan.sky(seed) / f"{name}.h5"
        path.parent.mkdir(parents=True, exist_ok=True)
        given = {"survey": survey, "seed": of_seed, "galaxies": galaxies}
        given["workers"] = plan.settings["workers"]
        _run("simulate", {"out": path, **given, **plan.settings["simulate"]})


def do(job: Job, plan: Plan) -> None:
    """Do a job; what it prints goes to ``log.txt`` in its folder."""
    import torch

    torch.set_num_threads(1)
    job.folder.mkdir(parents=True, exist_ok=True)
    log = job.folder / "log.txt"
    with log.open("a") as file, contextlib.redirect_stdout(file), contextlib.redirect_stderr(file):
        result = _frozen(job, plan) if job.name == "frozen" else _network(job, plan)
    artefact.write_json(job.result, result)


def _network(job: Job, plan: Plan) -> dict[str, Any]:
    sky, out = plan.sky(job.seed), job.folder / "network"
    data = sky / ("north.h5" if job.name == HOME else "south.h5")
    given = {"data": data, "target": sky / "north.h5", "out": out, "training.seed": job.seed}
    _run("transfer", {**given, **plan.settings["transfer"], **NETWORKS[job.name]})
    table, card = read_predictions(out), artefact.read_card(out, "probe")
    training = {name: card["training"].get(name) for name in ("seconds", "told_apart")}
    return {job.name: _scored(table["z_phot_transferred"], table["z_spec"]) | training}


def _frozen(job: Job, plan: Plan) -> dict[str, Any]:
    """Train an encoder on the south, bring the north's embeddings to the south's, score probes."""
    sky, folder = plan.sky(job.seed), job.folder
    encoder = {"data": sky / "south.h5", "out": folder / "encoder", "training.seed": job.seed}
    _run("pretrain", {**encoder, **plan.settings["pretrain"]})
    for name in ("south", "north", "overlap"):
        given = {"data": sky / f"{name}.h5", "encoder": folder / "encoder", "out": folder / name}
        given |= {"readout": plan.settings["readout"], "thumbnails": False}
        _run("embed", given)
    both = [str(folder / name) for name in ("north", "overlap")]
    _run("join", {"embeddings": both, "out": folder / "target"})
    for name in ("south", "north"):
        given = {"embeddings": folder / name, "out": folder / f"{name}-probe", "seed": job.seed}
        _run("probe", {**given, "probes": plan.settings["probes"]})
    asked = Embeddings.open(folder / "north").column("id")
    found: dict[str, Any] = {}
    for method in FROZEN:
        mapped, probe = folder / "target", folder / "south-probe"
        started = time.perf_counter()
        if method == FROZEN[-1]:
            probe = folder / "north-probe"
        elif method != "none":
            mapped = folder / method
            given = {"embeddings": folder / "target", "reference": folder / "south", "out": mapped}
            _run("harmonize", {**given, "method": method})
        seconds = time.perf_counter() - started
        for which in plan.settings["probes"]:
            title = f"frozen, {which}: {method}"
            found[title] = {**_applied(mapped, probe, which, asked), "seconds": seconds}
    return found


def _applied(folder: Path, probe: Path, which: str, asked: Array) -> dict[str, float]:
    """Score a probe on those galaxies of the test sky that were asked for."""
    embeddings = Embeddings.open(folder)
    card, fitted = load_probe(probe, which)
    z = embeddings.column("z")
    mask = (embeddings.column("split").astype(str) == "test") & (z > 0)
    mask &= np.isin(embeddings.column("id"), asked)
    table = predict_rows(fitted, embeddings, mask, features=card["features"])
    return _scored(table["z_phot"], z[mask])


def _scored(z_phot: Array, z_spec: Array) -> dict[str, float]:
    metrics = summarise(z_phot, z_spec)
    told = {name: getattr(metrics, name) for name in ("n", "bias", "sigma_nmad", "outliers_05")}
    return told | compare_nz(z_phot, z_spec)


def _run(verb: str, settings: Mapping[str, Any]) -> None:
    """Run a verb with settings, nested ones too."""
    cli.run(verb, [f"{key}={value}" for key, value in _flat(settings)])


def _flat(settings: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value
