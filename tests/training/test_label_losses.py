import math

import pytest
import torch

from ssl_photoz.core.errors import DataError
from ssl_photoz.training.label_losses import (
    RankNContrastLoss,
    labelled,
    make_label_loss,
    rank_n_contrast,
)
from ssl_photoz.training.settings import LABEL_LOSSES, LabelLossConfig

GIVEN = {"hidden": 0, "bins": 4}


def made(z, *, seed=0, **changes):
    return make_label_loss(z, LabelLossConfig(**{**GIVEN, **changes}), width=6, seed=seed)


def draw(n=24, *, seed=0):
    draws = torch.Generator().manual_seed(seed)
    return torch.randn(n, 6, generator=draws), 0.5 * torch.rand(n, generator=draws)


def slow_rank_n_contrast(features, target, temperature):
    total, n = 0.0, len(target)
    similar = [[-math.dist(a, b) / temperature for b in features] for a in features.tolist()]
    for i in range(n):
        for j in range(n):
            if j == i:
                continue
            gap = abs(target[i] - target[j])
            farther = [k for k in range(n) if k != i and abs(target[i] - target[k]) >= gap]
            total -= similar[i][j] - math.log(sum(math.exp(similar[i][k]) for k in farther))
    return total / (n * (n - 1))


@pytest.mark.parametrize("levels", [1, 3, 1000])
@pytest.mark.parametrize("temperature", [0.5, 2.0])
def test_rank_n_contrast_is_the_slow_loop(levels, temperature):
    features, z = (value.double() for value in draw(17))
    target = (z * levels).round()  # few levels: many galaxies equally far from each other
    slow = slow_rank_n_contrast(features, target.tolist(), temperature)
    fast = rank_n_contrast(features, target, temperature=temperature)
    assert float(fast) == pytest.approx(slow, rel=1e-9)


def test_its_gradient_is_that_of_finite_differences():
    features, z = (value.double() for value in draw(7))
    features.requires_grad_()
    assert torch.autograd.gradcheck(lambda f: rank_n_contrast(f, z, temperature=2.0), features)


def test_coinciding_galaxies_give_finite_gradients():
    features, z = draw(8)
    features[4:], z[4:] = features[:4].clone(), z[:4]
    features.requires_grad_()
    rank_n_contrast(features, z, temperature=2.0).backward()
    assert torch.isfinite(features.grad).all()
    assert features.grad.abs().max() > 0


def test_following_it_orders_features_by_redshift():
    features, z = draw(40)
    features.requires_grad_()
    loss = RankNContrastLoss(temperature=0.2)
    descent = torch.optim.Adam([features], lr=0.05)
    gap = (z[:, None] - z).abs()

    def agreement():
        apart = torch.cdist(features, features).detach()
        return float(torch.corrcoef(torch.stack([apart.flatten(), gap.flatten()]))[0, 1])

    before = agreement()
    for _ in range(200):
        descent.zero_grad()
        loss(features, z).backward()
        descent.step()
    assert before < 0.3
    assert agreement() > 0.8


def test_rank_order_does_not_depend_on_the_scale_of_features():
    features, z = draw()
    loss = RankNContrastLoss(temperature=0.2)
    scaled = loss(features * torch.tensor([1.0, 10, 100, 1, 1, 1]) + 3, z)
    torch.testing.assert_close(scaled, loss(features, z), rtol=1e-3, atol=0)


def test_regression_is_hubers_loss_on_standardised_targets():
    features, z = draw(200)
    head = made(z, loss="regression")
    torch.nn.init.zeros_(head.net[0].weight)
    torch.nn.init.zeros_(head.net[0].bias)
    target = torch.log1p(z)
    size = ((target - target.mean()) / target.std(correction=0)).abs()
    huber = torch.where(size < 1, size**2 / 2, size - 0.5).mean()
    torch.testing.assert_close(head(features, z), huber, rtol=1e-5, atol=0)


def test_metric_learning_is_supervised_contrast_of_equally_filled_bins():
    features, z = draw(40)
    loss = made(z, loss="metric_learning", temperature=0.5)
    bins = torch.empty(40, dtype=torch.long)
    bins[z.argsort()] = torch.arange(40) // 10
    unit = features / features.norm(dim=1, keepdim=True)
    logits = unit @ unit.T / 0.5
    total = 0.0
    for i in range(40):
        others = [k for k in range(40) if k != i]
        every = torch.logsumexp(logits[i, others], 0)
        total += sum(float(every - logits[i, k]) for k in others if bins[k] == bins[i]) / 9
    assert float(loss(features, z)) == pytest.approx(total / 40, rel=1e-4)


@pytest.mark.parametrize("kind", LABEL_LOSSES)
def test_a_galaxy_without_redshift_has_no_say(kind):
    features, z = draw(60)
    loss = made(z, loss=kind)
    z[::3] = torch.nan
    known, target = labelled(features, z)
    assert len(known) == 40
    torch.testing.assert_close(target, torch.log1p(z[torch.isfinite(z)]))
    features.requires_grad_()
    told = loss(features, z)
    told.backward()
    if kind != "rank_n_contrast":  # whose standardisation is that of the whole batch
        assert (features.grad[::3] == 0).all()
        torch.testing.assert_close(told, loss(known, z[torch.isfinite(z)]))
    assert float(loss(features, torch.full_like(z, torch.nan))) == 0


def test_heads_depend_on_their_seed_alone():
    _, z = draw()
    state = torch.random.get_rng_state()
    one, two, other = (made(z, loss="regression", hidden=5, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(one.net[0].weight, two.net[0].weight)
    assert not torch.equal(one.net[0].weight, other.net[0].weight)


def test_labels_that_cannot_order_are_refused():
    _, z = draw()
    with pytest.raises(DataError, match="24 labelled galaxies do not fill 20 bins"):
        made(z, loss="metric_learning", bins=20)
    for none in (z[:0], z * torch.nan):
        with pytest.raises(DataError, match="no redshifts, or some that are not finite"):
            made(none, loss="regression")


@pytest.mark.parametrize(
    "wrong",
    [
        {"loss": "forest"},
        {"weight": -1},
        {"labelled_share": 1.0},
        {"labelled_share": 0.0},
        {"temperature": 0},
        {"hidden": -1},
        {"bins": 1},
    ],
)
def test_align_settings_are_validated(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        LabelLossConfig(**wrong)
