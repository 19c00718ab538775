"""What counts as blank, saturated and off centre, on light that is drawn by formula."""

import numpy as np
import pytest

from ssl_photoz.qa.pixels import blank_lines, brighter_peak, full_px, plateau_px

SCALE = 0.262


def sky(n=1, *, sigma=0.004, side=64, seed=0):
    return np.random.default_rng(seed).normal(0, sigma, (n, 3, side, side)).astype("f4")


def test_noise_is_not_blank_and_every_blank_line_is_counted():
    images = sky(6)
    images[1, 2, 5] = 0  # one row of one band
    images[2, :, :, -3:] = 0.25  # three columns of one value
    images[3, 0, 10:20, 10:42] = 0  # a hole of 320 px
    images[4, 1, 7, :63] = 0  # a row but for one pixel
    images[5, 0, 3], images[5, 0, :, 9] = 0, 0  # a cross
    found = blank_lines(images, calibrated=True)
    np.testing.assert_allclose(found, [0, 1, 3, 5, 63 / 64, 127 / 64])


def test_black_sky_of_a_picture_is_not_blank_but_a_black_line_is():
    images = np.random.default_rng(0).integers(0, 3, (3, 3, 32, 32)).astype(np.uint8)
    images[1, 0, 4] = 0  # dark in one band only
    images[2, :, :, :2] = 0
    np.testing.assert_allclose(blank_lines(images, calibrated=False), [0, 0, 2])


@pytest.mark.parametrize("sigma", [1.8, 2.5, 4.0])
def test_a_star_has_few_pixels_near_its_peak_and_a_clipped_one_many(star, sigma):
    """A Gaussian exceeds 99 % of its peak within sqrt(-2 ln 0.99) sigma."""
    whole = sky()[0] + star(20, 40, peak=30, sigma=sigma)
    clipped = sky()[0] + star(20, 40, peak=30, sigma=sigma, clip=10)
    faint = whole / 100
    expected = [-2 * np.log(0.99) * np.pi * sigma**2, 2 * np.log(3) * np.pi * sigma**2, 0]
    found = plateau_px(np.stack([whole, clipped, faint]), least=1.0)
    np.testing.assert_allclose(found, expected, atol=5)


def test_a_pixel_is_full_that_is_full_in_any_band():
    images = np.zeros((2, 3, 16, 16), np.uint8)
    images[0, :, 3:7, 3:7], images[0, 2, 10] = 255, 254
    assert full_px(images).tolist() == [32, 0]


def ratio(*things):
    images = sky()
    for thing in things:
        images[0] += thing
    return brighter_peak(images, calibrated=True, pixscale_arcsec=SCALE, least_arcsec=2.0)[0]


def test_a_galaxy_in_the_middle_is_no_shred(star):
    galaxy = star(31.5, 31.5, peak=0.3, sigma=4)
    assert ratio(galaxy) == 0
    # A brighter star that does not touch it is a neighbour.
    assert ratio(galaxy, star(31.5, 58, peak=3, sigma=2.3)) == 0


def test_a_flank_and_a_knot_of_something_brighter_are_shreds(star):
    """Of a Gaussian, widened by smoothing, 13.5 px off; the middle reaches 1.5 px towards it."""
    host = star(31.5, 45, peak=2, sigma=8)
    widths = (13.5 - 1.5) / np.hypot(8, 0.6 / SCALE)
    assert ratio(host) == pytest.approx(np.exp(widths**2 / 2), rel=0.1)
    assert ratio(host, star(31.5, 31.5, peak=0.2, sigma=2)) > 1.5


def test_nothing_in_the_middle_is_not_called_a_shred(star):
    assert ratio(star(31.5, 60, peak=2, sigma=2)) == 0


@pytest.mark.parametrize("scale", [0.262, 0.4])
def test_distance_is_in_arcsec(star, scale):
    """A peak 6 px off is 1.6 or 2.4 arcsec off."""
    images = sky() + star(31.5, 37.5, peak=2, sigma=6)
    found = brighter_peak(images, calibrated=True, pixscale_arcsec=scale, least_arcsec=2.4)
    assert (found[0] > 1) == (scale == 0.4)


def test_pictures_of_8_bits(star):
    dark = np.random.default_rng(0).integers(8, 16, (2, 3, 64, 64)).astype(float)
    dark[0] += star(31.5, 31.5, peak=150, sigma=4)
    dark[1] += star(31.5, 44, peak=150, sigma=8)
    found = brighter_peak(
        dark.astype(np.uint8), calibrated=False, pixscale_arcsec=0.4, least_arcsec=2.0
    )
    assert found[0] == 0
    assert found[1] > 1.5
