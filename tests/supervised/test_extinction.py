"""Networks trained end to end see flux without the Milky Way's dust; SIMULATED blobs."""

import h5py
import numpy as np
import pytest
import torch
from ssl_photoz.recipes.pretrain.supervise import supervise
from ssl_photoz.recipes.pretrain.transfer import transfer

from ssl_photoz.augment.settings import AugmentationConfig
from ssl_photoz.core.errors import MismatchError
from ssl_photoz.cutouts.reader import Cutouts
from ssl_photoz.cutouts.split import SplitConfig
from ssl_photoz.encoders.settings import EncoderConfig
from ssl_photoz.photoz.end_to_end import predict_cutouts
from ssl_photoz.training.supervised.settings import ModelConfig, SupervisedConfig
from ssl_photoz.training.transfer.settings import AdaptationConfig

ROWS = 120
R_GRZ = [3.214, 2.165, 1.211]  # DR9's web page
TRAINING = {
    "training": SupervisedConfig(epochs=2, least_steps=6, batch_size=32, orientations=1),
    "augmentations": AugmentationConfig(jitter_px=1, psf_strength=0.2, noise_strength=0.2),
    "split": SplitConfig(seed=1, fractions=(0.6, 0.2, 0.2)),
}


def small_cnn(**build):
    return ModelConfig("small_cnn", encoder=EncoderConfig(crop_px=33, **build))


def write(path, *, ebv, states_ebv=True):
    """Write blobs, redder the further, the same each time, behind dust (N,)."""
    rng = np.random.default_rng(0)
    z = rng.uniform(0.05, 0.4, ROWS)
    x = np.arange(36) - 17.5
    blob = np.exp(-(x[:, None] ** 2 + x**2) / 30)
    flux = np.stack([np.full(ROWS, 0.2), 0.8 * z, z], axis=1)[:, :, None, None] * blob
    passed = 10 ** (-0.4 * np.outer(ebv, R_GRZ))
    with h5py.File(path, "w") as file:
        seen = (flux + rng.normal(0, 0.005, flux.shape)) * passed[:, :, None, None]
        file["images"], file["NOISE"] = seen.astype("f4"), (0.005 * passed).astype("f4")
        if states_ebv:
            file["EBV"] = ebv.astype("f4")
        file["PSFSIZE"] = np.full((ROWS, 3), 1.3, "f4")
        file["Z"], file["TARGETID"] = z.astype("f4"), np.arange(ROWS) + 2**60
        file["RA"], file["DEC"] = rng.uniform(0, 360, ROWS), rng.uniform(-60, 60, ROWS)
        file.attrs["simulated"] = True
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dust")
    dust = np.random.default_rng(1).uniform(0.05, 0.4, ROWS)
    write(folder / "clear.h5", ebv=np.full(ROWS, 0.01))
    write(folder / "dusty.h5", ebv=dust)
    write(folder / "bare.h5", ebv=dust, states_ebv=False)
    return folder


def redshifts(network, path):
    return predict_cutouts(network, Cutouts.open(path), rows="all").columns["z_phot"]


def test_a_network_gives_a_galaxy_one_redshift_whatever_the_dust(folder, tmp_path):
    told = supervise(folder / "dusty.h5", tmp_path / "told", model=small_cnn(), **TRAINING)
    untold = supervise(
        folder / "dusty.h5",
        tmp_path / "untold",
        model=small_cnn(extinction_corrected=False),
        **TRAINING,
    )
    assert told.card.plan["about"]["extinction_corrected"] is True
    assert untold.card.plan["about"]["extinction_corrected"] is False
    np.testing.assert_allclose(
        redshifts(told, folder / "dusty.h5"), redshifts(told, folder / "clear.h5"), atol=1e-3
    )
    apart = redshifts(untold, folder / "dusty.h5") - redshifts(untold, folder / "clear.h5")
    assert np.abs(apart).max() > 0.01
    softening = [one.plan["arguments"]["softening"] for one in (told.members[0], untold.members[0])]
    # Three times the noise without dust; and three times its median behind it.
    np.testing.assert_allclose(softening[0], [0.015] * 3, rtol=1e-5)
    assert max(softening[1]) < 0.015
    with pytest.raises(MismatchError, match=r"extinction_corrected = True, .* False; use cutouts"):
        redshifts(told, folder / "bare.h5")


def test_training_on_dusty_galaxies_is_training_on_clear_ones(folder, tmp_path):
    """Weights agree to rounding: batches, views, noise and softening are the same."""
    without = {**TRAINING, "augmentations": AugmentationConfig(jitter_px=1, dust="none")}
    nets = [
        supervise(folder / f"{name}.h5", tmp_path / name, model=small_cnn(), **without)
        for name in ("dusty", "clear")
    ]
    answers = [torch.as_tensor(redshifts(net, folder / "clear.h5")) for net in nets]
    torch.testing.assert_close(answers[0], answers[1], atol=2e-3, rtol=0)


def test_two_surveys_of_which_one_states_no_dust_are_seen_alike(folder, tmp_path, capsys):
    given = {"model": small_cnn(), "adaptation": AdaptationConfig(methods=("match",)), **TRAINING}
    found = transfer(folder / "dusty.h5", folder / "clear.h5", tmp_path / "both", **given)
    assert found.card.plan["about"]["extinction_corrected"] is True
    given["adaptation"] = AdaptationConfig(methods=("reweight",))
    found = transfer(folder / "dusty.h5", folder / "bare.h5", tmp_path / "one", **given)
    assert found.card.plan["about"]["extinction_corrected"] is False
    assert "neither is corrected" in capsys.readouterr().out
