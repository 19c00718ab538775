"""One image, however it is kept: the same pixels; and one clear answer where it cannot be read."""

import gzip

import numpy as np
import pytest
from astropy.io import fits

from ssl_photoz.core.errors import ConfigError, DataError
from ssl_photoz.cutouts.single import read_single
from ssl_photoz.fetching.settings import ImageConfig
from ssl_photoz.fetching.sky_image import open_image
from tests.detection.conftest import gaussians, header, tan

SIDE = 64
ROWS, COLUMNS = slice(10, 30), slice(5, 50)


def one(pixels, band, unit="nanomaggy", kind=fits.PrimaryHDU, **packing):
    head = header(SIDE, band, unit)
    head.pop("BANDS")
    head["FILTER"] = f"{band} DECam SDSS"
    return kind(pixels, head, **packing)


def write(kind, folder, pixels):
    """Write three bands in one of the ways that surveys do; return what to open, and how."""
    if kind == "one file a band":
        for band, plane in zip("grz", pixels, strict=True):
            one(plane, band).writeto(folder / f"{band}.fits")
        return [folder / f"{band}.fits" for band in "grz"], ImageConfig()
    if kind == "bands in names of files":
        for band, plane in zip("grz", pixels, strict=True):
            head = header(SIDE)
            head.pop("BANDS")
            fits.PrimaryHDU(plane, head).writeto(folder / f"stack_{band}.fits")
        return [folder / f"stack_{band}.fits" for band in "grz"], ImageConfig()
    if kind == "extensions":
        hdus = [one(p, b, kind=fits.ImageHDU) for b, p in zip("grz", pixels, strict=True)]
        fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(folder / "a.fits")
        return folder / "a.fits", ImageConfig()
    if kind == "named extensions":
        names = ("SCI_G", "SCI_R", "SCI_Z", "DQ")
        hdus = [
            fits.ImageHDU(plane, header(SIDE), name=name)
            for name, plane in zip(names, [*pixels, pixels[0]], strict=True)
        ]
        for hdu in hdus:
            hdu.header.pop("BANDS")
        fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(folder / "a.fits")
        return folder / "a.fits", ImageConfig(("g", "r", "z"), extensions=names[:3])
    if kind == "brick":
        brick = folder / "1801p000"
        brick.mkdir()
        for band, plane in zip("grz", pixels, strict=True):
            hdu = one(
                plane, band, kind=fits.CompImageHDU, compression_type="GZIP_2", quantize_level=0
            )
            hdu.writeto(brick / f"legacysurvey-1801p000-image-{band}.fits.fz")
        return brick, ImageConfig()
    cube = fits.PrimaryHDU(pixels, header(SIDE))
    cube.writeto(folder / "a.fits")
    if kind == "packed by gzip":
        packed = gzip.compress((folder / "a.fits").read_bytes())
        (folder / "a.fits.gz").write_bytes(packed)
        return folder / "a.fits.gz", ImageConfig()
    return folder / "a.fits", ImageConfig()


KINDS = ("cube", "packed by gzip", "one file a band", "bands in names of files")


@pytest.mark.parametrize("kind", [*KINDS, "extensions", "named extensions", "brick"])
def test_an_image_is_the_same_however_it_is_kept(kind, tmp_path):
    pixels = gaussians(SIDE, [(20, 20)], bands=3)
    path, config = write(kind, tmp_path, pixels)
    with open_image(path, config) as image:
        assert image.bands == ("g", "r", "z")
        assert image.shape == (SIDE, SIDE)
        assert image.calibrated
        assert image.pixscale_arcsec == pytest.approx(0.262, rel=1e-6)
        read = image.read(ROWS, COLUMNS, ("z", "g"))
    assert read.dtype == np.dtype("f4")
    assert read.dtype.isnative
    assert np.array_equal(read, pixels[[2, 0], ROWS, COLUMNS])


@pytest.mark.parametrize(("unit", "zeropoint"), [("nJy", None), ("adu", 31.4), ("uJy", 31.4)])
def test_flux_in_other_units_becomes_nanomaggies(unit, zeropoint, tmp_path):
    """3631 Jy are AB magnitude 0, so a nanomaggie, 22.5 mag, is 3631 nJy."""
    fits.PrimaryHDU(np.full((SIDE, SIDE), 3631, "f4"), header(SIDE, "r", unit)).writeto(
        tmp_path / "a.fits"
    )
    with open_image(tmp_path / "a.fits", ImageConfig(("r",), zeropoint_mag=zeropoint)) as image:
        assert image.calibrated
        assert np.allclose(image.read(ROWS, COLUMNS), 1, rtol=2e-3)


def test_flux_in_a_unit_of_its_own_is_left_alone(tmp_path):
    fits.PrimaryHDU(np.full((SIDE, SIDE), 7, "i2"), header(SIDE, "r", "adu")).writeto(
        tmp_path / "a.fits"
    )
    with open_image(tmp_path / "a.fits", ImageConfig(("r",))) as image:
        assert not image.calibrated
        assert (image.read(ROWS, COLUMNS) == 7).all()


def test_saturated_and_masked_pixels_of_a_brick_and_of_a_mask(tmp_path):
    path, _ = write("brick", tmp_path, np.ones((3, SIDE, SIDE), "f4"))
    bits = np.zeros((SIDE, SIDE), "i2")
    bits[0, 0], bits[0, 1], bits[0, 2], bits[0, 3] = 2, 4, 32, 1 << 14  # BRIGHT SATUR_G ALLMASK_G
    mask = path / "legacysurvey-1801p000-maskbits.fits.fz"
    fits.CompImageHDU(bits).writeto(mask)
    whole = slice(0, SIDE)
    with open_image(path) as image:
        saturated, masked = image.flagged(whole, whole, image.read(whole, whole))
    assert np.argwhere(saturated).tolist() == [[0, 1], [0, 3]]
    assert np.argwhere(masked).tolist() == [[0, 2]]
    with open_image(path, ImageConfig(mask=str(mask), saturation=1.0)) as image:
        saturated, masked = image.flagged(whole, whole, image.read(whole, whole))
    assert saturated.all()
    assert np.argwhere(masked).tolist() == [[0, 0], [0, 1], [0, 2], [0, 3]]


def test_places_far_outside_a_distorted_image_have_no_pixel(tmp_path):
    wcs = tan(SIDE, sip=0.05)
    fits.PrimaryHDU(np.ones((SIDE, SIDE), "f4"), header(SIDE, "r", wcs=wcs)).writeto(
        tmp_path / "a.fits"
    )
    inside = wcs.all_pix2world([[3.0, 50.0]], 0)[0]
    with open_image(tmp_path / "a.fits", ImageConfig(("r",))) as image:
        x, y = image.places(np.array([inside[0], 330.0, 150.0]), np.array([inside[1], -2, 80]))
    assert (x[0], y[0]) == pytest.approx((3, 50), abs=1e-4)
    assert np.isnan([*x[1:], *y[1:]]).all()


def refused(tmp_path):
    """Files that cannot be used, each with what is to be said."""
    ones = np.ones((SIDE, SIDE), "f4")
    nowhere = fits.PrimaryHDU(ones)
    nowhere.header["FILTER"] = "r"
    yield "no world", [nowhere], "has no world coordinates", {}
    ecliptic = tan(SIDE).to_header()
    ecliptic["CTYPE1"], ecliptic["CTYPE2"], ecliptic["FILTER"] = "ELON-TAN", "ELAT-TAN", "r"
    yield "ecliptic", [fits.PrimaryHDU(ones, ecliptic)], "world coordinates are ELAT/ELON", {}
    plain = tan(SIDE).to_header()
    yield "no band", [fits.PrimaryHDU(ones, plain)], "does not state its name; give band_names", {}
    yield (
        "few",
        [fits.PrimaryHDU(ones, plain)],
        "has 1 bands, band_names has 2",
        {"band_names": ("g", "r")},
    )
    several = [
        fits.PrimaryHDU(),
        fits.ImageHDU(ones, plain, name="SCI"),
        fits.ImageHDU(ones, plain, name="ERR"),
    ]
    yield "several", several, r"several images: 1 SCI 64x64, 2 ERR 64x64; .*extensions=", {}
    yield "absent", several, r"no image DQ; it holds 1 SCI", {"extensions": ("DQ",)}
    shifted = header(SIDE, "z", wcs=tan(SIDE, ra=150.001))
    shifted["FILTER"] = "z"
    pair = [one(ones, "r"), fits.ImageHDU(ones, shifted)]
    yield "other grid", pair, "have not the same pixels", {}
    yield "table", [fits.PrimaryHDU(), fits.BinTableHDU()], "holds no image", {}
    yield "four axes", [fits.PrimaryHDU(ones[None, None], plain)], "expected \\(height", {}
    mask = tmp_path / "mask.fits"
    fits.PrimaryHDU(np.zeros((9, 9), "i2")).writeto(mask)
    yield "other mask", [one(ones, "r")], "mask mask.fits is 9 x 9 px", {"mask": str(mask)}


def test_what_cannot_be_used_is_refused_by_name(tmp_path):
    for name, hdus, said, given in refused(tmp_path):
        path = tmp_path / f"{name.replace(' ', '')}.fits"
        fits.HDUList(hdus).writeto(path)
        config = ImageConfig(**given)
        with pytest.raises((DataError, ConfigError), match=said), open_image(path, config):
            pass
    with pytest.raises(ConfigError, match="expected each band once"):
        ImageConfig(band_names=("r", "r"))


def test_broken_files_are_refused_by_name(tmp_path):
    path, _ = write("packed by gzip", tmp_path, np.ones((3, SIDE, SIDE), "f4"))
    whole = (tmp_path / "a.fits").read_bytes()
    for name, content, said in (
        ("short.fits", whole[:9000], "truncated"),
        ("text.fits", b"hello", "is no FITS file"),
        ("half.fits.gz", path.read_bytes()[:400], "cut short"),
        ("rot.fits.gz", path.read_bytes()[:300] + b"x" * 99, "damaged|cut short"),
        ("a.png", whole, "ends in"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=said), open_image(tmp_path / name):
            pass
    with pytest.raises(DataError, match="no image"), open_image(tmp_path / "none.fits"):
        pass
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no image of a brick"), open_image(tmp_path / "empty"):
        pass


def test_distortion_in_a_cube_does_not_hide_where_a_cutout_lies(tmp_path):
    """A cutout of three bands with SIP: astropy alone refuses more than two axes."""
    wcs = tan(SIDE, ra=10.0, dec=-5.0, sip=0.05)
    cube = np.ones((3, SIDE, SIDE), "f4")
    fits.PrimaryHDU(cube, header(SIDE, wcs=wcs)).writeto(tmp_path / "cutout.fits")
    single = read_single(tmp_path / "cutout.fits")
    middle = wcs.pixel_to_world((SIDE - 1) / 2, (SIDE - 1) / 2)
    assert (single.ra, single.dec) == pytest.approx((middle.ra.deg, middle.dec.deg), abs=1e-8)
    assert single.bands == ("g", "r", "z")
