"""Images of round and elongated Gaussians at known places, written by astropy."""

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS, Sip

PIXSCALE_ARCSEC, NOISE = 0.262, 0.01


def tan(side, *, ra=150.0, dec=2.0, turn_deg=0.0, mirrored=False, sip=0.0, galactic=False):
    """World coordinates around the middle of a square image."""
    wcs, turn = WCS(naxis=2), np.radians(turn_deg)
    wcs.wcs.ctype = ["GLON-TAN", "GLAT-TAN"] if galactic else ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval, wcs.wcs.crpix = [ra, dec], [side / 2 + 0.5] * 2
    turned = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    wcs.wcs.cd = PIXSCALE_ARCSEC / 3600 * turned @ np.diag([1.0 if mirrored else -1.0, 1.0])
    if sip:
        wcs.wcs.ctype = ["RA---TAN-SIP", "DEC--TAN-SIP"]
        a, b = np.zeros((3, 3)), np.zeros((3, 3))
        a[2, 0], b[1, 1] = sip / side, -sip / side
        wcs.sip = Sip(a, b, None, None, wcs.wcs.crpix)
    return wcs


def gaussians(
    side, places, *, flux=10.0, sigma=2.0, ratio=1.0, angle_deg=0.0, bands=1, noise=NOISE, seed=0
):
    """Noise and Gaussians; band b has b + 1 times the flux."""
    y, x = np.mgrid[:side, :side]
    light, turn = np.zeros((side, side)), np.radians(angle_deg)
    for at_x, at_y in places:
        along = (x - at_x) * np.cos(turn) + (y - at_y) * np.sin(turn)
        across = (y - at_y) * np.cos(turn) - (x - at_x) * np.sin(turn)
        light += np.exp(-0.5 * (along**2 + (across / ratio) ** 2) / sigma**2)
    light *= flux / (2 * np.pi * sigma**2 * ratio)
    scaled = np.arange(1, bands + 1)[:, None, None] * light
    return (scaled + np.random.default_rng(seed).normal(0, noise, scaled.shape)).astype("f4")


def header(side, bands="grz", unit="nanomaggy", wcs=None):
    made = (wcs or tan(side)).to_header(relax=True)
    made.update({"BANDS": bands, "BUNIT": unit})
    return made


@pytest.fixture
def write_image(tmp_path):
    """Write a cube of Gaussians at places, pixels from 0."""

    def write(places, *, side=200, name="image.fits", wcs=None, unit="nanomaggy", **more):
        pixels = gaussians(side, places, **{"bands": 3, **more})
        path = tmp_path / name
        bands = "grz"[: len(pixels)]
        fits.PrimaryHDU(pixels, header(side, bands, unit, wcs)).writeto(path, overwrite=True)
        return path

    return write
