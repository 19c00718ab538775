"""Take a census of a cutout file and draw a contact sheet of it.

    ssl-photoz inspect data=cutouts.h5

Prints the census; writes ``census.json`` and ``contact_sheet.png``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ssl_photoz.errors import ConfigError

if TYPE_CHECKING:
    from ssl_photoz.cutouts.reader import Cutouts

MAX_SHEET = 2500


@dataclass(frozen=True)
class Settings:
    """What to look at.

    Attributes:
        data: Cutouts: a file or folder of any format, or a dataset YAML.
        out: Folder for census.json and contact_sheet.png.
        bands: Band names, for a file that does not state them.
        pixscale_arcsec: Pixel scale, for a file that does not state it.
        read_as: Name of the format, also as ``--as NAME``; recognised by default.
        sheet: Cutouts on the contact sheet, spread evenly over the file.
        sample: Cutouts that the noise is estimated from.
    """

    data: Path
    out: Path = Path("inspect")
    bands: tuple[str, ...] | None = None
    pixscale_arcsec: float | None = None
    read_as: str | None = None
    sheet: int = 36
    sample: int = 2000

    def __post_init__(self) -> None:
        if not 1 <= self.sheet <= MAX_SHEET:
            raise ConfigError(f"sheet is {self.sheet}, expected 1 to {MAX_SHEET}")
        if self.sample < 1:
            raise ConfigError(f"sample is {self.sample}, expected at least 1")


def main(settings: Settings) -> None:
    """Run ``ssl-photoz inspect``."""
    from ssl_photoz import runs
    from ssl_photoz.cutouts.census import take_census
    from ssl_photoz.cutouts.not_cutouts import catalogue_at
    from ssl_photoz.cutouts.reader import Cutouts

    if settings.read_as is None and (catalogue := catalogue_at(settings.data)):
        print(catalogue.as_text())
        return runs.write_json(settings.out / "census.json", catalogue.as_dict())
    with Cutouts.open(
        settings.data,
        bands=settings.bands,
        pixscale_arcsec=settings.pixscale_arcsec,
        read_as=settings.read_as,
        in_order=True,
    ) as cutouts:
        census = take_census(cutouts, sample=settings.sample)
        print(census.as_text())
        sheet = settings.out / "contact_sheet.png"
        with runs.atomic_path(sheet) as scratch:
            scratch.write_bytes(draw_sheet(cutouts, settings.sheet))
        runs.write_json(settings.out / "census.json", census.as_dict())
    print(f"contact sheet: {sheet}")


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
