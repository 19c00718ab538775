"""One row of the survey: a pure function of the seed and the row's number."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ssl_photoz.core.legacy_surveys import PIXSCALE_ARCSEC
from ssl_photoz.core.types import Floats
from ssl_photoz.simulator.colours import ColourTable
from ssl_photoz.simulator.conditions import SURVEYS, Conditions, draw_conditions, passband_gain
from ssl_photoz.simulator.field import draw_field
from ssl_photoz.simulator.population import DWARF_LOG_MASS, Galaxies, Universe
from ssl_photoz.simulator.scene import render
from ssl_photoz.simulator.settings import SimulatorConfig
from ssl_photoz.simulator.texture import draw_knots

FOOTPRINT_RA_DEG, FOOTPRINT_DEC_DEG = (110.0, 260.0), (-5.0, 35.0)
Row = Mapping[str, Any]


class Simulator:
    """Makes galaxy ``i`` from (seed, i) alone, in any order and any process.

    Args:
        config: What the survey is like.
        colours: The K-correction table, if there is one already.
    """

    def __init__(self, config: SimulatorConfig, *, colours: ColourTable | None = None) -> None:
        self.config = config
        self.proportions = np.array(config.proportions) / sum(config.proportions)
        self.colours = colours or ColourTable.build()
        self.universe = Universe(self.colours, r_limit_mag=config.r_limit_mag)

    def row(self, i: int) -> tuple[Floats, Row]:
        """Make galaxy ``i``.

        Returns:
            The cutout, nanomaggies per pixel, shape (3, size, size), and its catalogue columns.
        """
        config = self.config
        rng = _stream(config.seed, i)
        labelled = rng.uniform() < config.labelled_fraction
        population = int(np.searchsorted(np.cumsum(self.proportions)[:-1], rng.uniform(), "right"))
        ra_deg, dec_deg = _draw_position(rng)
        conditions = draw_conditions(rng)
        galaxy = self.universe.draw(rng, population)
        weather = rng
        if config.survey != "south":
            # Seeing and noise of their own: nothing else about the galaxy may change.
            weather = _stream(config.seed, i, list(SURVEYS).index(config.survey))
            conditions = draw_conditions(weather, SURVEYS[config.survey])
        conditions = conditions._replace(gain=passband_gain(galaxy.mag, SURVEYS[config.survey]))
        image = self._observe(rng, galaxy, conditions, weather)
        return image, {
            "TARGETID": (config.seed << 32) + i,
            "RA": ra_deg,
            "DEC": dec_deg,
            "Z": galaxy.redshift if labelled else np.nan,
            "EBV": conditions.ebv_mag,
            "PSFSIZE": conditions.psf_fwhm_arcsec,
            "NOISE": conditions.noise_nmgy,
            "POPULATION": population,
            **_truth(galaxy),
        }

    def _observe(
        self,
        rng: np.random.Generator,
        galaxy: Galaxies,
        conditions: Conditions,
        weather: np.random.Generator,
    ) -> Floats:
        angle_rad = rng.uniform(0, np.pi)
        offset_arcsec = rng.uniform(-0.5, 0.5, size=2) * PIXSCALE_ARCSEC
        knots = draw_knots(rng, galaxy, angle_rad, self.colours)
        field = draw_field(
            rng,
            self.colours,
            size_px=self.config.size_px,
            galaxies_per_arcmin2=self.config.galaxies_per_arcmin2,
            stars_per_arcmin2=self.config.stars_per_arcmin2,
        )
        flux_nmgy = render(
            rng,
            galaxy,
            knots,
            field,
            conditions,
            angle_rad=angle_rad,
            offset_arcsec=offset_arcsec,
            size_px=self.config.size_px,
        )
        noise = weather.standard_normal(flux_nmgy.shape)
        return (flux_nmgy + conditions.noise_nmgy[:, None, None] * noise).astype(np.float32)


def _stream(*counters: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(counters)))


def _truth(galaxy: Galaxies) -> Row:
    return {
        "TRUE_Z": galaxy.redshift,
        "TRUE_MAG_G": galaxy.mag[0],
        "TRUE_MAG_R": galaxy.mag[1],
        "TRUE_MAG_Z": galaxy.mag[2],
        "TRUE_RADIUS_ARCSEC": galaxy.radius_arcsec,
        "AXIS_RATIO": galaxy.axis_ratio,
        "SERSIC": galaxy.sersic,
        "SED_TYPE": galaxy.sed_type,
        "ABS_MAG_R": galaxy.abs_mag_r,
        "STELLAR_MASS": galaxy.log_mass,
        "IS_DWARF": galaxy.log_mass < DWARF_LOG_MASS,
    }


def _draw_position(rng: np.random.Generator) -> tuple[float, float]:
    """Draw RA and Dec, degrees, uniformly over the footprint's solid angle."""
    ra = rng.uniform(*FOOTPRINT_RA_DEG)
    sin_dec = rng.uniform(*np.sin(np.deg2rad(FOOTPRINT_DEC_DEG)))
    return float(ra), float(np.rad2deg(np.arcsin(sin_dec)))
