"""`predict` with a network: its own predictions again, on cutouts of its kind; SIMULATED blobs."""

import h5py
import numpy as np
import pyarrow.parquet as pq
import pytest
from ssl_photoz.recipes.pretrain.supervise import supervise
from ssl_photoz.recipes.probe.predict import predict

from ssl_photoz import cli
from ssl_photoz.augment.settings import AugmentationConfig
from ssl_photoz.core import artefact
from ssl_photoz.core.errors import ArtefactError, ConfigError, DataError, MismatchError
from ssl_photoz.cutouts.reader import Cutouts
from ssl_photoz.cutouts.split import SplitConfig
from ssl_photoz.encoders.settings import EncoderConfig
from ssl_photoz.photoz.artefact import read_predictions
from ssl_photoz.photoz.density_table import read_densities
from ssl_photoz.training.supervised.artefact import load_network
from ssl_photoz.training.supervised.settings import (
    BandsConfig,
    HeadConfig,
    ModelConfig,
    SupervisedConfig,
)

ROWS = 150
BAD = 7  # a cutout without pixels
TRAINING = {
    "model": ModelConfig("small_cnn", encoder=EncoderConfig(crop_px=33)),
    "training": SupervisedConfig(epochs=2, least_steps=6, batch_size=32, orientations=1),
    "augmentations": AugmentationConfig(jitter_px=1, psf_strength=0.2, noise_strength=0.2),
    "split": SplitConfig(seed=1, fractions=(0.6, 0.2, 0.2)),
}
TRAINED = {
    "cnn": {},
    "bins": {"head": HeadConfig("bins", 12)},
    "ensemble": {"ensemble": 2},
}


def write(path, *, labelled=True, pixscale=0.262):
    """Write blobs, redder the further."""
    rng = np.random.default_rng(0)
    z = np.where(np.arange(ROWS) % 5, rng.uniform(0.05, 0.4, ROWS), rng.uniform(0.005, 0.03, ROWS))
    x = np.arange(36) - 17.5
    blob = np.exp(-(x[:, None] ** 2 + x**2) / 30)
    flux = np.stack([np.full(ROWS, 0.2), 0.8 * z, z], axis=1)[:, :, None, None] * blob
    with h5py.File(path, "w") as file:
        file["images"] = (flux + rng.normal(0, 0.005, flux.shape)).astype("f4")
        file["images"][BAD] = 0
        file["NOISE"] = np.full((ROWS, 3), 0.005, "f4")
        file["Z"] = (z if labelled else np.full(ROWS, np.nan)).astype("f4")
        file["TARGETID"] = np.arange(ROWS) + 2**60
        file["RA"], file["DEC"] = rng.uniform(0, 360, ROWS), rng.uniform(-60, 60, ROWS)
        file.attrs["simulated"], file.attrs["pixscale_arcsec"] = True, pixscale


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Networks of every sort, and the same galaxies without redshifts."""
    folder = tmp_path_factory.mktemp("apply")
    write(folder / "cutouts.h5")
    write(folder / "new.h5", labelled=False)
    for out, changes in TRAINED.items():
        supervise(folder / "cutouts.h5", folder / out, **TRAINING, **changes)
    supervise(folder / "cutouts.h5", folder / "nearby", head=HeadConfig("nearby"), **TRAINING)
    return folder


def ask(folder, network, out, *, data="new.h5", **changes):
    given = {"data": folder / data, "orientations": 1, **changes}
    assert predict(folder / network, folder / out, **given) == folder / out
    return folder / out


def by_id(table):
    order = np.argsort(table["id"])
    return {name: np.asarray(column)[order] for name, column in table.items()}


@pytest.mark.parametrize("network", TRAINED)
def test_galaxies_of_the_test_sky_get_the_redshifts_they_had(folder, network):
    table = by_id(pq.read_table(ask(folder, network, f"{network}.parquet")).to_pydict())
    assert set(table) == {"id", "ra", "dec", "z_phot", "z_lo", "z_hi", "simulated"}
    assert all(table["simulated"])
    assert len(table["id"]) == ROWS - 1
    known = by_id(read_predictions(folder / network))
    places = np.searchsorted(table["id"], known["id"])
    np.testing.assert_array_equal(table["id"][places], known["id"])
    for name in ("z_phot", "z_lo", "z_hi"):
        np.testing.assert_allclose(
            table[name][places], known[f"{name}_small_cnn"], atol=3e-4
        )  # bfloat16


def test_densities_are_those_of_the_test_sky(folder):
    ask(folder, "bins", "z.parquet", density=folder / "pdfs.parquet")
    known, theirs = read_densities(folder / "bins" / "pdfs.parquet")
    table, ours = read_densities(folder / "pdfs.parquet")
    assert all(table["simulated"])
    assert np.isnan(table["z_spec"]).all()
    order = np.argsort(table["id"])
    places = order[np.searchsorted(table["id"][order], known["id"])]
    np.testing.assert_array_equal(table["id"][places], known["id"])
    np.testing.assert_allclose(ours.cdf()[places], theirs.cdf(), atol=5e-3)  # bfloat16
    np.testing.assert_allclose(table["odds"][places], known["odds"], atol=5e-3)
    with pytest.raises(ConfigError, match="gives no densities"):
        ask(folder, "cnn", "none.parquet", density=folder / "none-pdfs.parquet")
    calibration = folder / "bins" / "densities.safetensors"
    whole = calibration.read_bytes()
    calibration.write_bytes(b"0" * 20)
    with pytest.raises(ArtefactError, match="cannot be read"):
        ask(folder, "bins", "none.parquet", density=folder / "none-pdfs.parquet")
    calibration.write_bytes(whole)


def test_a_classifier_gives_probabilities(folder):
    table = by_id(pq.read_table(ask(folder, "nearby", "nearby.parquet")).to_pydict())
    known = by_id(pq.read_table(folder / "nearby" / "scores.parquet").to_pydict())
    places = np.searchsorted(table["id"], known["id"])
    np.testing.assert_allclose(table["p_nearby"][places], known["small_cnn"], atol=3e-4)  # bfloat16
    assert "z_phot" not in table


def test_every_row_is_accounted_for(folder, capsys):
    out = ask(folder, "cnn", "all.csv", data="cutouts.h5", rows="all")
    rejected = pq.read_table(folder / "all.csv.rejects.parquet").to_pydict()
    assert rejected["row"] == [BAD]
    assert rejected["id"] == [str(2**60 + BAD)]
    assert f"SIMULATED: {ROWS - 1} of {ROWS} galaxies (all)" in capsys.readouterr().out
    assert len(out.read_text().splitlines()) == ROWS


def test_what_cannot_be_asked_is_refused(folder):
    with pytest.raises(DataError, match="give rows=all"):
        ask(folder, "cnn", "none.parquet", data="cutouts.h5")
    with pytest.raises(ConfigError, match="expected"):
        ask(folder, "cnn", "none.txt")
    with pytest.raises(ConfigError, match="ends in"):
        ask(folder, "bins", "none.parquet", density=folder / "none.fits")
    write(folder / "coarse.h5", pixscale=0.5)
    with pytest.raises(MismatchError, match="pixscale_arcsec"):
        ask(folder, "cnn", "none.parquet", data="coarse.h5")
    artefact.write_card(folder / "index", "index", config={}, parents={})
    with pytest.raises(MismatchError, match="probe or classifier"):
        ask(folder, "index", "none.parquet")
    assert not list(folder.glob("none*"))
    with pytest.raises(ConfigError, match="only one"):
        predict(folder / "cnn", folder / "none.parquet")
    with pytest.raises(ConfigError, match="only one"):
        ask(folder, "cnn", "none.parquet", embeddings=folder / "e")
    with pytest.raises(ConfigError, match=r"density, bands\.measure is for a network"):
        predict(
            folder / "cnn",
            folder / "none.parquet",
            embeddings=folder / "e",
            density=folder / "none.parquet",
            bands=BandsConfig(measure=True),
        )
    assert not list(folder.glob("none*"))


def test_a_network_that_was_read_is_asked_as_its_folder_is(folder):
    network = load_network(folder / "ensemble")
    assert len(network.members) == 2
    assert network.metrics["probes"].keys() == {"small_cnn", "mean"}
    with Cutouts.open(folder / "new.h5") as cutouts:
        predict(network, folder / "object.parquet", data=cutouts, orientations=1)
    of_folder = pq.read_table(ask(folder, "ensemble", "folder.parquet"))
    assert pq.read_table(folder / "object.parquet").equals(of_folder)


def test_the_verb_apply_of_version_0_1_still_works(folder, capsys):
    given = [f"network={folder / 'bins'}", f"data={folder / 'new.h5'}", "orientations=1"]
    outs = [f"out={folder / 'old.parquet'}", f"pdf={folder / 'old-pdfs.parquet'}"]
    assert cli.main(["apply", *given, *outs]) == 0
    said = capsys.readouterr().err
    for now in ("apply is now predict", "network is now probe", "pdf is now density"):
        assert now in said
    new = ask(folder, "bins", "now.parquet", density=folder / "now-pdfs.parquet")
    assert pq.read_table(folder / "old.parquet").equals(pq.read_table(new))
    one, other = (read_densities(folder / f"{when}-pdfs.parquet")[1] for when in ("old", "now"))
    np.testing.assert_array_equal(one.cdf(), other.cdf())
