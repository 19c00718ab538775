"""Gradient reversal by hand; a discriminator that learns, and one that is fooled."""

import math

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn

from ssl_photoz.core.errors import ShapeError
from ssl_photoz.training.transfer.adversary import (
    Adversary,
    PairDiscriminator,
    ramp,
    reverse_gradient,
)


@pytest.mark.parametrize("strength", [0.0, 0.3, 2.0])
def test_reversal_is_the_identity_forward_and_minus_the_gradient_backward(strength):
    torch.manual_seed(0)
    features, weights = torch.randn(5, 3, requires_grad=True), torch.randn(3)
    same = reverse_gradient(features, strength)
    assert torch.equal(same, features)
    (same.square() @ weights).sum().backward()
    by_hand = -strength * 2 * features.detach() * weights
    torch.testing.assert_close(features.grad, by_hand)


def test_the_ramp_goes_from_nothing_to_nearly_all():
    assert ramp(0.0) == 0.0
    assert ramp(1.0) == pytest.approx(math.tanh(5.0))
    assert ramp(0.3) == pytest.approx(math.tanh(1.5))


def test_a_discriminator_without_weights_is_at_chance():
    adversary = Adversary(4, strength=1.0, steps=10, seed=0)
    for parameter in adversary.discriminator.parameters():
        nn.init.zeros_(parameter)
    known = torch.arange(12) < 6
    loss = adversary(torch.randn(12, 4), known, step=3)
    assert loss.item() == pytest.approx(math.log(2))


def test_each_pair_is_judged_both_ways_round():
    torch.manual_seed(1)
    adversary = Adversary(3, strength=0.0, steps=10, seed=0)
    features, known = torch.randn(8, 3), torch.tensor([True, False] * 4)
    judge, expected = adversary.discriminator, []
    for first, second in zip(features[known], features[~known], strict=True):
        right = torch.sigmoid(judge(first[None], second[None]))
        wrong = torch.sigmoid(judge(second[None], first[None]))
        expected += [-math.log(right.item()), -math.log(1 - wrong.item())]
    assert adversary(features, known, step=0).item() == pytest.approx(np.mean(expected), rel=1e-5)
    with pytest.raises(ShapeError, match="3 galaxies and 5 partners"):
        adversary(features, torch.arange(8) < 3, step=0)


def fields(n, *, seed):
    """Two surveys: the second feature tells the redshift, the first only the survey."""
    generator = torch.Generator().manual_seed(seed)
    flux = torch.randn(2 * n, 4, generator=generator)
    known = torch.arange(2 * n) < n
    flux[:, 0] += torch.where(known, 2.0, -2.0)
    return flux, known


def told_apart(trunk):
    """A new classifier's share of right answers on the features of two surveys."""
    (flux, known), (other, truth) = fields(500, seed=100), fields(500, seed=101)
    with torch.no_grad():
        judge = LogisticRegression().fit(trunk(flux).numpy(), known.numpy())
        return judge.score(trunk(other).numpy(), truth.numpy())


@pytest.mark.parametrize(("strength", "fooled"), [(0.0, False), (1.0, True)])
def test_features_lose_the_survey_and_keep_the_redshift(strength, fooled):
    steps = 150
    torch.manual_seed(2)
    trunk, head = nn.Linear(4, 3), nn.Linear(3, 1)
    adversary = Adversary(3, strength=strength, steps=steps, seed=3)
    parameters = [*trunk.parameters(), *head.parameters(), *adversary.parameters()]
    optimiser = torch.optim.Adam(parameters, lr=0.02)
    for step in range(steps):
        flux, known = fields(64, seed=step)
        features = trunk(flux)
        loss = (head(features).squeeze(1) - flux[:, 1])[known].square().mean()
        loss = loss + adversary(features, known, step=step)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    flux, known = fields(500, seed=999)
    with torch.no_grad():
        error = (head(trunk(flux)).squeeze(1) - flux[:, 1]).square().mean()
    assert error < 0.05
    assert (told_apart(trunk) < 0.6) == fooled
    assert (float(adversary.told_apart) < 0.65) == fooled


def test_its_weights_come_from_the_seed_and_nothing_global_changes():
    before = torch.get_rng_state()
    one, same, other = (Adversary(4, strength=1.0, steps=9, seed=seed) for seed in (5, 5, 6))
    assert torch.equal(torch.get_rng_state(), before)
    pairs = [
        (a, b, c)
        for a, b, c in zip(one.parameters(), same.parameters(), other.parameters(), strict=True)
    ]
    assert all(torch.equal(a, b) for a, b, _ in pairs)
    assert not all(torch.equal(a, c) for a, _, c in pairs)


def test_every_weight_of_the_discriminator_gets_a_gradient():
    torch.manual_seed(0)
    judge = PairDiscriminator(5)
    judge(torch.randn(20, 5), torch.randn(20, 5)).square().mean().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in judge.parameters())
