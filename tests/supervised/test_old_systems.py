"""Networks with other heads and without a band: shape, gradients, 64 SIMULATED galaxies, files."""

import copy
import json

import numpy as np
import pytest
import torch

from ssl_photoz.core import artefact
from ssl_photoz.core.errors import ConfigError, MismatchError
from ssl_photoz.encoders.settings import plain
from ssl_photoz.training.supervised.artefact import load_network, save_weights
from ssl_photoz.training.supervised.build import build, make_network
from ssl_photoz.training.supervised.heads import RegressionHead, head_for
from ssl_photoz.training.supervised.predict import answer
from ssl_photoz.training.supervised.settings import (
    CapsuleConfig,
    HeadConfig,
    ModelConfig,
    NearbyConfig,
)

N = 64
ENCODER = plain(backbone="resnet18", stem="small", crop_px=32)


@pytest.fixture(scope="module")
def galaxies():
    """SIMULATED: noisy round blobs; redder and fainter with redshift."""
    rng = np.random.default_rng(0)
    z = rng.uniform(0.005, 0.3, N)
    z[:16] = rng.uniform(0.005, 0.03, 16)
    x = np.arange(32) - 15.5
    blob = np.exp(-(x[:, None] ** 2 + x**2) / 40)
    colour = np.stack([0.6 - 1.5 * z, np.full(N, 0.5), 0.4 + z], axis=1)
    flux = colour[:, :, None, None] * blob + rng.normal(0, 0.01, (N, 3, 32, 32))
    return torch.from_numpy(flux.astype("f4")), torch.from_numpy(z.astype("f4"))


def head_of(kind, z):
    return head_for(z.numpy(), HeadConfig(kind, bins=10, nearby=NearbyConfig(z_max=0.03)))


def make(head, network="small_cnn", *, without=(), **changes):
    given = {
        "about": {"bands": ("g", "r", "z"), "pixscale_arcsec": 0.262, "calibrated": True},
        "size_px": 32,
        "noise": np.full(3, 0.01, "f4"),
        "seed": 0,
        **changes,
    }
    capsules = CapsuleConfig(crop_px=32)
    model = ModelConfig(network, without=without, encoder=ENCODER, capsules=capsules)
    return make_network(model, head, **given)


@pytest.mark.parametrize(
    ("kind", "network"),
    [
        ("regression", "small_cnn"),
        ("bins", "small_cnn"),
        ("nearby", "small_cnn"),
        ("nearby", "resnet"),
    ],
)
def test_answers_have_the_head_s_shape_and_gradients_reach_every_weight(galaxies, network, kind):
    flux, z = galaxies
    head = head_of(kind, z)
    made = make(head, network)
    # What starts at zero passes nothing back: give it something to pass.
    torch.nn.init.normal_(made.output.weight, std=0.1)
    for module in made.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.ones_(module.weight)
    answer = made(flux[:8])
    assert answer.shape == ((8,) if head.outputs == 1 else (8, head.outputs))
    made.loss(flux[:8], z[:8], head).backward()
    idle = [name for name, one in made.named_parameters() if one.grad is None]
    assert idle == []
    assert all(float(one.grad.abs().sum()) > 0 for _, one in made.named_parameters())


@pytest.mark.parametrize("kind", ["regression", "nearby"])
def test_it_learns_64_simulated_galaxies_by_heart(galaxies, kind):
    flux, z = galaxies
    head = head_of(kind, z)
    made = make(head)
    for module in made.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    optimiser = torch.optim.Adam(made.parameters(), lr=2e-3)
    first = None
    for _ in range(400):  # Adam's loss leaps now and then, elsewhere on each processor
        loss = made.loss(flux, z, head)
        first = loss.item() if first is None else first
        if loss.item() < 0.02 * first:
            break
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert loss.item() < 0.1 * first
    with torch.no_grad():
        told = head.ln_one_plus_z(head.averaged(made.eval()(flux)[None]).numpy())
    if kind == "nearby":
        near = z.numpy() < 0.03
        assert told[near].max() < told[~near].min()
    else:
        assert np.corrcoef(told, np.log1p(z.numpy()))[0, 1] > 0.99


@pytest.mark.parametrize("kind", ["bins", "nearby"])
def test_a_plan_and_weights_make_the_same_network_again(galaxies, kind):
    flux, z = galaxies
    made = make(head_of(kind, z), without=("r",)).eval()
    again = build(made.plan)
    again.load_state_dict(copy.deepcopy(made.state_dict()))
    torch.testing.assert_close(again.eval()(flux), made(flux), rtol=0, atol=0)
    assert torch.equal(made(flux), made(flux * torch.tensor([1.0, 9.0, 1.0])[:, None, None]))


@pytest.mark.parametrize("network", ["small_cnn", "resnet"])
def test_a_band_left_out_is_seen_neither_in_training_nor_later(galaxies, network):
    flux, z = galaxies
    head = RegressionHead.of(z.numpy())
    made = make(head, network, without=("g",)).eval()
    for name, one in made.named_parameters():
        if name.startswith("output"):  # a head that starts at zero would hide everything
            torch.nn.init.normal_(one)
    unseen, seen = flux.clone(), flux.clone()
    unseen[:, 0] += torch.rand_like(unseen[:, 0])
    seen[:, 1] += torch.rand_like(seen[:, 1])
    assert torch.equal(made(flux[:8]), made(unseen[:8]))
    assert not torch.equal(made(flux[:8]), made(seen[:8]))
    assert torch.equal(made.loss(flux[:8], z[:8], head), made.loss(unseen[:8], z[:8], head))


def test_capsules_draw_a_band_left_out_as_dark(galaxies):
    flux, z = galaxies
    made = make(RegressionHead.of(z.numpy()), "capsules", without=("g",))
    stretched = made.stretch(flux)
    assert float(stretched[:, 0].abs().max()) == 0
    assert float(stretched[:, 1:].abs().max()) > 0


def test_the_classes_of_capsules_do_not_see_a_band_left_out(galaxies):
    flux, z = galaxies
    head = RegressionHead.of(z.numpy())
    made = make(head, "capsules", without=("g",)).eval()
    unseen = flux.clone()
    unseen[::2, 0, 12:20, 12:20] += 50  # so bright a core would change the classes
    assert torch.equal(made.loss(flux, z, head), made.loss(unseen, z, head))


def test_an_unknown_pixel_scale_stays_unknown_in_the_plan(galaxies):
    about = {"bands": ("g", "r", "z"), "pixscale_arcsec": float("nan"), "calibrated": False}
    plan = make(RegressionHead.of(galaxies[1].numpy()), about=about).plan
    assert plan["about"] == {"bands": ["g", "r", "z"], "calibrated": False}
    json.dumps(plan, allow_nan=False)


def test_an_encoder_of_another_backbone_is_not_taken_for_a_multimodal_one(galaxies):
    head = RegressionHead.of(galaxies[1].numpy())
    resnet = make(head, "resnet").trunk
    assert make(head, "resnet", pretrained=resnet).plan["arguments"]["backbone"] == "resnet18"
    with pytest.raises(MismatchError, match="has the backbone resnet18"):
        make(head, "multimodal", pretrained=resnet)


def test_no_band_and_an_unknown_band_cannot_be_left_out(galaxies):
    head = RegressionHead.of(galaxies[1].numpy())
    for wrong in (("g", "r", "z"), ("u",)):
        with pytest.raises(ConfigError, match="expected some, not all"):
            make(head, without=wrong)


PIXELS = {"softening": [0.03] * 3, "calibrated": True}
CAPSULES = {"types": 2, "atoms": 4, "classes": 2, "dim": 6, "routings": 3}
ENCODERS_OF_0_1 = {
    "backbone": "resnet18",
    "stem": "small",
    "bands": ["g", "r", "z"],
    "pixscale_arcsec": 0.262,
    "crop_px": 32,
    **PIXELS,
}
REGRESSION = {"kind": "regression", "centre": 0.1, "scale": 0.1, "low": 0.01, "high": 0.3}
NEARBY = {"kind": "nearby", "z_max": 0.03, "share": 0.2, "near": 0.02, "far": 0.2}
PLANS_OF_0_1 = [
    {"kind": "small_cnn", "arguments": {**PIXELS, "binning": 1}, "head": REGRESSION},
    {
        "kind": "capsules",
        "arguments": {**PIXELS, "crop_px": 32, **CAPSULES, "margin": 0.5, "reconstruction": 0.1},
        "head": {"kind": "bins", "edges": [0.0, 0.1, 0.2], "shares": [0.5, 0.5]},
    },
    {
        "kind": "resnet",
        "arguments": ENCODERS_OF_0_1,
        "head": {**NEARBY, "balance": "focal", "gamma": 2.0},
        "seen": [True, False, True],
    },
]


@pytest.mark.parametrize("plan", PLANS_OF_0_1, ids=lambda plan: plan["kind"])
def test_networks_of_version_0_1_are_still_read(tmp_path, galaxies, plan):
    made = build(plan).eval()
    # Its card holds the settings of supervise or classify, flat.
    config = {"network": plan["kind"], "epochs": 2, "without": ["r"]}
    training = {"weights_sha256": save_weights(tmp_path, made), "best_epoch": 1}
    kind = "classifier" if plan["head"]["kind"] == "nearby" else "probe"
    facts = {"network": plan, "training": training, "label": "old", "simulated": True}
    artefact.write_card(tmp_path, kind, config=config, **facts)
    network = load_network(tmp_path)
    crops = [galaxies[0][:5]]
    found = answer(made, crops, head=network.head, orientations=2)
    np.testing.assert_array_equal(network.answer(crops, orientations=2), found)
    assert network.card.without == ["r"]
    assert network.card.label == "old"
