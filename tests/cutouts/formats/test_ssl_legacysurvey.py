"""Files as ssl-legacysurvey writes them: written by h5py, dataset by dataset."""

import h5py
import numpy as np
import pytest

from ssl_photoz.cutouts.reader import Cutouts

N, SIDE = 7, 20


@pytest.fixture
def stein(tmp_path):
    """One file, with the names and types of `images_npix152_*.h5`."""
    rng = np.random.default_rng(0)
    datasets = {
        "images": rng.normal(size=(N, 3, SIDE, SIDE)).astype("f4"),
        "ra": rng.uniform(0, 360, N),
        "dec": rng.uniform(-90, 90, N),
        "ebv": rng.uniform(0, 0.1, N).astype("f4"),
        "flux": rng.normal(size=(N, 3)).astype("f4"),
        "psfdepth": rng.uniform(100, 1000, (N, 3)).astype("f4"),
        "psfsize": rng.uniform(1, 2, (N, 3)).astype("f4"),
        "z_phot_median": rng.uniform(0, 1, N).astype("f4"),
        "z_phot_std": rng.uniform(0, 1, N).astype("f4"),
        "z_spec": np.array([0.1, -99, 0.3, -99, -99, 0.02, 0.5], "f4"),
        "brickid": np.array([1, 2, 662173, 4, 5, 6, 7], "i4"),
        "objid": np.array([0, 1, 9, 65535, 4, 5, 6], "i4"),
        "release": np.array([9010, 9011, 9012, 9010, 9010, 9010, 9010], "i2"),
        "source_type": np.array([b"REX", b"DEV", b"EXP", b"SER", b"PSF", b"REX", b"REX"]),
        "maskbits": np.zeros(N, "i2"),
    }
    with h5py.File(tmp_path / "images_npix152_000000000.h5", "w") as file:
        for name, values in datasets.items():
            file[name] = values
    return tmp_path / "images_npix152_000000000.h5", datasets


def test_it_is_recognised_and_read(stein):
    path, written = stein
    with Cutouts.open(path) as cutouts:
        source = cutouts.source
        assert source.read_as == "ssl_legacysurvey"
        assert "`brickid`, `objid` and `release`" in source.recognised
        assert (source.bands, source.pixscale_arcsec) == (("g", "r", "z"), 0.262)
        assert source.calibrated
        np.testing.assert_array_equal(cutouts.read([5, 1]), written["images"][[5, 1]])
        for name in ("ra", "dec", "ebv", "psfsize", "psfdepth", "flux", "z_phot_median"):
            np.testing.assert_array_equal(cutouts.column(name), written[name])
        assert cutouts.column("source_type").tolist()[:2] == ["REX", "DEV"]
        assert np.isfinite(cutouts.column("noise")).all()


def test_an_id_holds_release_brick_and_number(stein):
    ids = Cutouts.open(stein[0]).column("id")
    assert ids.dtype == np.int64
    assert ids[2] == 9012 * 2**40 + 662173 * 2**16 + 9
    assert len(set(ids.tolist())) == N


def test_redshifts_that_are_not_there_are_nan(stein):
    z = Cutouts.open(stein[0]).column("z")
    np.testing.assert_array_equal(z, np.float32([0.1, np.nan, 0.3, np.nan, np.nan, 0.02, 0.5]))


def test_bands_that_are_stated_otherwise_are_believed(stein):
    cutouts = Cutouts.open(stein[0], bands=("r", "g", "z"), pixscale_arcsec=0.3)
    assert cutouts.source.about["bands"] == ("r", "g", "z")
    assert cutouts.source.pixscale_arcsec == 0.3
