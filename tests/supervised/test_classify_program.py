"""`supervise head.kind=nearby`: by pixels, cuts and a frozen head, on a SIMULATED toy survey."""

import h5py
import numpy as np
import pyarrow.parquet as pq
import pytest
from ssl_photoz.recipes.pretrain.supervise import supervise

from ssl_photoz import cli
from ssl_photoz.augment.settings import AugmentationConfig
from ssl_photoz.core import artefact
from ssl_photoz.core.errors import ConfigError, ContaminatedError, DataError, MismatchError
from ssl_photoz.cutouts.split import SplitConfig, assign_splits
from ssl_photoz.embeddings.store import write_embeddings
from ssl_photoz.encoders.settings import EncoderConfig
from ssl_photoz.nearby.baselines import tell_nearby
from ssl_photoz.nearby.purity import PurityCurve
from ssl_photoz.training.supervised.settings import (
    HeadConfig,
    ModelConfig,
    NearbyConfig,
    SupervisedConfig,
)

ROWS = 300
SPLIT = SplitConfig(seed=1, fractions=(0.5, 0.25, 0.25))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Blobs: the nearby sixth of them is blue, and its vectors say so less clearly."""
    folder = tmp_path_factory.mktemp("classify")
    rng = np.random.default_rng(0)
    ids, ra, dec = rng.permutation(ROWS), rng.uniform(0, 360, ROWS), rng.uniform(-60, 60, ROWS)
    near = np.arange(ROWS) % 6 == 0
    z = np.where(near, rng.uniform(0.005, 0.03, ROWS), rng.uniform(0.05, 0.4, ROWS))
    x = np.arange(36) - 17.5
    blob = np.exp(-(x[:, None] ** 2 + x**2) / 30)
    flux = np.stack([np.where(near, 0.4, 0.1), np.full(ROWS, 0.25), np.full(ROWS, 0.25)], axis=1)
    with h5py.File(folder / "cutouts.h5", "w") as file:
        images = flux[:, :, None, None] * blob
        file["images"] = (images + rng.normal(0, 0.005, images.shape)).astype("f4")
        file["NOISE"], file["Z"] = np.full((ROWS, 3), 0.005, "f4"), z.astype("f4")
        file["TARGETID"], file["RA"], file["DEC"] = ids + 2**60, ra, dec
        file["MAG_R"], file["MAG_G"] = np.full(ROWS, 16.0), np.where(near, 16.3, 17.4)
        file.attrs["simulated"] = True
    vectors = rng.normal(size=(ROWS, 6)).astype("f4")
    vectors[:, 0] += 2 * near
    columns = {"id": ids + 2**60, "ra": ra, "dec": dec, "z": z.astype("f4")}
    columns["split"] = assign_splits(
        ra, dec, columns["id"], SplitConfig(seed=1, fractions=SPLIT.fractions)
    )
    write_embeddings(folder / "embeddings", columns, vectors, simulated=True)
    return folder


def classify(folder, out="out", *, epochs=8, least_steps=100, **nearby):
    training = {"batch_size": 32, "learning_rate": 3e-3, "orientations": 1}
    given = {
        "model": ModelConfig("small_cnn", encoder=EncoderConfig(crop_px=33)),
        "head": HeadConfig("nearby", nearby=NearbyConfig(**nearby)),
        "training": SupervisedConfig(epochs=epochs, least_steps=least_steps, **training),
        "augmentations": AugmentationConfig(jitter_px=1, psf_strength=0.2, noise_strength=0.2),
        "split": SPLIT,
    }
    return supervise(folder / "cutouts.h5", folder / out, **given)


@pytest.fixture(scope="module")
def made(folder):
    """The whole: network, cuts and frozen head."""
    made = classify(folder, embeddings=folder / "embeddings", cuts=("mag_r", "mag_g"))
    assert made.card.kind == "classifier"
    return made.folder


def test_it_tells_blue_from_red_and_says_how_well(made):
    metrics = artefact.read_json(made / "metrics.json")
    assert metrics["simulated"] is True
    methods = metrics["methods"]
    assert set(methods) == {"small_cnn", "frozen", "cuts"}
    assert methods["small_cnn"]["average_precision"] > 0.95
    assert methods["small_cnn"]["average_precision"] >= methods["frozen"]["average_precision"]
    assert methods["frozen"]["average_precision"] > 2 * methods["frozen"]["base_rate"]
    assert methods["cuts"]["completeness"] == 1
    assert (made / "purity_completeness.png").stat().st_size > 10_000


def test_figures_are_those_of_the_table_at_the_sky_s_base_rate(made):
    table = pq.read_table(made / "scores.parquet").to_pydict()
    truth, score = np.array(table["z_spec"]) < 0.03, np.array(table["frozen"])
    assert all(table["simulated"])
    said = artefact.read_json(made / "metrics.json")["methods"]["frozen"]
    curve = PurityCurve.measure(truth, score)
    assert said["average_precision"] == pytest.approx(curve.average_precision())
    complete, false = (
        np.array([np.mean(score[some] >= cut) for cut in np.unique(score)])
        for some in (truth, ~truth)
    )
    place = np.flatnonzero(complete >= 0.9)[-1]
    wanted = 0.01 * complete[place] / (0.01 * complete[place] + 0.99 * false[place])
    assert said["sky_purity_at_90_completeness"] == pytest.approx(wanted)


def test_a_second_time_there_is_nothing_to_do(made, folder, capsys):
    classify(folder, embeddings=folder / "embeddings", cuts=("mag_r", "mag_g"))
    assert "already made" in capsys.readouterr().out
    with pytest.raises(MismatchError, match="setting head"):
        classify(folder, embeddings=folder / "embeddings")


def test_embeddings_of_other_galaxies_are_refused(folder, tmp_path):
    columns = {"id": np.arange(4), "ra": np.ones(4), "dec": np.ones(4), "z": np.ones(4, "f4")}
    columns["split"] = np.array(["train"] * 4)
    write_embeddings(tmp_path / "e", columns, np.ones((4, 3), "f4"))
    with pytest.raises(MismatchError, match="have no row"):
        classify(folder, "other", embeddings=tmp_path / "e", epochs=1, least_steps=1)


def test_embeddings_that_have_learnt_from_the_redshifts_are_refused(folder, made, tmp_path):
    known = pq.read_table(made / "scores.parquet").to_pydict()["id"]
    with h5py.File(folder / "cutouts.h5") as file:
        ids, places = file["TARGETID"][:], [file[name][:] for name in ("RA", "DEC", "Z")]
    columns = dict(zip(("id", "ra", "dec", "z"), (ids, *places), strict=True))
    columns["split"] = np.full(ROWS, "train")  # as if its sky were split otherwise
    vectors = np.random.default_rng(0).normal(size=(ROWS, 4)).astype("f4")
    write_embeddings(tmp_path / "e", columns, vectors, labels_seen=[str(known[0]), "1"])
    with pytest.raises(ContaminatedError, match="redshifts of 1 galaxies"):
        classify(folder, "seen", embeddings=tmp_path / "e", epochs=1, least_steps=1)


def test_a_split_without_nearby_galaxies_cannot_be_scored():
    z = {"train": np.array([0.01, 0.2]), "val": np.array([0.1, 0.2]), "test": np.array([0.01, 0.2])}
    with pytest.raises(DataError, match="0 of 2 galaxies of the val split"):
        tell_nearby(z, z_max=0.03)
    z["val"][0] = 0.02
    assert tell_nearby(z, z_max=0.03)["val"].tolist() == [True, False]


def test_the_verb_classify_of_version_0_1_still_works(folder, tmp_path, capsys):
    now = classify(folder, "now", epochs=2, least_steps=4, balance="weighted")
    given = [f"data={folder / 'cutouts.h5'}", f"out={tmp_path / 'then'}", "network=small_cnn"]
    given += ["epochs=2", "least_steps=4", "batch_size=32", "learning_rate=3e-3", "seed=0"]
    given += ["orientations=1", "encoder.crop_px=33", "split.seed=1"]
    given += ["split.fractions=[0.5,0.25,0.25]", "nearby.balance=weighted", "base_rate=0.01"]
    given += ["nuisances.jitter_px=1", "nuisances.psf_strength=0.2", "nuisances.noise_strength=0.2"]
    assert cli.main(["classify", *given]) == 0
    said = capsys.readouterr().err
    assert "classify is now supervise head.kind=nearby" in said
    assert "nuisances.jitter_px is now augmentations.jitter_px" in said
    assert artefact.read_json(tmp_path / "then" / "metrics.json") == now.metrics
    tables = [pq.read_table(one / "scores.parquet") for one in (now.folder, tmp_path / "then")]
    assert tables[0].equals(tables[1])


def test_settings_that_cannot_be_meant_are_refused(folder):
    with pytest.raises(ConfigError, match="cuts names columns"):
        NearbyConfig(cuts=("mag_r",))
    with pytest.raises(ConfigError, match="versus compares redshifts"):
        supervise(
            folder / "cutouts.h5", folder / "x", head=HeadConfig("nearby"), versus=(folder / "out",)
        )
    with pytest.raises(ConfigError, match="gamma"):
        NearbyConfig(gamma=-1)
