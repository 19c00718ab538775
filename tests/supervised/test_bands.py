"""Bands shuffled and taken away, seen by networks whose answer is known."""

import numpy as np
import pytest
import torch

from ssl_photoz.training.supervised.predict import predict_blanked, predict_permuted

N, BANDS = 60, 3


@pytest.fixture
def flux():
    return torch.from_numpy(np.random.default_rng(0).uniform(1, 2, (N, BANDS, 4, 4))).float()


def of_first_band(crops):
    return np.concatenate([batch[:, 0].mean((1, 2)).numpy() for batch in crops])


def batches(flux):
    return lambda: iter(flux.split(25))


def test_only_the_band_that_is_read_matters(flux):
    whole = of_first_band(batches(flux)())
    shuffled = predict_permuted(of_first_band, batches(flux), bands=BANDS, draws=2)
    for band in (1, 2):
        for one in shuffled[band]:
            np.testing.assert_array_equal(one, whole)
    for one in shuffled[0]:
        assert not (one == whole).any(), "a galaxy kept its own band"
        np.testing.assert_allclose(np.sort(one), np.sort(whole))
    assert (shuffled[0][0] != shuffled[0][1]).any()


def test_blanking_leaves_nothing_of_the_band_and_all_of_the_others(flux):
    blanked = predict_blanked(of_first_band, batches(flux), bands=BANDS)
    np.testing.assert_array_equal(blanked[0], 0)
    np.testing.assert_array_equal(blanked[1], of_first_band(batches(flux)()))


def test_the_crops_are_left_as_they_were(flux):
    before = flux.clone()
    predict_permuted(of_first_band, batches(flux), bands=BANDS, draws=1)
    predict_blanked(of_first_band, batches(flux), bands=BANDS)
    torch.testing.assert_close(flux, before)


def test_the_seed_repeats_the_shuffles(flux):
    one, other = (
        predict_permuted(of_first_band, batches(flux), bands=BANDS, draws=1, seed=3)[0][0]
        for _ in range(2)
    )
    np.testing.assert_array_equal(one, other)
