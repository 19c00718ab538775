import threading

import numpy as np
import pytest
import torch

from ssl_photoz.core.errors import DataError
from ssl_photoz.cutouts.batches import Batches, epoch_order, good_rows, prefetched, read_batch
from ssl_photoz.cutouts.reader import Cutouts


def threads():
    return [t for t in threading.enumerate() if t.name == "cutouts-prefetch"]


def test_an_epoch_holds_every_row_once_save_the_remainder(make_file):
    cutouts = Cutouts.open(make_file(n=50))
    rows = np.arange(0, 50, 2)
    batches = Batches(cutouts, rows, batch_size=4, seed=1)
    seen = [np.concatenate([batch.rows for batch in batches]) for _ in range(2)]
    assert len(batches) == 6
    for epoch in seen:
        assert len(epoch) == len(set(epoch.tolist())) == 24
        assert set(epoch.tolist()) <= set(rows.tolist())
    assert seen[0].tolist() != seen[1].tolist()
    again = Batches(cutouts, rows, batch_size=4, seed=1, epoch=1)
    assert [row for batch in again for row in batch.rows] == seen[1].tolist()


def test_a_resumed_epoch_goes_on_where_it_was(make_file):
    cutouts = Cutouts.open(make_file(n=40))
    rows = np.arange(40)
    whole = Batches(cutouts, rows, batch_size=5, size_px=8, seed=3)
    expected = [batch for _ in range(2) for batch in whole]
    resumed = Batches(cutouts, rows, batch_size=5, size_px=8, seed=3, epoch=0, start=6)
    found = [batch for _ in range(2) for batch in resumed]
    assert len(found) == 10
    for one, two in zip(expected[6:], found, strict=True):
        assert one.rows.tolist() == two.rows.tolist()
        assert torch.equal(one.flux, two.flux)


def test_order_is_a_shuffle_that_depends_on_seed_and_epoch_alone():
    rows = np.arange(1000) * 3
    order = epoch_order(rows, 1, 2)
    assert sorted(order.tolist()) == rows.tolist()
    np.testing.assert_array_equal(order, epoch_order(rows, 1, 2))
    for other in (epoch_order(rows, 2, 1), epoch_order(rows, 1, 3), epoch_order(rows, 0, 2)):
        assert np.mean(order == other) < 0.02


def test_a_batch_carries_pixels_and_what_is_known_of_them(make_file):
    images = np.random.default_rng(0).normal(size=(6, 3, 16, 16)).astype(np.float16)
    psf = np.random.default_rng(1).uniform(1, 2, (6, 3))
    cutouts = Cutouts.open(make_file(n=6, images=images, PSFSIZE=psf, EBV=np.arange(6.0)))
    second = read_batch(cutouts, np.array([4, 5]), size_px=10)
    assert len(second) == 2
    assert second.flux.dtype == torch.float32
    np.testing.assert_array_equal(second.flux, images[4:6, :, 3:13, 3:13].astype(np.float32))
    np.testing.assert_allclose(second.psf_fwhm_arcsec, psf[4:6], rtol=1e-6)
    assert second.ebv_mag.tolist() == [4, 5]
    assert second.noise.shape == (2, 3)
    assert torch.isnan(second.noise).all()
    moved = second.to("cpu")
    assert torch.equal(moved.flux, second.flux)


def test_display_values_become_units_from_zero_to_one(make_file):
    images = np.random.default_rng(0).integers(0, 256, (5, 3, 8, 8)).astype(np.uint8)
    batch = read_batch(Cutouts.open(make_file(n=5, images=images)), np.arange(5))
    np.testing.assert_allclose(batch.flux, images / 255, rtol=1e-6)


def test_good_rows_and_reasons_account_for_every_row(make_file):
    images = np.random.default_rng(0).normal(size=(9, 3, 16, 16)).astype(np.float32)
    images[3, 0, 0, 0], images[5] = np.nan, 0
    ra = np.full(9, 1.0)
    ra[[5, 7]] = -500
    cutouts = Cutouts.open(make_file(n=9, images=images, RA=ra))
    rows, rejects = good_rows(cutouts)
    assert rows.tolist() == [0, 1, 2, 4, 6, 8]
    assert set(rejects) == {3, 5, 7}
    assert rejects[3] == "nan or inf pixels"
    rows, _ = good_rows(cutouts, size_px=12)
    assert 3 in rows


def test_reading_stays_ahead_by_no_more_than_asked():
    made = []

    def make():
        for number in range(100):
            made.append(number)
            yield number

    stream = prefetched(make(), depth=2)
    assert next(stream) == 0
    stream.close()
    assert len(made) <= 5


def test_a_consumer_that_stops_early_leaves_no_thread(make_file):
    cutouts = Cutouts.open(make_file(n=40))
    for _ in Batches(cutouts, np.arange(40), batch_size=2):
        assert len(threads()) == 1
        break
    assert not threads()


def test_an_error_while_reading_reaches_the_consumer(make_file):
    cutouts = Cutouts.open(make_file(n=4))
    stream = iter(Batches(cutouts, np.array([0, 1, 2, 9]), batch_size=1, seed=1))
    with pytest.raises(DataError, match="asked for rows 9 to 9"):
        list(stream)
    assert not threads()
