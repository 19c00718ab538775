import os
import signal
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from ssl_photoz.core.errors import ArtefactError, TrainingError
from ssl_photoz.core.signals import StoppedError
from ssl_photoz.encoders.measurements import Measurements
from ssl_photoz.encoders.settings import EncoderConfig, MeasurementConfig
from ssl_photoz.training import ranks
from ssl_photoz.training.checkpoints import (
    latest_checkpoint,
    read_checkpoint,
    write_checkpoint,
)
from ssl_photoz.training.engine import Engine
from ssl_photoz.training.moco import Likeness, MoCo, PretextTargets
from ssl_photoz.training.settings import MoCoConfig

STEPS = 6


@pytest.fixture(autouse=True)
def on_the_cpu(monkeypatch):
    monkeypatch.setattr(ranks, "device", lambda: torch.device("cpu"))


class Toy(SimpleNamespace):
    def to(self, device):
        return self


def batch(step):
    draws = torch.Generator().manual_seed(step)
    flux = torch.randn(8, 2, 16, 16, generator=draws)
    return Toy(flux=flux, ebv_mag=None, psf_fwhm_arcsec=None, noise=None)


class SmallEncoder(nn.Module):
    width = 8

    def __init__(self, learnt_dim=4):
        super().__init__()
        self.config = EncoderConfig(learnt_dim=learnt_dim)
        self.learnt_dim = learnt_dim or self.width
        first, second = nn.Conv2d(2, 8, 3, stride=2), nn.Conv2d(8, 8, 3)
        self.backbone = nn.Sequential(first, nn.BatchNorm2d(8), nn.ReLU(), second)
        narrow = nn.Linear(8, 4, bias=False), nn.BatchNorm1d(4, affine=False)
        self.bottleneck = nn.Sequential(*narrow) if learnt_dim else nn.Identity()

    def forward(self, flux):
        return self.backbone(flux).mean(dim=(2, 3))


def noisy(flux, *, generator, **_):
    return flux + 0.1 * torch.randn(flux.shape, generator=generator)


def spread(_):
    return {"embedding_std": 0.5}


BOTH = {"contrast_weight": 0.2, "pretext_weight": 1.0}


def module(*, scores=spread, learnt_dim=4, likeness=None, **changes):
    torch.manual_seed(0)
    settings = {"queue_size": 16, "projection_dim": 8, **BOTH, **changes}
    return MoCo(
        SmallEncoder(learnt_dim),
        noisy,
        MoCoConfig(**settings),
        targets=PretextTargets(
            lambda flux: flux.mean(dim=(2, 3)), mean=torch.zeros(2), std=torch.ones(2)
        ),
        total_steps=STEPS,
        seed=0,
        likeness=likeness,
        scores=scores,
    )


def fit(model, folder, *, stop=STEPS):
    engine = Engine(
        model,
        folder=folder,
        steps=stop,
        steps_per_epoch=3,
        precision="32-true",
        checkpoint_steps=2,
    )
    engine.train(lambda start: map(batch, range(start, stop)))
    return model


def like():
    """Places of the toy's galaxies among their like: two components of a few measurements."""
    few = MeasurementConfig(windows=2, shapes=1, scales_px=(1.0,))
    about = {"bands": "gr", "size_px": 16, "pixscale_arcsec": 0.3, "calibrated": True}
    measured = Measurements(few, noise=[1.0, 1.0], **about)
    sample = measured.measure(torch.cat([batch(step).flux for step in range(4)]))
    measured.standardise_by(sample)
    return Likeness(measured, measured.standardised(sample), dim=2)


@pytest.mark.parametrize("negatives", ["equal", "alike", "random"])
def test_resuming_repeats_the_uninterrupted_run_bit_for_bit(tmp_path, negatives):
    likeness = None if negatives == "equal" else like()

    def made():
        return module(negatives=negatives, likeness=likeness)

    whole = fit(made(), tmp_path / "whole")
    fit(made(), tmp_path / "part", stop=5)
    assert latest_checkpoint(tmp_path / "part")[1] == 4
    assert (tmp_path / "part" / "step-000000002.ckpt").exists()
    resumed = fit(made(), tmp_path / "part")
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(resumed.state_dict()[name], value, rtol=0, atol=0)
    histories = [(tmp_path / run / "history.jsonl").read_text() for run in ("whole", "part")]
    rows = [[line.split('"seconds"')[0] for line in text.splitlines()] for text in histories]
    assert rows[0] == rows[1]
    assert len(rows[0]) == 2


def test_negatives_are_kept_with_the_places_that_weigh_them(tmp_path):
    places = {}
    for negatives in ("alike", "random"):
        model = fit(module(negatives=negatives, likeness=like()), tmp_path / negatives, stop=2)
        assert int(model.queue.pointer) == 0  # two batches of 8 fill the ring of 16
        places[negatives] = model.queue.places
    expected = torch.cat([like()(batch(0)), like()(batch(1))])
    torch.testing.assert_close(places["alike"], expected)
    # Drawn anew for every step from a normal distribution, whatever the galaxies are.
    assert not torch.isclose(places["random"], expected).any()
    assert not torch.equal(places["random"][:8], places["random"][8:])


def test_weights_of_negatives_add_up_to_the_effective_number():
    model = module(negatives="alike", likeness=like(), likeness_width=0.5, effective_negatives=5)
    mine, log_weights = model._weigh(batch(3))
    torch.testing.assert_close(log_weights.exp().sum(dim=1), torch.full((8,), 5.0))
    # A Gaussian kernel: ratios of weights are those of exp(-distance^2 / (2 width^2)).
    away = [(mine[0] - model.queue.places[n]).square().sum() for n in (0, 1)]
    torch.testing.assert_close(log_weights[0, 0] - log_weights[0, 1], 2 * (away[1] - away[0]))


@pytest.mark.parametrize(("learnt_dim", "seen"), [(4, 4), (0, 8)])
def test_contrast_and_pretext_see_what_is_learnt(learnt_dim, seen):
    model = module(learnt_dim=learnt_dim)
    seen_by = [next(head.parameters()).shape[1] for head in (model.projector, model.pretext.net)]
    assert seen_by == [seen, seen]
    model.training_step(batch(0), 0)["loss"].backward()
    narrow = [p for p in model.encoder.bottleneck.parameters()]
    assert all(p.grad.abs().sum() > 0 for p in narrow)
    assert bool(narrow) == bool(learnt_dim)


def test_going_on_with_another_number_of_processes_is_said(tmp_path, capsys):
    fit(module(), tmp_path, stop=2)
    path, _ = latest_checkpoint(tmp_path)
    for before, said in ((1, False), (2, True)):
        write_checkpoint(path, {**read_checkpoint(path), "processes": before})
        fit(module(), tmp_path, stop=2)
        assert ("2 processes before, 1 now" in capsys.readouterr().out) == said


def test_a_checkpoint_of_another_version_is_refused_by_its_name(tmp_path):
    fit(module(), tmp_path, stop=2)
    path, _ = latest_checkpoint(tmp_path)
    state = read_checkpoint(path)
    write_checkpoint(path, {**state, "format": 3, "made_by": "ssl_photoz 9.1"})
    with pytest.raises(ArtefactError, match=r"was written by ssl_photoz 9\.1.*delete"):
        fit(module(), tmp_path)
    del state["format"], state["made_by"]
    write_checkpoint(path, state)
    with pytest.raises(ArtefactError, match=r"was written by ssl_photoz 0\.1"):
        fit(module(), tmp_path)
    assert path.exists()


def test_a_damaged_checkpoint_is_passed_over_and_none_whole_is_refused(tmp_path, capsys):
    whole = fit(module(), tmp_path / "whole")
    fit(module(), tmp_path / "hurt", stop=5)
    newest, older = sorted((tmp_path / "hurt").glob("*.ckpt"), reverse=True)
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes(content)
    resumed = fit(module(), tmp_path / "hurt")
    assert f"going on from step 2 of 6 ({older.name})" in capsys.readouterr().out
    for name, value in whole.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], value)
    for path in (tmp_path / "hurt").glob("*.ckpt"):
        path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(ArtefactError, match="is whole"):
        fit(module(), tmp_path / "hurt")


def test_a_signal_in_the_last_step_is_not_lost_and_the_run_is_then_done(tmp_path):
    def asked(flux, *, generator, **_):
        if model.global_step == STEPS - 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return noisy(flux, generator=generator)

    model, whole = module(), fit(module(), tmp_path / "whole")
    model.views = asked
    with pytest.raises(StoppedError, match=f"checkpoint written after step {STEPS}"):
        fit(model, tmp_path / "cut")
    resumed = fit(module(), tmp_path / "cut")
    for name, value in whole.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], value)


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT])
def test_a_signal_ends_the_run_after_its_step_with_a_checkpoint(tmp_path, signum):
    sent = []

    def asked(flux, *, generator, **_):
        if model.global_step == 2 and not sent:
            sent.append(os.kill(os.getpid(), signum))
        return noisy(flux, generator=generator)

    model = module()
    model.views = asked
    before = signal.getsignal(signum)
    with pytest.raises(StoppedError, match="checkpoint written after step 3"):
        fit(model, tmp_path)
    assert signal.getsignal(signum) == before
    assert latest_checkpoint(tmp_path)[1] == 3
    resumed = fit(module(), tmp_path)
    whole = fit(module(), tmp_path / "whole")
    for name, value in whole.encoder.state_dict().items():
        torch.testing.assert_close(resumed.encoder.state_dict()[name], value, rtol=0, atol=0)


def test_key_encoder_follows_slowly_and_takes_no_gradient(tmp_path):
    model = module(momentum=0.5)
    fit(model, tmp_path, stop=1)
    key, query = (
        next(m.parameters()) for m in (model.key_encoder.backbone, model.encoder.backbone)
    )
    assert not key.requires_grad
    assert not torch.equal(key, query)
    assert not any(p.requires_grad for p in model.key_projector.parameters())


def test_a_weight_of_zero_leaves_a_loss_out(tmp_path):
    alone = fit(module(contrast_weight=0.0), tmp_path / "pretext", stop=2)
    assert int(alone.queue.pointer) == 0
    plain = fit(module(pretext_weight=0.0, contrast_weight=1.0), tmp_path / "contrast", stop=2)
    assert int(plain.queue.pointer) == 0  # two batches of 8 fill the ring of 16
    assert not torch.equal(plain.queue.keys, alone.queue.keys)


def test_contrast_fades_out_linearly_over_the_run():
    def loss_at(step, fade):
        model = module(pretext_weight=0.0, contrast_weight=1.0, contrast_fade=fade)
        return float(model.training_step(batch(0), step)["loss"].detach())

    assert loss_at(0, 1.0) == loss_at(0, 0.0)
    assert loss_at(3, 1.0) == pytest.approx(0.5 * loss_at(3, 0.0), rel=1e-6)
    assert loss_at(STEPS, 0.5) == pytest.approx(0.5 * loss_at(STEPS, 0.0), rel=1e-6)
    assert loss_at(STEPS, 1.0) == 0


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path):
    model = module()
    model.pretext.measure = lambda flux: flux.mean(dim=(2, 3)) * torch.nan
    with pytest.raises(TrainingError, match="the loss is nan within steps 1 to 2;"):
        fit(model, tmp_path)


def test_a_loss_that_diverges_stops_the_run_and_keeps_the_good_checkpoint(tmp_path):
    model = module()
    heat = model.pretext.measure
    model.pretext.measure = lambda flux: heat(flux) + (4.0 if model.global_step >= 2 else 0.0)
    with pytest.raises(TrainingError, match="diverges: over steps 3 to 3 the mean pretext_loss"):
        fit(model, tmp_path)
    assert latest_checkpoint(tmp_path)[1] == 2


def test_collapse_stops_the_run(tmp_path):
    with pytest.raises(TrainingError, match="collapsed"):
        fit(module(scores=lambda _: {"embedding_std": 0.001}), tmp_path)


@pytest.mark.parametrize(
    "wrong",
    [
        {"contrast_weight": -1},
        {"contrast_fade": 1.5},
        {"contrast_weight": 0, "pretext_weight": 0},
        {"temperature": 0},
        {"queue_size": 0},
        {"likeness_width": 0},
        {"effective_negatives": 0},
        {"momentum": 1.5},
        {"learning_rate": 0},
    ],
)
def test_settings_are_validated(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        MoCoConfig(**wrong)


def test_the_recipe_of_moco_itself_sgd_without_warm_up():
    recipe = {"optimiser": "sgd", "learning_rate": 0.03, "weight_decay": 1e-4, "warmup": 0.0}
    optimizer, scheduler = module(**recipe).configure_optimizers()
    assert isinstance(optimizer, torch.optim.SGD)
    assert optimizer.defaults["momentum"] == 0.9
    rates = []
    for _ in range(STEPS):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert rates[0] == pytest.approx(0.03, rel=0.02)
    # Half a cosine: rates as far before as after the middle add up to the peak.
    sums = [one + other for one, other in zip(rates, rates[::-1], strict=True)]
    assert sums == pytest.approx([0.03] * STEPS, rel=0.02)
    assert rates == sorted(rates, reverse=True)


@pytest.mark.parametrize(("end", "last"), [(0.996, 0.996), (1.0, 1.0)])
def test_the_momentum_ends_where_it_is_told_to(tmp_path, monkeypatch, end, last):
    seen = []
    monkeypatch.setattr("lightly.models.utils.update_momentum", lambda *_, m: seen.append(m))
    fit(module(momentum=0.996, momentum_end=end), tmp_path)
    assert seen[0] == pytest.approx(0.996, abs=1e-4)
    assert seen[-1] == pytest.approx(last, abs=1e-3)
    assert len(set(seen)) == (1 if end == 0.996 else STEPS)


def test_a_recipe_without_a_meaning_is_refused():
    with pytest.raises(ValueError, match="optimiser is 'adam'"):
        MoCoConfig(optimiser="adam")
    with pytest.raises(ValueError, match="must rise"):
        MoCoConfig(momentum=0.99, momentum_end=0.9)
