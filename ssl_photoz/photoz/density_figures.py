"""Figures of redshift densities: are they right, what does a cut gain, what do they look like."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ssl_photoz.core.artefact import atomic_path
from ssl_photoz.core.types import Array, Ints
from ssl_photoz.photoz.density import GOOD_ODDS, Density
from ssl_photoz.photoz.diagnostics import PIT_BINS
from ssl_photoz.photoz.figures import COLOURS, SIGMA, draw_bins, new_figure, title_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BEFORE = "#999999"
EXAMPLES = 12
NAMES = {"z_spec": r"$z_\mathrm{spec}$", "z_phot": r"$z_\mathrm{phot}$"}


def save_density_figures(
    folder: Path, density: Density, z_spec: Array, metrics: Mapping[str, Any]
) -> None:
    """Write ``calibration.png``, ``quality.png``, ``residuals.png`` and ``examples.png``.

    Args:
        folder: Where to.
        density: Of the test galaxies.
        z_spec: Their redshifts, shape (N,).
        metrics: With ``test`` and ``test_uncalibrated`` of `diagnostics.diagnose`, and what
            `figures.title_of` needs.
    """
    title, test, colour = title_of(metrics), metrics["test"], COLOURS[metrics["method"]]
    figures = {
        "calibration": draw_calibration(
            test, metrics["test_uncalibrated"], title=title, colour=colour
        ),
        "quality": draw_quality(test["kept"], title=title, colour=colour),
        "residuals": draw_residuals(test["bins"], method=metrics["method"], title=title),
        "examples": draw_examples(density, z_spec, title=title, colour=colour),
    }
    for name, figure in figures.items():
        with atomic_path(folder / f"{name}.png") as scratch:
            figure.savefig(scratch)


def draw_calibration(
    after: Mapping[str, Any], before: Mapping[str, Any], *, title: str, colour: str
) -> Figure:
    """Draw the PIT histogram, and the reliability of each probability of being nearby.

    Args:
        after: What `diagnostics.diagnose` says of the calibrated densities.
        before: What it says of the same before calibration.
        title: Above all panels.
        colour: Of the calibrated ones.
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


def draw_residuals(
    bins: Mapping[str, list[dict[str, float]]], *, method: str, title: str
) -> Figure:
    """Draw bias and scatter of the point estimates, a column per quantity binned by."""
    figure = new_figure(3.2 * len(bins) + 0.6, 5.0)
    panels = figure.subplots(2, len(bins), sharex="col", sharey="row", squeeze=False)
    for (above, below), (name, rows) in zip(panels.T, bins.items(), strict=True):
        draw_bins(above, rows, "bias", method)
        draw_bins(below, rows, "sigma_nmad", method)
        above.axhline(0, color="0.5", lw=0.8)
        below.set_xlabel(NAMES.get(name, name))
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
    for said, shade, name in ((before, BEFORE, "before"), (after, colour, "calibrated")):
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
