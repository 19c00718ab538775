"""Training: it learns, keeps its best epoch, resumes bit for bit, and looks at z where it may."""

import json
import os
import signal
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ssl_photoz.augment.settings import AugmentationConfig
from ssl_photoz.core.errors import ArtefactError, TrainingError
from ssl_photoz.core.signals import StoppedError
from ssl_photoz.cutouts.schema import Source
from ssl_photoz.training import ranks
from ssl_photoz.training.checkpoints import latest_checkpoint, read_checkpoint
from ssl_photoz.training.history import History
from ssl_photoz.training.supervised import training
from ssl_photoz.training.supervised.fitting import fit as fit_task
from ssl_photoz.training.supervised.fitting import make_task
from ssl_photoz.training.supervised.heads import RegressionHead
from ssl_photoz.training.supervised.network import SmallCNN
from ssl_photoz.training.supervised.predict import predict
from ssl_photoz.training.supervised.settings import ModelConfig, SmallCNNConfig, SupervisedConfig
from ssl_photoz.training.supervised.training import train

GALAXIES, BATCH, STEPS = 48, 16, 3
EPOCHS = 4
TIMES = ("seconds", "images_per_second")


@pytest.fixture(autouse=True)
def on_the_cpu(monkeypatch):
    monkeypatch.setattr(ranks, "device", lambda: torch.device("cpu"))


@dataclass(frozen=True)
class Toy:
    """A batch of the kind that `Batch` is."""

    flux: torch.Tensor
    z: torch.Tensor
    ebv_mag: None = None
    psf_fwhm_arcsec: None = None
    noise: None = None

    def to(self, device):
        return replace(self, flux=self.flux.to(device), z=self.z.to(device))


def sky(n=GALAXIES, seed=0):
    """Blobs whose ratio of bands is their redshift."""
    rng = np.random.default_rng(seed)
    z = rng.uniform(0.05, 0.4, n)
    x = np.arange(32) - 15.5
    blob = 5 * np.exp(-(x[:, None] ** 2 + x**2) / 30)
    flux = np.stack([np.full(n, 1.0), 4 * z], axis=1)[:, :, None, None] * blob
    flux += 0.05 * rng.normal(size=flux.shape)
    return torch.from_numpy(flux).float(), torch.from_numpy(z)


FLUX, Z = sky()
HEAD = RegressionHead.of(Z.numpy())


def stream(start, stop=10**6):
    for step in range(start, stop):
        order = np.random.default_rng([step // STEPS]).permutation(GALAXIES)
        rows = torch.from_numpy(order[step % STEPS * BATCH :][:BATCH].copy())
        yield Toy(FLUX[rows], Z[rows])


def views(flux, *, generator, **_):
    return flux + 0.02 * torch.randn(flux.shape, generator=generator)


def network():
    torch.manual_seed(0)
    return SmallCNN(SmallCNNConfig(), softening=[0.2, 0.2], calibrated=True, head=HEAD)


def on_validation(made, *, seed=1):
    flux, z = sky(40, seed=seed)
    return {"score": float(np.abs(predict(made, [flux], head=HEAD) - np.log1p(z.numpy())).mean())}


def fit(folder, *, made=None, score=on_validation, source=stream, **changes):
    made = made or network()
    steps = changes.pop("steps_per_epoch", STEPS)
    config = SupervisedConfig(
        **{"epochs": EPOCHS, "patience": 99, "learning_rate": 2e-3, **changes}
    )
    given = {"head": HEAD, "config": config, "steps_per_epoch": steps, "folder": folder}
    return made, train(made, views, source, score, **given)


def epoch_saved(folder):
    return read_checkpoint(latest_checkpoint(folder)[0])["progress"]["epoch"]


def equal(one, other):
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def test_it_learns_a_task_that_can_be_learnt(tmp_path):
    made, progress = fit(tmp_path, epochs=15, steps_per_epoch=12)
    flux, z = sky(60, seed=9)
    found = np.expm1(predict(made, [flux], head=HEAD))
    assert np.std(found - z.numpy()) < 0.25 * float(z.std())
    scores = [row["score"] for row in History(tmp_path).rows()]
    assert len(scores) == progress.epoch
    assert min(scores) < 0.5 * scores[0]


def test_a_run_cut_short_goes_on_bit_for_bit(tmp_path, capsys):
    whole, expected = fit(tmp_path / "whole")

    def torn(start):
        for step, batch in enumerate(stream(start), start):
            if step == 2 * STEPS + 1:
                raise KeyboardInterrupt
            yield batch

    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path / "cut", source=torn)
    assert epoch_saved(tmp_path / "cut") == 2
    resumed, progress = fit(tmp_path / "cut")
    assert f"going on from step {2 * STEPS} of" in capsys.readouterr().out
    assert equal(whole, resumed)
    told = [
        [{k: v for k, v in row.items() if k not in TIMES} for row in History(one).rows()]
        for one in (tmp_path / "whole", tmp_path / "cut")
    ]
    assert told[0] == told[1]
    lines = (tmp_path / "cut" / "history.jsonl").read_text().splitlines()
    assert len(lines) == progress.epoch == expected.epoch
    assert (progress.best_epoch, progress.best_score) == (expected.best_epoch, expected.best_score)
    seconds = [json.loads(line)["seconds"] for line in lines]
    assert seconds == sorted(seconds)


def test_the_seed_decides_augmentation_and_dropout_and_nothing_global_does(tmp_path):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    made = network()
    torch.set_rng_state(before)
    one, _ = fit(tmp_path / "one", made=made)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(6)
    same, _ = fit(tmp_path / "same")
    other, _ = fit(tmp_path / "other", seed=1)
    assert equal(one, same)
    assert not equal(one, other)


def test_the_best_epoch_is_what_remains(tmp_path):
    seen = []

    def score(made):
        seen.append({name: value.clone() for name, value in made.state_dict().items()})
        return {"score": [0.5, 0.2, 0.3, 0.2][len(seen) - 1]}

    made, progress = fit(tmp_path, score=score)
    assert (progress.best_epoch, progress.best_score, progress.epoch) == (2, 0.2, 4)
    assert all(torch.equal(value, seen[1][name]) for name, value in made.state_dict().items())
    assert not equal_to(seen[3], made)
    assert not made.training


def equal_to(state, made):
    return all(torch.equal(value, state[name]) for name, value in made.state_dict().items())


def test_patience_ends_a_run_and_a_finished_run_is_not_gone_on_with(tmp_path):
    asked = []

    def score(_):
        asked.append(1)
        return {"score": [0.5, 0.4, 0.6, 0.6, 0.6][len(asked) - 1]}

    made, progress = fit(tmp_path, score=score, epochs=20, patience=3)
    assert (progress.best_epoch, progress.epoch) == (2, 5)
    again, told = fit(tmp_path, score=score, epochs=20, patience=3)
    assert len(asked) == told.epoch == 5
    assert equal(made, again)


def test_the_trunk_may_learn_more_slowly(tmp_path):
    start = network().state_dict()
    made, _ = fit(tmp_path / "a", trunk_learning_rate=1e-9, weight_decay=0.0)
    moved = {name: (made.state_dict()[name] - start[name]).abs().max() for name in start}
    assert moved["trunk.0.weight"] < 1e-7
    assert moved["hidden.0.weight"] > 1e-4
    made, _ = fit(tmp_path / "b", trunk_learning_rate=1.0, weight_decay=0.0)
    assert (made.state_dict()["trunk.0.weight"] - start["trunk.0.weight"]).abs().max() > 1e-4


def test_what_is_not_finite_stops_the_run_and_keeps_the_checkpoint(tmp_path):
    def spoilt(start):
        for step, batch in enumerate(stream(start), start):
            yield replace(batch, flux=batch.flux * torch.nan) if step == STEPS else batch

    with pytest.raises(TrainingError, match="the loss is nan within steps 4 to 6"):
        fit(tmp_path, source=spoilt)
    assert epoch_saved(tmp_path) == 1
    with pytest.raises(TrainingError, match="the score is nan within epoch 1"):
        fit(tmp_path / "other", score=lambda _: {"score": float("nan")})


def test_quick_epochs_leave_fewer_checkpoints_and_the_whole_history(tmp_path, monkeypatch):
    often = fit(tmp_path / "often")
    monkeypatch.setattr(training, "CHECKPOINT_SECONDS", 3600.0)
    seldom = fit(tmp_path / "seldom")
    assert equal(often[0], seldom[0])
    assert not list((tmp_path / "seldom").glob("*.ckpt"))
    assert len(list((tmp_path / "often").glob("*.ckpt"))) == 2
    assert [row["epoch"] for row in History(tmp_path / "seldom").rows()] == [1, 2, 3, 4]


def test_an_unreadable_checkpoint_is_said(tmp_path):
    fit(tmp_path, epochs=1)
    (path,) = tmp_path.glob("*.ckpt")
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(ArtefactError, match=r"no checkpoint in .* is whole"):
        fit(tmp_path)


@pytest.mark.parametrize(("signum", "at"), [(signal.SIGTERM, STEPS + 1), (signal.SIGUSR1, STEPS)])
def test_a_signal_writes_a_checkpoint_in_mid_epoch_and_the_run_goes_on_bit_for_bit(
    tmp_path, signum, at
):
    whole, _ = fit(tmp_path / "whole")

    def stopping(start):
        for step, batch in enumerate(stream(start), start):
            if step == at:
                os.kill(os.getpid(), signum)
            yield batch

    with pytest.raises(StoppedError, match=f"checkpoint written after step {at + 1}"):
        fit(tmp_path / "stopped", source=stopping)
    resumed, progress = fit(tmp_path / "stopped")
    assert equal(whole, resumed)
    rows = [History(tmp_path / name).rows() for name in ("whole", "stopped")]
    assert [row["loss"] for row in rows[0]] == [row["loss"] for row in rows[1]]
    assert progress.epoch == EPOCHS


def test_from_streams_to_predictions(tmp_path):
    flux, z = {"val": sky(40, seed=1), "test": sky(30, seed=2)}, {}
    z = {split: np.log1p(some[1].numpy()) for split, some in flux.items()}
    asked = []

    def batches(*, batch_size, start, stop, part):
        asked.append((batch_size, start, stop))
        return stream(start, stop)

    task = make_task(
        Source(Path("toy"), GALAXIES, ("g", "r"), 32, 0.262, True, True, "f4"),
        {split: lambda size_px, some=some: iter([some[0]]) for split, some in flux.items()},
        lambda answer: {"score": float(np.abs(answer - z["val"]).mean())},
        model=ModelConfig("small_cnn"),
        head=HEAD,
        augmentations=AugmentationConfig(jitter_px=0.0),
        noise=np.full(2, 0.05, "f4"),
    )
    config = SupervisedConfig(
        epochs=20,
        least_steps=140,
        patience=20,
        batch_size=BATCH,
        learning_rate=3e-3,
        orientations=2,
    )
    fitted = fit_task(task, batches, labels=GALAXIES, config=config, folder=tmp_path)
    answers, told = fitted.answers, fitted.training
    assert asked == [(BATCH, 0, 140)]
    assert {split: len(answer) for split, answer in answers.items()} == {"val": 40, "test": 30}
    assert np.corrcoef(answers["test"], z["test"])[0, 1] > 0.9
    assert told["parameters"] == 421_725 - 3 * 800
    assert (told["epochs"], told["steps_per_epoch"]) == (20, 7)
    assert (tmp_path / "weights.safetensors").exists()


def test_a_checkpoint_with_a_flipped_bit_is_refused_for_the_one_before(tmp_path):
    fit(tmp_path / "damaged", epochs=2)
    newest, _ = latest_checkpoint(tmp_path / "damaged")
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes(content)
    with pytest.raises(ArtefactError, match="sha256"):
        read_checkpoint(newest)
    assert epoch_saved(tmp_path / "damaged") == 1
