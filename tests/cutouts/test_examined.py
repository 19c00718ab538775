import io

import numpy as np
import torch
from PIL import Image

from ssl_photoz.cutouts.apertures import ApertureFluxes
from ssl_photoz.cutouts.examined import central_crop, draw_thumbnails, examined
from ssl_photoz.cutouts.reader import Cutouts

N = 12


def test_every_row_is_examined_or_rejected(make_file):
    images = np.random.default_rng(0).normal(size=(N, 3, 32, 32)).astype("f4")
    images[3, 0, 0, 0], images[4:8] = np.nan, 0
    ra = np.full(N, 1.0)
    ra[9] = 400
    cutouts = Cutouts.open(make_file(n=N, images=images, RA=ra))
    runs = [np.arange(0, 4), np.arange(4, 8), np.array([11, 9, 8])]
    found = list(examined(cutouts, runs, crop_px=16))
    assert [some.rows.tolist() for some in found] == [[0, 1, 2], [], [11, 8]]
    assert [some.rejects for some in found] == [
        {3: "nan or inf pixels"},
        dict.fromkeys(range(4, 8), "all-zero cutout"),
        {9: "position out of range"},
    ]
    assert [len(some.thumbnails) for some in found] == [3, 0, 2]
    measure = ApertureFluxes(size_px=32, **cutouts.source.about)
    for some in found:
        flux = torch.from_numpy(images[some.rows])
        assert some.crops.equal(flux[..., 8:24, 8:24])
        np.testing.assert_allclose(some.apertures, measure(flux).numpy(), rtol=1e-5)
    assert not next(examined(cutouts, runs, crop_px=16, thumbnails=False)).thumbnails


def test_a_crop_is_the_centre_as_convolutions_like_it():
    flux = torch.randn(2, 3, 9, 9)
    crop = central_crop(flux, 5)
    assert crop.equal(flux[..., 2:7, 2:7])
    assert crop.is_contiguous(memory_format=torch.channels_last)


def test_a_thumbnail_shows_the_mean_of_the_pixels_it_stands_for():
    flux = torch.zeros(1, 3, 96, 96)
    flux[..., 48:] = torch.tensor([0.2, 0.6]).repeat(24)  # stripes of a pixel, 0.4 on average
    (jpeg,) = draw_thumbnails(flux, bands=("i", "r", "g"), calibrated=False)
    picture = np.asarray(Image.open(io.BytesIO(jpeg))).astype(int)
    assert picture.shape == (48, 48, 3)
    assert np.abs(picture[:, 28:46] - 0.4 * 255).max() <= 4
    assert picture[:, :20].max() <= 4
