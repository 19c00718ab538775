"""Settings of the search for nearby dwarfs; loads no heavy library."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ssl_photoz.core.errors import ConfigError

MethodName = Literal["vote", "logistic", "kernel", "mlp", "one_class"]
SKY = 0.01


@dataclass(frozen=True)
class DwarfConfig:
    """What is looked for: nearby galaxies, and of these, if a dwarf is defined, dwarfs.

    Attributes:
        z_max: Redshift below which a galaxy is nearby.
        also: Further limits to give probabilities for.
        flag: Column that is true for dwarfs, such as is_dwarf; null: redshift alone.
        stellar_mass_max: Stellar mass below which a galaxy is a dwarf, of column stellar_mass, in
            its own unit.
        abs_mag_min: Absolute magnitude above which a galaxy is a dwarf, of column abs_mag_r, mag.
    """

    z_max: float = 0.05
    also: tuple[float, ...] = (0.03,)
    flag: str | None = None
    stellar_mass_max: float | None = None
    abs_mag_min: float | None = None

    def __post_init__(self) -> None:
        if min((self.z_max, *self.also)) <= 0:
            raise ConfigError(
                f"z_max is {self.z_max} and also {self.also}, expected redshifts above 0"
            )


@dataclass(frozen=True)
class ClassifierConfig:
    """How galaxies are scored.

    Attributes:
        methods: Methods to compare; mlp takes longest. The best on the validation split ranks.
        ks: Numbers of voting neighbours to try on the validation split.
        max_train: Train galaxies to fit to, at most: every wanted one, if that leaves half of the
            places to the others, which are drawn at random. Probabilities are not biased by this,
            for they are calibrated on validation galaxies as they come.
        voted: Galaxies to take votes for, at most: the best by the other methods.
        seed: Seed of every random choice.
    """

    methods: tuple[MethodName, ...] = ("vote", "logistic", "kernel", "one_class")
    ks: tuple[int, ...] = (5, 10, 20, 40, 80)
    max_train: int = 20_000
    voted: int = 20_000
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.methods or self.max_train < 2:
            raise ConfigError(
                f"methods is {list(self.methods)} and max_train {self.max_train}, expected some of "
                f"vote, logistic, mlp, one_class, and at least 2"
            )
        if self.voted < 1:
            raise ConfigError(f"voted is {self.voted}, expected at least 1")


@dataclass(frozen=True)
class EvaluationConfig:
    """How the list is measured on the test split.

    Attributes:
        cuts: Columns of r, g and maybe radius (arcsec), for photometric cuts to compare with.
        magnitude: Column to bin the scores by, such as mag_r.
        population: Column to split the scores by, such as population.
        base_rate: Fraction of nearby dwarfs on the sky, to which figures are re-weighted.
    """

    cuts: tuple[str, ...] = ()
    magnitude: str | None = None
    population: str | None = None
    base_rate: float = SKY

    def __post_init__(self) -> None:
        if len(self.cuts) not in (0, 2, 3):
            raise ConfigError(f"cuts is {self.cuts}, expected columns of r, g and maybe radius")
