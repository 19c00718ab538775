"""The loss of a head, and how labels are widened and moved, against loops and closed forms."""

import numpy as np
import pytest
import torch
from scipy.stats import norm

from ssl_photoz.photoz.bias import head as adjusting
from ssl_photoz.photoz.bias.head import Labels, cross_entropy, soft

G, K = 12, 2


def test_soft_labels_are_gaussians_and_hard_ones_a_single_bin():
    label = soft(torch.tensor([[4.3, 7.6], [-5.0, 99.0]]), torch.tensor([1.5, 0.0]), G).numpy()
    wanted = norm.pdf(np.arange(G), 4.3, 1.5)
    np.testing.assert_allclose(label[0, 0], wanted / wanted.sum(), rtol=1e-4)
    np.testing.assert_allclose(label[0, 1], np.eye(G)[8], atol=1e-6)
    assert label[1, 0].argmax() == 0
    assert label[1, 1].argmax() == G - 1
    np.testing.assert_allclose(label.sum(axis=-1), 1, rtol=1e-5)


def test_the_loss_is_that_of_a_slow_loop():
    rng = np.random.default_rng(0)
    answers = rng.normal(size=(3, 5, K * G + K))
    labels = Labels(
        rng.uniform(0, G - 1, (5, K)),
        np.array([[1, 0], [1, 1], [0, 1], [1, 0], [1, 1.0]]),
        rng.uniform(0.5, 2, 5),
    )
    width, total = np.array([1.0, 2.0]), 0.0

    def log_softmax(logits):
        return logits - np.log(np.exp(logits).sum())

    for member in answers:
        for n in range(5):
            lost = 0.0
            for k in range(K):
                label = np.full(G, 1 / G)
                if labels.member[n, k]:
                    label = norm.pdf(np.arange(G), labels.centre[n, k], width[k])
                    label = label / label.sum()
                lost -= label @ log_softmax(member[n, k * G : (k + 1) * G])
            share = labels.member[n] / labels.member[n].sum()
            lost -= share @ log_softmax(member[n, K * G :])
            total += labels.weight[n] * lost / 5
    got = cross_entropy(
        torch.from_numpy(answers).float(), labels.tensor(), width=torch.from_numpy(width).float()
    )
    assert float(got) == pytest.approx(total, rel=1e-4)


def test_the_width_of_labels_is_what_estimates_lack():
    rng = np.random.default_rng(1)
    phot = rng.choice([20.0, 35, 50, 60], 20_000)
    spec = phot + 3.0 * rng.normal(size=20_000)
    width = adjusting.label_width(phot, spec, np.ones(20_000), 80)
    assert width == pytest.approx(3.0, rel=0.05)


def test_scatter_is_that_of_gaussian_residuals_and_the_labels():
    rng = np.random.default_rng(2)
    spec = rng.uniform(0, 60, 40_000)
    phot = spec + 2.0 * rng.normal(size=40_000)
    said = adjusting.scatter(phot, spec, np.ones(40_000), 1.5, 60)
    np.testing.assert_allclose(said, np.hypot(2.0, 1.5), rtol=0.04)


def test_the_pull_of_a_gaussian_crowd_is_known():
    place, centre, spread, width = np.arange(200), 100.0, 12.0, 6.0
    pulled = adjusting.pull(norm.pdf(place, centre, spread), np.full(200, width))
    wanted = (centre - place) * width**2 / (width**2 + spread**2)
    np.testing.assert_allclose(pulled[60:141], wanted[60:141], atol=0.01)


def test_an_even_crowd_pulls_at_its_ends_only():
    pulled = adjusting.pull(np.ones(100), np.full(100, 4.0))
    np.testing.assert_allclose(pulled[25:75], 0, atol=1e-6)
    assert pulled[0] == pytest.approx(4 * np.sqrt(2 / np.pi), rel=0.15)
    assert pulled[-1] == pytest.approx(-pulled[0])
