"""The ladder's tables, in Markdown."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.redshift_ladder.crossvalidated import CrossValidated
from benchmarks.redshift_ladder.plan import Job, Size, line_of, says
from benchmarks.redshift_ladder.results import (
    SHOWN,
    Result,
    chosen,
    errors,
    gains,
    purity_at_90,
)
from benchmarks.redshift_ladder.run import DONE
from ssl_photoz.core import artefact
from ssl_photoz.core.types import Doubles
from ssl_photoz.photoz import metrics

BASELINES, MARKS = ("resnet18", "aperture"), ("†", "‡")
LABEL_AWARE = "align"
NEARBY = (0.03, 0.05)


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
    """Write how much better frozen embeddings and the label-aware one are than their baselines."""
    best = {result.key[:3]: result for result in chosen(results)}
    most = says(1.0)
    lines: list[str] = []
    for name in size.inputs:
        pairs = [
            ((frozen, labels), (baseline, labels))
            for frozen in size.compared
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
                gained = (shown_gain(*pair) for pair in gains(one, other).values())
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


def shown_gain(gain: float, error: float) -> str:
    """Return a gain and its error, bold if it is beyond two errors."""
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


def nearby_markdown(
    size: Size,
    results: list[Result],
    jobs: Iterable[Job],
    folded: Sequence[CrossValidated] = (),
) -> str:
    """Write how pure and complete selections of nearby galaxies are, with all labels."""
    cuts: dict[str, list[dict[str, Any]]] = {}
    for job in jobs:
        if job.configuration == "references" and not job.folds and (job.folder / DONE).exists():
            facts = artefact.read_json(job.folder / DONE)
            cuts.setdefault(job.input, []).extend([facts["lowz"]] if "lowz" in facts else [])
    most = says(1.0)
    lines: list[str] = []
    for name, theirs in cuts.items():
        best, over = (
            {r.key.configuration: r for r in some if (r.key.input, r.key.labels) == (name, most)}
            for some in (chosen(results), folded)
        )
        if not best:
            continue
        counted = _nearby_among(next(iter(best.values())), "on the one split")
        at_90 = [f"z < {limit}: purity at 90 % completeness" for limit in NEARBY]
        columns = [f"purity, z_phot < {NEARBY[0]}", "completeness", *at_90]
        if over:
            columns += [f"{one}, cross-validated" for one in at_90]
            counted += f"; {_nearby_among(next(iter(over.values())), 'cross-validated')}"
        lines += ["", f"### {name}: nearby galaxies", "", f"Test galaxies: {counted}.", ""]
        lines += [f"| selection | {' | '.join(columns)} |", "|---|" + "---:|" * len(columns)]
        if theirs:
            how = " and ".join(theirs[0]["cuts"])
            said = [
                f"{theirs[0][key]:.1%} ± {theirs[0][f'error_{key}']:.1%}"
                for key in ("purity", "completeness")
            ]
            cells = said + [""] * (len(columns) - 2)
            lines.append(f"| LOW-Z-style cuts ({how}) | {' | '.join(cells)} |")
        for line, title in titles_of(size).items():
            if line in best and line != "mean":
                cells = [*_within(best[line]), *_at_90(line, best)]
                cells += _at_90(line, over) if over else []
                lines.append(f"| {title} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _nearby_among(result: Result, where: str) -> str:
    """Write how many of the galaxies scored are nearby."""
    counts = [f"{np.sum(result.z_spec < limit)} of z < {limit}" for limit in NEARBY]
    return f"{where} {len(result.z_spec)}, {', '.join(counts)}"


def _within(result: Result) -> list[str]:
    """Write purity and completeness of the galaxies whose z_phot is nearby."""
    scores = [metrics.purity_completeness(z, result.z_spec, NEARBY[0]) for z in result.z_phot]
    known = [
        [value for value in of_seeds if np.isfinite(value)]
        for of_seeds in zip(*scores, strict=True)
    ]
    return [f"{np.mean(values):.1%}" if values else "" for values in known]


def _at_90(line: str, of_lines: Mapping[str, Result]) -> list[str]:
    """Write purity at 90 % completeness within each limit, and the baselines it is ahead of."""
    if line not in of_lines:
        return [""] * len(NEARBY)
    cells = []
    for limit in NEARBY:
        value, again = purity_at_90(of_lines[line], limit)
        if np.isnan(value):
            cells.append("")
            continue
        text = f"{value:.1%} ± {_spread(again):.1%}"
        for mark, baseline in zip(MARKS, BASELINES, strict=True):
            if baseline in of_lines and baseline != line:
                theirs, theirs_again = purity_at_90(of_lines[baseline], limit)
                text += mark * bool(value - theirs > 2 * _spread(again - theirs_again))
        cells.append(text)
    return cells


def _spread(again: Doubles) -> float:
    known = again[np.isfinite(again)]
    return float(np.std(known, ddof=1)) if len(known) > 1 else float("nan")


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
    titles = dict(photometric)
    for name, about in size.configurations.items():
        readouts = about.get("readouts", ())
        titles[name] = str(about["title"])
        others = {line_of(name, readouts, one): one for one in readouts[1:]}
        titles |= {line: f"{titles[name]}: {one}" for line, one in others.items()}
    return titles


def gather_facts(jobs: Iterable[Job]) -> dict[str, dict[str, float]]:
    """What was timed, a mean over seeds, by ``input/configuration``; of the most labels."""
    found: dict[str, dict[int, dict[str, float]]] = {}
    for job in jobs:  # the most labels come first
        if not job.folds and (job.folder / DONE).exists():
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
    marks = "".join(itertools.compress(MARKS, beaten))
    return f"{text} {marks}<br>{how}".replace(" <br>", "<br>")


def _beaten(result: Result, baseline: Result | None) -> bool:
    """Say whether all three metrics are better than a baseline's by more than two errors."""
    if baseline is None or baseline.key.configuration == result.key.configuration:
        return False
    return all(gain > 2 * error for gain, error in gains(result, baseline).values())
