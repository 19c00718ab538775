import h5py
import numpy as np
import pytest

from ssl_photoz.core.errors import DataError
from ssl_photoz.cutouts.reader import Cutouts

N, SIDE = 6, 8


@pytest.fixture
def write(tmp_path):
    def make(images, **more):
        with h5py.File(tmp_path / "sdss.h5", "w") as file:
            file.create_dataset("images", data=images, **more)
            file["specz_redshift"] = np.linspace(0.01, 0.39, N)
            file["specz_redshift_err"] = np.full(N, 1e-4)
        return tmp_path / "sdss.h5"

    return make


@pytest.mark.parametrize("storage", [{}, {"compression": "gzip"}])
@pytest.mark.parametrize("channels_last", [True, False])
def test_bands_may_come_first_or_last(write, channels_last, storage):
    images = np.random.default_rng(0).normal(size=(N, 5, SIDE, SIDE)).astype("f4")
    path = write(images.transpose(0, 2, 3, 1) if channels_last else images, **storage)
    rows = np.array([5, 0, 1, 1])
    with Cutouts.open(path) as cutouts:
        assert cutouts.source.read_as == "sdss_cubes"
        assert "`specz_redshift`" in cutouts.source.recognised
        assert cutouts.source.bands == ("u", "g", "r", "i", "z")
        assert cutouts.source.pixscale_arcsec == 0.396
        assert "not stated" in cutouts.source.notes[0]
        np.testing.assert_array_equal(cutouts.read(rows), images[rows])
        np.testing.assert_array_equal(cutouts.read(rows, size_px=4), images[rows, :, 2:6, 2:6])
        np.testing.assert_array_equal(cutouts.column("z"), np.linspace(0.01, 0.39, N))
        assert cutouts.column("z_err").tolist() == [1e-4] * N
        assert cutouts.ids_are_rows
        assert np.isnan(cutouts.column("dec")).all()


def test_another_number_of_bands_is_not_this_format(write):
    path = write(np.zeros((N, 3, SIDE, SIDE), "f4"))
    with pytest.raises(DataError, match="has no `RA`"):  # read as the challenge's
        Cutouts.open(path)


def test_a_redshift_too_many_is_refused(write):
    path = write(np.zeros((N, SIDE, SIDE, 5), "f4"))
    with h5py.File(path, "a") as file:
        del file["specz_redshift"]
        file["specz_redshift"] = np.zeros(N + 1)
    with pytest.raises(DataError, match=r"`images` has 6 rows but `specz_redshift` has 7"):
        Cutouts.open(path)
