"""What a simulated survey is like."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ssl_photoz.core.errors import ConfigError


@dataclass(frozen=True)
class SimulatorConfig:
    """A simulated survey; galaxy i depends on these alone, not on how many others there are.

    Attributes:
        seed: Seed of the survey.
        size_px: Side of a cutout, pixels of 0.262 arcsec; even.
        proportions: Shares of dwarfs, of galaxies that pass the low-redshift cuts, and of the
            background.
        r_limit_mag: Faintest apparent r, AB, corrected for extinction.
        labelled_fraction: Share of galaxies whose redshift is given; the others have Z = NaN,
            and TRUE_Z.
        galaxies_per_arcmin2: Density of neighbouring galaxies, 18 < r < 23.5.
        stars_per_arcmin2: Density of stars, 15.5 < r < 23.
        survey: South (DECaLS) or north (BASS and MzLS): seeing, depth, dust and passbands. Galaxy
            i is the same in both.
    """

    seed: int = 0
    size_px: int = 64
    proportions: tuple[float, float, float] = (1.0, 1.0, 1.0)
    r_limit_mag: float = 21.2
    labelled_fraction: float = 1.0
    galaxies_per_arcmin2: float = 10.0
    stars_per_arcmin2: float = 1.2
    survey: Literal["south", "north"] = "south"

    def __post_init__(self) -> None:
        checks = {
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
            "survey": (self.survey in ("south", "north"), "south or north"),
        }
        for name, (fits, expected) in checks.items():
            if not fits:
                raise ConfigError(f"{name} = {getattr(self, name)!r}, expected {expected}")
