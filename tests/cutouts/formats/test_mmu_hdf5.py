"""Files of the Multimodal Universe, version 1: written by h5py, dataset by dataset."""

import h5py
import numpy as np
import pytest

from ssl_photoz.core.errors import DataError
from ssl_photoz.cutouts.batches import good_rows
from ssl_photoz.cutouts.reader import Cutouts

N, SIDE = 40, 16
BANDS = np.array([[b"des-g", b"des-r", b"des-i", b"des-z"]] * N)


@pytest.fixture
def write(tmp_path):
    """Write a cell; keywords replace or remove (None) datasets."""

    def one(cell=5, **replace):
        rng = np.random.default_rng(cell)
        images = rng.normal(size=(N, 4, SIDE, SIDE)).astype("f4")
        datasets = {
            "image_array": images,
            "image_ivar": np.full(images.shape, 4.0, "f4"),
            "image_mask": np.ones((N, SIDE, SIDE), bool),
            "image_band": BANDS,
            "image_psf_fwhm": rng.uniform(1, 2, (N, 4)),
            "image_scale": np.full((N, 4), 0.262, "f4"),
            "object_id": np.array([f"0001m002-{row}".encode() for row in range(N)]),
            "ra": np.arange(N) * 1.0,
            "dec": np.zeros(N),
            "RA": np.arange(N) * 1.0,
            "DEC": np.zeros(N),
            "EBV": rng.uniform(0, 0.1, N).astype("f4"),
            "TYPE": np.array([b"REX"] * N),
            "catalog_FLUX_G": np.zeros((N, 20), "f4"),
        }
        path = tmp_path / f"healpix={cell}" / "001-of-001.hdf5"
        path.parent.mkdir()
        with h5py.File(path, "w") as file:
            for name, values in {**datasets, **replace}.items():
                if values is not None:
                    file.create_dataset(name, data=values, compression="gzip", chunks=True)
        return path, images

    return one


def test_a_folder_of_cells_is_one_set(write, tmp_path):
    images = np.concatenate([write(cell)[1] for cell in (17, 203, 5)])  # as the names sort
    cutouts = Cutouts.open(tmp_path)
    assert "folder of 3 files" in cutouts.source.recognised
    rows = np.random.default_rng(0).integers(0, 3 * N, 50)
    np.testing.assert_array_equal(cutouts.read(rows), images[rows])
    assert cutouts.source.bands == ("g", "r", "i", "z")
    assert cutouts.column("id")[-1] == "0001m002-39"
    assert cutouts.column("type")[0] == "REX"


@pytest.mark.parametrize("chunks", [(1, 4, 8, 8), (7, 1, 5, 16), (N, 4, 4, 4), None])
def test_rows_in_any_order_come_out_of_any_chunks(write, chunks):
    path, images = write()
    with h5py.File(path, "a") as file:
        del file["image_array"]
        file.create_dataset("image_array", data=images, chunks=chunks)
    rows = np.random.default_rng(1).integers(0, N, 60)
    cutouts = Cutouts.open(path)
    np.testing.assert_array_equal(cutouts.read(rows), images[rows])
    np.testing.assert_array_equal(cutouts.read(rows, size_px=6), images[rows][..., 5:11, 5:11])


def test_noise_comes_from_the_inverse_variance_where_it_is_known(write):
    ivar = np.full((N, 4, SIDE, SIDE), 0.25, "f4")
    ivar[:, 1] = 100.0
    ivar[0, 2, : SIDE // 2 + 1] = 0.0  # most, but not all, of the middle
    ivar[0, 3] = 0.0
    noise = Cutouts.open(write(image_ivar=ivar)[0]).column("noise")
    np.testing.assert_allclose(noise[1:], np.tile([2.0, 0.1, 2.0, 2.0], (N - 1, 1)), rtol=1e-6)
    np.testing.assert_allclose(noise[0], [2.0, 0.1, 2.0, np.nan], rtol=1e-6)


def test_depths_of_the_sweeps_win_over_the_inverse_variance(write):
    depths = {f"PSFDEPTH_{band}": np.full(N, 100.0 * k) for k, band in enumerate("GRIZ", 1)}
    cutouts = Cutouts.open(write(**depths)[0])
    np.testing.assert_array_equal(cutouts.column("psfdepth")[3], [100, 200, 300, 400])
    assert np.isfinite(cutouts.column("noise")).all()
    assert not np.isclose(cutouts.column("noise"), 0.5).any()


@pytest.mark.parametrize("name", ["image_mask", "bit_mask"])
def test_rows_masked_or_unexposed_at_their_centre_are_rejects(write, name):
    mask, ivar = np.ones((N, SIDE, SIDE), bool), np.ones((N, 4, SIDE, SIDE), "f4")
    mask[3, 4:12, 4:12] = False
    mask[4, :5] = False  # a star at the edge
    ivar[7, 2, 5:11, 5:11] = 0
    ivar[8, :, :3] = 0
    path, _ = write(**{"image_mask": None, name: mask, "image_ivar": ivar})
    rows, rejects = good_rows(Cutouts.open(path))
    assert rejects == {3: "masked at its centre", 7: "no exposure at its centre in some band"}
    assert len(rows) == N - 2


def test_without_mask_and_variance_nothing_is_said(write):
    cutouts = Cutouts.open(write(image_mask=None, image_ivar=None)[0])
    assert cutouts.faults(np.arange(N)) == {}
    assert "noise" not in cutouts.columns


def test_bands_that_change_from_row_to_row_are_refused(write):
    bands = BANDS.copy()
    bands[9] = bands[9][::-1]
    with pytest.raises(DataError, match="differs from row to row"):
        Cutouts.open(write(image_band=bands)[0])
