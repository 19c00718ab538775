"""Checkpoints of ssl-legacysurvey: read without running them, and giving their own features."""

import os
import pickle
import sys
import types

import pytest
import torch
from torch import nn

from ssl_photoz.core.errors import ArtefactError, ConfigError
from ssl_photoz.encoders.artefact import load_encoder, save_encoder
from ssl_photoz.encoders.encoder import Encoder, fresh_encoder
from ssl_photoz.encoders.legacysurvey import import_legacysurvey, read_checkpoint
from ssl_photoz.encoders.readout import read_out
from ssl_photoz.encoders.settings import EncoderConfig, ReadOutConfig
from ssl_photoz.encoders.stretch import ViewerSlip, softening_of
from tests.encoders.legacysurvey_checkpoints import their_checkpoint, their_input, their_network


@pytest.fixture(scope="module")
def flux():
    torch.manual_seed(3)
    y, x = torch.meshgrid(torch.arange(96.0), torch.arange(96.0), indexing="ij")
    lopsided = torch.exp(-((x - 40) ** 2 / 90 + (y - 52) ** 2 / 30))
    return (
        0.02 * torch.randn(2, 3, 96, 96) + torch.tensor([0.1, 0.2, 0.4])[:, None, None] * lopsided
    )


@pytest.mark.parametrize(("name", "width"), [("resnet18", 512), ("resnet50", 2048)])
def test_features_are_those_of_their_network(tmp_path, flux, name, width):
    network = their_network(name)
    path = their_checkpoint(tmp_path / "last.ckpt", network)
    encoder, facts = import_legacysurvey(path)
    network.fc = nn.Identity()
    with torch.no_grad():
        theirs = network(torch.stack([their_input(one) for one in flux]))
        ours = read_out(encoder, flux, ReadOutConfig("last", 1))
    assert ours.shape == (2, width)
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)
    assert (theirs[0] - theirs[1]).abs().max() > 1e-2
    assert facts["softmax_temperature"] == 0.2
    assert facts["epoch"] == 1499


def test_the_stretch_is_on_the_card_and_back(tmp_path, flux):
    encoder, _ = import_legacysurvey(their_checkpoint(tmp_path / "a.ckpt", their_network()))
    save_encoder(tmp_path / "encoder", encoder, config={}, parents={})
    loaded = load_encoder(tmp_path / "encoder")
    card = loaded.card
    assert card["encoder"]["stretch"] == "viewer_slip"
    torch.testing.assert_close(loaded(flux), encoder(flux), rtol=1e-3, atol=1e-4)


def test_the_stretch_is_theirs_and_not_the_one_they_meant(flux):
    ours = ViewerSlip(softening_of("grz"))(flux)
    theirs = torch.stack([their_input(one) for one in flux]).transpose(2, 3).flip(1)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)
    scaled = flux * torch.tensor([6.0, 3.4, 2.2])[:, None, None] + 0.03
    light = scaled.clamp_min(0).mean(1, keepdim=True)
    meant = (scaled * torch.asinh(20 * light) / 20**0.5 / light.clamp_min(1e-6)).clamp(0, 1)
    assert (ours - meant).abs().max() > 0.1


def test_encoders_of_before_have_the_old_stretch():
    card = {
        **{"backbone": "resnet18", "stem": "standard", "bands": ["r"], "pixscale_arcsec": 0.262},
        **{"crop_px": 64, "calibrated": True, "softening": [0.01]},
    }
    bright = torch.full((1, 1, 64, 64), 1.0)
    torch.testing.assert_close(
        Encoder.from_description(card).stretch(bright), torch.asinh(bright / 0.01)
    )


def test_a_stretch_of_flux_refuses_display_values_and_other_bands():
    given = {
        "config": EncoderConfig(stretch="viewer_slip"),
        **{"seed": 0, "pixscale_arcsec": 0.4, "noise": [1.0]},
    }
    with pytest.raises(ConfigError, match="display values"):
        fresh_encoder(bands=["r"], calibrated=False, **given)
    with pytest.raises(ConfigError, match="no scale for bands"):
        fresh_encoder(bands=["W1"], calibrated=True, **given)
    with pytest.raises(ValueError, match="stretch 'lupton' is not one of"):
        EncoderConfig(stretch="lupton")


class Malice:
    """Unpickled by an ordinary reader, it makes a file."""

    def __init__(self, proof):
        self.proof = str(proof)

    def __reduce__(self):
        return (os.system, (f"touch {self.proof}",))


@pytest.mark.parametrize("where", ["hyper_parameters", "state_dict", "callbacks"])
def test_a_malicious_checkpoint_is_refused_and_not_run(tmp_path, where):
    proof = tmp_path / "was_run"
    path = their_checkpoint(
        tmp_path / "evil.ckpt", nn.Linear(2, 2), **{where: {"a": Malice(proof)}}
    )
    with pytest.raises(ArtefactError, match="system") as refusal:
        import_legacysurvey(path)
    assert "It was not read" in str(refusal.value)
    assert not proof.exists()
    torch.load(path, weights_only=False)
    assert proof.exists(), "the checkpoint of this test does no harm: it proves nothing"


def test_lightnings_own_containers_become_plain_ones(tmp_path, monkeypatch):
    module = types.ModuleType("pytorch_lightning.utilities.parsing")

    class AttributeDict(dict):
        """Stands for Lightning's."""

    AttributeDict.__module__, AttributeDict.__qualname__ = module.__name__, "AttributeDict"
    module.AttributeDict = AttributeDict
    for name in ("pytorch_lightning", "pytorch_lightning.utilities", module.__name__):
        monkeypatch.setitem(sys.modules, name, module)
    settings = AttributeDict(batch_size=256, nested={"not": "plain"})
    path = their_checkpoint(tmp_path / "a.ckpt", nn.Linear(2, 2), hyper_parameters=settings)
    weights, facts = read_checkpoint(path)
    assert facts == {"epoch": 1499, "global_step": 160_000, "batch_size": 256}
    assert weights["encoder_q.weight"].shape == (2, 2)


def test_other_files_are_named_as_what_they_are(tmp_path):
    with pytest.raises(ArtefactError, match="is not a file"):
        import_legacysurvey(tmp_path / "none.ckpt")
    (tmp_path / "text.ckpt").write_text("hello")
    (tmp_path / "old.ckpt").write_bytes(pickle.dumps({"state_dict": {}}))
    for name in ("text", "old"):
        with pytest.raises(ArtefactError, match="cannot be read as a checkpoint"):
            import_legacysurvey(tmp_path / f"{name}.ckpt")
    torch.save([1, 2], tmp_path / "list.ckpt")
    with pytest.raises(ArtefactError, match="no state_dict"):
        import_legacysurvey(tmp_path / "list.ckpt")
    torch.save({"state_dict": {"fc.weight": torch.ones(1)}}, tmp_path / "other.ckpt")
    with pytest.raises(ArtefactError, match="holds no weights"):
        import_legacysurvey(tmp_path / "other.ckpt")
    path = their_checkpoint(tmp_path / "resnet34.ckpt", their_network("resnet34"))
    with pytest.raises(ArtefactError, match="another network"):
        import_legacysurvey(path)
