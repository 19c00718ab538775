"""Bias, scatter and N(z) distance of every method, as one figure."""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from benchmarks.adapt.table import Found, mean_and_error

SHOWN = {"bias": "bias", "sigma_nmad": r"$\sigma_{\rm NMAD}$", "nz_wasserstein": "N(z) distance"}


def draw(found: Found, out: Path, *, note: str) -> None:
    """Draw a panel per figure of merit: means with their errors, and every seed as a dot."""
    methods = list(found)
    places = -np.arange(len(methods))
    figure, axes = plt.subplots(
        1, len(SHOWN), figsize=(13, 1.5 + 0.32 * len(methods)), sharey=True, layout="constrained"
    )
    for axis, (name, title) in zip(axes, SHOWN.items(), strict=True):
        for place, method in zip(places, methods, strict=True):
            values = found[method][name]
            mean, error = mean_and_error(values)
            colour = "tab:blue" if method.startswith("frozen") else "tab:red"
            axis.plot(values, [place] * len(values), ".", color=colour, alpha=0.4)
            axis.errorbar(mean, place, xerr=np.nan_to_num(error), fmt="o", color=colour, capsize=3)
        axis.set_xlabel(title)
        axis.locator_params(axis="x", nbins=5)
        axis.grid(axis="x", alpha=0.3)
    axes[0].axvline(0, color="black", lw=0.8)
    axes[0].set_yticks(places, methods)
    figure.supxlabel(note, fontsize=8, x=0.01, ha="left")
    figure.savefig(out, dpi=110)
    plt.close(figure)
