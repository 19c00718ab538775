"""Take a census of a cutout file: what it holds, how it was observed, what is wrong with it.

    ssl-photoz inspect data=cutouts.h5

Prints the census; writes ``census.html``, ``census.json`` and ``contact_sheet.png``. docs/census.md
explains the checks.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ssl_photoz.core.errors import ConfigError
from ssl_photoz.qa.settings import REJECTING, CheckConfig

if TYPE_CHECKING:
    from ssl_photoz.cutouts.reader import Cutouts
    from ssl_photoz.qa.contents import Census

MAX_SHEET = 2500
SHEET_SAYS = "Cutouts spread evenly over the file: row number and redshift"


@dataclass(frozen=True)
class Settings:
    """What to look at.

    Attributes:
        data: Cutouts: a file or folder of any format, or a dataset YAML.
        out: Folder for census.html, census.json and contact_sheet.png.
        bands: Band names, for a file that does not state them.
        pixscale_arcsec: Pixel scale, for a file that does not state it.
        read_as: Name of the format, also as ``--as NAME``; recognised by default.
        sheet: Cutouts on the contact sheet, spread evenly over the file.
        sample: Cutouts, spread evenly over the file, that noise, photometry and the checks of
            pixels are made on.
        checks: Thresholds of the checks.
    """

    data: Path
    out: Path = Path("inspect")
    bands: tuple[str, ...] | None = None
    pixscale_arcsec: float | None = None
    read_as: str | None = None
    sheet: int = 36
    sample: int = 2000
    checks: CheckConfig = field(default_factory=CheckConfig)

    def __post_init__(self) -> None:
        if not 1 <= self.sheet <= MAX_SHEET:
            raise ConfigError(f"sheet is {self.sheet}, expected 1 to {MAX_SHEET}")
        if self.sample < 1:
            raise ConfigError(f"sample is {self.sample}, expected at least 1")


def main(settings: Settings) -> None:
    """Run ``ssl-photoz inspect``."""
    from ssl_photoz.core import artefact
    from ssl_photoz.cutouts.reader import Cutouts
    from ssl_photoz.qa.contents import take_census
    from ssl_photoz.qa.not_cutouts import catalogue_at

    if settings.read_as is None and (catalogue := catalogue_at(settings.data)):
        print(catalogue.as_text())
        return artefact.write_json(settings.out / "census.json", catalogue.as_dict())
    with Cutouts.open(
        settings.data,
        bands=settings.bands,
        pixscale_arcsec=settings.pixscale_arcsec,
        read_as=settings.read_as,
        in_order=True,
    ) as cutouts:
        census = take_census(cutouts, sample=settings.sample)
        print(census.as_text())
        sheet = draw_sheet(cutouts, settings.sheet)
        with artefact.atomic_path(settings.out / "contact_sheet.png") as scratch:
            scratch.write_bytes(sheet)
        found = _write_page(settings, cutouts, census, sheet)
        artefact.write_json(settings.out / "census.json", {**census.as_dict(), **found})
    print(f"page: {settings.out / 'census.html'}")


def _write_page(
    settings: Settings, cutouts: Cutouts, census: Census, sheet: bytes
) -> dict[str, Any]:
    import numpy as np

    from ssl_photoz.core.html import Picture, Section, write_sections
    from ssl_photoz.qa import page
    from ssl_photoz.qa.checks import check

    rows = np.unique(np.linspace(0, len(cutouts) - 1, settings.sample).astype(int))
    checked = check(cutouts, rows, settings.checks)
    usable = rows[~checked.flags["unusable"][rows]]
    source = cutouts.source
    cautions = ["SIMULATED: the galaxies are simulated"] if source.simulated else []
    if not source.calibrated:
        cautions.append("Uncalibrated 8-bit source: pixels are display values, not flux")
    sections = [
        Section("What it holds", [], [page.contents(census)], [Picture(sheet, SHEET_SAYS)]),
        page.observed(cutouts, usable),
        page.galaxies(cutouts, usable),
        page.sky(cutouts, checked),
        page.redshifts(cutouts, census, checked),
        page.checks(cutouts, checked, REJECTING),
    ]
    title = f"Census of {source.path.name}"
    write_sections(settings.out / "census.html", title=title, cautions=cautions, sections=sections)
    found = {"pixels_checked": len(rows), "checks": checked.counts()}
    return {**found, "left_out": checked.left_out, "pairs": checked.neighbours.pairs}


def draw_sheet(cutouts: Cutouts, count: int) -> bytes:
    """Draw cutouts spread evenly over the file, with row number and redshift, as PNG bytes."""
    import math

    import numpy as np

    from ssl_photoz.cutouts.colour import contact_sheet, to_rgb

    source = cutouts.source
    rows = np.unique(np.linspace(0, len(cutouts) - 1, count).astype(int))
    z = cutouts.column("z")[rows]
    labels = [
        f"{row}" + (f"  z={one:.3f}" if one == one else "")
        for row, one in zip(rows, z, strict=True)
    ]
    rgb = to_rgb(cutouts.read(rows), bands=source.bands, calibrated=source.calibrated)
    title = "SIMULATED" if source.simulated else ""
    columns = math.isqrt(len(rows) - 1) + 1
    return contact_sheet(rgb, columns=columns, labels=labels, title=title)
