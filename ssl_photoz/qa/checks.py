"""Every check of a cutout file, what came out of it, and the mask that it makes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ssl_photoz.core import artefact
from ssl_photoz.core.legacy_surveys import PIXSCALE_ARCSEC
from ssl_photoz.core.types import Array, Bools, Doubles, Ints
from ssl_photoz.cutouts.mask import KIND, MaskCard, cutout_parents, require_whole, write_mask
from ssl_photoz.cutouts.quality import reject_reasons, row_reasons
from ssl_photoz.cutouts.reader import Cutouts
from ssl_photoz.qa import pixels, positions
from ssl_photoz.qa.photometry import magnitude, radius_arcsec
from ssl_photoz.qa.pixels import read_blocks
from ssl_photoz.qa.settings import CHECKS, CheckConfig

SATURATED_BITS = {"g": 2, "r": 3, "z": 4, "i": 14}
"""Bits of MASKBITS that say so, https://www.legacysurvey.org/dr9/bitmasks."""
CLASSES = ("spectype", "class")
UNKNOWN_SCALE = "the pixel scale is not known, or not one"


@dataclass(frozen=True)
class CheckResult:
    """What the checks found.

    Attributes:
        rows: Rows whose pixels were looked at; the catalogue is checked in every row.
        flags: Flags by check, in the order of `CHECKS`, shape (N,).
        measures: Measures by check, of how bad a row is: the greater, the worse. Shape (N,).
        left_out: Checks that make no sense for this file, and why.
        neighbours: The nearest others of each row; None if positions cannot be compared.
        config: Thresholds.
    """

    rows: Ints
    flags: dict[str, Bools]
    measures: dict[str, Array]
    left_out: dict[str, str]
    neighbours: positions.Neighbourhood
    config: CheckConfig

    def worst(self, check: str, count: int) -> Ints:
        """Rows that a check flags, the worst first, at most ``count``."""
        rows = np.flatnonzero(self.flags[check])
        return rows[np.argsort(-self.measures[check][rows], kind="stable")][:count]

    def counts(self) -> dict[str, int]:
        """Number of rows that each check flags."""
        return {name: int(flag.sum()) for name, flag in self.flags.items()}

    def description(self, check: str) -> str:
        """What a check flags, in words, with its thresholds."""
        return CHECKS[check].format(**asdict(self.config))


def check(cutouts: Cutouts, rows: Ints, config: CheckConfig) -> CheckResult:
    """Check the catalogue of all rows, and the pixels of some, with progress bars.

    Args:
        cutouts: The file.
        rows: The rows whose pixels are looked at, increasing.
        config: Thresholds.

    Raises:
        DataError: If the file cannot be read.
    """
    source = cutouts.source
    left_out: dict[str, str] = {}
    if not source.pixscale_arcsec > 0:
        left_out |= dict.fromkeys(("shred_peak", "shred_entry", "overlapping"), UNKNOWN_SCALE)
    scale = source.pixscale_arcsec if source.pixscale_arcsec > 0 else 0.0
    side_arcsec = max(source.size_px * scale, config.repeat_arcsec)
    ra, dec = cutouts.column("ra"), cutouts.column("dec")
    neighbours = positions.find_neighbours(ra, dec, side_arcsec)
    measures: dict[str, Array] = dict(_labels(cutouts, config))
    measures["repeated_id"] = positions.repeated_ids(cutouts.column("id"))
    measures["repeated_position"] = positions.repeats_an_earlier(neighbours, config.repeat_arcsec)
    measures["overlapping"] = np.where(
        neighbours.within(side_arcsec), side_arcsec / (neighbours.closest_arcsec + 0.01), 0
    )
    entries = _entries(cutouts, neighbours)
    if entries is None:
        left_out["shred_entry"] = "the file has no magnitudes, or no half-light radii"
    else:
        measures["shred_entry"] = np.where(entries < config.entry_radii, 1 / (entries + 0.1), 0)
    for name, found in _look(cutouts, rows, config, left_out).items():
        measures[name] = found
    measures = {name: measure.astype(float) for name, measure in measures.items()}
    flags = {name: measures[name] > 0 for name in CHECKS if name not in left_out}
    return CheckResult(rows, flags, measures, left_out, neighbours, config)


def _look(
    cutouts: Cutouts, rows: Ints, config: CheckConfig, left_out: Mapping[str, str]
) -> dict[str, Array]:
    names = [n for n in ("unusable", "blank", "saturated", "shred_peak") if n not in left_out]
    found = {name: np.zeros(len(cutouts)) for name in names}
    found["unusable"][row_reasons(cutouts.column("ra"), cutouts.column("dec")) != ""] = 1
    found["saturated"] += _said_to_be_saturated(cutouts)
    for some, images in read_blocks(cutouts, rows, says="checking pixels"):
        bad = reject_reasons(images) != ""
        found["unusable"][[*some[bad], *cutouts.faults(some)]] = 1
        for name, measure in _measures(cutouts, images[~bad], config, left_out).items():
            found[name][some[~bad]] += measure
    return found


def _measures(
    cutouts: Cutouts, images: Array, config: CheckConfig, left_out: Mapping[str, str]
) -> dict[str, Doubles]:
    """Amount by which each cutout passes the threshold of each check of pixels; 0 within it."""
    source = cutouts.source
    if not len(images):
        return {}
    blank = pixels.blank_lines(images, calibrated=source.calibrated)
    if source.calibrated:
        zoom = (source.pixscale_arcsec or np.nan) / PIXSCALE_ARCSEC
        least = config.plateau_nmgy * (zoom**2 if np.isfinite(zoom) else 1)
        plateau = pixels.plateau_px(images, least=least)
    else:
        plateau = pixels.full_px(images)
    found = {
        "blank": np.where(blank >= config.blank_lines, blank, 0),
        "saturated": np.where(plateau >= config.plateau_px, plateau, 0),
    }
    if "shred_peak" not in left_out:
        ratio = pixels.brighter_peak(
            images,
            calibrated=source.calibrated,
            pixscale_arcsec=source.pixscale_arcsec,
            least_arcsec=config.peak_arcsec,
        )
        found["shred_peak"] = np.where(ratio >= config.peak_ratio, ratio, 0)
    return found


def _said_to_be_saturated(cutouts: Cutouts) -> Doubles:
    said = np.zeros(len(cutouts))
    if "maskbits" in cutouts.columns:
        bits = np.asarray(cutouts.column("maskbits"))
        if bits.ndim == 1 and bits.dtype.kind in "iu":
            for band in set(cutouts.source.bands) & set(SATURATED_BITS):
                said += (bits >> SATURATED_BITS[band]) & 1
    return said


def _labels(cutouts: Cutouts, config: CheckConfig) -> dict[str, Bools]:
    z = cutouts.column("z")
    star = np.abs(z) < config.star_z
    for name in set(CLASSES) & set(cutouts.columns):
        said = cutouts.column(name)
        if said.dtype.kind in "US" and said.ndim == 1:
            star |= np.char.upper(np.char.strip(said.astype(str))) == "STAR"
    with np.errstate(invalid="ignore"):
        outside = (z < config.least_z) | (z > config.greatest_z)
        return {"star": star, "absurd_label": outside, "not_positive": z <= 0}


def _entries(cutouts: Cutouts, neighbours: positions.Neighbourhood) -> Doubles | None:
    """Distance of each row to a brighter one, in half-light radii of that, shape (N,)."""
    mag, radius = magnitude(cutouts, "r"), radius_arcsec(cutouts)
    if mag is None or radius is None:
        return None
    near = neighbours.rows
    with np.errstate(divide="ignore", invalid="ignore"):
        away = neighbours.arcsec / radius.values[near]
        brighter = (near >= 0) & (mag.values[near] < mag.values[:, None]) & np.isfinite(away)
    nearest: Doubles = np.where(brighter, away, np.inf).min(axis=1)
    return nearest


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
