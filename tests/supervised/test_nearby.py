"""The head that tells nearby galaxies, against closed forms and the published loss."""

import math

import numpy as np
import pytest
import torch

from ssl_photoz.core.errors import DataError
from ssl_photoz.training.supervised.heads import NearbyHead
from ssl_photoz.training.supervised.settings import NearbyConfig

Z = np.array([0.01, 0.02, 0.1, 0.2, 0.3, 0.4, 0.2, 0.1, 0.3, 0.5])  # 2 of 10 are nearby
LOGITS = torch.tensor([2.0, -1.0, 0.5, -3.0])
REDSHIFTS = torch.tensor([0.01, 0.02, 0.1, 0.2])


def head(balance="none", gamma=2.0):
    return NearbyHead.of(Z, NearbyConfig(z_max=0.03, balance=balance, gamma=gamma))


def p_right():
    p = [1 / (1 + math.exp(-logit)) for logit in LOGITS.tolist()]
    return [p[0], p[1], 1 - p[2], 1 - p[3]]


def test_the_plain_loss_is_the_mean_log_probability():
    wanted = -sum(math.log(p) for p in p_right()) / 4
    assert float(head().loss(LOGITS, REDSHIFTS)) == pytest.approx(wanted)


@pytest.mark.parametrize("gamma", [0.0, 1.0, 2.0])
def test_the_focal_loss_is_the_published_one(gamma):
    wanted = -sum((1 - p) ** gamma * math.log(p) for p in p_right()) / 4
    assert float(head("focal", gamma).loss(LOGITS, REDSHIFTS)) == pytest.approx(wanted)


def test_weights_make_both_kinds_count_the_same():
    logit = torch.zeros(10, requires_grad=True)
    head("weighted").loss(logit, torch.from_numpy(Z).float()).backward()
    near = Z < 0.03
    pull = logit.grad.numpy()
    assert pull[near].sum() == pytest.approx(-pull[~near].sum())
    assert pull[near].sum() < 0


def test_it_starts_from_the_share_of_the_training_galaxies():
    assert float(head().start().sigmoid()) == pytest.approx(0.2)
    assert float(head("weighted").start().sigmoid()) == pytest.approx(0.5)


def test_probabilities_are_averaged_not_logits():
    answers = torch.tensor([[4.0], [-1.0]])
    wanted = (1 / (1 + math.exp(-4)) + 1 / (1 + math.exp(1))) / 2
    assert float(head().averaged(answers)) == pytest.approx(wanted)


def test_a_likelier_galaxy_is_nearer():
    asked = head()
    answer = asked.ln_one_plus_z(np.array([0.0, 0.2, 1.0]))
    assert answer[0] == pytest.approx(np.log1p(Z[Z >= 0.03]).mean())
    assert answer[1] == pytest.approx(np.log1p(Z).mean())
    assert answer[2] == pytest.approx(np.log1p(Z[Z < 0.03]).mean())


@pytest.mark.parametrize("z_max", [0.001, 9.0])
def test_it_wants_both_kinds(z_max):
    with pytest.raises(DataError, match="expected some, not all"):
        NearbyHead.of(Z, NearbyConfig(z_max=z_max))
