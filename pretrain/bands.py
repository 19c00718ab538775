"""Say what a trained network gets from each band: a table and a figure.

    ssl-photoz bands configs/bands.yaml data=cutouts.h5 network=runs/supervised out=runs/bands

On the network's own test galaxies, each band is shuffled among them, and set to zero. For the fair
figure of leaving a band out, train without it (``supervise without=[g]``) and give those folders as
``left_out``: the predictions that were saved after each training are compared.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ssl_photoz.core import artefact
from ssl_photoz.core.errors import ConfigError, MismatchError

if TYPE_CHECKING:
    from torch import Tensor

    from ssl_photoz.core.types import Array, Doubles
    from ssl_photoz.photoz.band_importance import Loss


@dataclass(frozen=True)
class Settings:
    """Settings of bands.

    Attributes:
        data: The cutout file that the network was trained on.
        network: Probe folder that supervise wrote.
        out: Folder to write.
        left_out: Probe folders of the same training without one band each.
        draws: Shuffles of each band.
        orientations: Of shuffled and blanked galaxies, and of the whole ones that they are compared
            with, so many exact ones are averaged: 1, 2, 4 or 8.
        seed: Of the shuffles.
    """

    data: Path
    network: Path
    out: Path
    left_out: tuple[Path, ...] = ()
    draws: int = 5
    orientations: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        if self.draws < 1 or self.orientations not in (1, 2, 4, 8):
            raise ConfigError("draws must be >= 1, orientations 1, 2, 4 or 8")


def main(settings: Settings) -> None:
    """Predict without each band, compare, save."""
    from ssl_photoz.photoz.artefact import read_predictions
    from ssl_photoz.photoz.band_importance import draw_losses, table_of

    parents = {"cutouts": artefact.fingerprint(settings.data)}
    parents |= {"network": artefact.sha256_of(settings.network)}
    parents |= {f"left out {n}": artefact.sha256_of(one) for n, one in enumerate(settings.left_out)}
    ignore = ("data", "network", "left_out", "out")
    same: dict[str, Any] = {"config": settings, "parents": parents}
    if not artefact.begin(settings.out, "bands", ignore=ignore, **same):
        return print(f"{settings.out} is already made")
    card = artefact.read_card(settings.network, "probe")
    if card["parents"].get("cutouts") != parents["cutouts"]:
        raise MismatchError(f"{settings.network} was trained on another file than {settings.data}")
    table = read_predictions(settings.network)
    found = _retrained(settings.left_out, table) + _asked(settings, table)
    notes = " \N{EN DASH} ".join([card["label"], *["SIMULATED"] * card["simulated"]])
    draw_losses(settings.out / "bands.png", found, title=notes)
    said = {"galaxies": len(table["id"]), "losses": [asdict(one) for one in found]}
    facts = {"label": card["label"], "simulated": card["simulated"]}
    artefact.write_json(settings.out / "metrics.json", {**facts, **said})
    artefact.write_card(settings.out, "bands", **same, **facts)
    print(f"{notes}, {len(table['id'])} test galaxies\n{table_of(found)}\n-> {settings.out}")


def _asked(settings: Settings, table: Mapping[str, Array]) -> list[Loss]:
    """Ask the network, or all of a committee, again, each band shuffled or set to zero."""
    import numpy as np

    from ssl_photoz.cutouts.reader import Cutouts
    from ssl_photoz.cutouts.supervision import central_crops, rows_of_ids
    from ssl_photoz.photoz.band_importance import losses
    from ssl_photoz.photoz.base import to_redshift
    from ssl_photoz.training.supervised.artefact import load_members
    from ssl_photoz.training.supervised.bands import predict_blanked, predict_permuted
    from ssl_photoz.training.supervised.predict import answer_together

    networks, head, _ = load_members(settings.network)
    # Bands are shuffled within batches: neighbours in a file may be alike.
    order = np.random.default_rng(settings.seed).permutation(len(table["id"]))

    def redshifts(given: Iterable[Tensor]) -> Doubles:
        answers = answer_together(networks, given, head=head, orientations=settings.orientations)
        return to_redshift(head.ln_one_plus_z(answers))

    with Cutouts.open(settings.data) as cutouts:
        rows, bands = rows_of_ids(cutouts, table["id"][order]), cutouts.source.bands
        crops = partial(central_crops, cutouts, rows, size_px=networks[0].input_shape[-1])
        draws = {"draws": settings.draws, "seed": settings.seed}
        shuffled = predict_permuted(redshifts, crops, bands=len(bands), **draws)
        blanked = predict_blanked(redshifts, crops, bands=len(bands))
        whole = redshifts(crops())
    without = {
        "permuted": {bands[number]: draws for number, draws in shuffled.items()},
        "blanked": {bands[number]: [one] for number, one in blanked.items()},
    }
    return losses(table["z_spec"][order], whole, without)


def _retrained(folders: Sequence[Path], table: Mapping[str, Array]) -> list[Loss]:
    """Compare what was predicted after the trainings, with and without a band."""
    import numpy as np

    from ssl_photoz.photoz.artefact import read_predictions
    from ssl_photoz.photoz.band_importance import losses

    found: dict[str, list[Array]] = {}
    for folder in folders:
        without = artefact.read_card(folder, "probe")["config"].get("without", [])
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
