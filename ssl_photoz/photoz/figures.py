"""Figures of a probe: estimates against truth, and residuals in bins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ssl_photoz.core.artefact import atomic_path
from ssl_photoz.core.types import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import PolyCollection
    from matplotlib.figure import Figure

NAMES = {
    **{"knn": "kNN", "ridge": "ridge", "svr": "SVR", "mlp": "MLP", "boosting": "boosting"},
    **{"small_cnn": "small CNN", "supervised": "supervised", "fine_tuned": "fine-tuned"},
    **{"multimodal": "multimodal", "capsules": "capsules", "transferred": "transferred"},
    "mean": "mean",
}
END_TO_END = ("small_cnn", "supervised", "fine_tuned", "multimodal", "capsules", "transferred")
# Okabe & Ito's colours, which colour-blind readers can tell apart.
COLOURS = {
    **{"knn": "#0072B2", "ridge": "#E69F00", "svr": "#56B4E9", "mlp": "#009E73"},
    **{"boosting": "#CC79A7", "mean": "#999999"},
    **dict.fromkeys(END_TO_END, "#D55E00"),
}
MARKERS = {
    **{"knn": "o", "ridge": "s", "svr": "v", "mlp": "D", "boosting": "P", "mean": "^"},
    **dict.fromkeys(END_TO_END, "X"),
}
OUTLIER = 0.05
SIGMA = r"\sigma_\mathrm{NMAD}"


def title_of(metrics: Mapping[str, Any]) -> str:
    """Title that hides nothing a reader must know."""
    notes = ["SIMULATED"] * metrics["simulated"]
    notes += ["uncalibrated 8-bit source"] * (not metrics["calibrated"])
    return " \N{EN DASH} ".join([f"{metrics['label']}, test split", *notes])


def save_figures(
    folder: Path, predictions: Mapping[str, Array], metrics: Mapping[str, Any]
) -> None:
    """Write ``zphot_zspec.png`` and ``residuals.png`` into a probe folder."""
    scores = {name: splits["test"] for name, splits in metrics["probes"].items()}
    title = title_of(metrics)
    figures = {
        "zphot_zspec": draw_zphot_zspec(predictions, scores, title=title),
        "residuals": draw_residuals(scores, title=title, magnitude=metrics["magnitude"]),
    }
    for name, figure in figures.items():
        with atomic_path(folder / f"{name}.png") as scratch:
            figure.savefig(scratch)


def draw_zphot_zspec(
    predictions: Mapping[str, Array], scores: Mapping[str, Mapping[str, Any]], *, title: str
) -> Figure:
    """Draw z_phot against z_spec, a panel per probe.

    Args:
        predictions: Columns ``z_spec`` and ``z_phot_<probe>``, shape (N,) each.
        scores: Probe to its metrics, for the text in the panel.
        title: Above all panels.
    """
    names = [name for name in scores if name != "mean"] or list(scores)
    figure = new_figure(3.3 * len(names) + 0.9, 3.9)
    spec = predictions["z_spec"]
    both = np.concatenate([spec, *(predictions[f"z_phot_{name}"] for name in names)])
    top = 1.04 * float(np.quantile(both, 0.998))
    panels = figure.subplots(1, len(names), sharex=True, sharey=True, squeeze=False)[0]
    drawn = []
    for axes, name in zip(panels, names, strict=True):
        drawn.append(_draw_density(axes, spec, predictions[f"z_phot_{name}"], top))
        axes.set_title(NAMES[name], fontsize=10)
        axes.set_xlabel(r"$z_\mathrm{spec}$")
        axes.text(
            *(0.03, 0.97, _summary(scores[name])),
            transform=axes.transAxes,
            va="top",
            size=8,
            zorder=4,
            bbox={"facecolor": "white", "alpha": 0.8, "edgecolor": "none", "pad": 2},
        )
    panels[0].set_ylabel(r"$z_\mathrm{phot}$")
    _draw_colour_bar(figure, list(panels), drawn)
    figure.suptitle(title, fontsize=11)
    return figure


def draw_residuals(
    scores: Mapping[str, Mapping[str, Any]], *, title: str, magnitude: str | None = None
) -> Figure:
    """Draw bias and sigma_NMAD in bins of redshift, and of magnitude where there is one.

    Args:
        scores: Probe to its metrics with ``bins``.
        title: Above all panels.
        magnitude: Name of the column of magnitudes.
    """
    kinds = list(next(iter(scores.values()))["bins"])
    labels = {"redshift": r"$z_\mathrm{spec}$", "magnitude": magnitude}
    figure = new_figure(4.2 * len(kinds) + 0.4, 5.0)
    panels = figure.subplots(2, len(kinds), sharex="col", sharey="row", squeeze=False)
    for column, kind in enumerate(kinds):
        above, below = panels[:, column]
        for name in scores:
            if name != "mean":
                draw_bins(above, scores[name]["bins"][kind], "bias", name)
                draw_bins(below, scores[name]["bins"][kind], "sigma_nmad", name)
        above.axhline(0, color="0.5", lw=0.8)
        below.set_xlabel(labels[kind])
    panels[1, 0].set_ylim(bottom=0)
    panels[0, 0].set_ylabel(r"bias, $\langle\Delta z\rangle$")
    panels[1, 0].set_ylabel(rf"${SIGMA}$")
    panels[0, 0].legend(frameon=False, fontsize=8)
    figure.suptitle(title, fontsize=11)
    return figure


def new_figure(width: float, height: float) -> Figure:
    """Empty figure, inches, that is drawn without a screen."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=130, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _draw_density(axes: Axes, spec: Array, phot: Array, top: float) -> PolyCollection:
    """Draw one panel: counts on a hexagonal grid, the diagonal, the outlier limits."""
    from matplotlib import colormaps
    from matplotlib.colors import ListedColormap

    line = np.array([0.0, top])
    axes.plot(line, line, color="0.2", lw=0.8, zorder=3)
    for sign in (-1, 1):
        limit = line + sign * OUTLIER * (1 + line)
        axes.plot(line, limit, color="0.2", lw=0.8, ls=(0, (4, 3)), zorder=3)
    axes.set(xlim=(0, top), ylim=(0, top), aspect="equal")
    axes.tick_params(labelsize=8)
    return axes.hexbin(
        np.clip(spec, 0, top),
        np.clip(phot, 0, top),
        gridsize=int(np.clip(len(spec) ** 0.5, 25, 80)),
        extent=(0, top, 0, top),
        mincnt=1,
        # A single galaxy must still stand out from white paper.
        cmap=ListedColormap(colormaps["YlGnBu"](np.linspace(0.25, 1, 256))),
        linewidths=0.1,
        zorder=2,
    )


def _draw_colour_bar(figure: Figure, panels: list[Axes], drawn: list[PolyCollection]) -> None:
    """Bring all panels to one logarithmic scale of counts, and say what it is."""
    from matplotlib.colors import LogNorm
    from matplotlib.ticker import NullFormatter

    most = max(2.0, *(float(np.max(np.asarray(part.get_array()))) for part in drawn))
    for part in drawn:
        part.set_norm(LogNorm(1, most))
    bar = figure.colorbar(drawn[0], ax=panels, pad=0.015, aspect=30)
    bar.ax.yaxis.set_major_formatter("{x:.0f}")
    bar.ax.yaxis.set_minor_formatter(NullFormatter())
    bar.ax.tick_params(labelsize=8)
    bar.set_label("galaxies per cell", size=8)


def draw_bins(axes: Axes, bins: Sequence[Mapping[str, float]], metric: str, name: str) -> None:
    """Draw a metric with its errors in the bins of `metrics.in_bins`."""
    axes.errorbar(
        [b["centre"] for b in bins],
        [b[metric] for b in bins],
        yerr=[b[f"error_{metric}"] for b in bins],
        fmt=MARKERS[name] + "-",
        ms=4,
        lw=1.2,
        capsize=2,
        color=COLOURS[name],
        label=NAMES[name],
    )
    axes.grid(alpha=0.25)
    axes.tick_params(labelsize=8)


def _summary(score: Mapping[str, Any]) -> str:
    r2 = "" if score["r2"] is None else f"\n$R^2$ = {score['r2']:.3f}"
    text = (
        f"${SIGMA}$ = {score['sigma_nmad']:.4f} ± {score['error_sigma_nmad']:.4f}\n"
        f"$|\\Delta z| > {OUTLIER}$: {100 * score['outliers_05']:.1f} ± "
        f"{100 * score['error_outliers_05']:.1f} %\n"
        f"bias = {score['bias']:+.4f}{r2}\n$N$ = {score['n']}"
    )
    return text.replace("-0", "\N{MINUS SIGN}0")
