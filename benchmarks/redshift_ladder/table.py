"""The ladder's tables, in Markdown."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping

import numpy as np

from benchmarks.redshift_ladder.plan import Job, Size, says
from benchmarks.redshift_ladder.results import SHOWN, Result, chosen, errors, gains
from benchmarks.redshift_ladder.run import DONE
from ssl_photoz.core import artefact
from ssl_photoz.photoz import metrics

BASELINES = ("resnet18", "aperture")
FROZEN, LABEL_AWARE = "moco+pretext-0.2", "align"
NEARBY = 0.03


def markdown(size: Size, results: list[Result], facts: dict[str, dict[str, float]]) -> str:
    """Write one table per input: a line per configuration, a column per label count."""
    best: dict[tuple[str, ...], Result] = {r.key[:3]: r for r in chosen(results)}
    lines: list[str] = []
    for name in size.inputs:
        counts = [n for n in map(says, size.labels) if any(k[::2] == (name, n) for k in best)]
        if not counts:
            continue
        heads = [f"{n} of labels" if "%" in n else f"{n} labels" for n in counts]
        lines += ["", f"### {described(size, name, best)}", ""]
        lines += ["| configuration | " + " | ".join([*heads, "train, s", "embedded per s"]) + " |"]
        lines += ["|---|" + "---|" * len(counts) + "---:|---:|"]
        for configuration, title in titles_of(size).items():
            cells = [_cell(best, (name, configuration, count)) for count in counts]
            if any(cells):
                timed = facts.get(f"{name}/{configuration}", {})
                times = [timed.get(key) for key in ("train_seconds", "embedded_per_second")]
                cells += ["" if value is None else f"{value:.0f}" for value in times]
                lines.append(f"| {title} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def duels_markdown(size: Size, results: list[Result]) -> str:
    """Write how much better the frozen and the label-aware embedding are than their baselines."""
    best = {result.key[:3]: result for result in chosen(results)}
    most = says(1.0)
    lines: list[str] = []
    for name in size.inputs:
        pairs = [
            ((FROZEN, labels), (baseline, labels))
            for labels in map(says, size.labels)
            for baseline in BASELINES
        ]
        pairs += [((LABEL_AWARE, labels), ("resnet18", most)) for labels in (says(0.1), most)]
        rows = []
        for (configuration, labels), (baseline, their_labels) in pairs:
            one, other = (
                best.get((name, configuration, labels)),
                best.get((name, baseline, their_labels)),
            )
            if one is not None and other is not None:
                titles = titles_of(size)
                gained = (_gain(*pair) for pair in gains(one, other).values())
                against = f"{titles[baseline]}, {their_labels}"
                rows.append(
                    f"| {titles[configuration]}, {labels} | {against} | "
                    + " | ".join(gained)
                    + " |"
                )
        if rows:
            lines += ["", f"### {name}: gains on the same test galaxies (positive: better)", ""]
            lines += ["| configuration, labels | against | sigma_NMAD | outliers | R² |"]
            lines += ["|---|---|---:|---:|---:|", *rows]
    return "\n".join(lines) + "\n"


def _gain(gain: float, error: float) -> str:
    text = f"{gain:+.4f} ± {error:.4f}"
    return f"**{text}**" if abs(gain) > 2 * error else text


def likeness_markdown(size: Size, jobs: Iterable[Job]) -> str:
    """Write how much of each property look-alikes share: a line per configuration, seed means."""
    found: dict[tuple[str, str], list[dict[str, float]]] = {}
    for job in jobs:
        if job.labels is None and job.verb and (job.folder / DONE).exists():
            said = artefact.read_json(job.folder / DONE)["likeness"]
            found.setdefault((job.input, job.configuration), []).append(said)
    lines: list[str] = []
    for name, about in size.inputs.items():
        properties = about.get("likeness", ())
        if not properties or not any(key[0] == name for key in found):
            continue
        lines += ["", f"### {name}: what the 8 nearest galaxies share (R², test)", ""]
        lines += [
            "| configuration | " + " | ".join(properties) + " |",
            "|---|" + "---:|" * len(properties),
        ]
        for configuration, title in titles_of(size).items():
            if said := found.get((name, configuration)):
                means = [f"{np.mean([one[p] for one in said]):.3f}" for p in properties]
                lines.append(f"| {title} | " + " | ".join(means) + " |")
    return "\n".join(lines) + "\n"


def nearby_markdown(size: Size, results: list[Result], jobs: Iterable[Job]) -> str:
    """Write how pure and complete selections of z < 0.03 are, with all labels."""
    found: dict[str, list[dict[str, float]]] = {}
    for job in jobs:
        if not job.verb and (job.folder / DONE).exists():
            facts = artefact.read_json(job.folder / DONE)
            found.setdefault(job.input, []).extend([facts["lowz"]] if "lowz" in facts else [])
    lines: list[str] = []
    for name, cuts in found.items():
        if not cuts:
            continue
        lines += ["", f"### {name}: z < {NEARBY}, {cuts[0]['n']} test galaxies", ""]
        lines += ["| selection | purity | completeness | purity at 90 % completeness |"]
        lines += ["|---|---:|---:|---:|"]
        how = " and ".join(cuts[0]["cuts"])  # type: ignore[arg-type]
        lines.append(
            f"| LOW-Z-style cuts ({how}) | {cuts[0]['purity']:.1%} ± {cuts[0]['error_purity']:.1%} "
            f"| {cuts[0]['completeness']:.1%} ± {cuts[0]['error_completeness']:.1%} | |"
        )
        all_labels = [
            r for r in chosen(results) if r.key[:3] == (name, r.key.configuration, says(1.0))
        ]
        best = {result.key.configuration: result for result in all_labels}
        for configuration, title in titles_of(size).items():
            if configuration in best and configuration != "mean":
                lines.append(f"| {title} | {_nearby(best[configuration])} |")
    return "\n".join(lines) + "\n"


def _nearby(result: Result) -> str:
    scores = [
        (
            *metrics.purity_completeness(z, result.z_spec, NEARBY),
            metrics.purity_at(z, result.z_spec, NEARBY),
        )
        for z in result.z_phot
    ]
    return " | ".join(f"{value:.1%}" for value in np.nanmean(scores, axis=0))


def described(size: Size, name: str, best: Mapping[tuple[str, ...], Result]) -> str:
    """Input's name, whether it is simulated, how many galaxies and seeds."""
    of_input = [result for key, result in best.items() if key[0] == name]
    seeds = max(len(result.z_phot) for result in of_input)
    label = "SIMULATED" if "simulate" in size.inputs[name] else "real"
    tests = len(of_input[0].z_spec)
    return f"{name} ({label}): {tests} test galaxies, {seeds} seed{'s' * (seeds > 1)}"


def titles_of(size: Size) -> dict[str, str]:
    """Title of every line of the table, in order."""
    photometric = {
        "mean": "mean of the training set",
        "aperture": "aperture photometry",
        "catalogue": "catalogue photometry",
    }
    return photometric | {name: str(about["title"]) for name, about in size.configurations.items()}


def gather_facts(jobs: Iterable[Job]) -> dict[str, dict[str, float]]:
    """What was timed, a mean over seeds, by ``input/configuration``; of the most labels."""
    found: dict[str, dict[int, dict[str, float]]] = {}
    for job in jobs:  # the most labels come first
        if (job.folder / DONE).exists():
            of_configuration = found.setdefault(f"{job.input}/{job.configuration}", {})
            of_configuration.setdefault(job.seed, artefact.read_json(job.folder / DONE))
    return {
        name: {
            key: float(np.mean([facts[key] for facts in of_configuration.values()]))
            for key, value in next(iter(of_configuration.values())).items()
            if isinstance(value, int | float)
        }
        for name, of_configuration in found.items()
    }


def _cell(best: Mapping[tuple[str, ...], Result], group: tuple[str, str, str]) -> str:
    """Write sigma, outliers and R2, the probe chosen, and the baselines beaten in all three."""
    if group not in best:
        return ""
    result, error = best[group], errors(best[group])
    sigma, outliers, r2 = (result.metric(name) for name in SHOWN)
    text = f"{sigma:.4f} ± {error['sigma_nmad']:.4f} / {outliers:.1%} / {r2:.3f}"
    how = " ".join(filter(None, (result.key.probe, result.key.read_out)))
    beaten = [_beaten(result, best.get((group[0], baseline, group[2]))) for baseline in BASELINES]
    marks = "".join(itertools.compress(("†", "‡"), beaten))
    return f"{text} {marks}<br>{how}".replace(" <br>", "<br>")


def _beaten(result: Result, baseline: Result | None) -> bool:
    """Say whether all three metrics are better than a baseline's by more than two errors."""
    if baseline is None or baseline.key.configuration == result.key.configuration:
        return False
    return all(gain > 2 * error for gain, error in gains(result, baseline).values())
