"""What galaxies of the redshift challenge should look like, from the simulator."""

from __future__ import annotations

import numpy as np

from ssl_photoz.core.types import Array, Doubles
from ssl_photoz.qa.photometry import Photometry
from ssl_photoz.simulator.settings import SimulatorConfig

R_LIMIT_MAG = SimulatorConfig().r_limit_mag
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
