import os
from pathlib import Path

import numpy as np
import pytest

from ssl_photoz.core.errors import ArtefactError
from ssl_photoz.similarity.index_files import StoredVectors, write_vectors

SIZES = (5, 1, 30, 7)


@pytest.fixture
def shards(tmp_path):
    unit = np.random.default_rng(0).normal(size=(sum(SIZES), 6)).astype(np.float32)
    paths, start = [], 0
    for size in SIZES:
        paths.append(tmp_path / f"vectors-{start:012d}.npy")
        write_vectors(paths[-1], unit[start : start + size])
        start += size
    return paths, unit.astype(np.float16).astype(np.float32)


def test_rows_are_read_from_any_shard_in_any_order(shards):
    paths, unit = shards
    stored = StoredVectors(paths)
    assert (len(stored), stored.dim) == (sum(SIZES), 6)
    rows = np.random.default_rng(1).integers(len(unit), size=200)
    np.testing.assert_array_equal(stored.take(rows), unit[rows])
    np.testing.assert_array_equal(stored.take(np.arange(len(unit))), unit)
    assert stored.take(np.arange(0)).shape == (0, 6)
    with pytest.raises(IndexError):
        stored.take(np.array([sum(SIZES)]))


@pytest.mark.parametrize("size", [1, 4, 100])
def test_batches_are_the_rows_in_order(shards, size):
    paths, unit = shards
    seen = np.full_like(unit, np.nan)
    for first, batch in StoredVectors(paths).batches(size):
        assert len(batch) <= size
        seen[first : first + len(batch)] = batch
    np.testing.assert_array_equal(seen, unit)


def test_a_file_cut_short_in_use_is_an_error_and_not_a_crash(shards):
    paths, _ = shards
    stored = StoredVectors(paths)
    os.truncate(paths[2], 200)
    with pytest.raises(ArtefactError, match="lost vectors"):
        stored.take(np.array([0, 35]))


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((3, 4), np.float32),
        np.zeros(4, np.float16),
        np.zeros((0, 4), np.float16),
        np.asfortranarray(np.ones((3, 4), np.float16)),
        np.array([[{}]], dtype=object),
    ],
    ids=["float32", "one axis", "empty", "columns first", "pickled"],
)
def test_other_arrays_are_refused(tmp_path, wrong):
    np.save(tmp_path / "vectors-0.npy", wrong, allow_pickle=True)
    with pytest.raises(ArtefactError, match="not a shard of vectors"):
        StoredVectors([tmp_path / "vectors-0.npy"])


def test_shards_of_other_lengths_and_no_shards_are_refused(shards, tmp_path):
    write_vectors(tmp_path / "other.npy", np.ones((2, 7), np.float32))
    for paths in ([*shards[0], tmp_path / "other.npy"], []):
        with pytest.raises(ArtefactError, match="expected at least one and all alike"):
            StoredVectors(paths)


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs /proc/self/fd to count files")
def test_files_are_closed_when_the_vectors_are_gone(shards):
    before = len(os.listdir("/proc/self/fd"))
    stored = StoredVectors(shards[0])
    assert len(os.listdir("/proc/self/fd")) == before + len(SIZES)
    del stored
    assert len(os.listdir("/proc/self/fd")) == before
