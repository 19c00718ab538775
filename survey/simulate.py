"""Make a simulated survey: a cutout file in the challenge's layout, with the truth beside it."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class Settings:
    """Settings of ``simulate``.

    Attributes:
        out: The HDF5 file to write.
        galaxies: How many. Galaxy i is the same in a longer survey.
        seed: Of the survey.
        size_px: Side of a cutout, pixels of 0.262 arcsec; even.
        proportions: Shares of dwarfs, of galaxies that pass the low-redshift cuts, and of the
            background.
        r_limit_mag: Faintest apparent r, AB, corrected for extinction.
        labelled_fraction: Share of galaxies whose redshift is given; the others have Z = NaN,
            and TRUE_Z.
        galaxies_per_arcmin2: Density of neighbouring galaxies, 18 < r < 23.5.
        stars_per_arcmin2: Density of stars, 15.5 < r < 23.
        survey: south (DECaLS) or north (BASS and MzLS): seeing, depth, dust and passbands. Galaxy
            i is the same in both.
        workers: Processes; 0 for one per core. The file is the same whatever their number.
    """

    out: str = "survey.h5"
    galaxies: int = 4096
    seed: int = 0
    size_px: int = 64
    proportions: tuple[float, float, float] = (1.0, 1.0, 1.0)
    r_limit_mag: float = 21.2
    labelled_fraction: float = 1.0
    galaxies_per_arcmin2: float = 10.0
    stars_per_arcmin2: float = 1.2
    survey: Literal["south", "north"] = "south"
    workers: int = 0

    def __post_init__(self) -> None:
        """Refuse settings that make no survey."""
        checks = {
            "galaxies": (1 <= self.galaxies < 2**32, "at least 1"),
            "seed": (0 <= self.seed < 2**31, "from 0 to 2**31 - 1"),
            "size_px": (16 <= self.size_px <= 512 and self.size_px % 2 == 0, "even, 16 to 512"),
            "proportions": (
                len(self.proportions) == 3
                and all(0 <= share < float("inf") for share in self.proportions)
                and sum(self.proportions) > 0,
                "three finite shares, none negative, not all zero",
            ),
            "r_limit_mag": (15 <= self.r_limit_mag <= 23, "from 15 to 23"),
            "labelled_fraction": (0 <= self.labelled_fraction <= 1, "from 0 to 1"),
            "galaxies_per_arcmin2": (0 <= self.galaxies_per_arcmin2 <= 500, "from 0 to 500"),
            "stars_per_arcmin2": (0 <= self.stars_per_arcmin2 <= 500, "from 0 to 500"),
            "workers": (0 <= self.workers <= 1024, "from 0 to 1024"),
        }
        for name, (fits, expected) in checks.items():
            if not fits:
                raise ValueError(f"{name} = {getattr(self, name)!r}, expected {expected}")


def main(settings: Settings) -> None:
    """Simulate, unless the same survey is there already."""
    from ssl_photoz.simulator.simulator import Simulator
    from ssl_photoz.simulator.survey import write_survey

    out = Path(settings.out)
    make = partial(
        Simulator,
        seed=settings.seed,
        size_px=settings.size_px,
        r_limit_mag=settings.r_limit_mag,
        proportions=settings.proportions,
        labelled_fraction=settings.labelled_fraction,
        galaxies_per_arcmin2=settings.galaxies_per_arcmin2,
        stars_per_arcmin2=settings.stars_per_arcmin2,
        survey=settings.survey,
    )
    identity = {k: v for k, v in asdict(settings).items() if k not in ("out", "workers")}
    if settings.survey == "south":
        del identity["survey"]  # files that are older than this setting stay what they are
    made = write_survey(
        out,
        make,
        galaxies=settings.galaxies,
        workers=settings.workers or os.cpu_count() or 1,
        settings=identity,
    )
    said = "simulated survey in" if made else "the same simulated survey is already in"
    print(f"{said} {out}: {settings.galaxies} galaxies")
