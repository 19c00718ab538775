"""The tables of cross-validation, in Markdown."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from benchmarks.redshift_ladder.crossvalidated import CrossValidated, errors, gains
from benchmarks.redshift_ladder.plan import Size, says
from benchmarks.redshift_ladder.results import SHOWN
from benchmarks.redshift_ladder.table import shown_gain, titles_of

REFERENCES = ("mean", "aperture", "catalogue")
Best = dict[tuple[str, str], CrossValidated]


def markdown(size: Size, results: Sequence[CrossValidated]) -> str:
    """Write one table per input: a line per frozen configuration, a column per label count."""
    titles = titles_of(size)
    lines: list[str] = []
    for name in size.inputs:
        if not (best := _of_input(name, results)):
            continue
        counts = [labels for labels in map(says, size.labels) if any(k[1] == labels for k in best)]
        first = next(iter(best.values()))
        label = "SIMULATED" if "simulate" in size.inputs[name] else "real"
        folds = f"{len(first.z_spec)} galaxies in {len(first.fold_tuning)} folds of the sky"
        lines += ["", f"### {name} ({label}), cross-validated: {folds}", ""]
        if left_out := _trained_on_labels(size, name):
            why = "On the one split only, for they train on labels"
            lines += [f"{why}: {', '.join(left_out)}.", ""]
        heads = [
            f"{labels}{' of' * ('%' in labels)} labels, {_drawn(best, labels)}" for labels in counts
        ]
        lines += [f"| configuration | {' | '.join(heads)} |", "|---|" + "---|" * len(counts)]
        for line, title in titles.items():
            cells = [_cell(best, line, labels) for labels in counts]
            if any(cells):
                lines.append(f"| {title} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n" if lines else ""


def gains_markdown(size: Size, results: Sequence[CrossValidated]) -> str:
    """Write how much better each embedding is than apertures, and than the best other embedding.

    The best other is the one with the best validation score.
    """
    titles = titles_of(size)
    lines: list[str] = []
    for name in size.inputs:
        best = _of_input(name, results)
        frozen = [key for key in best if key[0] not in REFERENCES]
        rows = []
        for line, labels in sorted(frozen, key=lambda key: list(titles).index(key[0])):
            others = [key for key in frozen if key[1] == labels and key[0] != line]
            rivals = [key for key in [("aperture", labels)] if key in best]
            rivals += sorted(others, key=lambda key: best[key].tuning)[:1]
            for rival in rivals:
                gained = gains(best[line, labels], best[rival])
                gain, error = np.array(gained["sigma_nmad"]) / best[rival].metric("sigma_nmad")
                cells = [shown_gain(*pair) for pair in gained.values()]
                cells.insert(1, f"{gain:+.1%} ± {error:.1%}")
                row = [f"{titles[line]}, {labels}", titles[rival[0]], *cells]
                rows.append(f"| {' | '.join(row)} |")
        if rows:
            lines += ["", f"### {name}: gains in cross-validation (positive: better)", ""]
            lines += [
                "| configuration, labels | against | sigma_NMAD | of sigma_NMAD | outliers | R² |"
            ]
            lines += ["|---|---|---:|---:|---:|---:|", *rows]
    return "\n".join(lines) + "\n" if lines else ""


def _of_input(name: str, results: Sequence[CrossValidated]) -> Best:
    """Return what was chosen on one input, by line of the table and label count."""
    return {result.key[1:3]: result for result in results if result.key.input == name}


def _trained_on_labels(size: Size, name: str) -> list[str]:
    """Return titles of the configurations of an input that cannot be cross-validated."""
    asked = size.inputs[name].get("configurations", size.configurations)
    return [size.configurations[one]["title"] for one in asked if not size.is_frozen(one)]


def _drawn(best: Best, labels: str) -> str:
    some = [result.draws for key, result in best.items() if key[1] == labels]
    seeds, draws = max(len({one.seed for one in each}) for each in some), max(map(len, some))
    counted = f"{seeds} seed{'s' * (seeds > 1)}"
    return f"{counted}, {draws} draws" if draws > seeds else counted


def _cell(best: Best, line: str, labels: str) -> str:
    """Write all three metrics with errors, what was chosen, and whether apertures are beaten."""
    if (line, labels) not in best:
        return ""
    result = best[line, labels]
    error = errors(result)
    sigma, outliers, r2 = (result.metric(name) for name in SHOWN)
    text = (
        f"{sigma:.4f} ± {error['sigma_nmad']:.4f} / {outliers:.1%} ± {error['outliers_05']:.1%} "
        f"/ {r2:.3f} ± {error['r2']:.3f}"
    )
    rival = best.get(("aperture", labels))
    if rival is not None and line != "aperture":
        gained = gains(result, rival).values()
        text += " ‡" * all(gain > 2 * uncertain for gain, uncertain in gained)
    return f"{text}<br>{result.key.probe} {result.key.read_out}"
