"""Extinction by the dust of the Milky Way: coefficients, and the light that is left."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ssl_photoz.core.errors import ConfigError
from ssl_photoz.core.types import Array, Bools, Doubles

EXTINCTION_PER_EBV = {
    "legacy": {"g": 3.214, "r": 2.165, "i": 1.592, "z": 1.211},
    "sdss": {"u": 4.239, "g": 3.303, "r": 2.285, "i": 1.698, "z": 1.263},
}
"""Extinction per E(B-V) of Schlegel et al. 1998, mag/mag, by survey and band [1, 2].

References:
    [1] legacysurvey.org/dr9/catalogs, galactic extinction coefficients.
    [2] Schlafly & Finkbeiner 2011, ApJ 737, 103, table 6, R_V = 3.1.
"""

MOST_EBV_MAG = 5.0
"""Largest E(B-V) of a galaxy, mag: 16 mag in g. More stands for an unknown value, such as 99."""


def r_band_of(bands: Sequence[str]) -> tuple[float, ...]:
    """Extinction coefficients of a set of bands.

    Args:
        bands: Names; a set that holds u is taken to be SDSS's, any other the Legacy Surveys'.

    Returns:
        One coefficient per band, mag/mag.

    Raises:
        ConfigError: If a band is unknown.
    """
    table = EXTINCTION_PER_EBV["sdss" if "u" in bands else "legacy"]
    unknown = [band for band in bands if band not in table]
    if unknown:
        raise ConfigError(f"no extinction for bands {unknown}; there is for {', '.join(table)}")
    return tuple(table[band] for band in bands)


def transmission(ebv_mag: Array, bands: Sequence[str]) -> Doubles:
    """Fraction of the light that dust lets pass, ``10**(-0.4 * r_band * ebv_mag)``, shape (N, C).

    Args:
        ebv_mag: Colour excess E(B-V), mag, shape (N,).
        bands: Names, length C.

    Raises:
        ConfigError: If a band is unknown.
    """
    extinction_mag = np.asarray(ebv_mag, np.float64)[:, None] * np.array(r_band_of(bands))
    return np.asarray(10.0 ** (-0.4 * extinction_mag))


def usable_ebv(ebv_mag: Array) -> Bools:
    """Which E(B-V) are of this world: finite, not negative, at most 5 mag."""
    with np.errstate(invalid="ignore"):
        found: Bools = (ebv_mag >= 0) & (ebv_mag <= MOST_EBV_MAG)
    return found
