from pathlib import Path

import numpy as np
import pytest
import torch

from ssl_photoz.core.errors import ArtefactError, ConfigError, MismatchError, ShapeError
from ssl_photoz.encoders.artefact import load_encoder, save_encoder
from ssl_photoz.encoders.encoder import Encoder
from ssl_photoz.encoders.readout import orient_exactly, pool, read_out
from ssl_photoz.encoders.settings import EncoderConfig, MeasurementConfig, ReadOutConfig

BARE = {"measurements": MeasurementConfig(windows=0), "learnt_dim": 0}
RELEASE_0_1 = Path(__file__).parent / "release_0_1"


def make(bands="grz", calibrated=True, softening=None, noise=(), **built):
    torch.manual_seed(0)
    return Encoder(
        EncoderConfig(**{"crop_px": 33, **built}),
        bands=list(bands),
        pixscale_arcsec=0.262,
        calibrated=calibrated,
        softening=softening or [0.01] * len(bands),
        noise=noise,
    ).eval()


@pytest.mark.parametrize("bands", ["r", "grz", "ugriz"])
@pytest.mark.parametrize(("backbone", "width"), [("resnet18", 512), ("resnet50", 2048)])
def test_any_number_of_bands(bands, backbone, width):
    encoder = make(bands, backbone=backbone)
    assert encoder(torch.randn(2, len(bands), 33, 33)).shape == (2, width)


def test_small_stem_keeps_resolution():
    flux = torch.randn(1, 3, 64, 64)
    sides = [m.shape[-1] for m in make(stem="small", crop_px=64).maps(flux)]
    assert sides == [64, 32, 16, 8]
    assert [m.shape[-1] for m in make(crop_px=64).maps(flux)] == [16, 8, 4, 2]


def test_stretch_is_linear_in_noise_and_logarithmic_above():
    stretch = make("r").stretch
    faint, bright = torch.full((1, 1, 1, 1), 1e-5), torch.full((1, 1, 1, 1), 100.0)
    torch.testing.assert_close(stretch(faint), faint / 0.01)
    torch.testing.assert_close(stretch(bright), torch.log(2 * bright / 0.01), rtol=1e-6, atol=0)
    display = make("r", calibrated=False, softening=[0.5]).stretch
    torch.testing.assert_close(display(bright), bright / 0.5)


def test_stretch_travels_with_the_weights(tmp_path):
    flux = torch.randn(4, 3, 33, 33)
    encoder = make(softening=[0.01, 0.02, 0.03])
    save_encoder(tmp_path / "encoder", encoder, config={}, parents={}, simulated=True)
    loaded = load_encoder(tmp_path / "encoder")
    card = loaded.card
    assert card["simulated"] is True
    torch.testing.assert_close(loaded(flux), encoder(flux), rtol=0, atol=0)


def test_eight_symmetries_are_the_group_of_the_square():
    square = torch.arange(16.0).view(1, 1, 4, 4)
    seen = {tuple(orient_exactly(square, s).flatten().tolist()) for s in range(8)}
    assert len(seen) == 8
    assert all(sorted(s) == list(range(16)) for s in seen)
    torch.testing.assert_close(orient_exactly(square, 0), square)


@pytest.mark.parametrize("stages", ["all", "learnt"])
def test_eight_orientations_make_the_embedding_invariant(stages):
    flux = torch.randn(2, 3, 64, 64)
    encoder = make(crop_px=64)
    with torch.no_grad():
        one = read_out(encoder, flux, ReadOutConfig(stages, 8))
        other = read_out(encoder, torch.rot90(flux, 1, (2, 3)).flip(2), ReadOutConfig(stages, 8))
        single = read_out(encoder, torch.rot90(flux, 1, (2, 3)), ReadOutConfig(stages, 1))
    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
    assert (one - single).abs().max() > 1e-3


def test_pool_separates_the_centre():
    features = torch.zeros(1, 1, 8, 8)
    features[..., 2:6, 2:6] = 1
    torch.testing.assert_close(pool([features]), torch.tensor([[0.25, 1.0]]))
    assert pool([torch.ones(1, 5, 2, 2)]).shape == (1, 5)


def test_all_stages_are_read():
    flux = torch.randn(1, 3, 64, 64)
    encoder = make(crop_px=64)
    assert read_out(encoder, flux, ReadOutConfig("last", 1)).shape == (1, 512)
    whole = read_out(encoder, flux, ReadOutConfig("all", 1))
    assert whole.shape == (1, 2 * (64 + 128 + 256) + 512)
    assert encoder.blocks("all") == encoder.blocks("last") == {}
    bare = make(crop_px=64, **BARE)
    assert bare.read_out_of("auto") == "all"
    assert bare.blocks() == {}
    assert torch.equal(
        read_out(bare, flux, ReadOutConfig(orientations=1)),
        read_out(bare, flux, ReadOutConfig("all", 1)),
    )


def test_an_embedding_is_what_is_measured_and_what_is_learnt():
    flux = 0.02 * torch.randn(2, 3, 33, 33)
    encoder = make(learnt_dim=5)
    with torch.no_grad():
        whole, measured, learnt = (
            read_out(encoder, flux, ReadOutConfig(stages, 2))
            for stages in ("blocks", "measurements", "learnt")
        )
        assert torch.equal(read_out(encoder, flux, ReadOutConfig(orientations=2)), whole)
        assert torch.equal(measured, encoder.measurements(flux))
        views = [orient_exactly(flux, symmetry) for symmetry in (0, 1)]
        mean = sum(encoder.bottleneck(encoder(view)) for view in views) / 2
    assert torch.equal(whole, torch.cat([measured, learnt], dim=1))
    torch.testing.assert_close(learnt, mean, rtol=1e-4, atol=1e-5)
    # 12 windows, 3 windows of shapes and 3 scales in 3 bands, of which 2 pairs are neighbours.
    expected = {
        **{"magnitudes": 12 * 3, "colours": 12 * 2, "concentrations": 11 * 3},
        **{"shapes": 3 * 3 * 3, "textures": 2 * 3 * 3, "asymmetry": 3, "conditions": 2 * 3},
    }
    assert list(encoder.blocks().items()) == [*expected.items(), ("learnt", 5)]
    assert list(encoder.blocks("measurements").items()) == list(expected.items())
    assert encoder.blocks("learnt") == {"learnt": 5}
    assert whole.shape == (2, sum(expected.values()) + 5)


@pytest.mark.parametrize(
    ("built", "stages", "says"),
    [
        ({"measurements": MeasurementConfig(windows=0)}, "measurements", "does not have"),
        ({"learnt_dim": 0}, "learnt", "does not have"),
        (BARE, "learnt", "has neither; expected all or last"),
        (BARE, "blocks", "has neither; expected all or last"),
    ],
)
def test_what_an_encoder_does_not_have_cannot_be_read(built, stages, says):
    encoder = make(**built)
    with pytest.raises(ConfigError, match=f"readout.stages is {stages}, .*{says}"):
        read_out(encoder, torch.zeros(1, 3, 33, 33), ReadOutConfig(stages))


def test_what_was_measured_of_the_sample_travels_with_the_weights(tmp_path):
    flux = 0.02 * torch.randn(6, 3, 33, 33)
    encoder = make(noise=[0.01, 0.02, 0.03]).train()
    encoder.measurements.standardise_by(encoder.measurements.measure(flux))
    encoder.bottleneck(encoder(flux))  # moves the bottleneck's running mean and variance
    encoder.eval()
    save_encoder(tmp_path / "encoder", encoder, config={}, parents={})
    loaded = load_encoder(tmp_path / "encoder")
    assert loaded.config == encoder.config
    assert loaded.description == encoder.description
    once = ReadOutConfig(orientations=1)
    with torch.no_grad():
        ours, theirs = read_out(encoder, flux, once), read_out(loaded, flux, once)
    assert torch.equal(ours, theirs)
    known = ours[:, :-32].std(dim=0, correction=0)
    assert known.max() == pytest.approx(1, abs=1e-4), "standardised by these very galaxies"


def test_an_encoder_of_the_first_release_embeds_as_it_did():
    """The folder was written, and what it says of a few galaxies recorded, by version 0.1."""
    encoder, recorded = load_encoder(RELEASE_0_1), np.load(RELEASE_0_1 / "recorded.npz")
    assert encoder.card["made_by"] == "ssl_photoz 0.1.0"
    assert (encoder.measurements, encoder.config.learnt_dim) == (None, 0)
    assert not encoder.extinction_corrected
    flux = torch.from_numpy(recorded["flux"])
    for asked, stages in (("auto", "all"), ("all", "all"), ("last", "last")):
        with torch.no_grad():
            found = read_out(encoder, flux, ReadOutConfig(asked, 8)).numpy()
        np.testing.assert_allclose(found, recorded[stages], rtol=1e-4, atol=1e-5)
    given = {"bands": "grz", "pixscale_arcsec": 0.262, "calibrated": True, "size_px": 64}
    encoder.require(**given)
    with pytest.raises(MismatchError, match="extinction_corrected"):
        encoder.require(**given, extinction_corrected=True)


def test_wrong_input_is_refused_naming_both_sides():
    encoder = make()
    with pytest.raises(ShapeError, match=r"takes \(B, 3, 33, 33\) .*g,r,z.* got \(1, 2, 33, 33\)"):
        encoder(torch.zeros(1, 2, 33, 33))
    good = {"bands": "grz", "pixscale_arcsec": 0.262, "calibrated": True, "size_px": 64}
    encoder.require(**good)
    for wrong, message in [
        ({"bands": "gri"}, "bands = .*'z'.* bands = .*'i'"),
        ({"pixscale_arcsec": 0.4}, "pixscale_arcsec = 0.262, .* 0.4"),
        ({"calibrated": False}, "calibrated = True, .* False"),
        ({"size_px": 24}, "crops of 33 px, .* 24 px"),
    ]:
        with pytest.raises(MismatchError, match=message):
            encoder.require(**{**good, **wrong})


def test_damaged_encoders_are_refused(tmp_path):
    folder = tmp_path / "encoder"
    with pytest.raises(ArtefactError, match="not a folder"):
        load_encoder(folder)
    save_encoder(folder, make(), config={}, parents={})
    weights = folder / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    with pytest.raises(ArtefactError, match="checksum differs"):
        load_encoder(folder)
    weights.unlink()
    with pytest.raises(ArtefactError, match="is missing"):
        load_encoder(folder)


@pytest.mark.parametrize(
    "wrong",
    [
        {"backbone": "vgg"},
        {"stem": "tiny"},
        {"crop_px": 32},
        {"stem": "small", "crop_px": 8},
        {"softening": 0.0},
        {"learnt_dim": 1},
    ],
)
def test_settings_are_validated(wrong):
    with pytest.raises(ValueError, match=list(wrong)[-1]):
        EncoderConfig(**wrong)


def test_read_out_settings_are_validated():
    with pytest.raises(ValueError, match="orientations is 3"):
        ReadOutConfig(orientations=3)
    with pytest.raises(ValueError, match="stages is"):
        ReadOutConfig(stages="first")
