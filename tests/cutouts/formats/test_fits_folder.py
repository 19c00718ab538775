"""Folders of FITS cutouts with all that may be amiss in them; files written by astropy."""

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS

from ssl_photoz.core.errors import DataError
from ssl_photoz.cutouts.batches import good_rows
from ssl_photoz.cutouts.reader import Cutouts

SIDE = 16


@pytest.fixture
def write(tmp_path):
    """Write one cutout into the folder; keywords go into its header, None removes a card."""

    def one(name, *, images=None, folder="cutouts", **cards):
        if images is None:
            images = np.random.default_rng(len(name)).normal(size=(3, SIDE, SIDE)).astype("f4")
        header = fits.Header()
        usual = {"BANDS": "grz", "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN"}
        usual |= {
            "CRVAL1": 150.0,
            "CRVAL2": 2.0,
            "CRPIX1": SIDE / 2 + 0.5,
            "CRPIX2": SIDE / 2 + 0.5,
        }
        usual |= {"CD1_1": -0.262 / 3600, "CD1_2": 0.0, "CD2_1": 0.0, "CD2_2": 0.262 / 3600}
        for card, value in {**usual, **cards}.items():
            if value is not None:
                header[card] = value
        path = tmp_path / folder / name
        path.parent.mkdir(exist_ok=True, parents=True)
        fits.PrimaryHDU(images, header).writeto(path)
        return images

    return one


def test_positions_come_from_the_centre_whatever_the_reference_pixel(write, tmp_path):
    write("a.fits", CRVAL1=359.9999, CRVAL2=60.0, CRPIX1=-30.0, CRPIX2=200.0)
    write("b.fits", CRVAL1=10.0, CRVAL2=-5.0)
    cutouts = Cutouts.open(tmp_path / "cutouts")
    expected = WCS(naxis=2)
    expected.wcs.ctype = "RA---TAN", "DEC--TAN"
    expected.wcs.crval, expected.wcs.crpix = (359.9999, 60.0), (-30.0, 200.0)
    expected.wcs.cdelt = -0.262 / 3600, 0.262 / 3600
    centre = expected.pixel_to_world(SIDE / 2 - 0.5, SIDE / 2 - 0.5)
    ra, dec = cutouts.column("ra"), cutouts.column("dec")
    found = SkyCoord(ra, dec, unit="deg")
    assert found[0].separation(centre).arcsec < 1e-6
    assert (ra[1], dec[1]) == pytest.approx((10.0, -5.0), abs=1e-9)
    assert cutouts.source.pixscale_arcsec == pytest.approx(0.262, abs=1e-5)
    assert cutouts.column("id").tolist() == ["a", "b"]


def test_names_that_are_whole_numbers_become_exact_ids(write, tmp_path):
    for name in (39627000000000001, 9223372036854775807, 5):
        write(f"{name}.fits")
    assert sorted(Cutouts.open(tmp_path / "cutouts").column("id").tolist()) == [
        5,
        39627000000000001,
        9223372036854775807,
    ]


@pytest.mark.parametrize("names", [["007", "8"], ["1", "9223372036854775808"], ["1", "x"]])
def test_other_names_stay_text(write, tmp_path, names):
    for name in names:
        write(f"{name}.fits")
    assert Cutouts.open(tmp_path / "cutouts").column("id").tolist() == sorted(names)


def test_what_is_no_cutout_stays_a_row_and_says_why(write, tmp_path):
    good = [write(f"good{number}.fits") for number in range(3)]
    write("bands.fits", BANDS="gri")
    write("ints.fits", images=np.zeros((3, SIDE, SIDE), "i2"))
    write("large.fits", images=np.zeros((3, SIDE + 2, SIDE + 2), "f4"))
    write("oblong.fits", images=np.zeros((3, SIDE, SIDE + 2), "f4"))
    folder = tmp_path / "cutouts"
    whole = (folder / "good0.fits").read_bytes()
    (folder / "short.fits").write_bytes(whole[: len(whole) // 3])
    (folder / "html.fits").write_bytes(b"<html>too many requests</html>")
    (folder / "header.fits").write_bytes(whole[:80])
    (folder / "gone.fits").symlink_to(tmp_path / "nowhere.fits")
    cutouts = Cutouts.open(folder)
    assert len(cutouts) == 10
    assert "3 of 10 files are 3 bands g,r,z of 16 px" in cutouts.source.notes
    rows, rejects = good_rows(cutouts)
    ids = cutouts.column("id")
    assert ids[rows].tolist() == ["good0", "good1", "good2"]
    np.testing.assert_array_equal(cutouts.read(rows), np.stack(good))
    said = {str(ids[row]): reason for row, reason in rejects.items()}
    assert said["bands"] == "3 bands g,r,i of 16 px, most are 3 bands g,r,z of 16 px"
    assert "BITPIX 16" in said["ints"]
    assert "18 px" in said["large"]
    assert "(3, 16, 18)" in said["oblong"]
    assert said["short"].startswith("truncated")
    assert said["html"] == "not a plain FITS file"
    assert said["header"].startswith("damaged header")
    assert np.isnan(cutouts.read(list(rejects))).all()


def test_a_file_that_is_damaged_later_is_found_when_it_is_read(write, tmp_path):
    for number in range(3):
        write(f"{number}.fits")
    cutouts = Cutouts.open(tmp_path / "cutouts")
    (tmp_path / "cutouts" / "1.fits").write_bytes(b"SIMPLE")
    rows, rejects = good_rows(cutouts)
    assert rows.tolist() == [0, 2]
    assert "cannot be read" in rejects[1]


def test_a_folder_without_a_cutout_is_refused(write, tmp_path):
    write("a.fits", images=np.zeros((3, SIDE, SIDE + 1), "f4"))
    with pytest.raises(DataError, match=r"none of 1 files in it is a square cutout.*\(3, 16, 17\)"):
        Cutouts.open(tmp_path / "cutouts", read_as="fits")


def test_doubles_and_single_bands_are_read(write, tmp_path):
    image = write("a.fits", images=np.random.default_rng(0).normal(size=(SIDE, SIDE)), BANDS="r")
    cutouts = Cutouts.open(tmp_path / "cutouts")
    assert cutouts.source.bands == ("r",)
    np.testing.assert_array_equal(cutouts.read([0])[0, 0], image.astype("f4"))


def test_pixel_scales_that_differ_are_not_averaged(write, tmp_path):
    write("a.fits")
    write("b.fits", CD1_1=-0.5 / 3600, CD2_2=0.5 / 3600)
    assert np.isnan(Cutouts.open(tmp_path / "cutouts").source.pixscale_arcsec)


def test_tables_and_pictures_beside_hdf5_do_not_make_a_folder_something_else(make_file, tmp_path):
    make_file("cutouts.h5")
    fits.BinTableHDU.from_columns([fits.Column("id", "K", array=[1])]).writeto(tmp_path / "c.fits")
    (tmp_path / "contact_sheet.png").write_bytes(b"a picture of all")
    assert Cutouts.open(tmp_path).source.read_as == "folder"


@pytest.mark.parametrize("angle", [0, 30, 200])
def test_a_turned_cutout_has_the_same_scale_by_either_way(write, tmp_path, angle):
    cos, sin = 0.262 / 3600 * np.cos(np.radians(angle)), 0.262 / 3600 * np.sin(np.radians(angle))
    turned = {"CD1_1": -cos, "CD1_2": sin, "CD2_1": sin, "CD2_2": cos, "CRVAL1": -10.0}
    write("a.fits", **turned)
    write("b.fits", **turned, CRPIX1=SIDE / 2 + 0.5 + 1e-4)
    cutouts = Cutouts.open(tmp_path / "cutouts")
    assert cutouts.source.pixscale_arcsec == pytest.approx(0.262, abs=1e-6)
    np.testing.assert_allclose(cutouts.column("ra"), 350.0, atol=1e-6)
    np.testing.assert_allclose(cutouts.column("dec"), 2.0, atol=1e-6)
