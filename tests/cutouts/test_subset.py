import pickle

import h5py
import numpy as np
import pytest

from ssl_photoz.cutouts.reader import Cutouts
from ssl_photoz.cutouts.subset import subset

N = 20
KEPT = np.array([1, 4, 5, 17])


@pytest.fixture
def path(tmp_path):
    rng = np.random.default_rng(0)
    with h5py.File(tmp_path / "cutouts.h5", "w") as file:
        file["images"] = rng.normal(size=(N, 3, 8, 8)).astype("f4")
        file["TARGETID"], file["Z"] = np.arange(N) + 100, rng.uniform(0, 1, N).astype("f4")
        file["RA"], file["DEC"] = rng.uniform(0, 360, N), rng.uniform(-50, 50, N)
    return tmp_path / "cutouts.h5"


def test_rows_and_columns_are_those_chosen(path):
    with Cutouts.open(path) as whole:
        some = subset(whole, KEPT)
        assert len(some) == some.source.rows == 4
        assert some.columns == whole.columns
        for name in some.columns:
            np.testing.assert_array_equal(some.column(name), whole.column(name)[KEPT])
        asked = np.array([3, 0, 0])
        np.testing.assert_array_equal(
            some.read(asked, size_px=4), whole.read(KEPT[asked], size_px=4)
        )


def test_it_survives_a_pickle_as_whole_files_do(path):
    with Cutouts.open(path) as whole:
        again = pickle.loads(pickle.dumps(subset(whole, KEPT)))
        np.testing.assert_array_equal(again.column("id"), KEPT + 100)
        np.testing.assert_array_equal(again.read([2]), whole.read([5]))
