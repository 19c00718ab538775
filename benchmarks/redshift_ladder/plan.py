"""From a size's YAML to the jobs of the ladder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ssl_photoz import cli
from ssl_photoz.core.errors import ConfigError

HERE = Path(__file__).resolve().parent
TRAININGS = ("pretrain", "align", "supervise")
VERBS = (*TRAININGS, "correct")


@dataclass(frozen=True)
class Job:
    """One network, or one set of references, on one input with one seed.

    Attributes:
        input: Name of the input.
        seed: Seed for everything drawn, and for which labels are kept.
        configuration: Key of ``configurations.yaml``, or ``references``.
        verb: ``pretrain``, ``align``, ``supervise``, ``correct``, or empty for references.
        settings: Settings for the verb.
        labels: What the network may read: None, or a share (up to 1) or number of labels.
        folder: Where results go.
        after: Folder of the job whose encoder or embeddings this one uses.
        counts_from: Folder of the job whose embeddings say how many labels there are.
    """

    input: str
    seed: int
    configuration: str
    verb: str
    settings: Mapping[str, Any]
    labels: float | None
    folder: Path
    after: Path | None = None
    counts_from: Path | None = None

    @property
    def classifies(self) -> bool:
        """Whether the network looks for nearby galaxies, instead of redshifts."""
        return bool(self.settings.get("head", {}).get("kind") == "nearby")

    def ready(self, done: Set[Path]) -> bool:
        """Say whether the jobs that this one needs are done."""
        return all(need is None or need in done for need in (self.after, self.counts_from))

    def __str__(self) -> str:
        labels = "" if self.labels is None else f", {says(self.labels)} labels"
        return f"{self.input}, seed {self.seed}: {self.configuration}{labels}"


@dataclass(frozen=True)
class Size:
    """A size of the ladder, as its YAML says it.

    Attributes:
        name: ``small``, ``medium`` or ``full``.
        out: Folder of the run.
        inputs: Name to what it is made of and what it changes.
        seeds: One run each.
        labels: Shares (up to 1) and numbers of training labels.
        workers: Jobs at once, each with ``threads`` threads.
        threads: Per job.
        defaults: Settings of each verb.
        orientations: Averaged at inference.
        probes: Fitted to every frozen embedding and to photometry.
        configurations: Name to configuration.
    """

    name: str
    out: Path
    inputs: Mapping[str, Mapping[str, Any]]
    seeds: tuple[int, ...]
    labels: tuple[float, ...]
    workers: int
    threads: int
    defaults: Mapping[str, Mapping[str, Any]]
    orientations: int
    probes: tuple[str, ...]
    configurations: Mapping[str, Mapping[str, Any]]

    @classmethod
    def read(cls, name: str, out: Path) -> Size:
        """Read a size, by its name beside this file or by the path of its YAML.

        Raises:
            ConfigError: If it holds a key of version 0.1.
        """
        path = Path(name) if name.endswith(".yaml") else HERE / f"{name}.yaml"
        name, given = path.stem, yaml.safe_load(path.read_text())
        _require_new_keys(given, path)
        configurations = yaml.safe_load((HERE / "configurations.yaml").read_text())
        configurations = merged(configurations, given.get("configurations", {}))
        return cls(
            name=name,
            out=out / name,
            inputs=given["inputs"],
            seeds=tuple(given["seeds"]),
            labels=tuple(given["labels"]),
            workers=given["workers"],
            threads=given["threads"],
            defaults={verb: given.get(verb, {}) for verb in VERBS},
            orientations=given["orientations"],
            probes=tuple(given["probes"]),
            configurations=configurations,
        )

    def data(self, name: str) -> Path:
        """Cutout file of an input."""
        return self.out / name / "cutouts.h5"

    def jobs(self) -> Iterator[Job]:
        """Yield every job, seed by seed; one whose encoder another starts from comes first."""
        for seed in self.seeds:
            for name, about in self.inputs.items():
                if seed not in about.get("seeds", self.seeds):
                    continue
                base = self.out / name / f"seed-{seed}"
                for configuration in about.get("configurations", self.configurations):
                    yield from self._jobs_of(name, seed, configuration, base)
                yield Job(
                    name, seed, "references", "", {}, None, base / "references", base / "random"
                )

    def _jobs_of(self, name: str, seed: int, configuration: str, base: Path) -> Iterator[Job]:
        about = self.configurations[configuration]
        verb = next(verb for verb in VERBS if verb in about)
        keys = cli.keys_of(verb)
        of_input = {k: v for k, v in self.inputs[name]["settings"].items() if keys.has(k)}
        seeded = {"training": {"seed": seed}} if verb in TRAININGS else {"seed": seed}
        settings = merged(self.defaults[verb], of_input, about[verb], seeded)
        after = base / about["after"] if "after" in about else None
        if verb == "pretrain":
            yield Job(name, seed, configuration, verb, settings, None, base / configuration)
            return
        for labels in about.get("labels", self.labels):
            folder = (
                base / configuration / f"labels-{says(labels)}".replace(" ", "").replace("%", "pc")
            )
            yield Job(
                name, seed, configuration, verb, settings, labels, folder, after, base / "random"
            )


def _require_new_keys(given: Mapping[str, Any], path: Path) -> None:
    """Refuse keys of version 0.1, which would be passed over."""
    if any("rungs" in some for some in (given, *given["inputs"].values())):
        raise ConfigError(f"{path}: rungs is now configurations")
    if any("classify" in some for some in (given, *given.get("configurations", {}).values())):
        raise ConfigError(f"{path}: classify is now supervise with head: {{kind: nearby}}")


def merged(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """Lay mappings over each other, nested ones too; the last wins."""
    result: dict[str, Any] = {}
    for layer in layers:
        for key, value in layer.items():
            below = result.get(key)
            if isinstance(value, Mapping) and isinstance(below, Mapping):
                value = merged(below, value)
            result[key] = value
    return result


def says(labels: float) -> str:
    """Label count as it stands in the table: ``10 %`` or ``256``."""
    return f"{labels:.0%}".replace("%", " %") if labels <= 1 else f"{labels:.0f}"


def count(labels: float, available: int) -> int:
    """How many training labels a share or a number means, never more than there are."""
    return min(available, round(labels * available) if labels <= 1 else int(labels))
