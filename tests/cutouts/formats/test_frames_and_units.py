"""A frame or unit that a file states is kept to, or refused by name."""

import h5py
import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits

from ssl_photoz.core.errors import DataError
from ssl_photoz.cutouts.reader import Cutouts
from ssl_photoz.cutouts.single import read_single

SIDE, STEP = 16, 0.262 / 3600
M87 = SkyCoord("12h30m49.42s +12d23m28.0s")  # ICRS; galactic 283.778, 74.491; B1950 12 28 17.57


def write(folder, value, **cards):
    """Write the same cutout twice: with the reference pixel in the centre, and beside it."""
    folder.mkdir()
    usual = {"BANDS": "grz", "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN"}
    usual |= {"CRVAL1": value[0], "CRVAL2": value[1]}
    usual |= {"CD1_1": -STEP, "CD1_2": 0.0, "CD2_1": 0.0, "CD2_2": STEP}
    for name, shift in (("centre", 0), ("beside", 1e-3)):
        header = fits.Header({**usual, **cards})
        header["CRPIX1"] = header["CRPIX2"] = SIDE / 2 + 0.5 + shift
        fits.PrimaryHDU(np.ones((3, SIDE, SIDE), "f4"), header).writeto(folder / f"{name}.fits")
    return folder


FRAMES = {
    "ICRS": ((M87.ra.deg, M87.dec.deg), {"RADESYS": "ICRS"}),
    "galactic": ((283.77760, 74.49112), {"CTYPE1": "GLON-TAN", "CTYPE2": "GLAT-TAN"}),
    "galactic, latitude first": (
        (74.49112, 283.77760),
        {"CTYPE1": "GLAT-TAN", "CTYPE2": "GLON-TAN"},
    ),
    "declination first": (
        (M87.dec.deg, M87.ra.deg),
        {"CTYPE1": "DEC--TAN", "CTYPE2": "RA---TAN"},
    ),
    "B1950": (
        (15 * (12 + 28 / 60 + 17.57 / 3600), 12 + 40 / 60 + 1.7 / 3600),
        {"RADESYS": "FK4", "EQUINOX": 1950.0},
    ),
    "radians": (
        (M87.ra.rad, M87.dec.rad),
        {"CUNIT1": "rad", "CUNIT2": "rad", "CD1_1": -np.radians(STEP), "CD2_2": np.radians(STEP)},
    ),
}


@pytest.mark.parametrize("frame", FRAMES)
def test_a_cutout_lies_where_its_frame_says(tmp_path, frame):
    value, cards = FRAMES[frame]
    folder = write(tmp_path / "f", value, **cards)
    cutouts = Cutouts.open(folder)
    found = SkyCoord(cutouts.ra, cutouts.dec, unit="deg")
    assert (found.separation(M87) < 1 * u.arcsec).all()
    assert cutouts.source.pixscale_arcsec == pytest.approx(0.262, rel=1e-4)
    for path in sorted(folder.iterdir()):
        one = read_single(path)
        assert SkyCoord(one.ra, one.dec, unit="deg").separation(M87) < 1 * u.arcsec
        assert one.pixscale_arcsec == pytest.approx(0.262, rel=1e-4)


@pytest.mark.parametrize("axes", [("ELON", "ELAT"), ("HLON", "HLAT"), ("TLON", "TLAT")])
def test_other_frames_are_refused_by_name(tmp_path, axes):
    cards = {"CTYPE1": f"{axes[0]}-TAN", "CTYPE2": f"{axes[1]}-TAN"}
    folder = write(tmp_path / "f", (151.0, -9.0), **cards)
    with pytest.raises(DataError, match=f"coordinates are {axes[1]}/{axes[0]}, expected RA/DEC"):
        Cutouts.open(folder)
    with pytest.raises(DataError, match=f"centre.fits: .* {axes[1]}/{axes[0]}, expected RA/DEC"):
        read_single(folder / "centre.fits")


@pytest.mark.parametrize("unit", ["rad", b"radian", "hourangle"])
def test_positions_in_other_units_are_refused(make_file, unit):
    path = make_file()
    with h5py.File(path, "r+") as file:
        file["RA"].attrs["units"] = unit
    with pytest.raises(DataError, match=r"`RA` is in '.*', expected degrees"):
        Cutouts.open(path)


def test_degrees_are_degrees_in_any_spelling(make_file):
    path = make_file()
    with h5py.File(path, "r+") as file:
        file["RA"].attrs["units"], file["DEC"].attrs["unit"] = "Degrees", b"deg"
    assert len(Cutouts.open(path).ra) == 12


def test_zarr_positions_in_radians_are_refused(tmp_path):
    zarr = pytest.importorskip("zarr", reason="the extra zarr is not installed")
    group = zarr.create_group(tmp_path / "a.zarr")
    group.create_array("images", data=np.ones((4, 3, 8, 8), "f4"))
    group.create_array("DEC", data=np.ones(4)).attrs["unit"] = "rad"
    with pytest.raises(DataError, match="`DEC` is in 'rad', expected degrees"):
        Cutouts.open(tmp_path / "a.zarr")
