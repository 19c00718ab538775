import importlib.util
import sys

import pytest
import torch

from ssl_photoz.core.errors import ConfigError
from ssl_photoz.encoders import backbones
from ssl_photoz.encoders.artefact import load_encoder, save_encoder
from ssl_photoz.encoders.encoder import fresh_encoder
from ssl_photoz.encoders.readout import read_out
from ssl_photoz.encoders.settings import EncoderConfig, ReadOutConfig

NAME = "convnext_atto"


@pytest.fixture
def make():
    if importlib.util.find_spec("timm") is None:
        pytest.skip("timm is not installed")

    def build(bands="grz", name=NAME, seed=0):
        return fresh_encoder(
            EncoderConfig(backbone=f"timm/{name}", softening=1.0),
            bands=tuple(bands),
            pixscale_arcsec=0.262,
            calibrated=True,
            noise=[0.01] * len(bands),
            seed=seed,
        )

    return build


@pytest.mark.parametrize("bands", ["r", "grz", "ugriz"])
def test_any_number_of_bands_and_every_stage(make, bands):
    encoder = make(bands).eval()
    flux = torch.randn(2, len(bands), 64, 64)
    maps = encoder.maps(flux)
    assert [one.shape[1] for one in maps] == list(encoder.backbone.widths)
    assert [one.shape[2] for one in maps] == [16, 8, 4, 2]
    # Mean and central mean of each stage of four pixels a side or more.
    expected = 2 * sum(encoder.backbone.widths[:3]) + encoder.width
    assert read_out(encoder, flux, ReadOutConfig("all", 1)).shape == (2, expected)


def test_weights_depend_on_the_seed_alone(make):
    one, same, other = (make(seed=seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert any(not torch.equal(one[name], other[name]) for name in one)


def test_an_artefact_comes_back_as_it_was(make, tmp_path):
    encoder = make().eval()
    save_encoder(tmp_path / "e", encoder, config={}, parents={}, split={}, steps=0)
    back = load_encoder(tmp_path / "e")
    flux = torch.randn(2, 3, 64, 64)
    assert torch.equal(back(flux), encoder(flux))


@pytest.mark.parametrize("name", ["no_such_net", "hf-hub:somebody/net", "convnext_atto.d2_in1k"])
def test_a_name_that_is_none_or_would_be_downloaded_is_refused(make, name):
    with pytest.raises(ConfigError, match=r"timm has no network"):
        backbones.TimmStages(name, bands=3)


def test_a_network_whose_maps_have_channels_last_is_refused(make):
    with pytest.raises(ConfigError, match="channels last"):
        make(name="swin_tiny_patch4_window7_224")


def test_without_timm_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ConfigError, match=r"ssl-photoz\[timm\]"):
        backbones.TimmStages(NAME, bands=3)


def test_settings_take_timm_names_and_its_own_stem():
    assert EncoderConfig(backbone="timm/convnext_nano").backbone == "timm/convnext_nano"
    with pytest.raises(ValueError, match="a stem of its own"):
        EncoderConfig(backbone="timm/convnext_nano", stem="small")
    with pytest.raises(ValueError, match="timm/NAME"):
        EncoderConfig(backbone="convnext_nano")
