"""The figure of `make compare`: three metrics, a line per system."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.compare.table import SHOWN_AS, Line
from benchmarks.redshift_ladder.plan import Size, says
from ssl_photoz.photoz.figures import new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MEAN = "mean of the training set"
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7")


def draw(size: Size, lines: list[Line], *, note: str) -> Figure:
    """Draw a panel per metric and input; a colour per label count.

    Args:
        size: Size of the comparison.
        lines: Lines of the table.
        note: Machine and date, for the foot.
    """
    inputs = list(dict.fromkeys(line.input for line in lines))
    titles = list(dict.fromkeys(line.title for line in lines if line.title != MEAN))
    figure = new_figure(12.5, 0.8 + (0.9 + 0.27 * len(titles)) * len(inputs))
    panels = figure.subplots(len(inputs), len(SHOWN_AS), sharey=True, squeeze=False)
    for row, name in zip(panels, inputs, strict=True):
        some = [line for line in lines if line.input == name and line.title != MEAN]
        row[0].set_title(some[0].heading, loc="left", fontsize=9)
        for axes, (metric, shown) in zip(row, SHOWN_AS.items(), strict=True):
            for number, labels in enumerate(map(says, size.labels)):
                of = [line for line in some if line.labels == labels]
                axes.errorbar(
                    [line.values[metric] for line in of],
                    [titles.index(line.title) + 0.15 * number for line in of],
                    xerr=[line.errors[metric] for line in of],
                    fmt="o",
                    ms=4,
                    capsize=2,
                    color=COLOURS[number % len(COLOURS)],
                    label=f"{labels} of labels" if "%" in labels else f"{labels} labels",
                )
            axes.set(xlabel=shown, yticks=range(len(titles)), yticklabels=titles)
            axes.tick_params(labelsize=8)
            axes.grid(alpha=0.25)
        row[0].invert_yaxis()
        row[-1].legend(frameon=False, fontsize=8)
    figure.supxlabel(note, fontsize=7, x=0.01, ha="left")
    return figure
