"""Photometric cuts that keep nearby galaxies, and how pure and complete a selection is.

References:
    Darragh-Ford et al. 2023, arXiv:2212.07433 (the LOW-Z survey).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ssl_photoz.errors import ShapeError
from ssl_photoz.redshift.metrics import purity_completeness
from ssl_photoz.types import Array, Bools

Z_MAX = 0.03
SURFACE_BRIGHTNESS, COLOUR = "surface brightness", "colour"


@dataclass(frozen=True)
class Selection:
    """Galaxies that pass the cuts.

    Attributes:
        selected: Shape (N,).
        cuts: Which cuts were applied: colour, and surface brightness where sizes are known.
    """

    selected: Bools
    cuts: tuple[str, ...]


def select_lowz(
    r_mag: Array,
    gr_mag: Array,
    radius_arcsec: Array | None,
    *,
    mu_error: Array | float = 0.0,
    gr_error: Array | float = 0.0,
) -> Selection:
    """Apply the cuts for z < 0.03.

    With mu = r + 2.5 log10(2 pi radius^2), a galaxy passes if
    ``mu + mu_error - 0.7 (r - 14) > 16.8`` and ``gr - gr_error + 0.06 (r - 14) < 0.99``. It
    does not if one of its values is NaN, or its radius is zero.

    Args:
        r_mag: r magnitude, corrected for extinction, shape (N,).
        gr_mag: g-r, likewise.
        radius_arcsec: Half-light radius, shape (N,); None: the colour alone is cut on.
        mu_error: Of the mean surface brightness within the radius, mag/arcsec^2.
        gr_error: Of the colour, mag.

    Raises:
        ShapeError: If the columns are not equally long.
    """
    given = [np.asarray(column) for column in (r_mag, gr_mag, radius_arcsec) if column is not None]
    if len({column.shape for column in given}) > 1 or given[0].ndim != 1:
        raise ShapeError(f"columns have shapes {[c.shape for c in given]}, expected (N,) for all")
    fainter_than_14 = given[0].astype(np.float64) - 14
    blue = given[1] - gr_error + 0.06 * fainter_than_14 < 0.99
    if radius_arcsec is None:
        return Selection(blue, (COLOUR,))
    with np.errstate(divide="ignore", invalid="ignore"):
        mu = given[0] + 2.5 * np.log10(2 * np.pi * np.square(given[2], dtype=np.float64))
        diffuse = mu + mu_error - 0.7 * fainter_than_14 > 16.8
    return Selection(diffuse & blue, (SURFACE_BRIGHTNESS, COLOUR))


def select_by_columns(names: Sequence[str], column: Callable[[str], Array]) -> Bools | None:
    """Apply the cuts to columns of a catalogue; None where no columns are named.

    Args:
        names: Of r and g, corrected for extinction, and maybe of the radius, arcsec.
        column: Gives a column, shape (N,), by its name.
    """
    if not names:
        return None
    r_mag, g_mag, *radius = map(column, names)
    return select_lowz(r_mag, g_mag - r_mag, radius[0] if radius else None).selected


def score_selection(
    selected: Bools, z_spec: Array, *, z_max: float = Z_MAX, draws: int = 200, seed: int = 0
) -> dict[str, float]:
    """Say how pure and complete a selection of nearby galaxies is.

    Args:
        selected: Shape (N,).
        z_spec: Spectroscopic redshifts, shape (N,).
        z_max: What is nearby.
        draws: Bootstrap draws.
        seed: Of the draws.

    Returns:
        ``z_max``, ``n`` (nearby galaxies), ``selected``, ``purity``, ``completeness`` and their
        bootstrap errors ``error_purity``, ``error_completeness``; NaN where nothing is selected
        or nothing is nearby.
    """
    # As redshifts on either side of the limit, a selection is scored like any z_phot cut.
    as_z = np.where(selected, z_max - 1, z_max + 1)
    purity, completeness = purity_completeness(as_z, z_spec, z_max)
    rng = np.random.default_rng(seed)
    rows = rng.integers(0, len(as_z), (draws, len(as_z)))
    drawn = np.array([purity_completeness(as_z[some], z_spec[some], z_max) for some in rows])
    errors = [_spread(values) for values in drawn.T]
    return {
        "z_max": z_max,
        "n": int(np.sum(z_spec < z_max)),
        "selected": int(np.sum(selected)),
        "purity": purity,
        "completeness": completeness,
        "error_purity": errors[0],
        "error_completeness": errors[1],
    }


def _spread(values: Array) -> float:
    """Return the standard deviation of the draws in which there was something to count."""
    known = values[np.isfinite(values)]
    return float(np.std(known, ddof=1)) if len(known) > 1 else float("nan")
