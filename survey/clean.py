"""Check every cutout of a file and write a mask of those to do without.

    ssl-photoz clean configs/clean.yaml data=cutouts.h5 out=runs/mask

Nothing is deleted: the mask lists every cutout with what each check says of it, and `pretrain`,
`align`, `supervise`, `embed` and `pack` take it as ``mask=runs/mask``. docs/census.md explains the
checks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ssl_photoz.core import artefact
from ssl_photoz.qa.settings import REJECTING, CheckConfig, require_checks


@dataclass(frozen=True)
class Settings:
    """Settings of clean.

    Attributes:
        data: Cutouts: a file or folder of any format, or a dataset YAML.
        out: Folder for the mask.
        bands: Band names, for a file that does not state them.
        pixscale_arcsec: Pixel scale, for a file that does not state it.
        read_as: Name of the format; recognised by default.
        reject: Checks that reject what they flag; the others only flag.
        checks: Thresholds.
    """

    data: Path
    out: Path = Path("mask")
    bands: tuple[str, ...] | None = None
    pixscale_arcsec: float | None = None
    read_as: str | None = None
    reject: tuple[str, ...] = REJECTING
    checks: CheckConfig = field(default_factory=CheckConfig)

    def __post_init__(self) -> None:
        require_checks(self.reject)


def main(settings: Settings) -> None:
    """Write the mask, or say that it is there."""
    import numpy as np

    from ssl_photoz.cutouts.mask import KIND, cutout_parents, write_mask
    from ssl_photoz.cutouts.reader import Cutouts
    from ssl_photoz.qa.checks import check

    given: dict[str, Any] = {"config": settings, "parents": cutout_parents(settings.data, None)}
    if artefact.already_made(settings.out, KIND, ignore=("data", "out"), **given):
        return print(f"{settings.out} is already made")
    with Cutouts.open(
        settings.data,
        bands=settings.bands,
        pixscale_arcsec=settings.pixscale_arcsec,
        read_as=settings.read_as,
        in_order=True,
    ) as cutouts:
        checked = check(cutouts, np.arange(len(cutouts)), settings.checks)
        source, ids = cutouts.source, cutouts.column("id")
    rejected = write_mask(settings.out, ids, checked.flags, settings.reject)
    facts: dict[str, Any] = {"rows_checked": len(ids), "rows_rejected": sum(rejected.values())}
    facts |= {"flagged": checked.counts(), "rejected": rejected, "left_out": checked.left_out}
    facts |= {"simulated": source.simulated, "calibrated": source.calibrated}
    artefact.write_card(settings.out, KIND, **given, **facts)
    print("\n".join(account_of(facts)))
    print(f"mask -> {settings.out}")


def account_of(facts: Mapping[str, Any]) -> list[str]:
    """Return a table of counts per check, as lines: flagged, and rejected for that first of all."""
    lines = ["SIMULATED"] if facts["simulated"] else []
    lines.append(f"{'check':<18} {'flagged':>9} {'rejected':>9}")
    for name, flagged in facts["flagged"].items():
        lines.append(f"{name:<18} {flagged:>9} {facts['rejected'].get(name, '-'):>9}")
    lines += [f"{name:<18} left out: {why}" for name, why in facts["left_out"].items()]
    kept = facts["rows_checked"] - facts["rows_rejected"]
    return [*lines, f"{facts['rows_checked']} cutouts checked, {kept} kept"]
