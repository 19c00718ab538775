"""Figures of probes and densities: estimates against truth, residuals in bins, calibration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ssl_photoz.core.artefact import atomic_path
from ssl_photoz.core.types import Array, Ints
from ssl_photoz.photoz.density import GOOD_ODDS, Density
from ssl_photoz.photoz.diagnostics import PIT_BINS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import PolyCollection
    from matplotlib.figure import Figure

NAMES = {
    **{"knn": "kNN", "ridge": "ridge", "svr": "SVR", "mlp": "MLP", "boosting": "boosting"},
    "blend": "blend",
    **{"small_cnn": "small CNN", "supervised": "supervised", "fine_tuned": "fine-tuned"},
    **{"multimodal": "multimodal", "capsules": "capsules", "transferred": "transferred"},
    "mean": "mean",
}
END_TO_END = ("small_cnn", "supervised", "fine_tuned", "multimodal", "capsules", "transferred")
# Okabe & Ito's colours, which colour-blind readers can tell apart.
COLOURS = {
    **{"knn": "#0072B2", "ridge": "#E69F00", "svr": "#56B4E9", "mlp": "#009E73"},
    **{"boosting": "#CC79A7", "blend": "#F0E442", "mean": "#999999"},
    **dict.fromkeys(END_TO_END, "#D55E00"),
}
MARKERS = {
    **{"knn": "o", "ridge": "s", "svr": "v", "mlp": "D", "boosting": "P", "mean": "^"},
    "blend": "*",
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
    write_figures(folder, figures)


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


def write_figures(folder: Path, figures: Mapping[str, Figure]) -> None:
    """Write figures into a folder, each under its name."""
    for name, figure in figures.items():
        with atomic_path(folder / f"{name}.png") as scratch:
            figure.savefig(scratch)


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


UNCALIBRATED = "#999999"
EXAMPLES = 12
REDSHIFTS = {"z_spec": r"$z_\mathrm{spec}$", "z_phot": r"$z_\mathrm{phot}$"}


def save_density_figures(
    folder: Path, density: Density, z_spec: Array, metrics: Mapping[str, Any]
) -> None:
    """Write ``calibration.png``, ``quality.png``, ``residuals.png`` and ``examples.png``.

    Args:
        folder: Folder to write to.
        density: Densities of the test galaxies.
        z_spec: Their redshifts, shape (N,).
        metrics: Metrics with ``test`` and ``test_uncalibrated`` of `diagnostics.diagnose`, and what
            `figures.title_of` needs.
    """
    title, test, colour = title_of(metrics), metrics["test"], COLOURS[metrics["method"]]
    figures = {
        "calibration": draw_calibration(
            test, metrics["test_uncalibrated"], title=title, colour=colour
        ),
        "quality": draw_quality(test["kept"], title=title, colour=colour),
        "residuals": draw_density_residuals(test["bins"], method=metrics["method"], title=title),
        "examples": draw_examples(density, z_spec, title=title, colour=colour),
    }
    write_figures(folder, figures)


def draw_calibration(
    after: Mapping[str, Any], before: Mapping[str, Any], *, title: str, colour: str
) -> Figure:
    """Draw the PIT histogram, and the reliability of each probability of being nearby.

    ``after`` and ``before`` calibration: what `diagnostics.diagnose` says of the densities.
    """
    figure = new_figure(11.5, 3.9)
    pit, *panels = figure.subplots(1, 1 + len(after["nearby"]))
    _draw_pit(pit, after, before, colour)
    for axes, nearby in zip(panels, after["nearby"], strict=True):
        _draw_reliability(axes, nearby, colour)
    figure.suptitle(title, fontsize=11)
    return figure


def draw_quality(kept: list[dict[str, float]], *, title: str, colour: str) -> Figure:
    """Draw scatter and outliers of the galaxies that a cut on odds keeps."""
    figure = new_figure(8.4, 3.6)
    left, right = figure.subplots(1, 2)
    fraction = [row["fraction"] for row in kept]
    left.plot(fraction, [row["sigma_nmad"] for row in kept], "o-", ms=4, color=colour)
    left.set(ylabel=rf"${SIGMA}$")
    for name, style, label in (
        ("outliers_05", "o-", "observed"),
        ("expected_outliers", "--", "expected, 1 \N{MINUS SIGN} mean odds"),
    ):
        values = [100 * row[name] for row in kept]
        right.plot(fraction, values, style, ms=4, color=colour, label=label)
    right.set(ylabel=r"outliers, $|\Delta z| > 0.05$ [%]")
    right.legend(frameon=False, fontsize=8)
    for axes in (left, right):
        axes.set(xlabel="fraction kept, highest odds first")
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.25)
    figure.suptitle(title, fontsize=11)
    return figure


def draw_density_residuals(
    bins: Mapping[str, list[dict[str, float]]], *, method: str, title: str
) -> Figure:
    """Draw bias and scatter of the point estimates, a column per quantity binned by."""
    figure = new_figure(3.2 * len(bins) + 0.6, 5.0)
    panels = figure.subplots(2, len(bins), sharex="col", sharey="row", squeeze=False)
    for (above, below), (name, rows) in zip(panels.T, bins.items(), strict=True):
        draw_bins(above, rows, "bias", method)
        draw_bins(below, rows, "sigma_nmad", method)
        above.axhline(0, color="0.5", lw=0.8)
        below.set_xlabel(REDSHIFTS.get(name, name))
    panels[0, 0].set_ylabel(r"bias, $\langle\Delta z\rangle$")
    panels[1, 0].set_ylabel(rf"${SIGMA}$")
    panels[1, 0].set_ylim(bottom=0)
    figure.suptitle(title, fontsize=11)
    return figure


def draw_examples(density: Density, z_spec: Array, *, title: str, colour: str) -> Figure:
    """Draw densities with their true redshifts, from the highest odds to the lowest."""
    rows = _spaced_in(density.odds(), EXAMPLES)
    some = density.take(rows)
    _, high = some.interval(0.999)
    odds, top = some.odds(), float(1.1 * max(high.max(), np.max(z_spec[rows])))
    figure = new_figure(11.0, 6.2)
    for place, axes in enumerate(figure.subplots(3, -(-EXAMPLES // 3), sharex=True).flat):
        if place >= len(rows):
            axes.set_axis_off()
            continue
        axes.fill_between(some.grid, some.values[place], color=colour, alpha=0.35, lw=0)
        axes.plot(some.grid, some.values[place], color=colour, lw=1.2)
        axes.axvline(z_spec[rows[place]], color="0.1", lw=1.0, ls="--")
        mark = "" if odds[place] >= GOOD_ODDS else ", not good"
        axes.set_title(f"odds {odds[place]:.3f}{mark}", fontsize=8)
        axes.set(xlim=(0, top), yticks=[])
        axes.set_ylim(bottom=0)
    figure.supxlabel("redshift (dashed: spectroscopic)", fontsize=9)
    figure.supylabel("probability density", fontsize=9)
    figure.suptitle(title, fontsize=11)
    return figure


def _draw_pit(axes: Axes, after: Mapping[str, Any], before: Mapping[str, Any], colour: str) -> None:
    """Draw histograms in units of the even one, and the band that chance alone fills."""
    even, edges = after["n"] / PIT_BINS, np.linspace(0, 1, PIT_BINS + 1)
    chance = np.sqrt((1 - 1 / PIT_BINS) / even)
    axes.axhspan(1 - 2 * chance, 1 + 2 * chance, color="0.9", lw=0)
    for said, shade, name in ((before, UNCALIBRATED, "before"), (after, colour, "calibrated")):
        label = f"{name}, KS {said['ks']:.3f}"
        axes.stairs(np.array(said["pit_histogram"]) / even, edges, color=shade, lw=1.4, label=label)
    axes.set(xlabel="PIT", ylabel="galaxies / even share", xlim=(0, 1))
    axes.set_ylim(bottom=0)
    axes.set_title(
        f"68 % interval holds {100 * after['coverage']['0.68']:.1f} %; "
        f"KS by chance {after['ks_of_chance']:.3f}",
        fontsize=8,
    )
    axes.legend(frameon=False, fontsize=8, loc="lower center")


def _draw_reliability(axes: Axes, nearby: Mapping[str, Any], colour: str) -> None:
    axes.plot([0, 1], [0, 1], color="0.5", lw=0.8)
    bins = nearby["bins"]
    axes.errorbar(
        [row["predicted"] for row in bins],
        [row["observed"] for row in bins],
        yerr=[row["error"] for row in bins],
        fmt="o-",
        ms=4,
        lw=1.2,
        capsize=2,
        color=colour,
    )
    axes.set(xlabel=f"predicted P(z < {nearby['z_max']:g})", ylabel="observed fraction")
    axes.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), aspect="equal")
    axes.set_title(
        f"Brier {nearby['brier']:.4f}; expected {nearby['expected']:.1f}, "
        f"observed {nearby['observed']}",
        fontsize=8,
    )


def _spaced_in(odds: Array, count: int) -> Ints:
    """Rows evenly spaced in rank, highest odds first."""
    order = np.argsort(-odds, kind="stable")
    places = np.linspace(0, len(order) - 1, min(count, len(order))).round().astype(np.int64)
    return np.asarray(order[places])
