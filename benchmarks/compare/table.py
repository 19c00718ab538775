"""The table of `make compare`: every system, at every label count, with what it costs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from benchmarks.redshift_ladder.plan import Job, Size, says
from benchmarks.redshift_ladder.results import SHOWN, Result, chosen, errors
from benchmarks.redshift_ladder.run import DONE
from benchmarks.redshift_ladder.table import described, titles_of
from ssl_photoz.core import artefact
from ssl_photoz.photoz import metrics

COSTS = ("train_seconds", "parameters")
CLASSIFIED = {
    "average_precision": "average precision",
    "purity": "purity",
    "completeness": "completeness",
    "purity_at_90_completeness": "purity at 90 % completeness",
    "completeness_at_20_purity": "completeness at 20 % purity",
    "sky_purity_at_90_completeness": "purity at 90 % completeness, on the sky",
}
SHOWN_AS = {"sigma_nmad": "sigma_NMAD", "outliers_05": "outliers", "r2": "R²"}


@dataclass(frozen=True)
class Line:
    """One system with one label count.

    Attributes:
        input: Name of the input.
        heading: What the input is, with its sizes.
        title: Name of the system.
        labels: Label count as the ladder says it: ``100 %``.
        values: Metric to its mean over seeds.
        errors: Metric to the error of that mean: of the galaxies, and of the seeds, in quadrature.
        costs: ``train_seconds`` and ``parameters`` where they are known, means over seeds.
    """

    input: str
    heading: str
    title: str
    labels: str
    values: dict[str, float]
    errors: dict[str, float]
    costs: dict[str, float]


def lines(size: Size, results: list[Result], jobs: Iterable[Job]) -> list[Line]:
    """Every line, in the order of the configurations, the most labels first."""
    best: dict[tuple[str, ...], Result] = {r.key[:3]: r for r in chosen(results)}
    costs = _costs(jobs)
    found = []
    for name in size.inputs:
        for configuration, title in titles_of(size).items():
            for labels in map(says, size.labels):
                if result := best.get((name, configuration, labels)):
                    found.append(
                        Line(
                            name,
                            described(size, name, best),
                            title,
                            labels,
                            *_scores(result),
                            costs.get(
                                (name, configuration, labels),
                                costs.get((name, configuration, ""), {}),
                            ),
                        )
                    )
    return found


def markdown(size: Size, found: list[Line]) -> str:
    """Write one table per input."""
    text: list[str] = []
    for name in size.inputs:
        some = [line for line in found if line.input == name]
        if not some:
            continue
        heads = ["system", "labels", *SHOWN_AS.values(), "bias", "training, s", "parameters"]
        text += ["", f"### {some[0].heading}", "", f"| {' | '.join(heads)} |"]
        text += ["|---|" + "---:|" * (len(heads) - 1)]
        text += [_row(line) for line in some]
    return "\n".join(text) + "\n"


def classified_markdown(jobs: Iterable[Job]) -> str:
    """Write how well classifiers find nearby galaxies; means and errors over seeds."""
    found: dict[tuple[str, str, str], list[dict[str, float]]] = {}
    for job in jobs:
        if job.classifies and (job.folder / DONE).exists():
            assert job.labels is not None
            for way, said in artefact.read_json(job.folder / DONE)["classified"].items():
                found.setdefault((job.input, says(job.labels), way), []).append(said)
    lines: list[str] = []
    for (name, labels, way), said in found.items():
        if not lines:
            lines += ["", f"### {name}: nearby galaxies, found by classifiers", ""]
            lines += [f"| way | labels | {' | '.join(CLASSIFIED.values())} |"]
            lines += ["|---|" + "---:|" * (len(CLASSIFIED) + 1)]
        cells = [_mean([one.get(key) for one in said]) for key in CLASSIFIED]
        lines.append(f"| {way} | {labels} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n" if lines else ""


def _mean(values: list[float | None]) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return ""
    error = f" ± {np.std(known, ddof=1) / np.sqrt(len(known)):.3f}" if len(known) > 1 else ""
    return f"{np.mean(known):.3f}{error}"


def _row(line: Line) -> str:
    forms = {"sigma_nmad": "{:.4f}", "outliers_05": "{:.1%}", "r2": "{:.3f}", "bias": "{:+.4f}"}
    cells = [line.title, line.labels]
    for name, form in forms.items():
        error = form.replace("+", "").format(line.errors[name])
        cells.append(f"{form.format(line.values[name])} ± {error}")
    seconds, parameters = (line.costs.get(name) for name in COSTS)
    cells += ["" if seconds is None else f"{seconds:.0f}"]
    cells += ["" if parameters is None else f"{parameters:,.0f}"]
    return f"| {' | '.join(cells)} |"


def _scores(result: Result) -> tuple[dict[str, float], dict[str, float]]:
    names = (*SHOWN, "bias")
    each = [metrics.summarise(z, result.z_spec) for z in result.z_phot]
    per_seed = {name: np.array([getattr(one, name) for one in each]) for name in names}
    of_galaxies = {**errors(result), "bias": _bias_error(result)}
    values = {name: float(one.mean()) for name, one in per_seed.items()}
    spread = {
        name: float(one.std(ddof=1) / np.sqrt(len(one))) if len(one) > 1 else 0.0
        for name, one in per_seed.items()
    }
    return values, {name: float(np.hypot(of_galaxies[name], spread[name])) for name in names}


def _bias_error(result: Result) -> float:
    dz = np.mean([metrics.residuals(z, result.z_spec) for z in result.z_phot], axis=0)
    return float(dz.std(ddof=1) / np.sqrt(len(dz)))


def _costs(jobs: Iterable[Job]) -> dict[tuple[str, str, str], dict[str, float]]:
    """Costs by input, configuration and labels; no labels: a network that reads none."""
    found: dict[tuple[str, str, str], list[dict[str, float]]] = {}
    for job in jobs:
        if (job.folder / DONE).exists():
            key = (job.input, job.configuration, "" if job.labels is None else says(job.labels))
            found.setdefault(key, []).append(artefact.read_json(job.folder / DONE))
    return {
        key: {
            name: float(np.mean([facts[name] for facts in said]))
            for name in COSTS
            if all(name in facts for facts in said)
        }
        for key, said in found.items()
    }
