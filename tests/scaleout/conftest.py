import h5py
import numpy as np
import pyarrow.parquet as pq
import pytest

from ssl_photoz.encoders.artefact import save_encoder
from ssl_photoz.encoders.encoder import fresh_encoder
from ssl_photoz.encoders.settings import EncoderConfig

ROWS = 240
SPLIT = {"seed": 3, "nside": 32, "fractions": [0.7, 0.1, 0.2]}


def write_cutouts(path):
    """Cutouts of ROWS galaxies on some square degrees, of which a few cannot be embedded."""
    rng = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        images = rng.normal(0, 0.01, (ROWS, 3, 36, 36)).astype("f4")
        images[5, 1, 3, 3] = np.nan
        images[16:24] = 0
        file["images"] = images
        file["TARGETID"] = np.arange(ROWS) + 2**62
        ra, dec = rng.uniform(150, 170, ROWS), rng.uniform(-10, 10, ROWS)
        ra[16:24], dec[16:24] = 300, 40  # a tile with nothing in it that can be used
        ra[-2:], dec[-1] = (500, np.nan), np.nan
        file["RA"], file["DEC"] = ra, dec
        z = np.where(rng.random(ROWS) < 0.3, np.nan, rng.uniform(0.01, 0.5, ROWS))
        file["Z"] = z.astype("f4")
        file["PSFSIZE"] = np.ones((ROWS, 3), "f4")
        file["survey"] = [f"s{n % 3}" for n in range(ROWS)]
    return path


def write_encoder(folder, *, seed=0):
    """An encoder that has learnt nothing."""
    made = fresh_encoder(
        EncoderConfig(crop_px=34, softening=1.0),
        bands=["g", "r", "z"],
        pixscale_arcsec=0.262,
        calibrated=True,
        noise=[0.01] * 3,
        seed=seed,
    )
    save_encoder(folder, made, config={}, parents={}, split=SPLIT, steps=0)
    return folder


def require_identical(made, expected):
    assert made.card["shards"].keys() == expected.card["shards"].keys()
    for name in expected.columns:
        np.testing.assert_array_equal(made.column(name), expected.column(name), name)
    rejects = [pq.read_table(one.folder / "rejects.parquet") for one in (made, expected)]
    assert rejects[0].equals(rejects[1])
    for fact in ("rows_in", "rows_written", "rows_rejected", "encoder", "split"):
        assert made.card[fact] == expected.card[fact]
    from hats.io.validation import is_valid_catalog

    assert is_valid_catalog(made.folder, strict=True)


@pytest.fixture(scope="session")
def cutouts(tmp_path_factory):
    return write_cutouts(tmp_path_factory.mktemp("data") / "cutouts.h5")


@pytest.fixture(scope="session")
def encoder(tmp_path_factory):
    return write_encoder(tmp_path_factory.mktemp("encoder"))


@pytest.fixture(scope="session")
def tiled(cutouts, encoder, tmp_path_factory):
    """The same tiles, made undisturbed."""
    from tests.scaleout.faulty import run

    return run(cutouts, encoder, tmp_path_factory.mktemp("tiled"))
