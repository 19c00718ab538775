"""Redshift bins: labels, losses and medians against closed forms; heads described and rebuilt."""

import json

import numpy as np
import pytest
import torch
from scipy.stats import norm

from ssl_photoz.core.errors import ArtefactError
from ssl_photoz.training.supervised.heads import BinnedHead, describe, head_for, head_from
from ssl_photoz.training.supervised.network import SmallCNN
from ssl_photoz.training.supervised.settings import HeadConfig, SmallCNNConfig

Z = np.random.default_rng(0).uniform(0.02, 0.4, 500)
BINS = BinnedHead.of(Z, HeadConfig(bins=20))


def test_bins_are_even_in_ln_one_plus_z_and_span_the_training_redshifts():
    assert np.ptp(np.diff(BINS.edges)) < 1e-12
    assert np.expm1([BINS.edges[0], BINS.edges[-1]]) == pytest.approx([Z.min(), Z.max()])
    counts = [
        np.sum((np.log1p(Z) >= low) & (np.log1p(Z) < high))
        for low, high in zip(BINS.edges[:-1], BINS.edges[1:], strict=True)
    ]
    counts[-1] += 1  # the greatest redshift is in the last bin
    np.testing.assert_allclose(BINS.shares, (np.array(counts) + 1) / (len(Z) + 20))


def test_a_label_is_the_bin_that_a_redshift_is_in():
    labels = BINS.labels(torch.from_numpy(Z)).numpy()
    for label, known in zip(labels, np.log1p(Z), strict=True):
        number = int(np.argmax(label))
        assert label.sum() == label[number] == 1
        assert BINS.edges[number] - 1e-7 <= known <= BINS.edges[number + 1] + 1e-7
    beyond = BINS.labels(torch.tensor([0.0, 3.0]))
    assert beyond.argmax(dim=1).tolist() == [0, 19]


def test_wide_labels_are_gaussians():
    soft = BinnedHead.of(Z, HeadConfig(bins=20, label_width=1.5))
    label = soft.labels(torch.tensor([0.2], dtype=torch.float64))[0].numpy()
    edges = np.array(soft.edges)
    centres, width = (edges[1:] + edges[:-1]) / 2, edges[1] - edges[0]
    wanted = norm.pdf(centres, np.log1p(0.2), 1.5 * width)
    np.testing.assert_allclose(label, wanted / wanted.sum(), atol=1e-6)


def test_the_loss_is_the_cross_entropy_and_starts_at_the_entropy_of_the_shares():
    z = torch.from_numpy(Z)
    answer = BINS.start().expand(len(Z), -1)
    number = np.clip(np.digitize(np.log1p(Z), BINS.edges) - 1, 0, 19)
    wanted = -np.mean([np.log(BINS.shares[one]) for one in number])
    assert float(BINS.loss(answer, z)) == pytest.approx(wanted, rel=1e-5)


def test_the_estimate_is_the_median():
    share = np.zeros((2, 20))
    share[0, 7] = 1
    share[1, [0, 1]] = 0.2, 0.8
    width = BINS.edges[1] - BINS.edges[0]
    found = BINS.ln_one_plus_z(share)
    assert found[0] == pytest.approx((BINS.edges[7] + BINS.edges[8]) / 2)
    assert found[1] == pytest.approx(BINS.edges[1] + 0.3 / 0.8 * width)
    assert BINS.ln_one_plus_z(np.empty((0, 20))).shape == (0,)


def test_orientations_are_averaged_as_probabilities():
    answers = torch.randn(4, 3, 20)
    wanted = np.exp(answers.double().numpy())
    wanted = (wanted / wanted.sum(axis=2, keepdims=True)).mean(axis=0)
    np.testing.assert_allclose(BINS.averaged(answers).numpy(), wanted)


def test_one_redshift_is_enough_to_make_bins():
    lonely = BinnedHead.of(np.array([0.1, 0.1]), HeadConfig(bins=4))
    assert lonely.labels(torch.tensor([0.1], dtype=torch.float64)).argmax() == 0
    assert np.all(np.diff(lonely.edges) > 0)


@pytest.mark.parametrize("kind", ["regression", "bins", "nearby"])
def test_a_head_comes_back_from_json(kind):
    head = head_for(Z, HeadConfig(kind, 6, 0.5))
    assert head_from(json.loads(json.dumps(describe(head)))) == head


@pytest.mark.parametrize("wrong", [{"kind": "oracle"}, {"kind": "bins", "width": 1}, {}])
def test_what_is_no_head_is_said(wrong):
    with pytest.raises(ArtefactError, match="not a description of a head"):
        head_from(wrong)


def test_a_small_network_that_is_asked_for_bins_starts_at_their_shares():
    network = SmallCNN(SmallCNNConfig(), softening=[1.0], calibrated=True, head=BINS).eval()
    torch.nn.init.zeros_(network.output.weight)
    answer = network(torch.randn(3, 1, 32, 32))
    torch.testing.assert_close(answer.softmax(1), torch.tensor(BINS.shares).expand(3, -1))
