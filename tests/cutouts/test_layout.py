import h5py
import numpy as np
import pytest

from ssl_photoz.core.errors import DataError
from ssl_photoz.cutouts.layout import find_layout
from ssl_photoz.cutouts.reader import Cutouts

ROWS = np.array([4, 5, 6, 29, 0, 6, 5, 4, 4, 12, 28, 29])


def store(path, images, **how):
    """Store images in a file that has none, as told."""
    with h5py.File(path, "a") as file:
        file.create_dataset("images", data=images, **how)
    return path


def layout_of(path):
    with h5py.File(path) as file:
        return find_layout(file, file["images"])


DIRECT = {
    "contiguous": {},
    "chunk per row": {"chunks": (1, 3, 17, 17)},
    "blocks that leave a rest": {"chunks": (7, 3, 17, 17)},
}
BY_LIBRARY = {
    "compressed": {"chunks": (1, 3, 17, 17), "compression": "gzip"},
    "checksummed": {"chunks": (1, 3, 17, 17), "fletcher32": True},
    "split rows": {"chunks": (1, 1, 17, 17)},
}


@pytest.mark.parametrize("dtype", ["u1", "<f2", "<f4", ">f4"])
@pytest.mark.parametrize("how", [*DIRECT, *BY_LIBRARY])
def test_every_storage_gives_the_same_pixels(make_file, how, dtype):
    images = np.random.default_rng(0).integers(0, 200, (30, 3, 17, 17)).astype(dtype)
    path = store(make_file(n=30, images=None), images, **{**DIRECT, **BY_LIBRARY}[how])
    assert (layout_of(path) is None) == (how in BY_LIBRARY)
    with Cutouts.open(path, bands=("g", "r", "z")) as cutouts:
        whole, crop = cutouts.read(ROWS), cutouts.read(ROWS, size_px=9)
        assert cutouts.read([]).shape == (0, 3, 17, 17)
    np.testing.assert_array_equal(whole, images[ROWS])
    np.testing.assert_array_equal(crop, images[ROWS, :, 4:13, 4:13])
    assert whole.dtype == crop.dtype == np.dtype(dtype).newbyteorder("=")


def test_more_rows_than_fit_at_once_are_read_in_turn(make_file, monkeypatch):
    monkeypatch.setattr("ssl_photoz.cutouts.layout.SCRATCH_BYTES", 3 * 3 * 17 * 17 * 4)
    images = np.random.default_rng(0).normal(size=(30, 3, 17, 17)).astype("f4")
    path = store(make_file(n=30, images=None), images)
    with Cutouts.open(path) as cutouts:
        np.testing.assert_array_equal(cutouts.read(ROWS, size_px=9), images[ROWS, :, 4:13, 4:13])


@pytest.mark.parametrize("chunks", [None, (1, 3, 16, 16)])
def test_rows_that_were_never_written_have_the_fill_value(make_file, chunks):
    path = make_file(n=4, images=None)
    with h5py.File(path, "a") as file:
        images = file.create_dataset("images", (4, 3, 16, 16), "f4", chunks=chunks, fillvalue=0.5)
        if chunks:
            images[2] = 1.0
    with Cutouts.open(path) as cutouts:
        expected = [0.5, 0.5, 1.0 if chunks else 0.5, 0.5]
        np.testing.assert_array_equal(cutouts.read([0, 1, 2, 3])[:, 0, 0, 0], expected)


def test_files_with_a_user_block_are_left_to_the_library(tmp_path):
    images = np.random.default_rng(0).normal(size=(5, 3, 16, 16)).astype("f4")
    path = tmp_path / "block.h5"
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, values in {"images": images, "RA": np.zeros(5), "DEC": np.zeros(5)}.items():
            file[name] = values
    assert layout_of(path) is None
    with Cutouts.open(path) as cutouts:
        np.testing.assert_array_equal(cutouts.read([3, 1]), images[[3, 1]])


@pytest.mark.parametrize("chunks", [None, (3, 17, 17, 3)])
def test_channels_last_are_read_directly_too(tmp_path, chunks):
    images = np.random.default_rng(0).normal(size=(30, 17, 17, 3)).astype("f4")
    with h5py.File(tmp_path / "last.h5", "w") as file:
        dataset = file.create_dataset("images", data=images, chunks=chunks)
        file.flush()
        layout = find_layout(file, dataset, channels_last=True)
        for side in (9, 17):
            low = (17 - side) // 2
            pixels = np.empty((len(ROWS), 3, side, side), "f4")
            layout.read(ROWS, pixels, slice(low, low + side))
            expected = images[ROWS, low : low + side, low : low + side].transpose(0, 3, 1, 2)
            np.testing.assert_array_equal(pixels, expected)


def test_a_file_that_loses_its_end_is_an_error_not_a_crash(make_file):
    path = store(make_file(n=30, images=None), np.ones((30, 3, 16, 16), "f4"))
    with Cutouts.open(path) as cutouts:
        cutouts.read([0])
        with path.open("r+b") as file:
            file.truncate(path.stat().st_size // 2)
        with pytest.raises(DataError, match=r"damaged or truncated .* too soon"):
            cutouts.read(np.arange(30))
