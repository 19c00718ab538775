"""The networks: their sizes, what they are fed, what they answer."""

import numpy as np
import pytest
import torch

from ssl_photoz.core.errors import MismatchError, ShapeError
from ssl_photoz.encoders.readout import SYMMETRIES
from ssl_photoz.encoders.settings import EncoderConfig
from ssl_photoz.training.supervised.build import make_network
from ssl_photoz.training.supervised.heads import RegressionHead
from ssl_photoz.training.supervised.network import Regressor, SmallCNN
from ssl_photoz.training.supervised.predict import predict
from ssl_photoz.training.supervised.settings import ModelConfig, SmallCNNConfig, SupervisedConfig
from ssl_photoz.training.supervised.training import rate_factor, schedule

HEAD = RegressionHead.of(np.array([0.05, 0.1, 0.2, 0.3]))


def small_cnn(bands=3, binning=1):
    torch.manual_seed(0)
    config = SmallCNNConfig(binning)
    return SmallCNN(config, softening=[1.0] * bands, calibrated=True, head=HEAD)


def make(
    kind="small_cnn", *, size_px=64, bands=("g", "r", "z"), calibrated=True, binning=1, **changes
):
    given = {
        "about": {"bands": bands, "pixscale_arcsec": 0.262, "calibrated": calibrated},
        "size_px": size_px,
        "noise": np.full(len(bands), 0.01, "f4"),
        "seed": 0,
        **changes,
    }
    own = {"encoder": EncoderConfig(crop_px=40), "small_cnn": SmallCNNConfig(binning)}
    return make_network(ModelConfig(kind, **own), HEAD, **given)


def count(network):
    return sum(parameter.numel() for parameter in network.parameters())


def test_the_small_network_has_the_weights_of_the_papers():
    layers = 32 * (5 * 5 * 5 + 1), 64 * (5 * 5 * 32 + 1), 220 * 1601, 64 * 221, 65
    assert layers == (4032, 51264, 352220, 14144, 65)
    assert count(small_cnn(bands=5)) == sum(layers) == 421_725


@pytest.mark.parametrize("bands", [1, 3, 4])
def test_another_band_costs_800_weights_of_the_first_convolution(bands):
    assert count(small_cnn(bands=bands)) == 421_725 - (5 - bands) * 5 * 5 * 32


def test_the_sigmoid_spans_zero_to_a_margin_beyond_the_greatest_redshift():
    network = small_cnn()
    flux = torch.zeros(1, 3, 32, 32)
    for bias, z in ((-200.0, 0.0), (200.0, 1.05 * 0.3)):
        torch.nn.init.constant_(network.output.bias, bias)
        answer = network.eval()(flux).item() * HEAD.scale + HEAD.centre
        assert np.expm1(answer) == pytest.approx(z, abs=1e-6)


def test_both_networks_start_from_the_mean():
    flux = torch.randn(20, 3, 64, 64)
    resnet = make("resnet").train()
    torch.testing.assert_close(resnet(flux[..., :40, :40]), torch.zeros(20))
    cnn = make().eval()
    torch.nn.init.zeros_(cnn.output.weight)
    torch.testing.assert_close(cnn(flux[..., :32, :32]), torch.zeros(20), atol=1e-5, rtol=0)


def test_every_weight_that_is_trained_has_a_gradient():
    """Several processes would wait for one that never comes, such as a bottleneck's."""
    network = make("resnet").train()
    network(torch.randn(4, 3, 40, 40)).sum().backward()
    trained = {name: one for name, one in network.named_parameters() if one.requires_grad}
    assert [name for name, one in trained.items() if one.grad is None] == []
    assert not any(name.startswith("trunk.bottleneck") for name in trained)
    assert network.trunk.config.learnt_dim > 0


def test_binning_is_a_mean_of_flux_before_the_stretch():
    fine, coarse = small_cnn(binning=2).eval(), small_cnn().eval()
    fine.load_state_dict(coarse.state_dict())
    flux = 10 * torch.randn(4, 3, 64, 64)
    means = flux.reshape(4, 3, 32, 2, 32, 2).mean(dim=(3, 5))
    torch.testing.assert_close(fine(flux), coarse(means))
    with pytest.raises(ShapeError, match=r"\(3, 64, 64\)"):
        fine(flux[..., :32, :32])


def test_dropout_is_on_in_training_alone():
    flux = torch.randn(8, 3, 32, 32)
    network = small_cnn()
    assert not torch.equal(network(flux), network(flux))
    network.eval()
    assert torch.equal(network(flux), network(flux))


def test_weights_depend_on_the_seed_alone():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    for kind in ("small_cnn", "resnet"):
        one, same, other = (make(kind, seed=seed).state_dict() for seed in (0, 0, 1))
        assert all(torch.equal(one[name], same[name]) for name in one)
        assert any(not torch.equal(one[name], other[name]) for name in one)
    assert torch.equal(before, torch.get_rng_state())


def test_the_stretch_is_in_units_of_noise_and_linear_for_display_values():
    for kind in ("small_cnn", "resnet"):
        network = make(kind, noise=np.array([0.01, 0.02, 0.03], "f4"))
        stretch = network.stretch if kind == "small_cnn" else network.trunk.stretch
        assert stretch.softening.ravel().tolist() == pytest.approx([0.03, 0.06, 0.09])
        display = make(kind, calibrated=False)
        stretch = display.stretch if kind == "small_cnn" else display.trunk.stretch
        flux = torch.rand(1, 3, 4, 4)
        torch.testing.assert_close(stretch(flux), 4 * flux)


def test_cutouts_that_do_not_fit_are_refused():
    with pytest.raises(MismatchError, match=r"sees 64 px .* are 48 px"):
        make(size_px=48, binning=2)
    with pytest.raises(MismatchError, match="sees crops of 40 px"):
        make("resnet", size_px=36)
    other = make("resnet", bands=("g", "r", "i")).trunk
    with pytest.raises(MismatchError, match="bands"):
        make("resnet", pretrained=other)


def test_a_pretrained_encoder_is_taken_as_it_is():
    encoder = make("resnet", seed=5).trunk
    network = make("resnet", pretrained=encoder)
    assert isinstance(network, Regressor)
    assert network.trunk is encoder


def test_standardising_is_undone_and_kept_within_the_known_redshifts():
    z = np.array([0.05, 0.1, 0.2, 0.3])
    standardised = HEAD.standardised(torch.from_numpy(z))
    assert float(standardised.mean()) == pytest.approx(0, abs=1e-12)
    assert float(standardised.std(correction=0)) == pytest.approx(1)
    np.testing.assert_allclose(HEAD.ln_one_plus_z(standardised.numpy()), np.log(1 + z))
    np.testing.assert_allclose(HEAD.ln_one_plus_z([-99.0, 99.0]), np.log([1.05, 1.3]))


@pytest.mark.parametrize("orientations", [1, 2, 8])
def test_predictions_are_means_over_exact_orientations(orientations):
    network = small_cnn()
    flux = 3 * torch.randn(5, 3, 32, 32)
    answers = []
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        for quarters, flip in SYMMETRIES[:orientations]:
            turned = np.rot90(flux.numpy(), quarters, axes=(2, 3))
            turned = turned[..., ::-1] if flip else turned
            answers.append(network.eval()(torch.from_numpy(turned.copy())).numpy())
    expected = HEAD.ln_one_plus_z(np.mean(answers, axis=0))
    batches = [flux[:2], flux[2:]]
    found = predict(network.train(), batches, head=HEAD, orientations=orientations)
    np.testing.assert_allclose(found, expected, atol=2e-4)
    assert predict(network, [], head=HEAD).shape == (0,)


def test_turning_a_galaxy_does_not_change_the_mean_of_eight_orientations():
    network = small_cnn()
    flux = 3 * torch.randn(5, 3, 32, 32)
    one, turned = (
        predict(network, [image], head=HEAD) for image in (flux, flux.rot90(1, dims=(2, 3)))
    )
    np.testing.assert_allclose(one, turned, atol=1e-6)


@pytest.mark.parametrize(
    ("labels", "given", "expected"),
    [
        (12_800, {"epochs": 30, "batch_size": 256, "least_steps": 0}, (256, 50)),
        (12_800, {"epochs": 30, "batch_size": 256, "least_steps": 3000}, (256, 100)),
        (256, {"epochs": 20, "batch_size": 256, "least_steps": 1990}, (32, 100)),
        (100, {"epochs": 5, "batch_size": 256, "least_steps": 0}, (16, 6)),
        (10, {"epochs": 5, "batch_size": 256, "least_steps": 0}, (10, 1)),
        (1000, {"epochs": 5, "batch_size": 8, "least_steps": 0}, (8, 125)),
    ],
)
def test_few_labels_get_small_batches_and_long_epochs(labels, given, expected):
    assert schedule(labels, SupervisedConfig(**given)) == expected


@pytest.mark.parametrize(("steps", "warmup"), [(1, 0.1), (20, 0.05), (1000, 0.1), (7, 0.0)])
def test_the_learning_rate_rises_to_its_peak_and_falls(steps, warmup):
    factors = [rate_factor(step, steps=steps, warmup=warmup) for step in range(steps)]
    assert all(0 < factor <= 1 for factor in factors)
    assert max(factors) == 1
    peak = factors.index(1)
    assert peak <= warmup * steps
    assert factors[peak:] == sorted(factors[peak:], reverse=True)
    assert factors[: peak + 1] == sorted(factors[: peak + 1])
