"""One word among redshifts is one unknown redshift, in every format that holds text."""

import h5py
import numpy as np
import pytest

from ssl_photoz.core.errors import DataError
from ssl_photoz.cutouts.reader import Cutouts

WORDS = ["0.1", "--", "0.25", "", "nan", "1e-1", "n/a", " 0.3 ", "-99", "0.5", "0.6", "0.7"]
Z = [0.1, np.nan, 0.25, np.nan, np.nan, 0.1, np.nan, 0.3, -99, 0.5, 0.6, 0.7]


def hdf5(make_file, tmp_path, name):
    path = make_file(**{name: None})
    with h5py.File(path, "r+") as file:
        file.create_dataset(name, data=WORDS, dtype=h5py.string_dtype())
    return path


def fixed_width(make_file, tmp_path, name):
    return make_file(**{name: np.array(WORDS, "S")})


def zarr(make_file, tmp_path, name):
    zarr = pytest.importorskip("zarr", reason="the extra zarr is not installed")
    group = zarr.create_group(tmp_path / "a.zarr")
    group.create_array("images", data=np.ones((12, 3, 8, 8), "f4"))
    group.create_array(name, data=np.array(WORDS))
    return tmp_path / "a.zarr"


@pytest.mark.parametrize("write", [hdf5, fixed_width, zarr])
def test_words_are_unknown_and_counted(make_file, tmp_path, write):
    cutouts = Cutouts.open(write(make_file, tmp_path, "Z"))
    np.testing.assert_array_equal(cutouts.z, Z)
    said = " ".join(cutouts.source.notes)
    assert "Z has 2 texts that are no numbers, such as '--': unknown" in said


@pytest.mark.parametrize("write", [hdf5, fixed_width, zarr])
def test_words_among_positions_are_refused(make_file, tmp_path, write):
    with pytest.raises(DataError, match=r"`RA` is .*expected real numbers"):
        Cutouts.open(write(make_file, tmp_path, "RA"))
