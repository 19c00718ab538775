import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsRegressor

from ssl_photoz.contrast.health import Health, knn_sigma_nmad, spread
from ssl_photoz.contrast.pretext import PretextHead


def test_spread_is_one_for_a_sphere_and_zero_for_a_point():
    cloud = torch.randn(20_000, 16, generator=torch.Generator().manual_seed(0))
    assert spread(cloud) == pytest.approx(1, abs=0.01)
    assert spread(torch.ones(10, 16)) == pytest.approx(0, abs=1e-6)


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


def test_health_leaves_the_model_in_training_and_unchanged():
    model = torch.nn.Sequential(
        torch.nn.Flatten(), torch.nn.BatchNorm1d(12), torch.nn.Linear(12, 4)
    )
    before = {k: v.clone() for k, v in model.state_dict().items()}
    flux = torch.randn(30, 3, 2, 2)
    scores = Health(known=flux, known_z=torch.rand(30), asked=flux[:0], asked_z=torch.empty(0))(
        model
    )
    assert set(scores) == {"embedding_std"}
    assert model.training
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)


def test_pretext_targets_are_standardised_and_clipped():
    torch.manual_seed(0)
    head = PretextHead(4, mean=torch.tensor([20.0, 1.0]), std=torch.tensor([2.0, 0.5]))
    features = torch.randn(3, 4)
    predicted = head.net(features)
    targets = torch.tensor([[20.0, 1.0], [22.0, 1.5], [1e6, -1e6]])
    wanted = torch.tensor([[0.0, 0.0], [1.0, 1.0], [5.0, -5.0]])
    expected = torch.nn.functional.smooth_l1_loss(predicted, wanted)
    torch.testing.assert_close(head(features, targets), expected)
