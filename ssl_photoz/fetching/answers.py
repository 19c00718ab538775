"""What a cutout service may answer, and whether it is the cutout that was asked for."""

from __future__ import annotations

import warnings
from io import BytesIO
from typing import Any, NamedTuple

import numpy as np

from ssl_photoz.core.types import Floats
from ssl_photoz.cutouts.quality import reject_reasons
from ssl_photoz.cutouts.single import celestial_wcs
from ssl_photoz.fetching.settings import FrameConfig

MAX_OFF_CENTRE_PX = 1.0
MAX_SCALE_ERROR = 0.01
HEADER_BYTES = 1 << 20  # more than any header, and the checksums and inverse variances of none


class Answer(NamedTuple):
    """A cutout, or why there is none.

    Attributes:
        pixels: Flux, nanomaggies/px, float32 (C, H, W); None if the answer cannot be used.
        reason: Why not.
        again: Whether it may be better next time.
    """

    pixels: Floats | None
    reason: str = ""
    again: bool = False


def examine(body: bytes, frame: FrameConfig, *, ra_deg: float, dec_deg: float) -> Answer:
    """Turn the body of an answer into pixels, if they are those of the request.

    Args:
        body: Body of an answer with status 200.
        frame: What was asked for.
        ra_deg: Right ascension it was asked for at, degrees.
        dec_deg: Declination it was asked for at, degrees.
    """
    if not body.startswith(b"SIMPLE  ="):
        text = body[:1000].lstrip().lower()
        kind = "an HTML page" if text.startswith((b"<!doctype html", b"<html")) else "no FITS file"
        return Answer(None, f"the answer is {kind}", again=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of astropy's, about files that are refused anyway
        return _examine_fits(body, frame, ra_deg, dec_deg)


def fault_of(pixels: Floats, frame: FrameConfig) -> str:
    """Reason why pixels (C, H, W) of the right shape cannot be used; empty if they can."""
    reason = str(reject_reasons(pixels[None])[0])
    blank = (pixels == 0).mean(axis=(1, 2))
    worst = int(np.argmax(blank))
    if not reason and blank[worst] > frame.max_blank:
        reason = f"{100 * blank[worst]:.0f} % of band {frame.bands[worst]} is blank"
    return reason


def _examine_fits(body: bytes, frame: FrameConfig, ra_deg: float, dec_deg: float) -> Answer:
    from astropy.io import fits

    try:
        with fits.open(BytesIO(body), memmap=False) as hdus:
            header, data = hdus[0].header, hdus[0].data
            pixels = None if data is None else np.array(data, np.float32)
    except Exception as error:  # a damaged file makes the reader raise whatever comes
        return Answer(None, f"damaged or truncated FITS file ({type(error).__name__})", again=True)
    reason = _mismatch(header, pixels, frame, ra_deg, dec_deg)
    if reason or pixels is None:
        return Answer(None, reason)
    pixels = pixels.reshape(frame.shape)
    reason = fault_of(pixels, frame)
    return Answer(None, reason) if reason else Answer(pixels)


def _mismatch(
    header: Any,  # noqa: ANN401 - astropy has no types
    pixels: Floats | None,
    frame: FrameConfig,
    ra_deg: float,
    dec_deg: float,
) -> str:
    wanted, shape = "".join(frame.bands), None if pixels is None else pixels.shape
    stated = str(header.get("BANDS", "none")).replace(",", "").strip()
    if stated != wanted:
        return f"bands are {stated}, asked for {wanted}"
    if shape != frame.shape and not (len(wanted) == 1 and shape == frame.shape[1:]):
        return f"shape is {shape}, asked for {frame.shape}"
    return _misplaced(header, frame, ra_deg, dec_deg)


def _misplaced(header: Any, frame: FrameConfig, ra_deg: float, dec_deg: float) -> str:  # noqa: ANN401
    from astropy.wcs.utils import proj_plane_pixel_scales

    try:
        wcs = celestial_wcs(header)
        middle = (frame.size_px - 1) / 2
        x, y = wcs.world_to_pixel_values(ra_deg, dec_deg)
        off_px = float(np.hypot(x - middle, y - middle))
        scale = 3600 * float(np.mean(proj_plane_pixel_scales(wcs)))
    except Exception as error:  # whatever a broken header makes the library raise
        return f"no usable world coordinates ({type(error).__name__})"
    if not abs(scale / frame.pixscale_arcsec - 1) <= MAX_SCALE_ERROR:
        return f"pixel scale is {scale:.4g} arcsec, asked for {frame.pixscale_arcsec:g}"
    if not off_px <= MAX_OFF_CENTRE_PX:
        return f"the centre is {off_px:.1f} px off the position asked for"
    return ""
