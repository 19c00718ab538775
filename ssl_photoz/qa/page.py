"""The page about a cutout file: its sections, and their figures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ssl_photoz.catalog.sky import in_north
from ssl_photoz.core import artefact
from ssl_photoz.core.html import Picture, Section, Table, write_sections
from ssl_photoz.core.legacy_surveys import NORTH_DEC_DEG
from ssl_photoz.core.types import Array, Ints
from ssl_photoz.cutouts.colour import contact_sheet, to_rgb
from ssl_photoz.cutouts.quality import has_position
from ssl_photoz.cutouts.reader import Cutouts
from ssl_photoz.qa import figures, photometry
from ssl_photoz.qa.checks import CheckResult, check
from ssl_photoz.qa.conditions import (
    Conditions,
    depth_mag,
    observe,
    survey_fwhm,
    survey_noise,
)
from ssl_photoz.qa.photometry import from_apertures, from_catalogue
from ssl_photoz.qa.settings import REJECTING, CheckConfig
from ssl_photoz.qa.summary import Summary
from ssl_photoz.simulator.conditions import EBV_MAG

WORST = 12
REDSHIFT_CHECKS = ("star", "absurd_label", "not_positive")
SHEET_SAYS = "Cutouts spread evenly over the file: row number and redshift"
UNCALIBRATED = "pixels are display values, not flux"


def write_page(
    out: Path, cutouts: Cutouts, summary: Summary, checks: CheckConfig, *, sheet: int, sample: int
) -> None:
    """Write ``qa.html``, ``qa.json`` and ``contact_sheet.png``.

    ``sheet`` cutouts are on the contact sheet, the pixels of ``sample`` are checked.
    """
    pictures = draw_sheet(cutouts, sheet)
    with artefact.atomic_path(out / "contact_sheet.png") as scratch:
        scratch.write_bytes(pictures)
    rows = np.unique(np.linspace(0, len(cutouts) - 1, sample).astype(int))
    checked = check(cutouts, rows, checks)
    usable = rows[~checked.flags["unusable"][rows]]
    source = cutouts.source
    cautions = ["SIMULATED: the galaxies are simulated"] if source.simulated else []
    if not source.calibrated:
        cautions.append("Uncalibrated 8-bit source: pixels are display values, not flux")
    sections = [
        Section("What it holds", [], [contents(summary)], [Picture(pictures, SHEET_SAYS)]),
        observed(cutouts, usable),
        galaxies(cutouts, usable),
        sky(cutouts, checked),
        redshifts(cutouts, summary, checked),
        what_is_wrong(cutouts, checked, REJECTING),
    ]
    title = f"Quality of {source.path.name}"
    write_sections(out / "qa.html", title=title, cautions=cautions, sections=sections)
    found: dict[str, Any] = {"pixels_checked": len(rows), "checks": checked.counts()}
    found |= {"left_out": checked.left_out, "pairs": checked.neighbours.pairs}
    artefact.write_json(out / "qa.json", {**summary.as_dict(), **found})


def draw_sheet(cutouts: Cutouts, count: int) -> bytes:
    """Cutouts spread evenly over the file, with row number and redshift, as PNG bytes."""
    source = cutouts.source
    rows = np.unique(np.linspace(0, len(cutouts) - 1, count).astype(int))
    labels = [
        f"{row}" + (f"  z={one:.3f}" if one == one else "")
        for row, one in zip(rows, cutouts.z[rows], strict=True)
    ]
    rgb = to_rgb(cutouts.read(rows), bands=source.bands, calibrated=source.calibrated)
    title = "SIMULATED" if source.simulated else ""
    columns = math.isqrt(len(rows) - 1) + 1
    return contact_sheet(rgb, columns=columns, labels=labels, title=title)


def contents(summary: Summary) -> Table:
    """Say what the file holds."""
    source = summary.source
    unit = "flux, nanomaggies per pixel" if source.calibrated else "display values, uncalibrated"
    rows = [
        ("cutouts", str(source.rows)),
        ("bands", ", ".join(source.bands)),
        ("side", f"{source.size_px} px"),
        ("pixel scale", f"{_text(source.pixscale_arcsec, 'g')} arcsec"),
        ("pixels", f"{source.dtype}, {unit}"),
        ("columns", ", ".join(summary.columns)),
        *((reason, str(count)) for reason, count in sorted(summary.rejects.items())),
    ]
    return Table(("what", "value"), rows, text_columns=2)


def observed(cutouts: Cutouts, rows: Ints) -> Section:
    """Say how some usable rows were observed, beside the Legacy Surveys."""
    source, seen = cutouts.source, observe(cutouts, rows)
    scale, calibrated = source.pixscale_arcsec, source.calibrated
    says = [
        f"Noise measured on the borders of {len(rows)} cutouts; the file states "
        f"{_stated(seen)}. Median, and 16 to 84 % of the cutouts, beside the median of the Legacy "
        f"Surveys (Data Release 9). Depth is the magnitude of a point source at five sigma."
    ]
    if not calibrated:
        says.append(f"Noise and depth are not set beside the survey's: {UNCALIBRATED}.")
    table = Table(
        ("band", "noise stated", "measured", "survey", "FWHM, ″", "survey", "depth", "survey"),
        [_band_row(seen, place, scale, calibrated) for place in range(len(seen.bands))],
    )
    dust = Table(("dust", "this file", "survey"), [_dust_row(seen)])
    png = figures.draw_conditions(seen, pixscale_arcsec=scale, calibrated=calibrated)
    caption = "Noise per pixel, width of the PSF and dust; lines: as over the Legacy Surveys"
    return Section("How it was observed", says, [table, dust], _pictures(png, caption))


def galaxies(cutouts: Cutouts, rows: Ints) -> Section:
    """Set colours and sizes beside those of the simulator and of the cuts for nearby galaxies."""
    heading, measured = "Galaxies", False
    seen = from_catalogue(cutouts, rows)
    if seen is None:
        seen, measured = from_apertures(cutouts, rows), True
    if seen is None or not np.isfinite(seen.mag["g"] - seen.mag["r"]).any():
        why = UNCALIBRATED if not cutouts.source.calibrated else "no g and r at one pixel scale"
        return Section(heading, [f"Left out, colour and size against magnitude: {why}."])
    fwhm = cutouts.column_or_nan("psfsize", (len(cutouts), len(cutouts.source.bands)))
    reference = photometry.simulated_galaxies()
    seeing = _middle(fwhm[rows]) if np.isfinite(fwhm[rows]).any() else _survey_seeing()
    png = figures.draw_photometry(seen, reference, fwhm_arcsec=seeing, measured=measured)
    says = [
        f"From {seen.origin}, of {len(rows)} galaxies. Contours: SIMULATED galaxies, a third each "
        f"of dwarfs, nearby ones and background, r < {photometry.R_LIMIT_MAG} (dotted); a file "
        f"chosen otherwise need not lie within them. Dashed: the cuts of Darragh-Ford et al. 2023, "
        f"which keep what is below the line in colour and above it in size.",
        f"Median r {_middle(seen.mag['r']):.2f}, here; {_middle(reference.mag['r']):.2f}, "
        f"simulated. Median g-r {_middle(seen.mag['g'] - seen.mag['r']):.2f}, here; "
        f"{_middle(reference.mag['g'] - reference.mag['r']):.2f}, simulated.",
    ]
    if not np.isfinite(seen.radius_arcsec).any():
        says.append("Left out, size against magnitude: the catalogue has no half-light radii.")
    return Section(heading, says, (), _pictures(png, "Colour and size against magnitude"))


def sky(cutouts: Cutouts, checked: CheckResult) -> Section:
    """Say where the galaxies are, which survey saw them, and who lies beside whom."""
    ra, dec = (cutouts.column(name).astype(float) for name in ("ra", "dec"))
    placed, north = has_position(ra, dec), in_north(ra, dec)
    near, counts = checked.neighbours, checked.counts()
    rows = [
        ("north (BASS and MzLS)", str(int((placed & north).sum()))),
        ("south (DECam)", str(int((placed & ~north).sum()))),
        ("without a position", str(int((~placed).sum()))),
        ("rows with an id that came before", str(counts["repeated_id"])),
        (
            f"rows within {checked.config.repeat_arcsec:g}″ of an earlier one",
            str(counts["repeated_position"]),
        ),
    ]
    says = [
        f"North is Dec > {NORTH_DEC_DEG}° and north of the galactic plane, the rule by which Data "
        f"Release 9 joins its surveys. By position alone: a file may hold other surveys' pixels.",
    ]
    if "overlapping" in counts:
        side = cutouts.source.size_px * cutouts.source.pixscale_arcsec
        rows.append((f"rows with another centre within {side:.1f}″", str(counts["overlapping"])))
        rows.append(("such pairs", str(near.pairs)))
        says.append(
            "Cutouts whose centres are closer than a side share pixels; the sky split keeps all "
            "but those at the edges of its cells on one side."
        )
    else:
        says.append(f"Left out, overlapping cutouts: {checked.left_out['overlapping']}.")
    png = figures.draw_sky(ra, dec, north)
    return Section("Sky", says, [Table(("where", "rows"), rows)], _pictures(png, "Positions"))


def redshifts(cutouts: Cutouts, summary: Summary, checked: CheckResult) -> Section:
    """Say which redshifts there are, and which cannot be believed."""
    z, counts = cutouts.column("z"), checked.counts()
    rows = [
        ("usable as labels", str(summary.labelled)),
        ("none (NaN)", str(int(np.isnan(z).sum()))),
        *((checked.description(name), str(counts[name])) for name in REDSHIFT_CHECKS),
    ]
    png = figures.draw_redshifts(z.astype(float), star_z=checked.config.star_z)
    table = Table(("redshift", "rows"), rows)
    return Section("Redshifts", (), [table], _pictures(png, "Redshifts, all that are finite"))


def what_is_wrong(cutouts: Cutouts, checked: CheckResult, rejecting: Sequence[str]) -> Section:
    """Say what each check found, and show the worst of each."""
    rows = [
        (name, checked.description(name), str(count), "yes" if name in rejecting else "no")
        for name, count in checked.counts().items()
    ]
    says = [
        f"The pixels of {len(checked.rows)} of {len(cutouts)} cutouts were looked at; catalogue "
        f"columns in every row. docs/qa.md gives each definition and its source. "
        f"`ssl-photoz inspect data={cutouts.source.path} mask=mask` checks every cutout and writes "
        f"a mask; nothing is deleted."
    ]
    says += [f"Left out: {name}, {why}." for name, why in checked.left_out.items()]
    if not cutouts.source.calibrated:
        says.append(
            f"saturated counts pixels at the top of the scale, blank only lines of one value: "
            f"{UNCALIBRATED}."
        )
    table = Table(("check", "what it flags", "rows", "a mask rejects"), rows, text_columns=2)
    pictures = [
        Picture(
            sheet_of(cutouts, checked.worst(name, WORST)), f"{name}: {checked.description(name)}"
        )
        for name, count in checked.counts().items()
        if count and name != "unusable"
    ]
    return Section("Checks", says, [table], pictures)


def sheet_of(cutouts: Cutouts, rows: Ints) -> bytes:
    """Draw some cutouts with their row numbers, as PNG bytes."""
    source = cutouts.source
    order = np.argsort(rows)  # some sources can only be read from the first row to the last
    images = cutouts.read(rows[order])[np.argsort(order)]
    rgb = to_rgb(images, bands=source.bands, calibrated=source.calibrated)
    columns = min(len(rows), WORST // 2)
    return contact_sheet(rgb, columns=columns, labels=[str(row) for row in rows], tile_px=128)


def _band_row(seen: Conditions, place: int, scale: float, calibrated: bool) -> list[str]:
    band = seen.bands[place]
    noise = survey_noise(band, pixscale_arcsec=scale) if calibrated and scale > 0 else None
    fwhm = survey_fwhm(band)
    depth = math.nan
    if noise is not None and fwhm is not None:
        widths = np.array([noise.median]), np.array([fwhm.median])
        depth = float(depth_mag(*widths, pixscale_arcsec=scale)[0])
    return [
        band,
        _range(seen.noise_stated[:, place], ".3g"),
        _range(seen.noise_measured[:, place], ".3g"),
        _text(noise.median if noise else math.nan, ".3g"),
        _range(seen.fwhm_arcsec[:, place], ".2f"),
        _text(fwhm.median if fwhm else math.nan, ".2f"),
        _range(seen.depth_mag[:, place], ".2f"),
        _text(depth, ".2f"),
    ]


def _dust_row(seen: Conditions) -> list[str]:
    return ["E(B-V), mag", _range(seen.ebv_mag, ".3f"), _text(EBV_MAG.median, ".3f")]


def _stated(seen: Conditions) -> str:
    names = {
        "noise": seen.noise_stated,
        "the width of the PSF": seen.fwhm_arcsec,
        "E(B-V)": seen.ebv_mag,
    }
    said = [name for name, values in names.items() if np.isfinite(values).any()]
    return ", ".join(said) or "neither noise, nor the width of the PSF, nor E(B-V)"


def _range(values: Array, form: str) -> str:
    values = values[np.isfinite(values)]
    if not len(values):
        return "-"
    low, middle, high = np.percentile(values, [16, 50, 84])
    return f"{middle:{form}} ({low:{form}} to {high:{form}})"


def _text(value: float, form: str) -> str:
    return f"{value:{form}}" if math.isfinite(value) else "-"


def _middle(values: Array) -> float:
    return float(np.nanmedian(values))


def _survey_seeing() -> float:
    survey = survey_fwhm("r")
    return survey.median if survey else 1.3


def _pictures(png: bytes, caption: str) -> list[Picture]:
    return [Picture(png, caption)] if png else []
