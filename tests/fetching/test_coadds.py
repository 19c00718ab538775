"""Cutouts from bricks on disk, written with astropy as fpack writes them."""

import numpy as np
import pyarrow.parquet as pq
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS

from ssl_photoz import cli
from ssl_photoz.core.errors import ConfigError, DataError
from ssl_photoz.cutouts.reader import Cutouts

SIDE_PX = 3600  # of a brick, legacysurvey.org/dr9/files
BRICK, RA, DEC = "1801p000", 180.125, 0.0  # a brick on the equator is 0.25 degrees wide


def brick_wcs(ra=RA, dec=DEC, side=SIDE_PX):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [ra, dec]
    wcs.wcs.crpix = [side / 2 + 0.5] * 2
    wcs.wcs.cdelt = [-0.262 / 3600, 0.262 / 3600]
    return wcs


def write_brick(coadds, image, *, brick=BRICK, band="r", wcs=None, **packing):
    path = coadds / "coadd" / brick[:3] / brick / f"legacysurvey-{brick}-image-{band}.fits.fz"
    path.parent.mkdir(parents=True, exist_ok=True)
    header = (wcs or brick_wcs(side=len(image))).to_header()
    fits.CompImageHDU(image, header, **packing).writeto(path)
    return path


def fetch(tmp_path, positions, *more, out="a.h5", bands="r"):
    ra, dec = np.transpose(positions)
    Table({"TARGETID": np.arange(len(ra)) + 2**60, "RA": ra, "DEC": dec}).write(
        tmp_path / "c.fits", overwrite=True
    )
    given = [f"catalogue={tmp_path / 'c.fits'}", f"out={tmp_path / out}", f"bands=[{bands}]"]
    cli.run("fetch", [*given, f"coadds={tmp_path}", *more])
    table = pq.read_table(tmp_path / out.replace(".h5", ".rejects.parquet")).to_pylist()
    with Cutouts.open(tmp_path / out) as cutouts:
        return cutouts.read(np.arange(len(cutouts))), {one["row"]: one["reason"] for one in table}


def test_an_object_at_the_edge_of_its_brick_is_in_the_overlap(tmp_path):
    """Pixels hold their own place, so that the cutout says where it was cut."""
    places = np.arange(1, SIDE_PX**2 + 1, dtype="i4").reshape(SIDE_PX, SIDE_PX)
    write_brick(tmp_path / "south", places, compression_type="RICE_1")
    inside, edge = 1e-5, 0.125
    positions = [(RA, DEC), (RA + edge - inside, 0.0), (RA - edge, DEC + edge - inside)]
    for size in (128, 63):
        pixels, rejects = fetch(tmp_path, positions, f"size_px={size}", out=f"{size}.h5")
        assert rejects == {}
        for one, (ra, dec) in zip(pixels[:, 0], positions, strict=True):
            low, left = divmod(int(one[0, 0]) - 1, SIDE_PX)
            assert np.array_equal(one, places[low : low + size, left : left + size])
            at = brick_wcs().world_to_pixel_values(ra, dec)
            off = np.array(at) - (np.array([left, low]) + (size - 1) / 2)
            assert np.abs(off).max() <= 0.5 + 1e-6
    # North up, east left: the object at larger RA was cut at smaller x.
    assert pixels[1, 0, 0, 0] % SIDE_PX < pixels[0, 0, 0, 0] % SIDE_PX
    assert pixels[2, 0, 0, 0] > pixels[0, 0, 0, 0]
    pixels, rejects = fetch(tmp_path, positions, "size_px=200", out="200.h5")
    assert len(pixels) == 1
    assert rejects == dict.fromkeys((1, 2), f"reaches past the edge of brick {BRICK}")


@pytest.fixture
def small_bricks(tmp_path):
    """Noise in g and r of two bricks, quantised as fpack does; the second is half blank."""
    rng = np.random.default_rng(0)
    images = {}
    for brick, ra in ((BRICK, RA), ("1803p000", 180.375)):
        for band in "gr":
            image = rng.normal(0, 0.01, (64, 64)).astype("f4")
            if brick == "1803p000":
                image[:, :32] = 0
            packing = {"compression_type": "RICE_1", "quantize_method": 2, "quantize_level": 16}
            wcs = brick_wcs(ra=ra, side=64)
            write_brick(tmp_path, image, brick=brick, band=band, wcs=wcs, **packing)
            images[brick, band] = image
    return images


def test_packed_coadds_missing_bricks_and_blank_pixels(tmp_path, small_bricks):
    px = 0.262 / 3600
    positions = [
        (RA, DEC),
        (180.375 - 16 * px, 0.0),
        (RA + 3 * px, DEC + 2 * px),
        (200.0, 10.0),
        (180.375, 0.0),
        (RA, 95.0),
    ]
    pixels, rejects = fetch(tmp_path, positions, "size_px=20", "workers=2", bands="g,r")
    assert rejects == {
        3: "no coadd of brick 1999p100 in g (south)",
        4: "50 % of band g is blank",
        5: "position out of range",
    }
    corners = [(BRICK, 22, 22), ("1803p000", 38, 22), (BRICK, 19, 24)]
    for one, (brick, left, low) in zip(pixels, corners, strict=True):
        for band, got in zip("gr", one, strict=True):
            truth = small_bricks[brick, band][low : low + 20, left : left + 20]
            assert np.abs(got - truth).max() <= 0.01 / 16  # a step of the quantisation


def test_a_damaged_coadd_costs_its_own_rows_only(tmp_path, small_bricks):
    path = next(tmp_path.glob("coadd/180/1803p000/*image-r*"))
    path.write_bytes(path.read_bytes()[:3000])
    _, rejects = fetch(tmp_path, [(RA, DEC), (180.374, 0.0)], "size_px=20", bands="g,r")
    assert list(rejects) == [1]
    assert rejects[1].startswith("damaged coadd legacysurvey-1803p000-image-r.fits.fz")


def test_coadds_have_one_pixel_scale(tmp_path, small_bricks):
    with pytest.raises(ConfigError, match=r"coadds have 0\.262"):
        fetch(tmp_path, [(RA, DEC)], "pixscale_arcsec=0.4")
    with pytest.raises(ConfigError, match="is no folder"):
        fetch(tmp_path, [(RA, DEC)], f"coadds={tmp_path / 'none'}")


@pytest.mark.parametrize("frame", ["dec first", "galactic"])
def test_a_coadd_in_another_frame_is_cut_at_the_same_galaxy(tmp_path, frame):
    """A star at a known place: its pixel comes from astropy's own transformation."""
    side, place = 400, SkyCoord(RA + 0.004, DEC - 0.003, unit="deg")
    wcs = WCS(naxis=2)
    centre = SkyCoord(RA, DEC, unit="deg")
    if frame == "galactic":
        wcs.wcs.ctype = ["GLON-TAN", "GLAT-TAN"]
        wcs.wcs.crval = [centre.galactic.l.deg, centre.galactic.b.deg]
    else:
        wcs.wcs.ctype, wcs.wcs.crval = ["DEC--TAN", "RA---TAN"], [DEC, RA]
    wcs.wcs.crpix, wcs.wcs.cdelt = [side / 2 + 0.5] * 2, [-0.262 / 3600, 0.262 / 3600]
    image = np.random.default_rng(0).normal(0, 1e-3, (side, side)).astype("f4")
    x, y = (int(np.rint(one)) for one in wcs.world_to_pixel(place))
    image[y, x] = 7
    write_brick(tmp_path / "south", image, wcs=wcs, compression_type="GZIP_2", quantize_level=0)
    pixels, rejects = fetch(tmp_path, [(place.ra.deg, place.dec.deg)], "size_px=33")
    assert rejects == {}
    assert pixels[0, 0, 16, 16] == 7


def test_a_coadd_of_another_unit_or_frame_is_refused_by_name(tmp_path):
    image = np.ones((400, 400), "f4") + np.random.default_rng(0).normal(size=(400, 400)) / 9
    good = write_brick(tmp_path / "south", image.astype("f4"), compression_type="GZIP_2")
    for card, value, said in (
        ("BUNIT", "Jy/beam", "BUNIT is 'Jy/beam', expected nanomaggies per pixel"),
        ("CTYPE1", "ELON-TAN", "world coordinates are"),
    ):
        with fits.open(good) as hdus:
            data, header = hdus[1].data, hdus[1].header
        if card == "CTYPE1":
            header["CTYPE2"] = "ELAT-TAN"
            header.pop("RADESYS", None)
            header["BUNIT"] = "nanomaggy"
        header[card] = value
        fits.CompImageHDU(data, header, compression_type="GZIP_2").writeto(good, overwrite=True)
        with pytest.raises(DataError, match=said):
            fetch(tmp_path, [(RA, DEC)], "size_px=33", out=f"{card}.h5")
