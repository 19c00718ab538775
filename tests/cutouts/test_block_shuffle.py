import numpy as np
import pytest

from ssl_photoz.cutouts.batches import Batches, epoch_order
from ssl_photoz.cutouts.reader import Cutouts
from ssl_photoz.cutouts.stream import TrainingStream

ROWS = np.arange(1000) * 3
BLOCKS = {"block_rows": 20, "window_rows": 200}


def test_every_row_comes_once_in_an_order_of_seed_and_epoch_alone():
    order = epoch_order(ROWS, 1, 2, **BLOCKS)
    np.testing.assert_array_equal(np.sort(order), ROWS)
    np.testing.assert_array_equal(order, epoch_order(ROWS, 1, 2, **BLOCKS))
    for other in (epoch_order(ROWS, 2, 1, **BLOCKS), epoch_order(ROWS, 1, 3, **BLOCKS)):
        assert np.mean(order == other) < 0.02


def test_a_window_is_whole_blocks_well_mixed():
    order = epoch_order(ROWS, 1, 2, **BLOCKS) // 3
    for window in order.reshape(-1, 200):
        blocks, counts = np.unique(window // 20, return_counts=True)
        assert len(blocks) == 10
        assert (counts == 20).all()
        assert np.ptp(blocks) > 10  # from all over the file
        # Neighbours in the window are of the same block by chance only: 19 of 199.
        assert np.mean(np.diff(window // 20) == 0) < 0.2


def test_the_last_block_may_be_short_and_rows_may_have_gaps():
    rows = np.flatnonzero(np.random.default_rng(0).random(500) < 0.5)
    order = epoch_order(rows, 0, 0, block_rows=16, window_rows=64)
    np.testing.assert_array_equal(np.sort(order), rows)


def test_a_block_of_one_row_is_the_free_shuffle():
    free = epoch_order(ROWS, 5, 1)
    np.testing.assert_array_equal(free, epoch_order(ROWS, 5, 1, block_rows=1, window_rows=64))


@pytest.fixture
def cutouts(make_file):
    return Cutouts.open(make_file(n=100, EBV=np.arange(100.0)))


def test_batches_carry_the_pixels_of_their_rows(cutouts):
    batches = Batches(
        cutouts, np.arange(100), batch_size=8, size_px=6, block_rows=5, window_rows=40
    )
    seen = list(batches)
    assert len(seen) == 12
    for batch in seen:
        np.testing.assert_array_equal(batch.flux, cutouts.read(batch.rows, size_px=6))
        np.testing.assert_array_equal(batch.ebv_mag, batch.rows)
    rows = np.concatenate([batch.rows for batch in seen])
    expected = epoch_order(np.arange(100), 0, 0, block_rows=5, window_rows=40)
    np.testing.assert_array_equal(rows, expected[:96])


def test_a_window_is_read_at_once_and_in_the_order_of_the_file(cutouts, monkeypatch):
    asked, read = [], cutouts.read

    def spy(rows, **given):
        asked.append(np.array(rows))
        return read(rows, **given)

    monkeypatch.setattr(cutouts, "read", spy)
    list(Batches(cutouts, np.arange(100), batch_size=10, block_rows=10, window_rows=57))
    assert [len(rows) for rows in asked] == [50, 50]
    for rows in asked:
        assert np.sum(np.diff(rows) != 1) <= 4  # five blocks


def test_a_run_resumed_anywhere_goes_on_as_the_whole(cutouts):
    given = {"batch_size": 8, "seed": 5, "stop": 30, "block_rows": 5, "window_rows": 40}

    def seen(start):
        stream = TrainingStream(cutouts, np.arange(100), start=start, **given)
        return [(batch.rows.tolist(), float(batch.flux.sum())) for batch in stream]

    whole = seen(0)
    assert len(whole) == 30
    for start in (1, 5, 7, 11, 12, 13, 29):
        assert seen(start) == whole[start:]


def test_a_window_smaller_than_a_batch_is_one_batch(cutouts):
    stream = Batches(cutouts, np.arange(100), batch_size=30, block_rows=10, window_rows=1)
    assert [len(batch) for batch in stream] == [30, 30, 30]
