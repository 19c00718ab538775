"""Which galaxies a flux-limited survey sees, and how massive, large and flat they are."""

from __future__ import annotations

from functools import cached_property
from typing import NamedTuple

import numpy as np

from ssl_photoz.catalog.lowz_cuts import select_lowz
from ssl_photoz.core.types import Bools, Doubles
from ssl_photoz.simulator.colours import BLUEST_TYPE, REDDEST_TYPE, ColourTable

SERSIC_STEP = 0.25
"""Sersic indices are rounded to this, so that few profiles need to be tabulated."""


def log_stellar_mass(abs_mag_r: Doubles, rest_g_r: Doubles) -> Doubles:
    """Estimate log10(M* / Msun) from rest-frame r and g-r.

    References:
        Bell et al. 2003, ApJS 149, 289, on a Kroupa mass function, as in Mao et al. 2021,
        ApJ 907, 85.
    """
    return np.asarray(1.254 + 1.098 * rest_g_r - 0.4 * abs_mag_r)


def draw_radius_kpc(
    rng: np.random.Generator, log_mass: Doubles, early: Bools, redshift: Doubles
) -> Doubles:
    """Draw circularised half-light radii.

    Args:
        rng: Source of the scatter.
        log_mass: log10 stellar mass, Msun, shape (N,).
        early: Early type (red), shape (N,).
        redshift: Shape (N,).

    Returns:
        Radii, kpc, shape (N,).

    References:
        Mass relations and scatter: Shen et al. 2003, MNRAS 343, 978, eqs. 17-19 (and erratum).
        Evolution: van der Wel et al. 2014, ApJ 788, 28. Floor of small early types:
        Carlsten et al. 2021, ApJ 922, 267.
    """
    mass = 10.0**log_mass
    ratio = mass / 3.98e10
    late_kpc = 0.1 * mass**0.14 * (1 + ratio) ** (0.39 - 0.14)
    early_kpc = np.maximum(2.88e-6 * mass**0.56, 1.0)
    scatter_ln = 0.34 + (0.47 - 0.34) / (1 + ratio**2)
    slope = np.where(early, -1.48, -0.75)
    evolution = ((1 + redshift) / 1.1) ** slope
    median_kpc = np.where(early, early_kpc, late_kpc) * evolution
    return np.asarray(median_kpc * np.exp(scatter_ln * rng.standard_normal(len(mass))))


def draw_sersic_index(rng: np.random.Generator, abs_mag_r: Doubles, early: Bools) -> Doubles:
    """Draw Sersic indices, shape (N,), rounded to `SERSIC_STEP`, from 0.5 to 6.

    References:
        Early types: Graham & Guzman 2003, AJ 125, 2936, with B - r = 1.2. Late types: medians
        of the NASA-Sloan Atlas.
    """
    early_n = 10.0 ** (-(abs_mag_r + 1.2 + 14.3) / 9.4)
    late_n = np.interp(-abs_mag_r, [17.0, 19.0, 22.0], [1.0, 1.2, 1.9])
    ln_n = np.log(np.where(early, early_n, late_n))
    n = np.exp(ln_n + 0.3 * rng.standard_normal(len(abs_mag_r)))
    return np.asarray(np.clip(np.round(n / SERSIC_STEP) * SERSIC_STEP, 0.5, 6.0))


def draw_axis_ratio(rng: np.random.Generator, abs_mag_r: Doubles, early: Bools) -> Doubles:
    """Draw apparent axis ratios of oblate spheroids seen from random directions.

    Intrinsic thickness: discs 0.22 +- 0.06, thickening to 0.45 in dwarfs; early types
    0.65 +- 0.15.

    Returns:
        Minor over major axis, shape (N,), from 0.12 to 1.

    References:
        Padilla & Strauss 2008, MNRAS 388, 1321; Sanchez-Janssen et al. 2010, MNRAS 406, L65.
    """
    disc = np.interp(-abs_mag_r, [15.0, 19.0], [0.45, 0.22])
    mean, sigma = np.where(early, 0.65, disc), np.where(early, 0.15, 0.06)
    flattening = np.clip(mean + sigma * rng.standard_normal(len(abs_mag_r)), 0.12, 1.0)
    cos2 = rng.uniform(size=len(abs_mag_r)) ** 2
    return np.asarray(np.sqrt(cos2 + flattening**2 * (1 - cos2)))


POPULATIONS = ("dwarf", "low_z", "background")
DWARF_LOG_MASS = 9.25
HUBBLE_KM_S_MPC, OMEGA_MATTER = 70.0, 0.3
REDSHIFT_RANGE = (0.0015, 1.1)
COLOUR_SCATTER_MAG = 0.03
_BATCH = 64


class Galaxies(NamedTuple):
    """Columns of intrinsic properties, each of shape (N,) (scalars when one is taken).

    Magnitudes are AB, apparent, without extinction; ``mag`` is (N, 3) in g, r, z. The radius is
    circularised. ``early`` is red-sequence membership.
    """

    redshift: Doubles
    abs_mag_r: Doubles
    early: Bools
    sed_type: Doubles
    mag: Doubles
    rest_mag: Doubles
    distance_modulus: Doubles
    log_mass: Doubles
    radius_arcsec: Doubles
    kpc_per_arcsec: Doubles
    sersic: Doubles
    axis_ratio: Doubles

    def take(self, index: int) -> Galaxies:
        """Galaxy ``index`` alone, every field a scalar."""
        return Galaxies(*(column[index] for column in self))


class Universe:
    """The galaxies of a flux-limited sky, drawn by rejection from a luminosity function."""

    def __init__(self, colours: ColourTable, *, r_limit_mag: float) -> None:
        self.colours = colours
        self.r_limit_mag = r_limit_mag

    def draw(self, rng: np.random.Generator, population: int) -> Galaxies:
        """Draw one galaxy of a population (an index into `POPULATIONS`)."""
        while True:
            galaxies = self.propose(rng, faint_only=population == 0)
            targeted = rng.uniform(size=_BATCH) < targeting_chance(galaxies.mag[:, 1])
            passing = np.flatnonzero(targeted & self.selected(galaxies, population))
            if len(passing):
                return galaxies.take(int(passing[0]))

    def selected(self, galaxies: Galaxies, population: int) -> Bools:
        """Say which galaxies belong to the flux-limited population, shape (N,)."""
        bright = galaxies.mag[:, 1] < self.r_limit_mag
        if population == 0:
            return np.asarray(bright & (galaxies.log_mass < DWARF_LOG_MASS))
        return np.asarray(bright & (low_redshift_cuts(galaxies) == (population == 1)))

    def propose(self, rng: np.random.Generator, *, faint_only: bool = False) -> Galaxies:
        """Draw candidates from the luminosity function and the comoving volume.

        A volume-complete sample of everything brighter than the limit, and of some that is not;
        with ``faint_only`` without what is too luminous for a dwarf.
        """
        z, abs_mag_r = self._draw_z_and_mag(rng, faint_only=faint_only)
        early = rng.uniform(size=_BATCH) < red_fraction(abs_mag_r, z)
        sed_type = draw_sed_type(rng, abs_mag_r, early, z)
        rest_mag = abs_mag_r[:, None] + self.colours.mag(sed_type, np.zeros(_BATCH))
        scatter = COLOUR_SCATTER_MAG * rng.standard_normal((_BATCH, 3)) * [1, 0, 1]
        modulus = np.interp(np.log(z), self._distances[0], self._distances[1])
        mag = abs_mag_r[:, None] + self.colours.mag(sed_type, z) + modulus[:, None] + scatter
        log_mass = log_stellar_mass(abs_mag_r, rest_mag[:, 0] - rest_mag[:, 1])
        # D_A = D_L / (1 + z)^2; one arcsec is 4.848e-6 rad.
        scale = 10 ** (0.2 * modulus - 2) / (1 + z) ** 2 * 4.84814e-6
        radius_kpc = draw_radius_kpc(rng, log_mass, early, z)
        return Galaxies(
            redshift=z,
            abs_mag_r=abs_mag_r,
            early=early,
            sed_type=sed_type,
            mag=mag,
            rest_mag=rest_mag + scatter,
            distance_modulus=modulus,
            log_mass=log_mass,
            radius_arcsec=radius_kpc / scale,
            kpc_per_arcsec=scale,
            sersic=draw_sersic_index(rng, abs_mag_r, early),
            axis_ratio=draw_axis_ratio(rng, abs_mag_r, early),
        )

    def _draw_z_and_mag(
        self, rng: np.random.Generator, *, faint_only: bool
    ) -> tuple[Doubles, Doubles]:
        log_z, abs_mag, cumulative = self._faint_cells if faint_only else self._cells
        cell = np.searchsorted(cumulative, rng.uniform(size=_BATCH), side="right")
        i, j = np.divmod(np.minimum(cell, len(cumulative) - 1), len(abs_mag) - 1)
        u, v = rng.uniform(size=(2, _BATCH))
        z = np.exp(log_z[i] + u * (log_z[i + 1] - log_z[i]))
        return z, abs_mag[j] + v * (abs_mag[j + 1] - abs_mag[j])

    @cached_property
    def _distances(self) -> tuple[Doubles, Doubles]:
        from astropy.cosmology import FlatLambdaCDM

        z = np.geomspace(*REDSHIFT_RANGE, 400)
        modulus = FlatLambdaCDM(HUBBLE_KM_S_MPC, OMEGA_MATTER).distmod(z).value
        return np.log(z), modulus

    @cached_property
    def _cells(self) -> tuple[Doubles, Doubles, Doubles]:
        return self._tabulate(faintest=-10.5, brightest=-24.5)

    @cached_property
    def _faint_cells(self) -> tuple[Doubles, Doubles, Doubles]:
        return self._tabulate(faintest=-10.5, brightest=-20.0)

    def _tabulate(self, *, faintest: float, brightest: float) -> tuple[Doubles, Doubles, Doubles]:
        """Tabulate the cumulative number of visible galaxies over cells of (ln z, M_r)."""
        from astropy.cosmology import FlatLambdaCDM

        log_z = np.linspace(np.log(REDSHIFT_RANGE[0]), np.log(REDSHIFT_RANGE[1]), 251)
        abs_mag = np.arange(brightest, faintest, 0.1)
        z, m = np.exp(log_z[:-1] + log_z[1:]) ** 0.5, abs_mag[:-1] + 0.05
        universe = FlatLambdaCDM(HUBBLE_KM_S_MPC, OMEGA_MATTER)
        volume = universe.differential_comoving_volume(z).value * np.diff(np.exp(log_z))
        types = np.linspace(REDDEST_TYPE, BLUEST_TYPE, 11)
        brightest_k = np.min([self.colours.mag(np.full(len(z), t), z)[:, 1] for t in types], axis=0)
        apparent = m[None, :] + (universe.distmod(z).value + brightest_k)[:, None]
        number = volume[:, None] * luminosity_function(m[None, :], z[:, None])
        number = number * (apparent < self.r_limit_mag + 0.2)
        cumulative = np.cumsum(number)
        return log_z, abs_mag, cumulative / cumulative[-1]


def luminosity_function(abs_mag_r: Doubles, redshift: Doubles) -> Doubles:
    """Evaluate an evolving Schechter function, up to a constant.

    References:
        Loveday et al. 2015, MNRAS 451, 1540 (GAMA; M* = -20.71 + 5 log10 h in 0.1r,
        alpha = -1.26, Q = 1.03, P = 1.0); 0.1r to r: -0.22 mag, Blanton & Roweis 2007.
    """
    m_star = -20.71 + 5 * np.log10(0.7) - 0.22 - 1.03 * (redshift - 0.1)
    x = 10 ** (0.4 * (m_star - abs_mag_r))
    return np.asarray(10 ** (0.4 * redshift) * x ** (1 - 1.26) * np.exp(-x))


def red_fraction(abs_mag_r: Doubles, redshift: Doubles) -> Doubles:
    """Give the chance of lying on the red sequence: rising with luminosity, falling with z.

    References:
        Shape after Baldry et al. 2004, ApJ 600, 681.
    """
    low_z = 0.05 + 0.75 / (1 + np.exp((abs_mag_r + 20.6) / 0.8))
    return np.asarray(low_z * np.exp(-0.5 * redshift))


def draw_sed_type(
    rng: np.random.Generator, abs_mag_r: Doubles, early: Bools, redshift: Doubles
) -> Doubles:
    """Draw spectral types: a tight red sequence and a broad blue cloud, both bluer when fainter."""
    red = -0.4 + 0.18 * (abs_mag_r + 23.0)
    blue = np.minimum(0.6 + 0.35 * (abs_mag_r + 21.0), 2.8) + 0.5 * redshift
    drawn = np.where(early, red, blue) + np.where(early, 0.2, 0.5) * rng.standard_normal(
        len(abs_mag_r)
    )
    return np.asarray(np.clip(drawn, REDDEST_TYPE, BLUEST_TYPE))


def targeting_chance(r_mag: Doubles) -> Doubles:
    """Give the chance that a spectroscopic survey has targeted a galaxy of apparent r.

    Nearly all to r = 19.5, half at 20, falling to the 15 % that other programmes pick up.

    References:
        Shape after the DESI Bright Galaxy Survey: Hahn et al. 2023, AJ 165, 253.
    """
    return np.asarray(0.15 + 0.85 / (1 + np.exp((r_mag - 19.9) / 0.15)))


def low_redshift_cuts(galaxies: Galaxies) -> Bools:
    """Whether galaxies pass the cuts for z < 0.03, without measurement errors, shape (N,)."""
    r_mag = galaxies.mag[:, 1]
    major_arcsec = galaxies.radius_arcsec / np.sqrt(galaxies.axis_ratio)
    return select_lowz(r_mag, galaxies.mag[:, 0] - r_mag, major_arcsec).selected
