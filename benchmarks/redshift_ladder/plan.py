"""From a size's YAML to the jobs of the ladder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

import yaml

from ssl_photoz import cli
from ssl_photoz.core.errors import ConfigError
from ssl_photoz.photoz.settings import ProbeName

HERE = Path(__file__).resolve().parent
TRAININGS = ("pretrain", "align", "supervise")
VERBS = (*TRAININGS, "correct")
COMPARED = ("moco+pretext-0.2",)
FITTED = (*get_args(ProbeName), "density")


@dataclass(frozen=True)
class Job:
    """One network, or one set of references, or their cross-validation, on one input with one seed.

    Attributes:
        input: Name of the input.
        seed: Seed for everything drawn, and for which labels are kept.
        configuration: Key of ``configurations.yaml``, or ``references``.
        verb: ``pretrain``, ``align``, ``supervise``, ``correct``, or empty where only probes are
            fitted: to references, and in cross-validation.
        settings: Settings for the verb.
        labels: What the network may read: None, or a share (up to 1) or number of labels.
        folder: Where results go.
        after: Folder of the job whose encoder or embeddings this one uses.
        counts_from: Folder of the job whose embeddings say how many labels there are.
        readouts: Read-outs of the embedding that are lines of the table, the first of them under
            the configuration's own name; none: the best on validation of what there is.
        folds: Number of sky folds to cross-validate over; 0: the one split.
        draw: Which draw of few labels, in cross-validation.
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
    readouts: tuple[str, ...] = ()
    folds: int = 0
    draw: int = 0

    @property
    def classifies(self) -> bool:
        """Whether the network looks for nearby galaxies, instead of redshifts."""
        return bool(self.settings.get("head", {}).get("kind") == "nearby")

    def ready(self, done: Set[Path]) -> bool:
        """Say whether the jobs that this one needs are done."""
        return all(need is None or need in done for need in (self.after, self.counts_from))

    def __str__(self) -> str:
        labels = "" if self.labels is None else f", {says(self.labels)} labels"
        folds = f", draw {self.draw}, {self.folds} folds" if self.folds else ""
        return f"{self.input}, seed {self.seed}: {self.configuration}{labels}{folds}"

    def line(self, read_out: str) -> str:
        """Return the line of the table that predictions from a read-out belong to."""
        if self.configuration == "references":
            return read_out
        return line_of(self.configuration, self.readouts, read_out)


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
        folds: Number of sky folds that frozen configurations are cross-validated over; 0: none.
        draws: Least number of draws of fewer labels, in cross-validation; the seeds share them.
        fold_probes: Fitted in cross-validation.
        compared: Lines of the table that are compared with baselines, on the one split.
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
    folds: int = 0
    draws: int = 1
    fold_probes: tuple[str, ...] = ()
    compared: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.folds == 1 or self.folds < 0 or self.draws < 1:
            raise ConfigError(
                f"{self.name}: folds is {self.folds} and draws {self.draws}, expected 0 or at "
                f"least 2 folds, and at least 1 draw"
            )
        named = {line.split(":")[0] for line in self.compared}
        if unknown := named - set(self.configurations):
            raise ConfigError(
                f"{self.name}: compared names {', '.join(sorted(unknown))}, expected configurations"
            )
        if unknown := set(self.probes + self.fold_probes) - set(FITTED):
            raise ConfigError(
                f"{self.name}: no probe is called {', '.join(sorted(unknown))}, expected some of "
                f"{', '.join(FITTED)}"
            )

    @classmethod
    def read(cls, name: str, out: Path) -> Size:
        """Read a size, by its name beside this file or by the path of its YAML.

        Raises:
            ConfigError: If it holds a key of version 0.1, or a number or name that means nothing.
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
            folds=given.get("folds", 0),
            draws=given.get("draws", 1),
            fold_probes=tuple(given.get("fold_probes", given["probes"])),
            compared=tuple(given.get("compared", COMPARED)),
        )

    def is_frozen(self, configuration: str) -> bool:
        """Say whether a configuration trains without labels, so that all may be test galaxies."""
        return "pretrain" in self.configurations[configuration]

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
                on_split = [
                    job
                    for configuration in about.get("configurations", self.configurations)
                    for job in self._jobs_of(name, seed, configuration, base)
                ]
                yield from on_split
                references = Job(
                    name, seed, "references", "", {}, None, base / "references", base / "random"
                )
                yield references
                if self.folds:
                    frozen = [job for job in on_split if self.is_frozen(job.configuration)]
                    for job in (references, *frozen):
                        yield from self._cross_validations(job)

    def _cross_validations(self, job: Job) -> Iterator[Job]:
        """Yield the cross-validation of a job whose encoder has read no label."""
        seeds = len(self.inputs[job.input].get("seeds", self.seeds))
        for labels in self.labels:
            folder = job.folder / f"folds-{self.folds}" / _as_folder(labels)
            for draw in range(1 if labels == 1 else -(-self.draws // seeds)):
                yield replace(
                    job,
                    verb="",
                    settings={},
                    labels=labels,
                    folder=folder / f"draw-{draw}",
                    after=job.after or job.folder,
                    folds=self.folds,
                    draw=draw,
                )

    def _jobs_of(self, name: str, seed: int, configuration: str, base: Path) -> Iterator[Job]:
        about = self.configurations[configuration]
        verb = next(verb for verb in VERBS if verb in about)
        keys = cli.keys_of(verb)
        of_input = {k: v for k, v in self.inputs[name]["settings"].items() if keys.has(k)}
        seeded = {"training": {"seed": seed}} if verb in TRAININGS else {"seed": seed}
        settings = merged(self.defaults[verb], of_input, about[verb], seeded)
        after = base / about["after"] if "after" in about else None
        job = Job(name, seed, configuration, verb, settings, None, base / configuration)
        job = replace(job, readouts=tuple(about.get("readouts", ())))
        if verb == "pretrain":
            yield job
            return
        for labels in about.get("labels", self.labels):
            folder = job.folder / _as_folder(labels)
            yield replace(
                job, labels=labels, folder=folder, after=after, counts_from=base / "random"
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


def line_of(configuration: str, readouts: Sequence[str], read_out: str) -> str:
    """Return the line of the table of one of a configuration's read-outs."""
    own = not readouts or read_out == readouts[0]
    return configuration if own else f"{configuration}: {read_out}"


def _as_folder(labels: float) -> str:
    return f"labels-{says(labels)}".replace(" ", "").replace("%", "pc")


def says(labels: float) -> str:
    """Label count as it stands in the table: ``10 %`` or ``256``."""
    return f"{labels:.0%}".replace("%", " %") if labels <= 1 else f"{labels:.0f}"


def count(labels: float, available: int) -> int:
    """How many training labels a share or a number means, never more than there are."""
    return min(available, round(labels * available) if labels <= 1 else int(labels))
