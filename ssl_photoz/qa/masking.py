"""The mask of a cutout file: every cutout with what each check says of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ssl_photoz.core import artefact
from ssl_photoz.cutouts.mask import KIND, MaskCard, cutout_parents, require_whole, write_mask
from ssl_photoz.cutouts.reader import Cutouts
from ssl_photoz.qa.checks import check
from ssl_photoz.qa.settings import CheckConfig


def make_mask(
    folder: Path,
    cutouts: Cutouts,
    checks: CheckConfig,
    *,
    reject: Sequence[str],
    **about: object,
) -> str:
    """Check every cutout of a file and write a mask of the bad ones.

    Args:
        folder: Folder of the mask.
        cutouts: The whole file.
        checks: Thresholds.
        reject: Checks that reject what they flag; the others only flag.
        **about: What was stated when the file was opened; kept on the card.

    Returns:
        What was done, as lines.

    Raises:
        MismatchError: If a mask of other data or thresholds is in the way, or the cutouts are
            not a whole file.
    """
    source = cutouts.source
    if mask_is_made(folder, cutouts, checks, reject=reject, **about):
        return f"{folder} is already made"
    given = _given(folder, cutouts, checks, reject=reject, **about)
    checked = check(cutouts, np.arange(len(cutouts)), checks)
    ids = cutouts.column("id")
    rejected = write_mask(folder, ids, checked.flags, reject)
    facts: dict[str, Any] = {"rows_checked": len(ids), "rows_rejected": sum(rejected.values())}
    facts |= {"flagged": checked.counts(), "rejected": rejected, "left_out": checked.left_out}
    facts |= {"simulated": source.simulated, "calibrated": source.calibrated}
    card = MaskCard(artefact.write_card(folder, KIND, **given, **facts))
    return "\n".join([*counts_as_lines(card), f"mask -> {folder}"])


def mask_is_made(
    folder: Path, cutouts: Cutouts, checks: CheckConfig, *, reject: Sequence[str], **about: object
) -> bool:
    """Say whether just this mask is there; call it before the cutouts are looked at.

    Raises:
        ConfigError: If nothing can be written there.
        MismatchError: If a mask of other data or thresholds is in the way, or the cutouts are
            not a whole file.
    """
    require_whole(cutouts)
    given = _given(folder, cutouts, checks, reject=reject, **about)
    return artefact.already_made(folder, KIND, ignore=("data", "out"), **given)


def _given(
    folder: Path, cutouts: Cutouts, checks: CheckConfig, *, reject: Sequence[str], **about: object
) -> dict[str, Any]:
    source = cutouts.source
    config = {"data": source.path, "out": folder, **about, "reject": reject, "checks": checks}
    return {"config": config, "parents": cutout_parents(cutouts, None)}


def counts_as_lines(card: MaskCard) -> list[str]:
    """Table of counts per check, as lines: flagged, and rejected for that first of all."""
    lines = ["SIMULATED"] if card.simulated else []
    lines.append(f"{'check':<18} {'flagged':>9} {'rejected':>9}")
    for name, flagged in card.flagged.items():
        lines.append(f"{name:<18} {flagged:>9} {card.rejected.get(name, '-'):>9}")
    lines += [f"{name:<18} left out: {why}" for name, why in card.left_out.items()]
    kept = card.rows_checked - card.rows_rejected
    return [*lines, f"{card.rows_checked} cutouts checked, {kept} kept"]
