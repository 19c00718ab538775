"""Mean residuals against spectroscopic and photometric redshift, a line for every step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ssl_photoz.photoz.figures import new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe & Ito's colours, which colour-blind readers can tell apart.
STYLES = {
    "uncorrected": ("#999999", "o", "uncorrected"),
    "channels": ("#0072B2", "s", "1: channels of magnitude"),
    "balanced": ("#E69F00", "^", "2: balanced"),
    "extended": ("#009E73", "D", "3: extended, labels moved"),
    "calibrated": ("#D55E00", "X", "4: calibrated in cells"),
}


def draw_mean_residuals(residuals: Mapping[str, Mapping[str, Any]], *, title: str) -> Figure:
    """Draw the curves of `residuals.describe`.

    Args:
        residuals: Step to its curves.
        title: Above both panels.
    """
    figure = new_figure(9.2, 4.2)
    panels = figure.subplots(1, 2, sharey=True)
    for kind, axes in zip(("z_spec", "z_phot"), panels, strict=True):
        for step, said in residuals.items():
            (colour, marker, name), size = STYLES[step], said[f"size_{kind}"]
            axes.errorbar(
                [b["centre"] for b in said[kind]],
                [b["bias"] for b in said[kind]],
                yerr=[b["error"] for b in said[kind]],
                fmt=marker + "-",
                ms=4,
                lw=1.2,
                capsize=2,
                color=colour,
                label=name if size is None else f"{name}: {size:.4f}",
            )
        axes.axhline(0, color="0.3", lw=0.8)
        axes.grid(alpha=0.25)
        axes.tick_params(labelsize=8)
        axes.set_xlabel(rf"$z_\mathrm{{{kind.removeprefix('z_')}}}$")
        axes.legend(frameon=False, fontsize=7, title="rms over bins", title_fontsize=7)
    panels[0].set_ylabel(r"$\langle\Delta z\rangle$")
    figure.suptitle(title, fontsize=11)
    return figure
