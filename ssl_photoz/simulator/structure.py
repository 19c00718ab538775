"""Mass, size, profile and flattening of galaxies, with their scatter."""

from __future__ import annotations

import numpy as np

from ssl_photoz.core.types import Bools, Doubles

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
