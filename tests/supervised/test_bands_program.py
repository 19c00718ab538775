"""`predict bands.measure=true` and `clip_sigma`; SIMULATED: r - g alone tells the redshift."""

import h5py
import numpy as np
import pytest
from ssl_photoz.recipes.pretrain.supervise import supervise as train
from ssl_photoz.recipes.probe.predict import predict

from ssl_photoz import cli
from ssl_photoz.augment.settings import AugmentationConfig
from ssl_photoz.core import artefact
from ssl_photoz.core.errors import DataError, MismatchError
from ssl_photoz.cutouts import supervision
from ssl_photoz.cutouts.split import SplitConfig
from ssl_photoz.encoders.settings import EncoderConfig
from ssl_photoz.photoz.artefact import read_predictions
from ssl_photoz.photoz.end_to_end import labelled_galaxies
from ssl_photoz.training.supervised.settings import BandsConfig, ModelConfig, SupervisedConfig

ROWS = 220


def survey(path, *, rows, z):
    rng = np.random.default_rng(0)
    x = np.arange(32) - 15.5
    blob = np.exp(-(x[:, None] ** 2 + x**2) / 30)
    flux = np.stack([np.full(rows, 0.2), 1.5 * z, np.full(rows, 0.3)], axis=1)
    with h5py.File(path, "w") as file:
        images = flux[:, :, None, None] * blob
        file["images"] = (images + rng.normal(0, 0.005, images.shape)).astype("f4")
        file["NOISE"], file["Z"] = np.full((rows, 3), 0.005, "f4"), z.astype("f4")
        file["TARGETID"] = rng.permutation(rows) + 2**60
        file["RA"], file["DEC"] = rng.uniform(0, 360, rows), rng.uniform(-60, 60, rows)
        file.attrs["simulated"] = True


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bands")
    z = np.random.default_rng(0).uniform(0.03, 0.4, ROWS)
    survey(folder / "cutouts.h5", rows=ROWS, z=z)
    supervise(folder, "whole")
    supervise(folder, "without_r", without=("r",))
    return folder


def supervise(folder, out, *, without=(), ensemble=1, **changes):
    training = {
        "epochs": 5,
        "least_steps": 80,
        "batch_size": 32,
        "learning_rate": 3e-3,
        "orientations": 1,
        **changes,
    }
    given = {
        "ensemble": ensemble,
        "model": ModelConfig("small_cnn", without=without, encoder=EncoderConfig(crop_px=33)),
        "training": SupervisedConfig(**training),
        "augmentations": AugmentationConfig(
            rotation="quarter", jitter_px=0, psf_strength=0, noise_strength=0, dust="none"
        ),
        "split": SplitConfig(seed=1, fractions=(0.6, 0.2, 0.2)),
    }
    train(folder / "cutouts.h5", folder / out, **given)


def measure(folder, network, out, *left_out, draws=1, orientations=1):
    config = BandsConfig(measure=True, left_out=left_out, draws=draws)
    given = {"data": folder / "cutouts.h5", "orientations": orientations, "bands": config}
    return predict(folder / network, folder / out, **given)


def test_the_band_that_tells_is_the_one_that_is_missed(folder, capsys):
    measure(folder, "whole", "bands", folder / "without_r", draws=2)
    said = capsys.readouterr().out
    assert "SIMULATED" in said
    losses = artefact.read_json(folder / "bands" / "metrics.json")["losses"]
    rmse = {(row["band"], row["way"]): row["value"] for row in losses if row["metric"] == "rmse"}
    for way in ("permuted", "blanked", "left_out"):
        assert rmse["r", way] > 0.02
    assert max(abs(rmse[band, "permuted"]) for band in "gz") < 0.5 * rmse["r", "permuted"]
    assert (folder / "bands" / "bands.png").stat().st_size > 5000
    measure(folder, "whole", "bands", folder / "without_r", draws=2)
    assert "already made" in capsys.readouterr().out


def test_whole_and_part_must_be_of_the_same_galaxies(folder):
    with pytest.raises(MismatchError, match="trained without nothing"):
        measure(folder, "whole", "wrong", folder / "whole")
    supervise(folder, "few_without_r", without=("r",), clip_sigma=1.0, epochs=1, least_steps=2)
    with pytest.raises(MismatchError, match="test galaxies of the whole network"):
        measure(folder, "whole", "other", folder / "few_without_r")


def test_a_band_left_out_is_judged_by_the_predictions_saved_after_both_trainings(folder):
    out = measure(folder, "whole", "two", folder / "without_r", orientations=2)
    whole, part = (read_predictions(folder / name) for name in ("whole", "without_r"))
    rmse = [np.sqrt(np.mean((t["z_phot_small_cnn"] - t["z_spec"]) ** 2)) for t in (whole, part)]
    (said,) = [
        row["value"]
        for row in artefact.read_json(out / "metrics.json")["losses"]
        if (row["way"], row["metric"]) == ("left_out", "rmse")
    ]
    assert said == pytest.approx(rmse[1] - rmse[0], rel=1e-6)


def test_an_ensemble_is_asked_and_a_sorted_file_is_shuffled_throughout(tmp_path, monkeypatch):
    """Neighbours in the file have nearly one redshift: among them a band is as good as its own."""
    monkeypatch.setattr(supervision, "CROPS_AT_ONCE", 8)
    survey(tmp_path / "cutouts.h5", rows=ROWS, z=np.linspace(0.03, 0.4, ROWS))
    supervise(tmp_path, "ensemble", ensemble=2)
    out = measure(tmp_path, "ensemble", "bands")
    losses = artefact.read_json(out / "metrics.json")["losses"]
    rmse = {(row["band"], row["way"]): row["value"] for row in losses if row["metric"] == "rmse"}
    assert rmse["r", "permuted"] > 0.05


def test_clipping_keeps_two_sigma_of_the_training_mean(folder):
    supervise(folder, "clipped", clip_sigma=1.0, epochs=1, least_steps=2)
    clipped, whole = (read_predictions(folder / name)["z_spec"] for name in ("clipped", "whole"))
    assert 0 < len(clipped) < len(whole)
    with h5py.File(folder / "cutouts.h5") as file:
        z = file["Z"][:].astype(np.float64)
    rows = {"train": np.arange(150), "val": np.arange(150, 180), "test": np.arange(180, 220)}
    column = {"z": z, "id": np.arange(ROWS), "ra": z, "dec": z}.__getitem__
    kept, galaxies = labelled_galaxies(rows, column, SupervisedConfig(clip_sigma=1.0))
    low, high = z[:150].mean() - z[:150].std(), z[:150].mean() + z[:150].std()
    for split, some in rows.items():
        np.testing.assert_array_equal(
            kept[split], [row for row in some if low <= z[row] <= high], err_msg=split
        )
        assert low <= galaxies[split].z.min() <= galaxies[split].z.max() <= high
    with pytest.raises(DataError, match="usable redshifts"):
        labelled_galaxies(rows, column, SupervisedConfig(clip_sigma=1e-4))


def test_the_verb_bands_of_version_0_1_still_works(folder, capsys):
    whole = measure(folder, "whole", "now", folder / "without_r")
    given = [f"data={folder / 'cutouts.h5'}", f"network={folder / 'whole'}", "draws=1"]
    given += [f"out={folder / 'then'}", f"left_out=[{folder / 'without_r'}]"]
    assert cli.main(["bands", *given]) == 0
    assert "bands is now predict bands.measure=true" in capsys.readouterr().err
    then = artefact.read_json(folder / "then" / "metrics.json")
    assert then["losses"] == artefact.read_json(whole / "metrics.json")["losses"]
