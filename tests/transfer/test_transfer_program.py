"""`transfer`: batches of two fields, labels of the target for the score alone, resuming."""

import json

import h5py
import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from scipy import stats
from ssl_photoz.recipes.pretrain.transfer import transfer as train

from ssl_photoz import cli
from ssl_photoz.augment.settings import AugmentationConfig
from ssl_photoz.core.errors import DataError, MismatchError
from ssl_photoz.cutouts.reader import Cutouts
from ssl_photoz.cutouts.split import SplitConfig, assign_splits
from ssl_photoz.photoz import end_to_end
from ssl_photoz.photoz.artefact import read_predictions
from ssl_photoz.training.engine import Engine
from ssl_photoz.training.supervised.settings import ModelConfig, SupervisedConfig
from ssl_photoz.training.transfer.fields import TwoFields, photometry, target_rows
from ssl_photoz.training.transfer.settings import AdaptationConfig

ROWS, SIDE = 160, 36
SPLIT = SplitConfig(seed=1, nside=32, fractions=(0.6, 0.2, 0.2))
OFF = AugmentationConfig(jitter_px=1.0, psf_strength=0.0, noise_strength=0.0, dust="none")


def write(path, *, seed, noise=0.005, width=5.5, gain=1.0, spoil=False, side_px=SIDE):
    """Write blobs whose colour tells their redshift, brighter or fainter, seen by a telescope."""
    rng = np.random.default_rng(seed)
    ids, ra, dec = rng.permutation(ROWS), rng.uniform(0, 360, ROWS), rng.uniform(-60, 60, ROWS)
    z, bright = rng.uniform(0.03, 0.4, ROWS), 10 ** rng.uniform(-0.5, 0.5, ROWS)
    x = np.arange(side_px) - (side_px - 1) / 2
    blob = np.exp(-(x[:, None] ** 2 + x**2) / width**2)
    red = z * np.exp(rng.normal(0, 0.3, ROWS))
    bands = np.stack([np.full(ROWS, 0.2), gain * 0.8 * z, red], axis=1) * bright[:, None]
    flux = bands[:, :, None, None] * blob
    side = assign_splits(ra, dec, ids, SplitConfig(seed=1, nside=32, fractions=SPLIT.fractions))
    if spoil:  # labels off the test sky say nothing
        z = np.where(side == "test", z, np.random.default_rng(9).permutation(z) ** 2)
    with h5py.File(path, "w") as file:
        file["images"] = (flux + rng.normal(0, noise, flux.shape)).astype("f4")
        file["NOISE"] = np.full((ROWS, 3), noise, "f4")
        file["PSFSIZE"] = np.full((ROWS, 3), 0.262 * width, "f4")
        file["EBV"] = rng.uniform(0.01, 0.05, ROWS).astype("f4")
        file["Z"] = z.astype("f4")
        file["TARGETID"], file["RA"], file["DEC"] = ids + 2**60, ra, dec
        file.attrs["simulated"] = True
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("transfer")
    write(folder / "south.h5", seed=0)
    write(folder / "north.h5", seed=5, noise=0.01, width=7.0, gain=1.2)
    write(folder / "spoilt.h5", seed=5, noise=0.01, width=7.0, gain=1.2, spoil=True)
    return folder


def transfer(folder, out, *, methods=(), strength=0.1, epochs=2, least_steps=4, **changes):
    training = {"epochs": epochs, "least_steps": least_steps, "batch_size": 32, "orientations": 1}
    given = {
        "data": folder / "south.h5",
        "target": folder / "north.h5",
        "adaptation": AdaptationConfig(methods, strength),
        "model": ModelConfig("small_cnn"),
        "training": SupervisedConfig(**training),
        "augmentations": OFF,
        "split": SPLIT,
        **changes,
    }
    return train(out=folder / out, **given).card


def metrics_of(folder):
    return json.loads((folder / "metrics.json").read_text())


@pytest.fixture
def undrawn(monkeypatch):
    """Figures take longer than the trainings here."""
    monkeypatch.setattr(end_to_end, "save_figures", lambda *_: None)


def fields_of(folder, methods, **changes):
    source, target = (Cutouts.open(folder / name) for name in ("south.h5", "north.h5"))
    offered, _ = target_rows(target, SPLIT)
    config = SplitConfig(seed=1, nside=32, fractions=SPLIT.fractions)
    side = assign_splits(source.ra, source.dec, source.id, config)
    labelled = np.flatnonzero(side == "train")
    return TwoFields.for_methods(
        methods, source, labelled, target, offered, split=SPLIT, **{"seed": 0, **changes}
    )


def test_partners_are_of_the_targets_training_sky_unlabelled_and_of_like_magnitude(folder):
    made = fields_of(folder, ("adversarial",))
    batches = list(made(batch_size=30, start=0, stop=6))
    for batch in batches:
        assert torch.isfinite(batch.z).tolist() == [True] * 30 + [False] * 30
        assert set(batch.rows[:30]) <= set(made.labelled)
        assert set(batch.rows[30:]) <= set(made.offered)
        assert batch.noise[:, 0].tolist() == pytest.approx([0.005] * 30 + [0.01] * 30)
        np.testing.assert_array_equal(batch.flux[30:], made.target.read(batch.rows[30:]))
        np.testing.assert_array_equal(batch.z[:30], made.source.column("z")[batch.rows[:30]])
    mag = [photometry(made.source, np.concatenate([b.rows[:30] for b in batches]))[:, 0]]
    mag += [photometry(made.target, np.concatenate([b.rows[30:] for b in batches]))[:, 0]]
    assert np.median(np.abs(mag[0] - mag[1])) < 0.1
    assert stats.ks_2samp(*mag).pvalue > 0.01


def test_a_batch_depends_on_seed_and_number_alone(folder):
    for methods in ((), ("reweight",), ("reweight", "adversarial")):
        made = fields_of(folder, methods)
        whole = [batch.rows.tolist() for batch in made(batch_size=16, start=0, stop=8)]
        again = [batch.rows.tolist() for batch in made(batch_size=16, start=5, stop=8)]
        assert whole[5:] == again
        other = fields_of(folder, methods, seed=1)(batch_size=16, start=0, stop=1)
        assert whole[0] != next(iter(other)).rows.tolist()


def test_without_adaptation_every_galaxy_is_seen_equally_often(folder):
    made = fields_of(folder, ())
    rows = np.concatenate([b.rows for b in made(batch_size=len(made.labelled), start=0, stop=3)])
    assert set(np.unique(rows, return_counts=True)[1]) == {3}
    assert made.effective_labels == len(made.labelled)
    assert fields_of(folder, ("reweight",)).effective_labels < len(made.labelled)


@pytest.mark.parametrize("methods", [(), ("reweight", "match", "adversarial")])
def test_labels_of_the_target_are_read_for_the_score_alone(folder, methods, undrawn):
    name = "-".join(methods) or "none"
    card = transfer(folder, f"clean-{name}", methods=methods)
    spoilt = transfer(folder, f"spoilt-{name}", methods=methods, target=folder / "spoilt.h5")
    assert card["training"]["weights_sha256"] == spoilt["training"]["weights_sha256"]
    one, other = (metrics_of(folder / f"{what}-{name}") for what in ("clean", "spoilt"))
    assert one["probes"] == other["probes"]
    assert card["simulated"]
    assert ("told_apart" in card["training"]) == ("adversarial" in methods)
    with Cutouts.open(folder / "north.h5") as target:
        _, test = target_rows(target, SPLIT)
        table = read_predictions(folder / f"clean-{name}")
        assert table["id"].tolist() == target.column("id")[test].tolist()
    training = metrics_of(folder / f"clean-{name}")["training"]
    shift = np.mean(table["z_phot_transferred"]) - np.mean(table["z_spec"])
    assert training["nz_mean_shift"] == pytest.approx(shift)


def test_the_methods_change_the_weights(folder, undrawn):
    given = {"epochs": 1, "least_steps": 2}
    ends = [
        transfer(folder, f"method-{number}", methods=methods, strength=strength, **given)
        for number, (methods, strength) in enumerate(
            [(("reweight",), 1.0), (("adversarial",), 0.0), (("adversarial",), 1.0)]
        )
    ]
    ends.append(transfer(folder, "versus", versus=(folder / "method-0",), **given))
    assert len({card["training"]["weights_sha256"] for card in ends}) == 4
    rows = metrics_of(folder / "versus")["versus"]
    assert {(row["probe"], row["baseline_probe"]) for row in rows} >= {
        ("transferred", "transferred")
    }


def test_an_interrupted_run_ends_as_the_whole(folder, monkeypatch, capsys):
    given = {"methods": ("match", "adversarial"), "epochs": 3, "least_steps": 6}
    whole = transfer(folder, "whole", **given)
    step = Engine.take_step

    def die(self, batch):
        if self.progress.step >= 2 * 6:
            raise RuntimeError("power cut")
        return step(self, batch)

    monkeypatch.setattr(Engine, "take_step", die)
    with pytest.raises(RuntimeError, match="power cut"):
        transfer(folder, "cut", **given)
    monkeypatch.undo()
    resumed = transfer(folder, "cut", **given)
    assert "going on from step" in capsys.readouterr().out
    for name in ("weights_sha256", "told_apart"):
        assert resumed["training"][name] == whole["training"][name]
    transfer(folder, "cut", **given)
    assert "already made" in capsys.readouterr().out
    with pytest.raises(MismatchError, match="setting adaptation"):
        transfer(folder, "cut", **given, strength=0.7)


def test_a_target_without_redshifts_is_learnt_for_and_given_redshifts(folder, undrawn):
    with h5py.File(write(folder / "unknown.h5", seed=5, noise=0.01, width=7.0), "a") as file:
        file["Z"][:] = np.nan
    card = transfer(folder, "blind", target=folder / "unknown.h5", methods=("match",))
    assert card["label"].endswith("SCORED ON THE SOURCE")
    with Cutouts.open(folder / "south.h5") as source:
        of_source = dict(zip(source.column("id").tolist(), source.column("z"), strict=True))
        places = (source.column(name) for name in ("ra", "dec", "id"))
        side = assign_splits(*places, SplitConfig(seed=1, nside=32, fractions=SPLIT.fractions))
    table = read_predictions(folder / "blind")
    assert table["z_spec"].tolist() == pytest.approx([of_source[i] for i in table["id"].tolist()])
    assert len(table["id"]) == int(np.sum(side == "test"))
    given = [f"data={folder / 'unknown.h5'}", f"out={folder / 'z.parquet'}"]
    cli.run("predict", [str(folder / "blind"), *given])
    redshifts = pq.read_table(folder / "z.parquet").to_pydict()
    assert len(redshifts["z_phot"]) == ROWS
    assert np.isfinite(redshifts["z_phot"]).all()


def test_what_cannot_be_transferred_is_refused(folder, capsys):
    write(folder / "large.h5", seed=6, side_px=40)
    with pytest.raises(MismatchError, match=r"size_px 36, the target .*large.h5 40"):
        transfer(folder, "x", target=folder / "large.h5")
    with h5py.File(write(folder / "bare.h5", seed=7), "a") as file:
        del file["PSFSIZE"]
    with pytest.raises(DataError, match="known psfsize"):
        transfer(folder, "x", target=folder / "bare.h5", methods=("match",))
    with pytest.raises(DataError, match=r"bare.h5: not one cutout has a known psfsize"):
        transfer(folder, "x", data=folder / "bare.h5", methods=("match",))
    given = [f"data={folder / 'south.h5'}", f"target={folder / 'north.h5'}", f"out={folder / 'x'}"]
    assert cli.main(["transfer", *given, "methods=[guess]"]) == 2
    assert cli.main(["transfer", *given, "strength=-1"]) == 2
    assert cli.main(["transfer", *given, "network=capsules"]) == 2
    capsys.readouterr()
    assert not (folder / "x" / "card.json").exists()
