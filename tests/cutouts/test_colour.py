import io

import numpy as np
import pytest
from astropy.visualization import make_lupton_rgb
from PIL import Image

from ssl_photoz.core.errors import ShapeError
from ssl_photoz.cutouts.colour import contact_sheet, encode_jpegs, to_rgb

STRETCH = {"minimum": 0, "stretch": 0.06, "Q": 8}


def galaxies(n, c, seed=0):
    rng = np.random.default_rng(seed)
    return rng.gamma(0.3, 0.3, (n, c, 20, 20)).astype(np.float32)


def test_a_batch_is_what_lupton_makes_of_each_picture():
    flux = galaxies(3, 3)
    found = to_rgb(flux, bands=("g", "r", "z"), calibrated=True)
    for image, picture in zip(flux, found, strict=True):
        g, r, z = image * np.array([1.7, 1.0, 0.65], np.float32)[:, None, None]
        np.testing.assert_array_equal(picture, make_lupton_rgb(z, r, g, **STRETCH))


def test_the_order_of_bands_in_the_file_does_not_matter():
    flux = galaxies(2, 3)
    one = to_rgb(flux, bands=("g", "r", "z"), calibrated=True)
    two = to_rgb(flux[:, ::-1], bands=("z", "r", "g"), calibrated=True)
    np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("bands", ["grz", "griz", "ugriz"])
def test_red_galaxies_are_red_and_blue_ones_blue(bands):
    flux = np.zeros((2, len(bands), 4, 4), np.float32)
    flux[0, -1], flux[1, 0] = 0.1, 0.1
    red, blue = to_rgb(flux, bands=tuple(bands), calibrated=True)[:, 0, 0].astype(int)
    assert red.argmax() == 0
    assert blue.argmax() == 2


def test_display_values_pass_as_they_are():
    images = np.random.default_rng(0).integers(0, 256, (2, 3, 5, 5)).astype(np.uint8)
    as_stored = to_rgb(images, bands=("i", "r", "g"), calibrated=False)
    np.testing.assert_array_equal(as_stored, images.transpose(0, 2, 3, 1))
    as_units = to_rgb(images.astype("f4") / 255, bands=("i", "r", "g"), calibrated=False)
    np.testing.assert_array_equal(as_units, as_stored)


def test_nan_pixels_and_single_bands_still_make_a_picture():
    flux = galaxies(1, 1)
    flux[0, 0, 3, 3] = np.nan
    picture = to_rgb(flux, bands=("r",), calibrated=True)[0]
    assert picture.dtype == np.uint8
    assert (picture == picture[..., :1]).all()
    assert (picture[3, 3] == 0).all()
    with pytest.raises(ShapeError):
        to_rgb(flux, bands=("g", "r"), calibrated=True)


def test_a_contact_sheet_holds_every_picture_in_order():
    shades = np.arange(7) * 30
    rgb = np.broadcast_to(shades[:, None, None, None], (7, 12, 12, 3)).astype(np.uint8)
    png = contact_sheet(rgb, columns=3, labels=[f"n{i}" for i in range(7)], tile_px=24)
    sheet = np.asarray(Image.open(io.BytesIO(png)))
    assert sheet.shape == (3 * (24 + 14 + 2) + 2, 3 * 26 + 2, 3)
    for number, shade in enumerate(shades):
        y, x = 2 + number // 3 * 40 + 12, 2 + number % 3 * 26 + 12
        assert (sheet[y, x] == shade).all()


@pytest.mark.parametrize("count", [1, 2, 30, 1400])  # more than one restart cycle, and one sheet
def test_pictures_encoded_together_are_those_encoded_one_by_one(count):
    rgb = np.random.default_rng(0).integers(0, 256, (count, 48, 32, 3)).astype(np.uint8)
    found = encode_jpegs(rgb)
    assert len(found) == count
    for picture, jpeg in zip(rgb[-40:], found[-40:], strict=True):
        alone = io.BytesIO()
        Image.fromarray(picture).save(alone, "JPEG", quality=85)
        image = Image.open(io.BytesIO(jpeg))
        assert (image.format, image.size) == ("JPEG", (32, 48))
        np.testing.assert_array_equal(np.asarray(image), np.asarray(Image.open(alone)))


def test_no_pictures_are_no_jpegs_and_blocks_of_pixels_have_to_fit():
    assert encode_jpegs(np.zeros((0, 48, 48, 3), np.uint8)) == []
    with pytest.raises(ShapeError, match="multiples of 16"):
        encode_jpegs(np.zeros((2, 40, 48, 3), np.uint8))
