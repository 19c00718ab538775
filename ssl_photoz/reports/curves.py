"""The course of a pretraining run as one figure."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Title of a panel, its figures in the history with their labels.
PANELS = (
    ("loss", {"loss": "total", "contrastive_loss": "contrast", "pretext_loss": "pretext"}),
    ("contrast accuracy", {"contrast_accuracy": "positive ranked first"}),
    ("spread of the embedding (0: collapsed)", {"embedding_std": "of unit vectors"}),
    ("directions that features use", {"effective_rank": "effective rank"}),
    ("online kNN redshift, validation", {"knn_sigma_nmad": r"$\sigma_\mathrm{NMAD}$"}),
)


def draw_history(history: Sequence[Mapping[str, float]]) -> bytes:
    """Draw losses, collapse and the online score against epochs.

    Panels of which the history holds nothing are left out.

    Args:
        history: One mapping per logged epoch, with ``epoch`` and any figure of `PANELS`.

    Returns:
        A PNG; empty if there is nothing to draw.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    panels = [
        (title, present)
        for title, keys in PANELS
        if (present := {k: label for k, label in keys.items() if any(k in row for row in history)})
    ]
    if not panels:
        return b""
    figure = Figure(figsize=(4.2 * min(2, len(panels)), 2.9 * -(-len(panels) // 2)), dpi=110)
    FigureCanvasAgg(figure)
    for place, (title, keys) in enumerate(panels, 1):
        axes = figure.add_subplot(-(-len(panels) // 2), min(2, len(panels)), place)
        _draw_panel(axes, history, title, keys)
    figure.tight_layout()
    png = io.BytesIO()
    figure.savefig(png, format="png")
    return png.getvalue()


def _draw_panel(
    axes: Axes, history: Sequence[Mapping[str, float]], title: str, keys: Mapping[str, str]
) -> None:
    from matplotlib.ticker import MaxNLocator

    for key, label in keys.items():
        rows = [row for row in history if key in row]
        epochs = [row.get("epoch", number) for number, row in enumerate(rows, 1)]
        axes.plot(epochs, [row[key] for row in rows], ".-", lw=1, label=label)
    axes.set_title(title, fontsize=9)
    axes.set_xlabel("epoch", fontsize=8)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=7, frameon=False)
    if "embedding_std" in keys:
        axes.set_ylim(0, 1.15 * axes.get_ylim()[1])
