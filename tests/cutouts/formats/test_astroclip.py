import h5py
import numpy as np
import pytest

from ssl_photoz.core.errors import DataError
from ssl_photoz.cutouts.reader import Cutouts

SIDE = 10


@pytest.fixture
def astroclip(tmp_path):
    """A file of eleven groups of two to twelve galaxies; return it and its pixels and ids."""
    rng = np.random.default_rng(0)
    images, ids = [], []
    with h5py.File(tmp_path / "legacysurvey_hsc.h5", "w") as file:
        for number in range(11):
            n = number + 2
            group = file.create_group(str(number))
            images.append(rng.normal(size=(n, SIDE, SIDE, 3)).astype("f4"))
            ids.append(rng.integers(2**60, 2**62, n))
            group["images"], group["targetids"] = images[-1], ids[-1]
            group["redshifts"] = rng.uniform(0, 0.6, n).astype("f4")
            group["spectra"] = np.zeros((n, 7781, 1), "f4")
    return tmp_path / "legacysurvey_hsc.h5", np.concatenate(images), np.concatenate(ids)


def test_groups_are_one_dataset_in_the_order_of_their_numbers(astroclip):
    path, images, ids = astroclip
    rows = np.array([70, 3, 4, 20, 21, 0])
    with Cutouts.open(path) as cutouts:
        source = cutouts.source
        assert source.read_as == "astroclip"
        assert source.recognised == "HDF5 with groups '0' to '10', each with `images`"
        assert (source.rows, source.bands) == (len(ids), ("g", "r", "z"))
        assert source.pixscale_arcsec == 0.262
        np.testing.assert_array_equal(cutouts.read(rows), images[rows].transpose(0, 3, 1, 2))
        assert cutouts.column("id").tolist() == ids.tolist()
        assert cutouts.column("z").max() > 0
        assert cutouts.column("part")[[0, -1]].tolist() == ["0", "10"]
        assert cutouts.stored.left_out == ("spectra",)


def test_a_group_without_images_is_an_error(astroclip):
    with h5py.File(astroclip[0], "a") as file:
        del file["7/images"]
    with pytest.raises(DataError, match="no dataset `images`"):
        Cutouts.open(astroclip[0])


def test_links_out_of_the_file_are_not_followed(astroclip, tmp_path):
    with h5py.File(tmp_path / "links.h5", "w") as file:
        file["0"] = h5py.ExternalLink(str(astroclip[0]), "0")
    with pytest.raises(DataError, match="no dataset `images`; it has nothing"):
        Cutouts.open(tmp_path / "links.h5")
