"""How much worse redshifts get without each band: a table and a figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ssl_photoz.core.artefact import atomic_path
from ssl_photoz.core.types import Array, Doubles
from ssl_photoz.photoz.metrics import paired_difference

if TYPE_CHECKING:
    from matplotlib.axes import Axes

METRICS = {"sigma_nmad": "sigma_NMAD", "outliers_05": "|dz| > 0.05", "rmse": "RMSE"}
WAYS = {"permuted": "shuffled among galaxies", "blanked": "set to zero", "left_out": "retrained"}
COLOURS = {"permuted": "#0072B2", "blanked": "#999999", "left_out": "#D55E00"}


@dataclass(frozen=True)
class Loss:
    """What is lost with a band.

    Attributes:
        band: Its name.
        way: A key of `WAYS`.
        metric: A key of `METRICS`.
        value: How much greater the metric is; several draws are averaged.
        error: Paired bootstrap error, or the scatter of the draws if that is greater.
    """

    band: str
    way: str
    metric: str
    value: float
    error: float


def losses(
    z_spec: Array,
    z_phot: Array,
    without: Mapping[str, Mapping[str, Sequence[Array]]],
) -> list[Loss]:
    """Compare redshifts with those that were made without a band.

    Args:
        z_spec: Truth, shape (N,).
        z_phot: With all bands, shape (N,).
        without: Way to band to the redshifts of each draw, shape (N,).
    """
    found = []
    for way, bands in without.items():
        for band, draws in bands.items():
            for metric in METRICS:
                each = [paired_difference(one, z_phot, z_spec, metric=metric) for one in draws]
                values = [one.value for one in each]
                scatter = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
                error = max(scatter, float(np.mean([one.error for one in each])))
                found.append(Loss(band, way, metric, float(np.mean(values)), error))
    return found


def table_of(found: Sequence[Loss]) -> str:
    """Return the losses as lines of text, a line per band and way."""
    head = "".join(f"{'+ ' + words:>22}" for words in METRICS.values())
    lines = [f"{'band':<6}{'':<26}{head}"]
    for band, way in dict.fromkeys((one.band, one.way) for one in found):
        some = [one for one in found if (one.band, one.way) == (band, way)]
        numbers = "".join(f"{one.value:>+13.4f} ± {one.error:.4f}" for one in some)
        lines.append(f"{band:<6}{WAYS[way]:<26}{numbers}")
    return "\n".join(lines)


def draw_losses(path: Path, found: Sequence[Loss], *, title: str) -> None:
    """Draw a bar per band and way, a panel per metric.

    Args:
        path: Ends in .png.
        found: From `losses`.
        title: Above all.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.6, 3.4), dpi=130)
    for axes, (metric, words) in zip(
        figure.subplots(1, len(METRICS)), METRICS.items(), strict=True
    ):
        _panel(axes, [one for one in found if one.metric == metric])
        axes.set_title(f"increase of {words}")
        axes.title.set_fontsize(9)
    figure.suptitle(title, fontsize=10)
    figure.subplots_adjust(left=0.06, right=0.99, bottom=0.12, top=0.82, wspace=0.28)
    figure.axes[0].legend(frameon=False, fontsize=7)
    with atomic_path(path) as scratch:
        figure.savefig(scratch, metadata={"Software": None})


def _panel(axes: Axes, found: Sequence[Loss]) -> None:
    bands = list(dict.fromkeys(one.band for one in found))
    ways = list(dict.fromkeys(one.way for one in found))
    width = 0.8 / max(len(ways), 1)
    for number, way in enumerate(ways):
        some = [one for one in found if one.way == way]
        at = np.array([bands.index(one.band) for one in some], dtype=np.float64)
        at += (number - (len(ways) - 1) / 2) * width
        values, errors = _columns(some)
        colour, label = COLOURS[way], WAYS[way]
        axes.bar(at, values, width, yerr=errors, color=colour, label=label, capsize=2)
    axes.axhline(0, color="0.5", linewidth=0.8)
    axes.set_xticks(range(len(bands)), bands)


def _columns(found: Sequence[Loss]) -> tuple[Doubles, Doubles]:
    return np.array([one.value for one in found]), np.array([one.error for one in found])
