"""Sources as a table of positions, fluxes and shapes, and as regions of DS9."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ssl_photoz.core.legacy_surveys import ZEROPOINT_MAG
from ssl_photoz.core.types import Array, Doubles
from ssl_photoz.detection.sources import Sources
from ssl_photoz.fetching.sky_image import SkyImage

FLAGS = ("edge", "saturated", "masked", "blended")


def columns_of(sources: Sources, image: SkyImage) -> dict[str, Array]:
    """Columns of a table of sources, (N,) each; docs/detect.md describes them.

    Args:
        sources: Sources of the image.
        image: The image; fluxes are nanomaggies, with magnitudes beside them, if it is calibrated.
    """
    ra, dec = image.positions(sources.x, sources.y)
    columns: dict[str, Array] = {
        "id": np.arange(1, len(ra) + 1),
        "ra": ra,
        "dec": dec,
        "x": sources.x,
        "y": sources.y,
    }
    for number, band in enumerate(image.bands):
        flux, error = sources.flux[:, number], sources.flux_err[:, number]
        with np.errstate(divide="ignore", invalid="ignore"):
            inverse = np.where(error > 0, error**-2.0, 0)
            mag = ZEROPOINT_MAG - 2.5 * np.log10(np.where(flux > 0, flux, np.nan))
        columns[f"flux_{band}"] = flux.astype(np.float32)
        columns[f"flux_ivar_{band}"] = inverse.astype(np.float32)
        if image.calibrated:
            columns[f"mag_{band}"] = mag.astype(np.float32)
    scale = image.pixscale_arcsec
    columns |= {
        "radius_arcsec": (scale * sources.half_light_px).astype(np.float32),
        "ellipticity": sources.ellipticity.astype(np.float32),
        "angle_deg": position_angles_deg(sources, image).astype(np.float32),
        "a_arcsec": (scale * sources.a_px).astype(np.float32),
        "b_arcsec": (scale * sources.b_px).astype(np.float32),
    }
    return {**columns, **{flag: getattr(sources, flag) for flag in FLAGS}}


def position_angles_deg(sources: Sources, image: SkyImage) -> Doubles:
    """Position angles of the major axes, from north through east, 0 to 180 degrees, (N,)."""
    step = 0.5 * np.array([np.cos(sources.theta_rad), np.sin(sources.theta_rad)])
    ra, dec = image.positions(sources.x + step[0], sources.y + step[1])
    ra_back, dec_back = image.positions(sources.x - step[0], sources.y - step[1])
    east = ((ra - ra_back + 180) % 360 - 180) * np.cos(np.radians((dec + dec_back) / 2))
    return np.asarray(np.degrees(np.arctan2(east, dec - dec_back)) % 180)


def regions_of(sources: Sources, ids: Sequence[int]) -> str:
    """Ellipses as a region file of DS9, in pixels of the image, which DS9 counts from 1."""
    colours = np.where(sources.edge | sources.masked | sources.saturated, "red", "green")
    colours = np.where((colours == "green") & sources.blended, "yellow", colours)
    lines = [
        f"ellipse({x + 1:.2f},{y + 1:.2f},{a:.2f},{b:.2f},{angle:.1f})"
        f" # color={colour} text={{{n}}}"
        for n, x, y, a, b, angle, colour in zip(
            ids,
            sources.x,
            sources.y,
            sources.a_px,
            sources.b_px,
            np.degrees(sources.theta_rad),
            colours,
            strict=True,
        )
    ]
    return "\n".join(("# Region file format: DS9 version 4.1", "image", *lines, ""))
