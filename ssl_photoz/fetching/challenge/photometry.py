"""Magnitudes, colours and sizes of a catalogue in the Legacy Surveys' columns, with errors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from ssl_photoz.core.legacy_surveys import ZEROPOINT_MAG
from ssl_photoz.core.types import Array, Doubles

LEAST = 1e-9  # what fluxes, inverse variances, transmissions and sizes are raised to before use
MAG_PER_RELATIVE_FLUX = 2.5 / np.log(10)


class Photometry(NamedTuple):
    """What the cuts for nearby galaxies look at; each of shape (N,).

    Attributes:
        r_mag: r, AB, corrected for Galactic extinction.
        gr_mag: Colour g-r, corrected for extinction.
        gr_error_mag: Its error.
        mu_error: Error of the mean surface brightness within the half-light radius, mag/arcsec^2.
        radius_arcsec: Half-light radius.
    """

    r_mag: Doubles
    gr_mag: Doubles
    gr_error_mag: Doubles
    mu_error: Doubles
    radius_arcsec: Doubles


def measure(columns: Mapping[str, Array]) -> Photometry:
    """Derive magnitudes and their errors, as the redshift challenge does.

    The error of a magnitude is ``2.5 / ln 10`` of the relative error of the flux. That of the
    surface brightness ``r + 2.5 log10(2 pi R^2)`` adds ``5 / ln 10`` of the relative error of R
    in quadrature. Values that are zero or negative are raised to 1e-9, so that a galaxy without
    a flux or without an error is faint or uncertain, never undefined.

    Args:
        columns: ``flux_g``, ``flux_r`` (nanomaggies), ``flux_ivar_*``, ``mw_transmission_*``,
            ``shape_r`` (arcsec) and ``shape_r_ivar``, each of shape (N,).
    """
    g_mag, g_error = _magnitude(columns, "g")
    r_mag, r_error = _magnitude(columns, "r")
    radius = np.asarray(columns["shape_r"], np.float64)
    radius_error = 1 / np.sqrt(_raised(columns["shape_r_ivar"]))
    mu_error = np.hypot(r_error, 2 * MAG_PER_RELATIVE_FLUX * radius_error / _raised(radius))
    return Photometry(r_mag, g_mag - r_mag, np.hypot(g_error, r_error), mu_error, radius)


def faintest_flux_nmgy(mag: float) -> float:
    """Flux of a magnitude, nanomaggies.

    >>> round(faintest_flux_nmgy(20.0), 6)
    10.0
    """
    return float(10 ** ((ZEROPOINT_MAG - mag) / 2.5))


def _magnitude(columns: Mapping[str, Array], band: str) -> tuple[Doubles, Doubles]:
    flux = _raised(columns[f"flux_{band}"])
    transmitted = _raised(columns[f"mw_transmission_{band}"])
    error = MAG_PER_RELATIVE_FLUX / np.sqrt(_raised(columns[f"flux_ivar_{band}"])) / flux
    return ZEROPOINT_MAG - 2.5 * np.log10(flux / transmitted), error


def _raised(values: Array) -> Doubles:
    return np.maximum(np.asarray(values, np.float64), LEAST)
