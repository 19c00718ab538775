import h5py
import numpy as np
import pytest

from ssl_photoz.core.errors import ArtefactError, DataError
from ssl_photoz.cutouts.quality import ALL_ZERO, NOT_FINITE, reject_reasons
from ssl_photoz.cutouts.reader import Cutouts
from ssl_photoz.cutouts.rejects import (
    SCAN,
    TRAINING,
    UNREADABLE,
    fault_tolerant,
    read_rejects,
    suspicious,
    write_rejects,
)
from ssl_photoz.cutouts.stream import TrainingStream

ROWS, TORN = 12, 5


@pytest.fixture
def path(tmp_path):
    """Twelve cutouts, a chunk each; that of one row is torn after it was written."""
    path = tmp_path / "cutouts.h5"
    rng = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        pixels = rng.normal(0, 0.01, (ROWS, 3, 16, 16)).astype("f4")
        images = file.create_dataset(
            "images", data=pixels, chunks=(1, 3, 16, 16), compression="gzip"
        )
        file["RA"], file["DEC"] = rng.uniform(0, 360, ROWS), rng.uniform(-60, 60, ROWS)
        where = images.id.get_chunk_info(TORN)
    with path.open("r+b") as raw:
        raw.seek(where.byte_offset)
        raw.write(bytes(where.size))
    return path


def spoil(path, row, value):
    with h5py.File(path, "r+") as file:
        file["images"][row] = value


def test_a_cutout_that_cannot_be_read_is_replaced_by_the_next_good_one(path):
    plain = Cutouts.open(path)
    with pytest.raises(DataError, match="damaged"):
        plain.read([TORN])
    cutouts, met = fault_tolerant(plain)
    pixels = cutouts.read(np.array([3, TORN, 9]))
    np.testing.assert_array_equal(pixels, plain.read([3, 9, 9]))
    np.testing.assert_array_equal(
        cutouts.read(np.array([2, TORN]), size_px=8)[1:], plain.read([2], size_px=8)
    )
    assert met == {TORN: UNREADABLE}
    assert len(cutouts) == ROWS
    assert cutouts.columns == plain.columns


@pytest.mark.parametrize(
    ("value", "reason"), [(np.nan, NOT_FINITE), (np.inf, NOT_FINITE), (0, ALL_ZERO)]
)
def test_pixels_that_turned_bad_are_replaced(path, value, reason):
    spoil(path, 8, value)
    plain = Cutouts.open(path)
    cutouts, met = fault_tolerant(plain)
    np.testing.assert_array_equal(cutouts.read(np.array([7, 8])), plain.read([7, 7]))
    assert met == {8: reason}


def test_when_nothing_can_stand_in_it_is_an_error(path):
    spoil(path, slice(0, TORN), np.nan)
    cutouts, met = fault_tolerant(Cutouts.open(path))
    with pytest.raises(DataError, match="not one of 2 cutouts read together is usable"):
        cutouts.read(np.array([1, 2]))
    with pytest.raises(DataError, match="damaged"):
        cutouts.read(np.array([TORN]))
    assert not met


def test_batches_stay_counted(path):
    def batches(start):
        cutouts, _ = fault_tolerant(Cutouts.open(path))
        deck = {"batch_size": 4, "seed": 1, "stop": 6}
        return list(TrainingStream(cutouts, np.arange(ROWS), start=start, **deck))

    whole, resumed = batches(0), batches(2)
    assert len(whole) == 6
    for one, two in zip(whole[2:], resumed, strict=True):
        np.testing.assert_array_equal(one.rows, two.rows)
        np.testing.assert_array_equal(one.flux, two.flux)


def test_parts_of_a_batch_make_up_the_batch(path):
    cutouts, _ = fault_tolerant(Cutouts.open(path))

    def rows(part):
        deck = {"batch_size": 4, "seed": 1, "start": 1, "stop": 5, "part": part}
        return [batch.rows for batch in TrainingStream(cutouts, np.arange(ROWS), **deck)]

    parts = zip(rows(slice(0, 2)), rows(slice(2, 4)), strict=True)
    whole = rows(slice(None))
    np.testing.assert_array_equal([np.concatenate(pair) for pair in parts], whole)
    second_epoch = np.concatenate(whole)[8:]
    assert len(set(second_epoch.tolist())) == len(second_epoch)


def test_suspicion_misses_nothing_that_is_bad():
    rng = np.random.default_rng(0)
    pixels = rng.normal(0, 1, (40, 2, 8, 8)).astype("f4")
    pixels[3], pixels[5, 1, 2, 2], pixels[9, 0, 0, 0] = 0, np.nan, -np.inf
    pixels[11, 0, 0, :2] = np.inf, -np.inf
    bad = reject_reasons(pixels) != ""
    assert bad.sum() == 4
    np.testing.assert_array_equal(suspicious(pixels), bad)
    np.testing.assert_array_equal(suspicious(pixels.astype("f2")), bad)


def test_the_list_is_read_as_it_was_written(tmp_path):
    path = tmp_path / "rejects.parquet"
    listed = {SCAN: {7: ALL_ZERO, 2: NOT_FINITE}, TRAINING: {4: UNREADABLE}}
    write_rejects(path, np.arange(10) + 2**60, listed)
    assert read_rejects(path) == listed
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ArtefactError, match="delete it"):
        read_rejects(path)
