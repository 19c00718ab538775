import math

import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsRegressor
from torch.nn import functional as F

from ssl_photoz.core.errors import TrainingError
from ssl_photoz.training.health import (
    BLIND_PRETEXT,
    OnlineKNN,
    effective_rank,
    knn_sigma_nmad,
    require_sane_loss,
    spread,
)
from ssl_photoz.training.moco import PretextHead, PretextTargets, info_nce


def test_spread_is_one_for_a_sphere_and_zero_for_a_point():
    cloud = torch.randn(20_000, 16, generator=torch.Generator().manual_seed(0))
    assert spread(cloud) == pytest.approx(1, abs=0.01)
    assert spread(torch.ones(10, 16)) == pytest.approx(0, abs=1e-6)


def test_effective_rank_counts_directions():
    basis = torch.linalg.qr(torch.randn(64, 64, generator=torch.Generator().manual_seed(0)))[0]
    signs = torch.cat([torch.eye(7), -torch.eye(7)])
    assert effective_rank(signs @ basis[:7] + 3) == pytest.approx(7, rel=1e-5)
    # Two directions, one with three times the singular value: entropy of (3/4, 1/4).
    two = torch.tensor([[3.0, 0], [-3, 0], [0, 1], [0, -1]])
    expected = math.exp(-(0.75 * math.log(0.75) + 0.25 * math.log(0.25)))
    assert effective_rank(two) == pytest.approx(expected)
    assert effective_rank(torch.ones(5, 3)) == pytest.approx(1)


def test_knn_score_agrees_with_scikit_learn():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(300, 5)).astype("f4")
    z = (0.3 + 0.1 * features[:, 0] + 0.02 * rng.normal(size=300)).clip(0.01).astype("f4")
    known, asked = slice(0, 200), slice(200, 300)
    scaled = (features - features[known].mean(0)) / features[known].std(0, ddof=1)
    scaled /= np.linalg.norm(scaled, axis=1, keepdims=True)
    rival = KNeighborsRegressor(10).fit(scaled[known], np.log1p(z[known].astype("f8")))
    dz = (np.expm1(rival.predict(scaled[asked])) - z[asked]) / (1 + z[asked])
    expected = 1.4826 * np.median(np.abs(dz - np.median(dz)))
    got = knn_sigma_nmad(
        *(torch.from_numpy(a) for a in (features[known], z[known], features[asked], z[asked]))
    )
    assert got == pytest.approx(expected, rel=1e-3)


class SmallEncoder(torch.nn.Module):
    """Four features, and a bottleneck of two."""

    def __init__(self):
        super().__init__()
        flat, norm = torch.nn.Flatten(), torch.nn.BatchNorm1d(12)
        self.backbone = torch.nn.Sequential(flat, norm, torch.nn.Linear(12, 4))
        narrow = torch.nn.Linear(4, 2, bias=False), torch.nn.BatchNorm1d(2, affine=False)
        self.bottleneck = torch.nn.Sequential(*narrow)

    def forward(self, flux):
        return self.backbone(flux)


def test_what_is_scored_is_what_is_learnt():
    torch.manual_seed(0)
    model, flux = SmallEncoder(), torch.randn(30, 3, 2, 2)
    none = {"asked": flux[:0], "asked_z": torch.empty(0)}
    scores = OnlineKNN(known=flux, known_z=torch.rand(30), **none)(model)
    with torch.no_grad():
        learnt = model.eval().bottleneck(model(flux))
    # bfloat16 has 8 bits.
    assert scores["embedding_std"] == pytest.approx(spread(learnt), rel=0.02)
    assert scores["effective_rank"] == pytest.approx(effective_rank(learnt), rel=0.02)
    assert scores["effective_rank"] <= 2


def test_health_leaves_the_model_in_training_and_unchanged():
    model = SmallEncoder()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    flux = torch.randn(30, 3, 2, 2)
    scores = OnlineKNN(known=flux, known_z=torch.rand(30), asked=flux[:0], asked_z=torch.empty(0))(
        model
    )
    assert set(scores) == {"embedding_std", "effective_rank"}
    assert model.training
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)


def test_pretext_targets_are_standardised_and_clipped():
    torch.manual_seed(0)
    mean, std = torch.tensor([20.0, 1.0]), torch.tensor([2.0, 0.5])
    head = PretextHead(4, PretextTargets(lambda measured: measured, mean=mean, std=std))
    features = torch.randn(3, 4)
    predicted = head.net(features)
    targets = torch.tensor([[20.0, 1.0], [22.0, 1.5], [1e6, -1e6]])
    wanted = torch.tensor([[0.0, 0.0], [1.0, 1.0], [5.0, -5.0]])
    expected = torch.nn.functional.smooth_l1_loss(predicted, wanted)
    torch.testing.assert_close(head(features, targets), expected)


def test_a_loss_that_is_not_finite_is_an_error():
    for value in (math.nan, math.inf):
        means = {"loss": value, "contrastive_loss": 0.0, "pretext_loss": 0.0}
        with pytest.raises(TrainingError, match=f"the loss is {value} within steps 1 to 9"):
            require_sane_loss(means, queue_size=64, steps="steps 1 to 9")


def test_losses_far_above_those_of_knowing_nothing_are_an_error():
    draws = torch.randn(200_000, generator=torch.Generator().manual_seed(0))
    blind = float(torch.nn.functional.smooth_l1_loss(torch.zeros_like(draws), draws))
    assert pytest.approx(blind, rel=0.01) == BLIND_PRETEXT
    alike = F.normalize(torch.ones(64, 4), dim=1)
    worst, _ = info_nce(alike[:9], alike[:9], alike, temperature=0.1)
    means = {"loss": 1.0, "contrastive_loss": float(worst), "pretext_loss": blind}
    require_sane_loss(means, queue_size=64, steps="")
    for name in ("contrastive_loss", "pretext_loss"):
        with pytest.raises(TrainingError, match=f"diverges: .* {name}"):
            require_sane_loss({**means, name: 3.1 * means[name]}, queue_size=64, steps="")
