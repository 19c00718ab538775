"""Every architecture: shapes, gradients everywhere, 64 SIMULATED galaxies learnt by heart."""

import numpy as np
import pytest
import torch

from ssl_photoz.encoders.settings import ModalityConfig, plain
from ssl_photoz.training.supervised.build import NETWORKS as OTHERS
from ssl_photoz.training.supervised.build import build, make_network
from ssl_photoz.training.supervised.heads import head_for
from ssl_photoz.training.supervised.predict import predict
from ssl_photoz.training.supervised.settings import (
    ENCODERS,
    CapsuleConfig,
    HeadConfig,
    ModelConfig,
)

GALAXIES, SIDE = 64, 40
TINY = CapsuleConfig(crop_px=32, types=4, atoms=4)
MODALITIES = ModalityConfig(width=8)
NETWORKS = sorted([*ENCODERS, *OTHERS])
HEADS = ("regression", "bins")
STEPS = {"resnet": 25, "multimodal": 40, "small_cnn": 45, "capsules": 60}


def sky():
    """SIMULATED: noisy blobs whose colour and size tell their redshift."""
    rng = np.random.default_rng(0)
    z = rng.uniform(0.05, 0.4, GALAXIES)
    x = np.arange(SIDE) - (SIDE - 1) / 2
    square = x[:, None] ** 2 + x**2
    blob = np.exp(-square / (2 * (2 + 0.3 / z[:, None, None]) ** 2))
    flux = np.stack([blob, 4 * z[:, None, None] * blob, blob / (1 + z[:, None, None])], axis=1)
    return torch.from_numpy(flux + 0.02 * rng.normal(size=flux.shape)).float(), z


FLUX, Z = sky()


def make(kind, head):
    return make_network(
        ModelConfig(kind, encoder=plain(crop_px=33, modalities=MODALITIES), capsules=TINY),
        head,
        about={"bands": ("g", "r", "z"), "pixscale_arcsec": 0.262, "calibrated": True},
        size_px=SIDE,
        noise=np.full(3, 0.02, "f4"),
        seed=0,
    )


def asked(kind):
    return head_for(Z, HeadConfig(kind, 10, 0.5))


def central(side):
    start = (SIDE - side) // 2
    return FLUX[..., start : start + side, start : start + side]


def step(network, head, optimiser):
    torch.manual_seed(0)
    loss = network.loss(central(network.input_shape[-1]), torch.from_numpy(Z).float(), head)
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    return loss.item()


@pytest.mark.parametrize("asked_for", HEADS)
@pytest.mark.parametrize("kind", NETWORKS)
def test_answers_have_the_shape_asked_for_and_start_from_the_training_redshifts(kind, asked_for):
    head = asked(asked_for)
    network = make(kind, head).eval()
    crop = central(network.input_shape[-1])
    with torch.no_grad():
        answer = network(crop)
    assert answer.shape == ((GALAXIES,) if asked_for == "regression" else (GALAXIES, 10))
    if kind != "small_cnn":
        torch.testing.assert_close(answer[0], head.start().squeeze())


@pytest.mark.parametrize("kind", NETWORKS)
def test_every_weight_gets_a_gradient(kind):
    head = asked("bins")
    network = make(kind, head).train()
    optimiser = torch.optim.SGD(network.parameters(), lr=0.1)
    for _ in range(3):  # outputs start at zero, and so do residual branches
        step(network, head, optimiser)
    silent = [
        name
        for name, weight in network.named_parameters()
        if weight.grad is None or not weight.grad.abs().sum() > 0
    ]
    assert silent == []


@pytest.mark.slow
@pytest.mark.parametrize("kind", NETWORKS)
def test_sixty_four_galaxies_are_learnt_by_heart(kind):
    head = asked("regression")
    network = make(kind, head).train()
    for module in network.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 0.5  # so few steps are not enough for running means at 0.1
    optimiser = torch.optim.AdamW(network.parameters(), lr=2e-3)
    crop = central(network.input_shape[-1])
    for _ in range(STEPS[kind]):
        step(network, head, optimiser)
    found = predict(network, [crop], head=head, orientations=1)
    truth = np.log1p(Z)
    assert np.std(found - truth) < 0.25 * np.std(truth)


@pytest.mark.parametrize("kind", NETWORKS)
def test_a_plan_and_its_weights_are_the_network(kind):
    head = asked("bins")
    network = make(kind, head)
    again = build(network.plan)
    again.load_state_dict(network.state_dict())
    crops = [central(network.input_shape[-1])[:8]]
    same = [predict(one, crops, head=head, orientations=2) for one in (network, again)]
    np.testing.assert_array_equal(*same)
