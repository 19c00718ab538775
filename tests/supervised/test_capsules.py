"""Capsules: lengths, routing and losses against slow loops and closed forms; classes of light."""

import math

import numpy as np
import pytest
import torch

from ssl_photoz.core.errors import ConfigError, ShapeError
from ssl_photoz.training.supervised.capsules import (
    CapsuleNetwork,
    classes_of,
    concentration,
    margin_loss,
    route,
    squash,
)
from ssl_photoz.training.supervised.heads import RegressionHead
from ssl_photoz.training.supervised.settings import CapsuleConfig

HEAD = RegressionHead.of(np.array([0.05, 0.1, 0.2, 0.3]))
SMALL = {"crop_px": 16, "types": 2, "atoms": 4, "dim": 6}


def make(bands=2, **changes):
    torch.manual_seed(0)
    config = CapsuleConfig(**{**SMALL, **changes})
    return CapsuleNetwork(config, softening=[1.0] * bands, calibrated=True, head=HEAD)


def test_its_weights_are_counted():
    network = CapsuleNetwork(CapsuleConfig(), softening=[1.0] * 3, calibrated=True, head=HEAD)
    stem, cells = 64 * (3 * 9 + 1) + 128, 4 * 4 * (64 * 64 * 9 + 128)
    classes = 8 * (8 * 8 + 4 * 4) * 2 * 8 * 16
    redshift = 64 * 17 + 32 * 65 + 33
    picture = (
        32 * 64 * 17 + 32 * (32 * 9 + 1) + 16 * (32 * 9 + 1) + 8 * (16 * 9 + 1) + 3 * (8 * 9 + 1)
    )
    assert (
        sum(parameter.numel() for parameter in network.parameters())
        == stem + cells + classes + redshift + picture
        == 810_900
    )


def test_squashing_keeps_the_direction_and_bounds_the_length():
    vectors = torch.tensor([[3.0, 4.0], [0.3, 0.4], [0.0, 0.0]])
    found = squash(vectors)
    for one, length in zip(found[:2], (25 / 26, 0.25 / 1.25), strict=True):
        torch.testing.assert_close(one, length * torch.tensor([0.6, 0.8]), rtol=1e-5, atol=1e-6)
    assert torch.equal(found[2], torch.zeros(2))


def slowly_routed(votes, routings):
    """Route as Sabour et al. (2017) write it: capsule by capsule, in plain numbers."""
    batch, count, classes, dim = votes.shape
    out = np.zeros((batch, classes, dim))
    for b in range(batch):
        logit = np.zeros((count, classes))
        for _ in range(routings):
            for j in range(classes):
                total = np.zeros(dim)
                for i in range(count):
                    share = math.exp(logit[i, j]) / sum(math.exp(one) for one in logit[i])
                    total += share * votes[b, i, j]
                length = math.sqrt(sum(total**2))
                out[b, j] = length**2 / (1 + length**2) * total / length
            for i in range(count):
                for j in range(classes):
                    logit[i, j] += float(np.dot(votes[b, i, j], out[b, j]))
    return out


@pytest.mark.parametrize("routings", [1, 2, 4])
def test_routing_agrees_with_a_slow_loop(routings):
    votes = torch.randn(2, 5, 3, 4, dtype=torch.float64)
    found = route(votes, routings=routings)
    np.testing.assert_allclose(found.numpy(), slowly_routed(votes.numpy(), routings), atol=1e-6)


def test_routing_listens_to_those_who_agree():
    votes = torch.zeros(1, 4, 2, 3)
    votes[0, :3, 0] = torch.tensor([1.0, 0.0, 0.0])  # three agree on the first class
    votes[0, :, 1] = torch.eye(4, 3)  # on the second, nobody
    lengths = [route(votes, routings=rounds).norm(dim=2)[0] for rounds in (1, 6)]
    assert lengths[1][0] > lengths[0][0]
    assert lengths[1][1] < lengths[0][1]


def test_the_margin_loss_is_that_of_the_paper():
    length = torch.tensor([[0.95, 0.05], [0.5, 0.4], [0.2, 0.8]])
    each = [0.0, 0.4**2 + 0.5 * 0.3**2, 0.7**2 + 0.5 * 0.7**2]
    found = float(margin_loss(length, torch.tensor([0, 0, 0])))
    assert found == pytest.approx(sum(each) / 3, rel=1e-5)


def test_concentration_is_the_part_of_a_gaussian_within_a_radius():
    side = 64
    place = torch.arange(side) - (side - 1) / 2
    square = place[:, None] ** 2 + place**2
    widths = torch.tensor([2.0, 4.0, 6.0])
    flux = torch.exp(-0.5 * square / widths.view(-1, 1, 1, 1) ** 2).expand(3, 2, -1, -1)
    wanted = [
        (1 - math.exp(-0.5 * (4 / one) ** 2)) / (1 - math.exp(-0.5 * (16 / one) ** 2))
        for one in widths.tolist()
    ]
    np.testing.assert_allclose(concentration(flux).numpy(), wanted, rtol=0.05)  # in whole pixels
    assert classes_of(flux, classes=3).tolist() == [2, 1, 0]


@pytest.mark.parametrize("classes", [1, 2, 3])
def test_classes_are_equally_large(classes):
    label = classes_of(torch.rand(12, 1, 16, 16), classes=classes)
    assert torch.bincount(label).tolist() == [12 // classes] * classes


def test_the_longest_capsule_answers_and_is_drawn_from():
    network = make().eval()
    flux = torch.randn(5, 2, 16, 16)
    with torch.no_grad():
        torch.nn.init.normal_(network.output.weight)
        capsules = network.capsules(network.stretch(flux))
        longest = capsules.norm(dim=2).argmax(dim=1)
        own = torch.stack([one[number] for one, number in zip(capsules, longest, strict=True)])
        assert torch.equal(network(flux), network.answer(own))
        assert network.draw(own).shape == flux.shape
    assert (capsules.norm(dim=2) < 1).all()


def test_the_loss_adds_class_and_picture_by_their_weights():
    flux, z = torch.randn(8, 2, 16, 16), torch.full((8,), 0.1)
    total, alone, no_picture = (
        make(margin=m, reconstruction=r).loss(flux, z, HEAD).item()
        for m, r in ((0.5, 0.1), (0.0, 0.0), (0.5, 0.0))
    )
    head = HEAD.loss(torch.zeros(8), z)
    assert alone == pytest.approx(float(head))
    assert alone < no_picture < total


def test_only_cutouts_of_its_size_are_taken():
    with pytest.raises(ShapeError, match=r"\(2, 16, 16\)"):
        make()(torch.zeros(1, 2, 32, 32))
    with pytest.raises(ConfigError, match="expected 16, 32"):
        CapsuleConfig(crop_px=40)
