"""Split a catalogue by sky: no galaxy is on two sides, and hardly a pixel.

Only cutouts at the edge of a cell can share pixels with another side: with cells of 1.8 degrees
and cutouts of 33 arcsec, about 2 % of the sky is that close to an edge.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from ssl_photoz.catalog.identity import same_galaxy
from ssl_photoz.core.errors import ConfigError, ShapeError
from ssl_photoz.core.types import Array, Bools, Doubles, Ints

SPLITS = ("train", "val", "test")
NO_CELL = np.iinfo(np.int64).max


@dataclass(frozen=True)
class SplitConfig:
    """How the sky is divided.

    Attributes:
        seed: Seed of the division; another gives another division of the same sky.
        nside: HEALPix resolution, a power of two; 32 means cells of 1.8 degrees.
        fractions: Shares of the sky for train, val and test; they add up to 1.
        counts: Rows of train, val and test, drawn at random wherever they are: to repeat a split
            that was published by numbers. Neighbours may then share pixels across it. Null: by sky.
    """

    seed: int = 0
    nside: int = 32
    fractions: tuple[float, float, float] = (0.7, 0.1, 0.2)
    counts: tuple[int, int, int] | None = None

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> Self:
        """Read them from a card, where tuples are lists."""
        lists = {name: tuple(one) for name, one in said.items() if isinstance(one, list)}
        return cls(**{**said, **lists})

    def __post_init__(self) -> None:
        if self.nside < 1 or self.nside & (self.nside - 1):
            raise ConfigError(f"split.nside is {self.nside}, expected a power of two such as 32")
        if len(self.fractions) != 3 or min(self.fractions) < 0:
            raise ConfigError(f"split.fractions are {self.fractions}, expected three shares >= 0")
        if not math.isclose(sum(self.fractions), 1, abs_tol=1e-6):
            raise ConfigError(f"split.fractions add up to {sum(self.fractions):g}, expected 1")
        if self.counts is not None and (len(self.counts) != 3 or min(self.counts) < 0):
            raise ConfigError(f"split.counts are {self.counts}, expected three numbers >= 0")


class HasPositions(Protocol):
    """Galaxies with positions and identifiers, such as `Cutouts`."""

    @property
    def ra(self) -> Array:
        """Right ascension, degrees, shape (N,)."""
        ...

    @property
    def dec(self) -> Array:
        """Declination, degrees, shape (N,)."""
        ...

    @property
    def id(self) -> Array:
        """Identifiers, shape (N,)."""
        ...


@dataclass(frozen=True)
class SkySplit:
    """Which of some galaxies are for training, for validation and for testing.

    Attributes:
        names: ``train``, ``val`` or ``test``, shape (N,).
    """

    names: NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.names)

    @property
    def train(self) -> Bools:
        """Galaxies to train on, shape (N,)."""
        return np.asarray(self.names == "train")

    @property
    def val(self) -> Bools:
        """Galaxies to choose settings with, shape (N,)."""
        return np.asarray(self.names == "val")

    @property
    def test(self) -> Bools:
        """Galaxies to score on, shape (N,)."""
        return np.asarray(self.names == "test")


def sky_split(galaxies: HasPositions, config: SplitConfig = SplitConfig()) -> SkySplit:
    """Assign galaxies to train, val or test by their place on the sky; see `assign_splits`.

    >>> from types import SimpleNamespace
    >>> galaxies = SimpleNamespace(
    ...     ra=np.array([10.0, 10.0, 200.0]), dec=np.zeros(3), id=np.arange(3)
    ... )
    >>> split = sky_split(galaxies, SplitConfig(seed=1))
    >>> bool(split.train[0] == split.train[1])
    True

    Args:
        galaxies: Cutouts, or whatever has ``ra``, ``dec`` and ``id``.
        config: Division of the sky.

    Returns:
        Masks ``train``, ``val`` and ``test``.

    Raises:
        ConfigError: If there are fewer rows than ``config.counts`` asks for.
    """
    return SkySplit(assign_splits(galaxies.ra, galaxies.dec, galaxies.id, config))


def assign_splits(
    ra: Array, dec: Array, ids: Array, config: SplitConfig = SplitConfig()
) -> NDArray[np.str_]:
    """Assign every row to train, val or test by its place on the sky.

    The HEALPix cell of an object, hashed with the seed, decides; so the same galaxy falls on
    the same side in every file, in any order and at every catalogue size. Rows of one galaxy
    (`same_galaxy`: of one id, where positions agree) go together, by the lowest-numbered of their
    cells. Galaxies without a usable position go to train. With ``config.counts``, galaxies are
    drawn at random instead, and what is left over goes to train.

    Args:
        ra: Right ascension, degrees, shape (N,).
        dec: Declination, degrees, shape (N,).
        ids: Identifiers, integers or strings, shape (N,).
        config: Division of the sky.

    Returns:
        ``train``, ``val`` or ``test``, shape (N,).

    Raises:
        ShapeError: If the three columns are not equally long.
        ConfigError: If there are fewer rows than ``config.counts`` asks for.
    """
    if not ra.shape == dec.shape == ids.shape == (len(ids),):
        raise ShapeError(f"ra {ra.shape}, dec {dec.shape} and ids {ids.shape} must all be (N,)")
    if config.counts is not None:
        return _by_count(same_galaxy(ids, ra, dec), config.counts, config.seed)
    cells = _cells(ra, dec, config.nside)
    galaxy = same_galaxy(ids, ra, dec)
    first_cell = np.full(len(ids), NO_CELL)
    np.minimum.at(first_cell, galaxy, cells)
    cells = first_cell[galaxy]
    draw = uniform_hash(cells, config.seed)
    val_from, test_from = config.fractions[0], config.fractions[0] + config.fractions[1]
    side = (draw >= val_from).astype(int) + (draw >= test_from)
    return np.where(cells == NO_CELL, SPLITS[0], np.array(SPLITS)[side])


def _by_count(galaxy: Ints, counts: tuple[int, int, int], seed: int) -> NDArray[np.str_]:
    """Deal galaxies in a drawn order to test, then val, then train, until each has its rows."""
    if sum(counts) > len(galaxy):
        raise ConfigError(
            f"split.counts are {counts}, {sum(counts)} rows in all; there are {len(galaxy)}"
        )
    rows_of = np.bincount(galaxy)
    order = np.argsort(uniform_hash(np.arange(len(rows_of)), seed), kind="stable")
    dealt_before = np.cumsum(rows_of[order]) - rows_of[order]
    side = np.empty(len(order), np.int64)
    side[order] = np.searchsorted((counts[2], counts[2] + counts[1]), dealt_before, side="right")
    return np.array(SPLITS[::-1])[side][galaxy]


def uniform_hash(cells: Ints, seed: int) -> Doubles:
    """Hash integers to numbers in [0, 1) that look independent (SplitMix64 [1], twice).

    References:
        [1] Steele, Lea & Flood 2014, OOPSLA '14, 453.
    """
    key = _mix(np.array([seed % 2**64], np.uint64))
    mixed = _mix(cells.astype(np.uint64) ^ key)
    return (mixed >> np.uint64(11)).astype(np.float64) / 2.0**53


def _mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    values = values + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _cells(ra: Array, dec: Array, nside: int) -> Ints:
    from astropy import units
    from astropy_healpix import lonlat_to_healpix

    ra, dec = np.asarray(ra, np.float64), np.asarray(dec, np.float64)
    cells = np.full(len(ra), NO_CELL)
    on_sky = np.isfinite(ra) & (np.abs(dec) <= 90)
    lon, lat = ra[on_sky] * units.deg, dec[on_sky] * units.deg
    cells[on_sky] = lonlat_to_healpix(lon, lat, nside, order="nested")
    return cells
