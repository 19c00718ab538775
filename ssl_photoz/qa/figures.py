"""Figures of the quality page. PNG bytes, drawn without a window."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from ssl_photoz.catalog import lowz_cuts
from ssl_photoz.core.types import Array, Bools
from ssl_photoz.qa import photometry
from ssl_photoz.qa.conditions import (
    Conditions,
    density,
    survey_fwhm,
    survey_noise,
)
from ssl_photoz.qa.photometry import Photometry
from ssl_photoz.simulator.conditions import EBV_MAG

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ssl_photoz.simulator.conditions import LogNormal

BAND_COLOURS = {"u": "#7048e8", "g": "#2b8a3e", "r": "#c92a2a", "i": "#a61e4d", "z": "#862e9c"}
SURVEY, HERE, NORTH = "#1b1f24", "#1864ab", "#e8590c"
BINS = 40
MOST_POINTS = 20_000
LEVELS = (0.95, 0.68, 0.3)


def draw_conditions(seen: Conditions, *, pixscale_arcsec: float, calibrated: bool) -> bytes:
    """Draw noise, seeing and dust against the survey's; empty if nothing is known."""
    panels: list[tuple[str, str, Array, str, LogNormal | None]] = []
    for place, band in enumerate(seen.bands):
        survey = survey_noise(band, pixscale_arcsec=pixscale_arcsec) if calibrated else None
        survey = survey if pixscale_arcsec > 0 else None
        stated = np.isfinite(seen.noise_stated[:, place]).any()
        noise = seen.noise_stated if stated else seen.noise_measured
        unit = "nmgy/px" if calibrated else "stored units"
        kind = "stated" if stated else "measured"
        colour = BAND_COLOURS.get(band, HERE)
        panels.append((f"noise, {band} ({kind})", unit, noise[:, place], colour, survey))
    for place, band in enumerate(seen.bands):
        width = seen.fwhm_arcsec[:, place]
        colour = BAND_COLOURS.get(band, HERE)
        panels.append((f"PSF FWHM, {band}", "arcsec", width, colour, survey_fwhm(band)))
    panels.append(("E(B-V)", "mag", seen.ebv_mag, HERE, EBV_MAG))
    panels = [panel for panel in panels if np.isfinite(panel[2]).any()]
    if not panels:
        return b""
    across = max(len(seen.bands), 1)
    down = -(-len(panels) // across)
    figure, axes = _figure(across, down, width=3.0, height=2.3)
    for one, panel in zip(axes, panels, strict=False):
        _draw_histogram(one, *panel)
    return _png(figure)


def _draw_histogram(
    axes: Axes, title: str, unit: str, values: Array, colour: str, survey: LogNormal | None
) -> None:
    values = values[np.isfinite(values)]
    low, high = np.percentile(values, [0.5, 99.5])
    if survey is not None:
        low, high = min(low, 0.6 * survey.median), max(high, 2 * survey.median)
    edges = np.linspace(low, high if high > low else low + 1, BINS + 1)
    axes.hist(values, edges.tolist(), density=True, color=colour, alpha=0.55, label="this file")
    if survey is not None:
        axes.plot(edges, density(survey, edges), color=SURVEY, lw=1.2, label="Legacy Surveys")
    axes.set_title(title, fontsize=9)
    axes.set_xlabel(unit, fontsize=8)
    axes.set_yticks([])
    axes.locator_params(axis="x", nbins=5)
    axes.legend(fontsize=6.5, frameon=False, loc="upper right")


def draw_photometry(
    seen: Photometry, reference: Photometry, *, fwhm_arcsec: float, measured: bool
) -> bytes:
    """Draw colour and size against magnitude, over what is expected.

    Args:
        seen: Photometry of the file.
        reference: Photometry of the simulator; its sizes are widened by seeing if those seen are.
        fwhm_arcsec: Seeing.
        measured: Whether sizes were measured on pixels, through the seeing.
    """
    has_sizes = np.isfinite(seen.radius_arcsec).any()
    figure, axes = _figure(2 if has_sizes else 1, 1, width=4.6, height=3.8)
    r, colour = seen.mag["r"], seen.mag["g"] - seen.mag["r"]
    magnitudes = np.linspace(*_span(np.append(r, reference.mag["r"])), 100)
    expected_colour = reference.mag["g"] - reference.mag["r"]
    _draw_cloud(axes[0], r, colour, reference.mag["r"], expected_colour)
    _draw_cut(axes[0], magnitudes, lowz_cuts.reddest_kept)
    axes[0].set_ylim(*_span(np.append(colour, expected_colour)))
    axes[0].set_ylabel("g-r", fontsize=9)
    if has_sizes:
        size = np.log10(seen.radius_arcsec)
        sizes = reference.radius_arcsec
        sizes = np.log10(photometry.seen_through(sizes, fwhm_arcsec) if measured else sizes)
        _draw_cloud(axes[1], r, size, reference.mag["r"], sizes)
        _draw_cut(axes[1], magnitudes, lambda mag: np.log10(lowz_cuts.smallest_kept(mag)))
        axes[1].set_ylim(*_span(np.append(size, sizes)))
        axes[1].set_ylabel("log$_{10}$ half-light radius / arcsec", fontsize=9)
    for one in axes:
        one.axvline(photometry.R_LIMIT_MAG, color=SURVEY, lw=0.8, ls=":")
        one.set_xlim(magnitudes[0], magnitudes[-1])
        one.set_xlabel("r", fontsize=9)
        one.legend(fontsize=7, edgecolor="none", framealpha=0.8, loc="upper left")
    return _png(figure)


def _draw_cloud(axes: Axes, x: Array, y: Array, x_expected: Array, y_expected: Array) -> None:
    from scipy.stats import gaussian_kde

    known = np.flatnonzero(np.isfinite(x) & np.isfinite(y))
    some = known[np.linspace(0, len(known) - 1, min(len(known), MOST_POINTS)).astype(int)]
    axes.plot(x[some], y[some], ".", ms=2, alpha=0.35, color=HERE, rasterized=True)
    axes.plot([], [], "o", ms=4, color=HERE, label="this file")
    usual = np.isfinite(x_expected) & np.isfinite(y_expected)
    points = np.stack([x_expected[usual], y_expected[usual]])
    kernel = gaussian_kde(points)
    heights = np.sort(kernel(points))
    grid = np.meshgrid(np.linspace(*_span(points[0]), 70), np.linspace(*_span(points[1]), 70))
    height = kernel(np.stack([one.ravel() for one in grid])).reshape(grid[0].shape)
    levels = [heights[int((1 - share) * len(heights))] for share in LEVELS]
    axes.contour(*grid, height, sorted(set(levels)), colors=SURVEY, linewidths=0.9)
    axes.plot([], [], color=SURVEY, lw=0.9, label="simulated, 30, 68, 95 %")


def _draw_cut(axes: Axes, r_mag: Array, cut: Callable[[Array], Array]) -> None:
    axes.plot(r_mag, cut(r_mag), color=NORTH, lw=1.2, ls="--", label="cut for z < 0.03")


def draw_sky(ra: Array, dec: Array, north: Bools) -> bytes:
    """Draw positions, degrees, shape (N,), those that BASS and MzLS saw apart; empty if none."""
    known = np.flatnonzero(np.isfinite(ra) & np.isfinite(dec))
    if not len(known):
        return b""
    some = known[np.linspace(0, len(known) - 1, min(len(known), MOST_POINTS)).astype(int)]
    figure, (axes,) = _figure(1, 1, width=9.0, height=3.4)
    for of_north, colour, name in (
        (False, HERE, "DECam (DECaLS)"),
        (True, NORTH, "BASS and MzLS"),
    ):
        part = some[north[some] == of_north]
        if len(part):
            axes.plot(ra[part], dec[part], ".", ms=1.5, alpha=0.6, color=colour)
            axes.plot([], [], "o", ms=4, color=colour, label=name)
    axes.set_xlabel("right ascension, degrees", fontsize=9)
    axes.set_ylabel("declination, degrees", fontsize=9)
    axes.invert_xaxis()
    axes.legend(fontsize=8, frameon=False, loc="lower right", bbox_to_anchor=(1, 1), ncols=2)
    return _png(figure)


def draw_redshifts(z: Array, *, star_z: float) -> bytes:
    """Draw the redshifts of those that have one, shape (N,); empty if none has."""
    z = z[np.isfinite(z)]
    if not len(z):
        return b""
    figure, (axes,) = _figure(1, 1, width=9.0, height=2.6)
    low, high = np.percentile(z, [0.2, 99.8])
    edges = np.linspace(min(low, 0), max(high, 10 * star_z), 80)
    axes.hist(z, edges.tolist(), color=HERE, alpha=0.6)
    axes.set_xlabel("redshift", fontsize=9)
    axes.set_ylabel("galaxies", fontsize=9)
    return _png(figure)


def _span(values: Array) -> tuple[float, float]:
    low, high = np.nanpercentile(values, [0.3, 99.7])
    margin = 0.08 * (high - low) or 0.5
    return float(low - margin), float(high + margin)


def _figure(across: int, down: int, *, width: float, height: float) -> tuple[Figure, list[Axes]]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width * across, height * down), dpi=110, layout="tight")
    FigureCanvasAgg(figure)
    axes = [figure.add_subplot(down, across, place + 1) for place in range(across * down)]
    for one in axes:
        one.tick_params(labelsize=8)
    return figure, axes


def _png(figure: Figure) -> bytes:
    for axes in figure.axes:
        if not axes.has_data():
            axes.remove()
    png = io.BytesIO()
    figure.savefig(png, format="png")
    return png.getvalue()
