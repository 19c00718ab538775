"""What counts as the cutout that was asked for."""

from datetime import UTC, datetime

import numpy as np
import pytest

from ssl_photoz.fetching.answers import examine
from ssl_photoz.fetching.pace import back_off_s, retry_after_s
from ssl_photoz.fetching.settings import FrameConfig

FRAME = FrameConfig(size_px=16)
PLACE = {"ra_deg": 359.9999, "dec_deg": -20.0}


def answer(service, **changes):
    body = service.fits_bytes(PLACE["ra_deg"], PLACE["dec_deg"], **changes)
    return examine(body, FRAME, **PLACE)


def test_the_right_answer(service):
    got = answer(service)
    assert np.array_equal(got.pixels, service.sky(359.9999, -20.0))
    assert got.pixels.dtype == np.float32


@pytest.mark.parametrize(("shift_px", "kept"), [(0.9, True), (-0.9, True), (1.1, False)])
def test_a_centre_may_be_off_by_a_pixel(service, shift_px, kept):
    assert (answer(service, shift_px=shift_px).pixels is not None) == kept


def test_the_meridian_is_no_distance(service):
    body = service.fits_bytes(0.00001, -20.0)  # 0.4 arcsec beyond 359.9999
    assert "1.4 px off" in examine(body, FRAME, **PLACE).reason


def test_every_cut_of_a_file_is_refused(service):
    body = service.fits_bytes(359.9999, -20.0)
    for length in np.linspace(0, len(body) - 2881, 40).astype(int):
        got = examine(body[:length], FRAME, **PLACE)
        assert got.pixels is None
        assert got.reason


def test_no_flipped_byte_of_a_header_escapes_as_an_exception(service):
    body = service.fits_bytes(359.9999, -20.0)
    rng = np.random.default_rng(1)
    for place in rng.integers(10, 1200, 150):
        damaged = bytearray(body)
        damaged[place] = rng.integers(32, 127)
        got = examine(bytes(damaged), FRAME, **PLACE)
        assert (got.pixels is None) == bool(got.reason)


def test_nan_pixels_and_blank_bands(service):
    pixels = service.sky(1.0, 1.0)
    pixels[1, 3, 3] = np.nan
    assert answer(service, pixels=pixels).reason == "nan or inf pixels"
    pixels[1] = 0
    assert answer(service, pixels=pixels).reason == "all-zero band"
    assert "header" not in answer(service, pixels=pixels).reason


def test_a_tenth_may_be_blank(service):
    pixels = np.ones((3, 16, 16), "f4") + service.sky(1.0, 1.0) ** 2
    pixels[2].flat[:25] = 0  # 25 of 256 is less than a tenth, 26 is more
    assert answer(service, pixels=pixels).pixels is not None
    pixels[2].flat[25] = 0
    assert answer(service, pixels=pixels).reason == "10 % of band z is blank"


def test_what_may_be_better_next_time(service):
    assert examine(b"<html>sorry", FRAME, **PLACE) == (None, "the answer is an HTML page", True)
    assert examine(b"", FRAME, **PLACE) == (None, "the answer is no FITS file", True)
    assert not answer(service, bands="grx").again


def test_retry_after():
    now = datetime(2026, 1, 1, 12, tzinfo=UTC)
    assert retry_after_s("Thu, 01 Jan 2026 12:01:30 GMT", now=now) == 90
    assert retry_after_s("Thu, 01 Jan 2026 11:00:00 GMT", now=now) == 0
    assert retry_after_s("-5") == 0
    assert retry_after_s("soon") is None
    assert retry_after_s(None) is None


def test_back_off_doubles_at_random_up_to_a_minute():
    for attempt, mean in ((1, 2), (2, 4), (4, 16), (6, 60), (500, 60)):
        drawn = np.array([back_off_s(attempt, 2.0) for _ in range(400)])
        assert drawn.min() >= 0.5 * mean
        assert drawn.max() <= 1.5 * mean
        assert drawn.mean() == pytest.approx(mean, rel=0.1)
        assert drawn.std() > 0.2 * mean
