"""Say what a trained network gets from each band: a table and a figure.

    ssl-photoz bands configs/bands.yaml data=cutouts.h5 network=runs/supervised out=runs/bands

On the network's own test galaxies, each band is shuffled among them, and set to zero. For the fair
figure of leaving a band out, train without it (``supervise without=[g]``) and give those folders as
``left_out``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ssl_photoz import runs
from ssl_photoz.errors import ConfigError, MismatchError


@dataclass(frozen=True)
class Settings:
    """Settings of bands.

    Attributes:
        data: The cutout file that the network was trained on.
        network: Probe folder that supervise wrote.
        out: Folder to write.
        left_out: Probe folders of the same training without one band each.
        draws: Shuffles of each band.
        orientations: Predictions are averaged over 1, 2, 4 or 8 exact orientations.
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
    from ssl_photoz.redshift.band_importance import draw_losses, losses, table_of

    parents = {"cutouts": runs.fingerprint(settings.data)}
    parents |= {"network": runs.sha256_of(settings.network)}
    parents |= {f"left out {n}": runs.sha256_of(one) for n, one in enumerate(settings.left_out)}
    ignore = ("data", "network", "left_out", "out")
    same: dict[str, Any] = {"config": settings, "parents": parents}
    if not runs.begin(settings.out, "bands", ignore=ignore, **same):
        return print(f"{settings.out} is already made")
    card = runs.read_card(settings.network, "probe")
    if card["parents"].get("cutouts") != parents["cutouts"]:
        raise MismatchError(f"{settings.network} was trained on another file than {settings.data}")
    z_spec, z_phot, without = _predict(settings, card)
    found = losses(z_spec, z_phot, without)
    notes = " \N{EN DASH} ".join([card["label"], *["SIMULATED"] * card["simulated"]])
    draw_losses(settings.out / "bands.png", found, title=notes)
    said = {"galaxies": len(z_spec), "losses": [asdict(one) for one in found]}
    facts = {"label": card["label"], "simulated": card["simulated"]}
    runs.write_json(settings.out / "metrics.json", {**facts, **said})
    runs.write_card(settings.out, "bands", **same, **facts)
    print(f"{notes}, {len(z_spec)} test galaxies\n{table_of(found)}\n-> {settings.out}")


def _predict(settings: Settings, card: runs.Card) -> tuple[Any, Any, dict[str, Any]]:
    from ssl_photoz.baselines.artefact import load_network
    from ssl_photoz.baselines.bands import predict_blanked, predict_permuted
    from ssl_photoz.baselines.predict import predict
    from ssl_photoz.cutouts.reader import Cutouts
    from ssl_photoz.cutouts.supervision import central_crops, rows_of_ids
    from ssl_photoz.redshift.artefact import read_predictions
    from ssl_photoz.redshift.protocol import to_redshift

    network, head, _ = load_network(settings.network)
    table = read_predictions(settings.network)
    with Cutouts.open(settings.data) as cutouts:
        rows, bands = rows_of_ids(cutouts, table["id"]), cutouts.source.bands
        crops = partial(central_crops, cutouts, rows, size_px=network.input_shape[-1])

        def answers(given: Any) -> Any:  # noqa: ANN401 - crops to redshifts
            ours = predict(network, given, head=head, orientations=settings.orientations)
            return to_redshift(ours)

        known: dict[str, Any] = {"crops": crops, "bands": len(bands)}
        shuffled = predict_permuted(answers, draws=settings.draws, seed=settings.seed, **known)
        blanked = predict_blanked(answers, **known)
        whole = answers(crops())
    without = {
        "permuted": {bands[number]: draws for number, draws in shuffled.items()},
        "blanked": {bands[number]: [one] for number, one in blanked.items()},
    }
    if settings.left_out:
        without["left_out"] = _retrained(settings.left_out, bands, table["id"])
    return table["z_spec"], whole, without


def _retrained(folders: Sequence[Path], bands: Sequence[str], ids: Any) -> dict[str, Any]:  # noqa: ANN401
    from ssl_photoz.redshift.artefact import read_predictions

    found: dict[str, Any] = {}
    for folder in folders:
        without = runs.read_card(folder, "probe")["config"].get("without", [])
        table = read_predictions(folder)
        if len(without) != 1 or without[0] not in bands or (table["id"] != ids).any():
            raise MismatchError(
                f"{folder} was trained without {without or 'nothing'}: expected one of {bands}, "
                f"and the test galaxies of the whole network"
            )
        name = next(one for one in table if one.startswith("z_phot_") and one != "z_phot_mean")
        found[without[0]] = [table[name]]
    return found
