"""The ladder as one figure: three metrics against the number of labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from benchmarks.redshift_ladder.plan import Size, count, says
from benchmarks.redshift_ladder.results import SHOWN, Result, chosen, errors
from benchmarks.redshift_ladder.table import described, titles_of

AXES = {"sigma_nmad": r"$\sigma_{\rm NMAD}$", "outliers_05": "|dz| > 0.05", "r2": "R²"}
DRAWN = {
    "measured": ("tab:blue", "o-"),
    "measured: measurements": ("tab:cyan", "o:"),
    "aperture": ("black", "s--"),
    "catalogue": ("gray", "s:"),
    "small-cnn": ("tab:olive", "^--"),
    "resnet18": ("tab:red", "^--"),
    "resnet18-measured": ("tab:orange", "^--"),
    "random": ("silver", "o-"),
    "moco-strong": ("tab:pink", "o-"),
    "moco": ("tab:purple", "o-"),
    "pretext": ("darkcyan", "o-"),
    "moco+pretext-0.2": ("tab:brown", "o-"),
    "align": ("tab:green", "D-"),
    "fine-tuned": ("goldenrod", "D-"),
}


def draw(
    size: Size, results: list[Result], available: Mapping[str, int], out: Path, *, note: str
) -> None:
    """Draw a row of panels per input, errors by bootstrap, and save a PNG.

    Args:
        size: Size of the ladder.
        results: All of them; of each configuration the one chosen on validation is drawn.
        available: Training labels of each input.
        out: The PNG.
        note: Epochs, machine and date, for the foot.
    """
    best: dict[tuple[str, ...], Result] = {r.key[:3]: r for r in chosen(results)}
    names = [name for name in size.inputs if name in available]
    figure, axes = plt.subplots(
        len(names),
        len(SHOWN),
        figsize=(13, 1 + 4 * len(names)),
        squeeze=False,
        sharex="row",
        layout="constrained",
    )
    for line, name in zip(axes, names, strict=True):
        places = {says(labels): count(labels, available[name]) for labels in size.labels}
        of_input: dict[tuple[str, ...], Result] = {
            key[1:]: result for key, result in best.items() if key[0] == name
        }
        _draw_input(titles_of(size), of_input, places, line)
        line[0].set_title(described(size, name, best), loc="left")
    figure.supxlabel(note, fontsize=8, x=0.01, ha="left")
    figure.legend(*axes[0][0].get_legend_handles_labels(), ncols=4, loc="outside upper left")
    figure.savefig(out, dpi=110)
    plt.close(figure)


def _draw_input(
    titles: Mapping[str, str],
    best: Mapping[tuple[str, ...], Result],
    places: Mapping[str, int],
    line: Sequence[Axes],
) -> None:
    """Draw one input; ``places`` maps label counts to their abscissae."""
    for configuration, (colour, style) in DRAWN.items():
        have = [
            (n, best[configuration, labels])
            for labels, n in places.items()
            if (configuration, labels) in best
        ]
        if not have:
            continue
        have.sort(key=lambda pair: pair[0])
        spread = [errors(result) for _, result in have]
        for axis, metric in zip(line, SHOWN, strict=True):
            axis.errorbar(
                [n for n, _ in have],
                [result.metric(metric) for _, result in have],
                [error[metric] for error in spread],
                fmt=style,
                color=colour,
                markersize=4,
                linewidth=1,
                label=titles[configuration],
            )
    for axis, metric in zip(line, SHOWN, strict=True):
        axis.set(xscale="log", xlabel="training labels", ylabel=AXES[metric])
