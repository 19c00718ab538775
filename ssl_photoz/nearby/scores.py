"""How good a search for dwarfs is: every method on the test split, and cuts beside them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ssl_photoz.core import artefact
from ssl_photoz.core.types import Array, Bools, Doubles, Floats
from ssl_photoz.nearby.purity import (
    COMPLETENESS,
    PurityCurve,
    draw_purity,
    measure_purity,
    measure_selection,
    measure_strata,
)
from ssl_photoz.nearby.search import DwarfSearch, Scores
from ssl_photoz.nearby.settings import SKY
from ssl_photoz.similarity.montage import title_of


def measure_search(
    search: DwarfSearch,
    scores: Scores,
    labels: Floats,
    *,
    selected: Bools | None = None,
    strata: Mapping[str, Array] | None = None,
    base_rate: float = SKY,
    seed: int = 0,
) -> dict[str, Any]:
    """Measure every method on every question, and photometric cuts beside them.

    Args:
        search: Fitted methods and their questions.
        scores: Scores of n test galaxies by method, each (n, T); no NaN.
        labels: Their labels, shape (n, T).
        selected: Mask of those that pass photometric cuts, shape (n,).
        strata: Name of a way to part the sample to the part of each galaxy, shape (n,).
        base_rate: Fraction of wanted galaxies on the sky.
        seed: Seed of the bootstraps.

    Returns:
        Figures of the list itself, that is of the ranking method on the first question, see
        `purity.measure_purity`. ``targets``: the same by question and method; with cuts also
        ``cuts``, see `purity.measure_selection`, and in each method what it gains over them, see
        `gain_over_cuts`. ``strata``: see `measure_strata`. What was fitted: ``ranked``,
        ``ranked_by``, ``chosen``, ``calibration``, ``validation_average_precision``,
        ``threshold``.
    """
    targets = {
        name: _of_question(scores, t, labels[:, t], selected, base_rate=base_rate, seed=seed)
        for t, name in enumerate(search.names)
    }
    first, by = search.names[0], search.ranked_by
    known = np.isfinite(labels[:, 0])
    return {
        **targets[first][by],
        "ranked": first,
        "ranked_by": by,
        "targets": targets,
        "strata": {
            name: measure_strata(labels[known, 0] == 1, scores[by][known, 0], parts[known])
            for name, parts in (strata or {}).items()
        },
        "chosen": {method: head.chosen for method, head in search.heads.items()},
        "calibration": {
            method: {
                name: "none" if one is None else one.method
                for name, one in zip(search.names, each, strict=True)
            }
            for method, each in search.calibrations.items()
        },
        "validation_average_precision": dict(search.precision),
        "threshold": search.threshold,
    }


def _of_question(
    scores: Scores,
    target: int,
    labels: Floats,
    selected: Bools | None,
    *,
    base_rate: float,
    seed: int,
) -> dict[str, Any]:
    known = np.isfinite(labels)
    return measure_methods(
        labels[known] == 1,
        {method: score[known, target] for method, score in scores.items()},
        selected=None if selected is None else selected[known],
        base_rate=base_rate,
        seed=seed,
    )


def measure_methods(
    truth: Bools,
    scores: Mapping[str, Doubles],
    *,
    selected: Bools | None,
    base_rate: float,
    seed: int,
) -> dict[str, Any]:
    """Measure methods, and photometric cuts beside them.

    Args:
        truth: Whether each galaxy is wanted, shape (n,).
        scores: Method to scores, shape (n,).
        selected: Mask of those that pass photometric cuts, shape (n,).
        base_rate: Fraction of wanted galaxies on the sky.
        seed: Seed of the bootstraps.

    Returns:
        Method to what `measure_purity` says and, with cuts, what `gain_over_cuts` says, and the
        ``cuts`` themselves.
    """
    figures: dict[str, Any] = {}
    for method, score in scores.items():
        figures[method] = measure_purity(truth, score, base_rate=base_rate, seed=seed)
        if selected is not None:
            figures[method] |= gain_over_cuts(truth, score, selected, base_rate=base_rate)
    if selected is not None:
        figures["cuts"] = measure_selection(truth, selected, base_rate=base_rate, seed=seed)
    return figures


def gain_over_cuts(
    truth: Bools, score: Doubles, selected: Bools, *, base_rate: float = SKY
) -> dict[str, float | None]:
    """Compare a selection with a ranked list as complete, or 90 % complete if that is less.

    Returns:
        ``enrichment_over_cuts``, the ratio of the two purities, and ``sky_enrichment_over_cuts``,
        of those at the sky's base rate. None where the cuts keep nothing that is wanted.
    """
    names = ("enrichment_over_cuts", "sky_enrichment_over_cuts")
    if not (truth & selected).any():
        return dict.fromkeys(names)
    cuts = PurityCurve.measure(truth, selected.astype(np.float64))
    ranked = PurityCurve.measure(truth, score)
    kept = min(float(cuts.completeness[0]), COMPLETENESS)
    gains = [
        ranked.purity_at(kept, base_rate=rate) / float(cuts.purity(rate)[0])
        for rate in (None, base_rate)
    ]
    return dict(zip(names, gains, strict=True))


def save_scores(
    folder: Path,
    search: DwarfSearch,
    scores: Scores,
    labels: Floats,
    *,
    facts: Mapping[str, Any],
    selected: Bools | None = None,
    strata: Mapping[str, Array] | None = None,
    base_rate: float = SKY,
    seed: int = 0,
) -> dict[str, Any]:
    """Write ``metrics.json`` and ``purity_completeness.png``; return the metrics.

    Arguments are those of `measure_search`; ``facts`` are for the metrics: ``label``, what is
    looked for, ``simulated``, and others.
    """
    measured = measure_search(
        *(search, scores, labels), selected=selected, strata=strata, base_rate=base_rate, seed=seed
    )
    known = np.isfinite(labels[:, 0])
    return write_metrics(
        folder,
        {**facts, **measured},
        labels[known, 0] == 1,
        {method: score[known, 0] for method, score in scores.items()},
        selected=None if selected is None else selected[known],
        base_rate=base_rate,
    )


def write_metrics(
    folder: Path,
    metrics: dict[str, Any],
    truth: Bools,
    scores: Mapping[str, Doubles],
    *,
    selected: Bools | None,
    base_rate: float,
) -> dict[str, Any]:
    """Write ``metrics.json``, and ``purity_completeness.png`` of test galaxies; see `draw_purity`.

    ``metrics`` have a ``label`` and say whether galaxies are ``simulated``; they are handed back.
    """
    artefact.write_json(folder / "metrics.json", metrics)
    title = f"{metrics['label']}, {len(truth)} galaxies of the test split"
    draw_purity(
        folder / "purity_completeness.png",
        truth,
        scores,
        title=title_of(title, simulated=bool(metrics["simulated"])),
        selected=selected,
        base_rate=base_rate,
    )
    return metrics


def describe(metrics: Mapping[str, Any]) -> str:
    """Metrics as lines of text: a table of methods for each question."""
    if metrics["average_precision"] is None:
        return "no labelled test galaxy is a nearby dwarf: purity is not known"
    lines = [
        f"{metrics['label']}: {metrics['n_dwarfs']} of {metrics['n']} labelled test galaxies; "
        f"the list is ranked by {metrics['ranked_by']}"
    ]
    on_sky = f"sky {metrics['sky_base_rate']:.2g}"
    for name, methods in metrics["targets"].items():
        lines.append(f"{name:<11}{'AP':>6} {'P@90C':>6} {'C@20P':>6} {on_sky + ' P@90C':>15}")
        lines += [_line(method, one) for method, one in methods.items()]
    lines.append("AP average precision, P@90C purity at 90 % completeness, C@20P the converse")
    return "\n".join(lines)


def _line(method: str, figures: Mapping[str, Any]) -> str:
    if method == "cuts":
        if figures["purity"] is None:
            return "  cuts     keep nothing"
        purity, on_sky = figures["purity"], figures["sky_purity"]
        at = f"(at completeness {figures['completeness']:.2f})"
        return f"  cuts     {'':>6} {purity:6.3f} {'':>6} {on_sky:15.4f} {at}"
    if figures["average_precision"] is None:
        return f"  {method:<9}nothing to find"
    names = ("average_precision", "purity_at_90_completeness", "completeness_at_20_purity")
    shown = " ".join(f"{figures[name]:6.3f}" for name in names)
    return f"  {method:<9}{shown} {figures['sky_purity_at_90_completeness']:15.4f}"
