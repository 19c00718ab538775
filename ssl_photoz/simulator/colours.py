"""Colours and K-corrections: spectral templates through band-passes at every redshift."""

from __future__ import annotations

from typing import Any

import numpy as np

from ssl_photoz.core.types import Doubles
from ssl_photoz.simulator.conditions import BANDS

TEMPLATES = ("E", "Sbc", "Scd", "Im")
REDDEST_TYPE, BLUEST_TYPE = -1.0, 4.0
RED_TILT, BLUE_TILT = 0.4, -0.4
PIVOT_NM = 550.0
MAX_REDSHIFT = 1.2


class ColourTable:
    """Magnitudes of an M_r = 0 galaxy, per spectral type and redshift, without distance.

    The type is a continuous number: 0 E, 1 Sbc, 2 Scd, 3 Im of Coleman, Wu & Weedman (1980);
    between two of them the spectra are mixed linearly, both scaled to the same rest-frame r.
    -1 is E and 4 is Im, tilted by a power law of wavelength. Mixing is exact, because fluxes
    add; only redshift is interpolated.

    Args:
        flux: AB flux relative to M_r = 0, shape (types, redshifts, 3).
        redshift: Grid, increasing evenly from 0.
    """

    def __init__(self, flux: Doubles, redshift: Doubles) -> None:
        self.flux = flux
        self.redshift = redshift

    @classmethod
    def build(cls, *, bands: tuple[str, ...] = BANDS, step: float = 0.01) -> ColourTable:
        """Integrate the templates with GalSim; about a second.

        Args:
            bands: Columns of the table, of u, g, r, i, z, y.
            step: Step of the redshift grid.
        """
        bandpasses = galsim_bandpasses(bands)
        redshift = np.arange(0.0, MAX_REDSHIFT + step / 2, step)
        flux = [
            [
                [10 ** (-0.4 * sed.atRedshift(z).calculateMagnitude(b)) for b in bandpasses]
                for z in redshift
            ]
            for sed in galsim_seds()
        ]
        return cls(np.array(flux), redshift)

    def mag(self, sed_type: Doubles, redshift: Doubles) -> Doubles:
        """K-corrected magnitudes relative to M_r.

        Args:
            sed_type: Spectral types from -1 to 4, shape (N,).
            redshift: Redshifts from 0 to 1.2, shape (N,).

        Returns:
            ``m - M_r - distance modulus``, mag, shape (N, 3). At redshift 0 these are colours
            relative to r; the r column is then 0.
        """
        row = np.clip(np.asarray(sed_type) - REDDEST_TYPE, 0, len(self.flux) - 1.000001)
        column = np.clip(np.asarray(redshift) / self.redshift[1], 0, len(self.redshift) - 1.000001)
        t, i = row.astype(int), column.astype(int)
        wt, wi = (row - t)[..., None], (column - i)[..., None]
        here = (1 - wt) * self.flux[t, i] + wt * self.flux[t + 1, i]
        beyond = (1 - wt) * self.flux[t, i + 1] + wt * self.flux[t + 1, i + 1]
        return np.asarray(-2.5 * np.log10((1 - wi) * here + wi * beyond))


def galsim_bandpasses(bands: tuple[str, ...] = BANDS) -> list[Any]:
    """LSST throughputs that GalSim ships, with AB zero points."""
    import galsim

    return [
        galsim.Bandpass(f"LSST_{band}.dat", wave_type="nm").withZeropoint("AB") for band in bands
    ]


def galsim_seds() -> list[Any]:
    """Rest-frame templates of the table's rows, each with M_r = 0."""
    import galsim

    seds = [galsim.SED(f"CWW_{t}_ext.sed", wave_type="Ang", flux_type="flambda") for t in TEMPLATES]

    def tilted(sed: Any, power: float) -> Any:  # noqa: ANN401
        return sed * (lambda wave_nm: (wave_nm / PIVOT_NM) ** power)

    rows = [tilted(seds[0], RED_TILT), *seds, tilted(seds[-1], BLUE_TILT)]
    band_r = galsim_bandpasses()[BANDS.index("r")]
    return [sed.withMagnitude(0.0, band_r) for sed in rows]
