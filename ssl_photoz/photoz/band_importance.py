"""How much worse a network's redshifts get without each band: measured, a table and a figure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ssl_photoz.catalog.identity import identity_of
from ssl_photoz.core import artefact
from ssl_photoz.core.artefact import atomic_path
from ssl_photoz.core.errors import MismatchError
from ssl_photoz.core.types import Array, Doubles, PathLike
from ssl_photoz.cutouts.extinction import corrected
from ssl_photoz.cutouts.reader import Cutouts
from ssl_photoz.cutouts.supervision import central_crops, rows_of_galaxies
from ssl_photoz.photoz.artefact import read_predictions
from ssl_photoz.photoz.base import to_redshift
from ssl_photoz.photoz.metrics import paired_difference
from ssl_photoz.training.supervised.artefact import NetworkCard, TrainedNetwork, whole_path
from ssl_photoz.training.supervised.predict import predict_blanked, predict_permuted
from ssl_photoz.training.supervised.settings import BandsConfig

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from torch import Tensor

KIND = "band_importance"
METRICS = {"sigma_nmad": "sigma_NMAD", "outliers_05": "|dz| > 0.05", "rmse": "RMSE"}
WAYS = {"permuted": "shuffled among galaxies", "blanked": "set to zero", "left_out": "retrained"}
PATHS = ("data", "network", "left_out", "out")  # in the settings of earlier versions
COLOURS = {"permuted": "#0072B2", "blanked": "#999999", "left_out": "#D55E00"}


@dataclass(frozen=True)
class Loss:
    """Loss of accuracy without a band.

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


def measure_bands(
    network: TrainedNetwork, cutouts: Cutouts, config: BandsConfig, *, orientations: int = 1
) -> list[Loss]:
    """Losses of a network's redshifts without each band, on its own test galaxies.

    Each band is shuffled among the test galaxies, and set to zero. Networks of the same training
    without a band are compared by the predictions that were saved after each training.

    Args:
        network: The network.
        cutouts: The cutouts that it was trained on.
        config: What to measure.
        orientations: Number of exact orientations to average over, 1, 2, 4 or 8, for galaxies with
            and without a band.

    Raises:
        MismatchError: If a network to compare with was trained otherwise.
    """
    table = read_predictions(network.folder)
    cutouts = corrected(cutouts, wanted=network.extinction_corrected)
    retrained = _retrained(config.left_out, table)
    # Bands are shuffled within batches: neighbours in a file may be alike.
    order = np.random.default_rng(config.seed).permutation(len(table["id"]))

    def redshifts(given: Iterable[Tensor]) -> Doubles:
        return to_redshift(network.predict(given, orientations=orientations))

    galaxies = identity_of({name: values[order] for name, values in table.items()})
    rows, bands = rows_of_galaxies(cutouts, galaxies), cutouts.source.bands
    crops = partial(central_crops, cutouts, rows, size_px=network.size_px)
    count = len(bands)
    shuffled = predict_permuted(redshifts, crops, bands=count, draws=config.draws, seed=config.seed)
    blanked = predict_blanked(redshifts, crops, bands=count)
    whole = redshifts(crops())
    without = {
        "permuted": {bands[number]: draws for number, draws in shuffled.items()},
        "blanked": {bands[number]: [one] for number, one in blanked.items()},
    }
    return retrained + losses(table["z_spec"][order], whole, without)


def _retrained(folders: Sequence[Path], table: Mapping[str, Array]) -> list[Loss]:
    """Compare what was predicted after the trainings, with and without a band."""
    found: dict[str, list[Array]] = {}
    for folder in folders:
        without = NetworkCard(artefact.read_card(folder, "probe")).without
        theirs = read_predictions(folder)
        if len(without) != 1 or not np.array_equal(theirs["id"], table["id"]):
            raise MismatchError(
                f"{folder} was trained without {without or 'nothing'} and tested on "
                f"{len(theirs['id'])} galaxies: expected one band, and the {len(table['id'])} test "
                f"galaxies of the whole network"
            )
        found[without[0]] = [_estimates(theirs)]
    return losses(table["z_spec"], _estimates(table), {"left_out": found})


def _estimates(table: Mapping[str, Array]) -> Array:
    return next(
        column
        for name, column in table.items()
        if name.startswith("z_phot_") and name != "z_phot_mean"
    )


def write_bands(
    folder: Path,
    network: TrainedNetwork,
    cutouts: PathLike | Cutouts,
    config: BandsConfig,
    *,
    orientations: int = 1,
) -> Path:
    """Measure what a network gets from each band, and write that as an artefact.

    Args:
        folder: The artefact's folder.
        network: The network.
        cutouts: The cutouts that it was trained on.
        config: What to measure.
        orientations: Number of exact orientations to average over: 1, 2, 4 or 8.

    Returns:
        The folder, with ``metrics.json`` and ``bands.png``.

    Raises:
        MismatchError: If the network was trained on other cutouts.
    """
    path = whole_path(cutouts)
    parents = {"cutouts": artefact.fingerprint(path)}
    parents |= {"network": artefact.sha256_of(network.folder)}
    parents |= {f"left out {n}": artefact.sha256_of(one) for n, one in enumerate(config.left_out)}
    settings = {"draws": config.draws, "orientations": orientations, "seed": config.seed}
    given: dict[str, Any] = {"config": settings, "parents": parents}
    if not artefact.begin(folder, KIND, ignore=PATHS, **given):
        print(f"{folder} is already made")
        return folder
    card = network.card
    if card.kind != "probe":
        raise MismatchError(f"{network.folder} is a {card.kind}: expected a network of redshifts")
    if card.parents.get("cutouts") != parents["cutouts"]:
        raise MismatchError(f"{network.folder} was trained on another file than {path}")
    with Cutouts.open(cutouts) as opened:
        found = measure_bands(network, opened, config, orientations=orientations)
    title = " \N{EN DASH} ".join([card.label, *["SIMULATED"] * card.simulated])
    draw_losses(folder / "bands.png", found, title=title)
    galaxies = len(read_predictions(network.folder)["id"])
    facts: dict[str, Any] = {"label": card.label, "simulated": card.simulated}
    said = {"galaxies": galaxies, "losses": [asdict(one) for one in found]}
    artefact.write_json(folder / "metrics.json", {**facts, **said})
    artefact.write_card(folder, KIND, **given, **facts)
    print(f"{title}, {galaxies} test galaxies\n{table_of(found)}\n-> {folder}")
    return folder


def losses(
    z_spec: Array,
    z_phot: Array,
    without: Mapping[str, Mapping[str, Sequence[Array]]],
) -> list[Loss]:
    """Losses of redshifts that were made without a band.

    Args:
        z_spec: Truth, shape (N,).
        z_phot: Redshifts made with all bands, shape (N,).
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
    """Losses as lines of text, a line per band and way."""
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
        path: Path of the figure; it ends in .png.
        found: The losses.
        title: Title of the figure.
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
