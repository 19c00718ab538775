"""Branches over band subsets: which, how wide, what they see, and what is heard of them."""

import json
from dataclasses import asdict

import pytest
import torch

from ssl_photoz.core.errors import ConfigError
from ssl_photoz.encoders.artefact import load_encoder, save_encoder
from ssl_photoz.encoders.encoder import fresh_encoder
from ssl_photoz.encoders.multimodal import make_multimodal, modalities_of
from ssl_photoz.encoders.readout import read_out
from ssl_photoz.encoders.settings import EncoderConfig, ModalityConfig, ReadOutConfig

FUSIONS = ("early", "middle", "late")


def make(bands=3, stem="small", **changes):
    torch.manual_seed(0)
    return make_multimodal(ModalityConfig(**{"width": 4, **changes}), bands=bands, stem=stem)


def weights(network):
    return sum(parameter.numel() for parameter in network.parameters())


def test_first_order_pairs_are_neighbours():
    ugriz = modalities_of(5, size=2, order=1)
    assert ugriz == [(0, 1), (1, 2), (2, 3), (3, 4)]
    assert modalities_of(5, size=2, order=2) == sorted([*ugriz, (0, 2), (1, 3), (2, 4)])
    assert len(modalities_of(5, size=2, order=4)) == 10
    assert modalities_of(5, size=3, order=1) == [(0, 1, 2), (1, 2, 3), (2, 3, 4)]
    assert modalities_of(3, size=1, order=1) == [(0,), (1,), (2,)]
    assert modalities_of(3, size=3, order=1) == [(0, 1, 2)]
    with pytest.raises(ConfigError, match="modalities of 2 bands each, but the cutouts have 1"):
        modalities_of(1, size=2, order=1)


@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("stem", ["standard", "small"])
def test_every_stage_gives_a_map_of_the_width_it_says(fusion, stem):
    network = make(bands=4, fusion=fusion, stem=stem)
    maps = network(torch.randn(2, 4, 64, 64))
    assert tuple(one.shape[1] for one in maps) == network.widths
    assert [one.shape[2] for one in maps] == (
        [16, 8, 4, 2] if stem == "standard" else [64, 32, 16, 8]
    )
    expected = {"early": [12, 8, 16, 32], "middle": [12, 24, 16, 32], "late": [12, 24, 48, 96]}
    assert list(network.widths) == expected[fusion]


def test_a_branch_sees_its_bands_alone_until_the_fusion():
    network = make(bands=4, fusion="middle").eval()
    image = torch.randn(1, 4, 16, 16)
    other = image.clone()
    other[:, 3] += 1  # in the last of three pairs only
    for number, (one, two) in enumerate(zip(network(image), network(other), strict=True)):
        same = [torch.equal(a, b) for a, b in zip(one.chunk(3, 1), two.chunk(3, 1), strict=True)]
        assert same == ([True, True, False] if number < 2 else [False, False, False])


@pytest.mark.parametrize("fusion", FUSIONS)
def test_the_twin_of_one_branch_has_as_many_weights(fusion):
    given = {"bands": 5, "fusion": fusion, "width": 32, "stem": "standard"}
    network, twin = make(**given), make(**given, one_branch=True)
    assert twin.modalities == ((0, 1, 2, 3, 4),)
    assert len(network.modalities) == 4
    assert abs(weights(twin) / weights(network) - 1) < 0.02


@pytest.mark.parametrize("fusion", FUSIONS)
def test_every_weight_learns(fusion):
    network = make(fusion=fusion)
    network(torch.randn(4, 3, 32, 32))[-1].square().mean().backward()
    assert all(one.grad is not None and one.grad.abs().sum() > 0 for one in network.parameters())


@pytest.mark.parametrize("fusion", FUSIONS)
def test_what_is_not_heard_does_not_matter(fusion):
    network = make(bands=4, fusion=fusion).eval()
    image = torch.randn(2, 4, 16, 16)
    other = image.clone()
    other[:, 3] += 1
    with network.hearing([0, 1]):
        one, two = network(image)[-1], network(other)[-1]
    assert torch.equal(one, two)
    assert not torch.equal(network(image)[-1], network(other)[-1])


def test_dropout_leaves_out_modalities_of_a_galaxy_and_makes_up_for_them():
    network = make(bands=5, fusion="late", dropout=0.6)
    joint = torch.ones(2000, 4 * 32, 1, 1)
    heard = network.train()._without_the_unheard(joint).view(2000, 4, 32)
    assert torch.equal(heard, heard[:, :, :1].expand_as(heard))
    kept = (heard[:, :, 0] > 0).sum(dim=1)
    torch.testing.assert_close(heard[:, :, 0].sum(dim=1), torch.full((2000,), 4.0))
    # Binomial of four at 0.4, where none counts as one.
    chance = torch.tensor([0.6**4 + 4 * 0.4 * 0.6**3, 6 * 0.16 * 0.36, 4 * 0.064 * 0.6, 0.4**4])
    found = torch.stack([(kept == number).float().mean() for number in (1, 2, 3, 4)])
    torch.testing.assert_close(found, chance, atol=0.04, rtol=0)
    assert torch.equal(network.eval()._without_the_unheard(joint), joint)


def test_it_is_an_encoder_and_comes_back_as_it_was(tmp_path):
    encoder = fresh_encoder(
        EncoderConfig(
            backbone="multimodal",
            crop_px=40,
            softening=1.0,
            modalities=ModalityConfig(width=4, fusion="late"),
        ),
        bands=("g", "r", "z"),
        pixscale_arcsec=0.262,
        calibrated=True,
        noise=[0.01] * 3,
        seed=0,
    ).eval()
    save_encoder(tmp_path, encoder, config={}, parents={}, split={}, steps=0)
    back = load_encoder(tmp_path)
    card = back.card
    flux = torch.randn(2, 3, 40, 40)
    assert torch.equal(back(flux), encoder(flux))
    assert json.loads(json.dumps(card["encoder"]["modalities"])) == asdict(
        ModalityConfig(width=4, fusion="late")
    )
    # Two branches fused late; three maps of four pixels a side or more, one smaller.
    wide = [2 * 4 * 2**number for number in range(4)]
    sides = [one.shape[2] for one in encoder.maps(flux)]
    expected = sum(one * (2 if side >= 4 else 1) for one, side in zip(wide, sides, strict=True))
    assert read_out(encoder, flux, ReadOutConfig("all", 1)).shape == (2, expected)


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ({"size": 0}, ">= 1"),
        ({"dropout": 1.0}, "0 to less than 1"),
        ({"one_branch": True, "dropout": 0.2}, "no branches"),
    ],
)
def test_settings_without_a_meaning_are_refused(wrong, complaint):
    with pytest.raises(ValueError, match=complaint):
        EncoderConfig(backbone="multimodal", modalities=ModalityConfig(**wrong))
