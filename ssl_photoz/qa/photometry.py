"""Magnitudes and sizes of galaxies: from the catalogue, from pixels, and as simulated."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from ssl_photoz.core.extinction import EXTINCTION_PER_EBV
from ssl_photoz.core.legacy_surveys import ZEROPOINT_MAG
from ssl_photoz.core.types import Array, Doubles, Ints
from ssl_photoz.cutouts.apertures import RADII_ARCSEC, disc
from ssl_photoz.cutouts.reader import Cutouts
from ssl_photoz.qa.pixels import read_blocks
from ssl_photoz.simulator.settings import SimulatorConfig

MAG_COLUMNS = ("mag_{}_extinction_corrected", "mag_{}", "true_mag_{}")
RADIUS_COLUMNS = ("shape_r", "true_radius_arcsec", "sersic_th50")
WHOLE_ARCSEC = 9.0


class Column(NamedTuple):
    """A quantity of each row, and where it comes from. Values have shape (N,), NaN for none."""

    values: Doubles
    origin: str


class Photometry(NamedTuple):
    """Magnitudes and sizes of some galaxies.

    Attributes:
        mag: Magnitudes by band, AB, shape (M,).
        radius_arcsec: Half-light radius, shape (M,).
        origin: Origin of the values, in words.
    """

    mag: dict[str, Doubles]
    radius_arcsec: Doubles
    origin: str


def magnitude(cutouts: Cutouts, band: str) -> Column | None:
    """Magnitudes of a band from the catalogue; None if it has none.

    From a column of magnitudes, or of fluxes in nanomaggies (``flux_r``, or ``flux`` of shape
    (N, C)), the latter corrected by ``mw_transmission_r`` if there is one.
    """
    for name in (form.format(band) for form in MAG_COLUMNS):
        if name in cutouts.columns:
            return Column(_real(cutouts.column(name)), name)
    flux, name = None, f"flux_{band}"
    if name in cutouts.columns:
        flux = _real(cutouts.column(name))
    elif "flux" in cutouts.columns and band in cutouts.source.bands:
        flux = np.asarray(cutouts.column("flux"), float)
        name = "flux"
        matches = flux.shape == (len(cutouts), len(cutouts.source.bands))
        flux = flux[:, cutouts.source.bands.index(band)] if matches else None
    if flux is None:
        return None
    if (dimmed := f"mw_transmission_{band}") in cutouts.columns:
        with np.errstate(divide="ignore", invalid="ignore"):
            flux, name = flux / _real(cutouts.column(dimmed)), f"{name}/{dimmed}"
    return Column(_mag(flux), name)


def radius_arcsec(cutouts: Cutouts) -> Column | None:
    """Half-light radii from the catalogue; None if it has none. Zero becomes NaN."""
    for name in RADIUS_COLUMNS:
        if name in cutouts.columns:
            values = _real(cutouts.column(name))
            return Column(np.where(values > 0, values, np.nan), name)
    return None


def from_catalogue(cutouts: Cutouts, rows: Ints) -> Photometry | None:
    """What the catalogue says of g and r, and of sizes; None without g or r."""
    g, r, size = magnitude(cutouts, "g"), magnitude(cutouts, "r"), radius_arcsec(cutouts)
    if g is None or r is None:
        return None
    origin = f"catalogue columns {g.origin}, {r.origin}" + (f", {size.origin}" if size else "")
    values = size.values if size else np.full(len(cutouts), np.nan)
    return Photometry({"g": g.values[rows], "r": r.values[rows]}, values[rows], origin)


def from_apertures(cutouts: Cutouts, rows: Ints) -> Photometry | None:
    """Measure g and r within 9 arcsec, and the radius of half of the r light in it.

    Not corrected for neighbours; for dust where the file has E(B-V). None where pixels are not
    flux of one pixel scale, or there is no g or r.
    """
    source = cutouts.source
    if not len(rows) or not source.calibrated or not source.pixscale_arcsec > 0:
        return None
    if not {"g", "r"} <= set(source.bands):
        return None
    half_arcsec = source.size_px * source.pixscale_arcsec / 2
    radii = [one for one in RADII_ARCSEC if one <= min(WHOLE_ARCSEC, half_arcsec)]
    if len(radii) < 2:
        return None
    grown = np.concatenate(list(_curves(cutouts, rows, radii)))  # (M, C, radii)
    ebv = cutouts.column_or_nan("ebv", (len(cutouts),))[rows].astype(float)
    ebv = np.zeros(len(rows)) if source.extinction_corrected else np.nan_to_num(ebv)
    per_ebv = EXTINCTION_PER_EBV["legacy"]
    mag = {
        band: _mag(grown[:, source.bands.index(band), -1]) - per_ebv[band] * ebv
        for band in ("g", "r")
    }
    size = half_light_radius(grown[:, source.bands.index("r")], radii)
    dust = ", corrected for dust" if "ebv" in cutouts.columns else ", not corrected for dust"
    return Photometry(mag, size, f"aperture photometry within {radii[-1]:g} arcsec{dust}")


def half_light_radius(grown: Array, radii: list[float]) -> Doubles:
    """Radius at which a curve of growth reaches half of its last value.

    Args:
        grown: Flux within each radius, shape (M, R).
        radii: Increasing, length R.

    Returns:
        Shape (M,), in the unit of the radii, interpolated in area; NaN where there is no flux.
    """
    area = np.append(0, np.square(radii))
    found = np.full(len(grown), math.nan)
    for number, curve in enumerate(np.maximum.accumulate(grown, axis=1)):
        if grown[number, -1] > 0:
            found[number] = math.sqrt(np.interp(curve[-1] / 2, np.append(0, curve), area))
    return found


def _curves(cutouts: Cutouts, rows: Ints, radii: list[float]) -> Iterator[Doubles]:
    size_px, scale = cutouts.source.size_px, cutouts.source.pixscale_arcsec
    masks = np.stack([disc(size_px, radius / scale) for radius in radii]).reshape(len(radii), -1)
    for _, images in read_blocks(cutouts, rows, says="photometry"):
        flat = images.astype(np.float32).reshape(*images.shape[:2], -1)
        yield (flat @ masks.T).astype(float)


def _mag(flux_nmgy: Array) -> Doubles:
    with np.errstate(divide="ignore", invalid="ignore"):
        mag = ZEROPOINT_MAG - 2.5 * np.log10(np.asarray(flux_nmgy, float))
    return np.where(np.isfinite(mag), mag, np.nan)


def _real(values: Array) -> Doubles:
    if values.ndim != 1 or values.dtype.kind not in "iuf":
        return np.full(len(values), np.nan)
    return values.astype(float)


R_LIMIT_MAG = SimulatorConfig().r_limit_mag
GALAXIES = 1500


def simulated_galaxies(*, galaxies: int = GALAXIES, seed: int = 0) -> Photometry:
    """Draw a third each of dwarfs, low-redshift galaxies and background, as `simulate` does.

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
