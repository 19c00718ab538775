"""Ask a trained network about other cutouts: redshifts, or how likely they are nearby.

    ssl-photoz apply configs/apply.yaml network=runs/supervised data=new.h5 out=photoz.parquet

A network of supervise or transfer gives the columns that predict gives, one of classify gives
``p_nearby``. Cutouts that cannot be used are listed, with the reason, in
``photoz.parquet.rejects.parquet``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from ssl_photoz.core.errors import ConfigError, DataError

if TYPE_CHECKING:
    from torch import Tensor

    from ssl_photoz.core.artefact import Card
    from ssl_photoz.core.types import Doubles, Ints
    from ssl_photoz.cutouts.reader import Cutouts
    from ssl_photoz.training.supervised.heads import Head
    from ssl_photoz.training.supervised.network import Network


@dataclass(frozen=True)
class Settings:
    """Settings of apply.

    Attributes:
        network: Folder that supervise, transfer or classify wrote.
        data: Cutouts: a file or folder of any format, or a dataset YAML.
        out: Table to write: .parquet, .fits, .csv or .vot.
        pdf: Parquet file for the calibrated densities of a network with redshift bins.
        rows: Galaxies without a usable redshift, or all.
        mask: Mask that `clean` wrote for these cutouts; what it rejects is rejected.
        orientations: Answers are averaged over 1, 2, 4 or 8 exact orientations.
    """

    network: Path
    data: Path
    out: Path
    pdf: Path | None = None
    rows: Literal["unlabelled", "all"] = "unlabelled"
    mask: Path | None = None
    orientations: Literal[1, 2, 4, 8] = 8

    def __post_init__(self) -> None:
        if self.pdf is not None and self.pdf.suffix != ".parquet":
            raise ConfigError(f"pdf={self.pdf} ends in {self.pdf.suffix!r}, expected .parquet")


def main(settings: Settings) -> None:
    """Read the network, ask it, write the table and its rejects."""
    import torch

    from ssl_photoz.catalog.tables import require_suffix, write_table
    from ssl_photoz.cutouts.batches import good_rows
    from ssl_photoz.cutouts.mask import cutout_parents, masked_rows
    from ssl_photoz.cutouts.quality import usable_labels
    from ssl_photoz.cutouts.reader import Cutouts
    from ssl_photoz.cutouts.rejects import SCAN, write_rejects
    from ssl_photoz.photoz.binned import calibrated_parts, load_calibration
    from ssl_photoz.photoz.density_table import write_densities
    from ssl_photoz.training.supervised.artefact import load_members, require_cutouts
    from ssl_photoz.training.supervised.heads import edges_of

    require_suffix(settings.out)
    cutout_parents(settings.data, settings.mask)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    networks, head, card = load_members(settings.network, device=device)
    edges = edges_of(head)
    if settings.pdf is not None and edges is None:
        raise ConfigError(f"{settings.network} gives no densities: pdf wants head.kind=bins")
    calibration = load_calibration(settings.network) if settings.pdf else None
    with Cutouts.open(settings.data) as cutouts:
        source, ids = cutouts.source, cutouts.column("id")
        require_cutouts(
            settings.network, card, networks[0], size_px=source.size_px, about=source.about
        )
        good, bad = good_rows(cutouts, masked=masked_rows(settings.mask))
        rows = _wanted(cutouts, good, settings.rows)
        answers = _ask(networks, cutouts, rows, head=head, orientations=settings.orientations)
        columns = {name: cutouts.column(name)[rows] for name in ("id", "ra", "dec")}
        z = np.where(usable_labels(cutouts.column("z")), cutouts.column("z"), np.nan)[rows]
    simulated = bool(card["simulated"] or source.simulated)
    if settings.pdf and calibration and edges is not None:
        parts = calibrated_parts(calibration, edges, answers, {**columns, "z_spec": z})
        write_densities(settings.pdf, parts, simulated=simulated)
    rejects = settings.out.with_name(f"{settings.out.name}.rejects.parquet")
    write_rejects(rejects, ids, {SCAN: bad})
    write_table(settings.out, columns | _read_off(answers, head, card), simulated=simulated)
    print(
        f"{'SIMULATED: ' if simulated else ''}{len(rows)} of {len(ids)} galaxies "
        f"({settings.rows}) asked about, {len(bad)} rejects in {rejects.name}: {settings.out}"
    )


def _wanted(cutouts: Cutouts, good: Ints, which: str) -> Ints:
    from ssl_photoz.cutouts.quality import usable_labels

    rows = good if which == "all" else good[~usable_labels(cutouts.column("z")[good])]
    if not len(rows):
        hint = "" if which == "all" else ": all of them have a redshift, give rows=all"
        raise DataError(f"none of {len(good)} good cutouts of {cutouts.source.path} is left{hint}")
    return rows


def _ask(
    networks: Sequence[Network], cutouts: Cutouts, rows: Ints, *, head: Head, orientations: int
) -> Doubles:
    from tqdm import tqdm

    from ssl_photoz.cutouts.supervision import central_crops
    from ssl_photoz.training.supervised.predict import answer_together

    def counted() -> Iterator[Tensor]:
        with tqdm(total=len(rows), desc="apply", unit="galaxy", leave=False) as bar:
            for crops in central_crops(cutouts, rows, size_px=networks[0].input_shape[-1]):
                yield crops
                bar.update(len(crops))

    return answer_together(networks, counted(), head=head, orientations=orientations)


def _read_off(answers: Doubles, head: Head, card: Card) -> dict[str, Doubles]:
    from ssl_photoz.photoz.base import to_redshift
    from ssl_photoz.photoz.intervals import Interval

    if card["kind"] == "classifier":
        return {"p_nearby": answers}
    found = head.ln_one_plus_z(answers)
    z_lo, z_hi = Interval.read(card["interval"]).around(found)
    return {"z_phot": to_redshift(found), "z_lo": z_lo, "z_hi": z_hi}
