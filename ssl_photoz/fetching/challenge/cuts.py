"""The cuts of the redshift challenge, each by itself: what it looks at and whom it keeps.

References:
    [1] github.com/virajvman/galaxy_images_photoz, build_training_sample.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from ssl_photoz.core.types import Array, Bools
from ssl_photoz.fetching.challenge.photometry import faintest_flux_nmgy

R_LIMIT_MAG = 21.2
BANDS = ("g", "r", "z")
Columns = Mapping[str, Array]


class Cut(NamedTuple):
    """A cut: rows that it cannot be sure of (NaN) do not pass.

    Attributes:
        says: What it asks for.
        columns: Lower-case names of the columns it looks at.
        keeps: Which rows pass, (N,), given those columns.
    """

    says: str
    columns: tuple[str, ...]
    keeps: Callable[[Columns], Bools]


def each_band(*stems: str) -> tuple[str, ...]:
    """Names of a column in g, r and z."""
    return tuple(f"{stem}_{band}" for stem in stems for band in BANDS)


def signal_to_noise(columns: Columns) -> Array:
    """Signal-to-noise ratio of each band, 0 where the fit is bad, (3, N)."""
    flux, ivar, rchisq = (_stack(columns, stem) for stem in ("flux", "flux_ivar", "rchisq"))
    return np.where(rchisq < 100, flux * np.sqrt(np.maximum(ivar, 0)), 0.0)


def in_two_bands(passes: Bools) -> Bools:
    """Whether at least two of three bands (3, N) pass, (N,)."""
    enough: Bools = passes.sum(axis=0) >= 2
    return enough


def _stack(columns: Columns, stem: str) -> Array:
    return np.stack([np.asarray(columns[name], np.float64) for name in each_band(stem)])


def _clean(columns: Columns) -> Bools:
    fits_well = _stack(columns, "rchisq") <= 0.85
    return in_two_bands((signal_to_noise(columns) >= 30) | fits_well)


def _not_too_blue(columns: Columns) -> Bools:
    flux_g, flux_r = (np.asarray(columns[f"flux_{band}"], np.float64) for band in "gr")
    with np.errstate(divide="ignore", invalid="ignore"):
        redder: Bools = 2.5 * np.log10(flux_r / flux_g) > -0.1
    return redder


def _bright(columns: Columns) -> Bools:
    passes: Bools = columns["flux_r"] > faintest_flux_nmgy(R_LIMIT_MAG)
    return passes


def _is_galaxy(columns: Columns) -> Bools:
    return np.array([str(kind).strip() == "GALAXY" for kind in columns["spectype"]], bool)


NOISE = each_band("flux", "flux_ivar", "rchisq")
# All three populations.
SPECTRUM = {
    "zwarn": Cut("zwarn = 0", ("zwarn",), lambda c: c["zwarn"] == 0),
    "redshift": Cut("z < 1.5", ("z",), lambda c: c["z"] < 1.5),
    "magnitude": Cut(f"r < {R_LIMIT_MAG}, not corrected for extinction", ("flux_r",), _bright),
    "mask": Cut("allmask_r = 0", ("allmask_r",), lambda c: c["allmask_r"] == 0),
}
CONFIDENT = {"deltachi2": Cut("deltachi2 > 40", ("deltachi2",), lambda c: c["deltachi2"] > 40)}
GALAXY = {"spectype": Cut("spectype = GALAXY", ("spectype",), _is_galaxy)}
# What the challenge calls quality: four demands on at least two of g, r and z, and a colour.
QUALITY = {
    "signal": Cut(
        "signal to noise >= 5 in two bands", NOISE, lambda c: in_two_bands(signal_to_noise(c) >= 5)
    ),
    "fracflux": Cut(
        "fracflux <= 0.35 in two bands",
        each_band("fracflux"),
        lambda c: in_two_bands(_stack(c, "fracflux") <= 0.35),
    ),
    "rchisq": Cut(
        "rchisq <= 2 in two bands",
        each_band("rchisq"),
        lambda c: in_two_bands(_stack(c, "rchisq") <= 2),
    ),
    "clean": Cut("signal to noise >= 30 or rchisq <= 0.85 in two bands", NOISE, _clean),
    "colour": Cut("g - r > -0.1, not corrected", ("flux_g", "flux_r"), _not_too_blue),
}
TWENTIETH = {
    "twentieth": Cut("targetid divisible by 20", ("targetid",), lambda c: c["targetid"] % 20 == 0)
}
