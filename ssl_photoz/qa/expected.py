"""What galaxies of the redshift challenge should look like, from the simulator and the cuts."""

from __future__ import annotations

import numpy as np

from ssl_photoz.core.types import Array, Doubles
from ssl_photoz.qa.photometry import Photometry

R_LIMIT_MAG = 21.2
GALAXIES = 1500


def simulated_galaxies(*, galaxies: int = GALAXIES, seed: int = 0) -> Photometry:
    """Draw a third each of dwarfs, low-redshift galaxies and background, as `simulate` does.

    Args:
        galaxies: Number of galaxies.
        seed: Seed of the draws.

    Returns:
        Magnitudes without dust, and half-light radii without seeing.
    """
    from tqdm import tqdm

    from ssl_photoz.simulator.colours import ColourTable
    from ssl_photoz.simulator.population import POPULATIONS, Universe

    universe = Universe(ColourTable.build(), r_limit_mag=R_LIMIT_MAG)
    rng = np.random.default_rng(seed)
    drawn = [
        universe.draw(rng, number % len(POPULATIONS))
        for number in tqdm(range(galaxies), desc="expected galaxies", leave=False)
    ]
    mag = np.array([one.mag for one in drawn])
    radius = np.array([float(one.radius_arcsec) for one in drawn])
    return Photometry({"g": mag[:, 0], "r": mag[:, 1]}, radius, "simulated")


def seen_through(radius_arcsec: Array, fwhm_arcsec: float) -> Doubles:
    """Half-light radii widened by seeing: in squares, by that of a Gaussian PSF."""
    return np.hypot(radius_arcsec, fwhm_arcsec / 2)


def bluest_excluded(r_mag: Array) -> Doubles:
    """g-r above which the cuts for z < 0.03 leave galaxies out.

    References:
        Darragh-Ford et al. 2023, ApJ 954, 149.
    """
    return np.asarray(0.99 - 0.06 * (r_mag - 14))


def smallest_kept(r_mag: Array) -> Doubles:
    """Half-light radius, arcsec, below which the same cuts leave galaxies out.

    Where ``r + 2.5 log10(2 pi R**2) - 0.7 (r - 14) = 16.8``.
    """
    mu = 16.8 + 0.7 * (r_mag - 14)
    return np.asarray(np.sqrt(10 ** (0.4 * (mu - r_mag)) / (2 * np.pi)))
