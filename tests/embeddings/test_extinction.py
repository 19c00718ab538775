"""Two identical galaxies behind different dust, through encoders that are told of it and not."""

import h5py
import numpy as np
import pytest
from ssl_photoz.recipes.pretrain.embed import embed
from ssl_photoz.recipes.pretrain.pretrain import pretrain

from ssl_photoz.core.errors import ConfigError, DataError, MismatchError, ShapeError
from ssl_photoz.cutouts.extinction import corrected
from ssl_photoz.cutouts.reader import Cutouts
from ssl_photoz.embeddings.embed import embed_cutout
from ssl_photoz.embeddings.joining import require_alike
from ssl_photoz.embeddings.linear_map import require_same_encoder
from ssl_photoz.encoders.artefact import load_encoder, save_encoder
from ssl_photoz.encoders.encoder import Encoder, fresh_encoder
from ssl_photoz.encoders.settings import EncoderConfig, ReadOutConfig
from ssl_photoz.training.settings import TrainingConfig

TWINS, SIDE = 8, 48
R_GRZ = np.array([3.214, 2.165, 1.211])  # DR9's web page
READOUT = ReadOutConfig(orientations=1)


@pytest.fixture
def cutouts(tmp_path):
    """Eight galaxies without dust, then the same eight behind dust of their own."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:SIDE, :SIDE] - SIDE / 2 + 0.5
    size_px, flux = rng.uniform(2, 5, TWINS), rng.uniform(0.05, 0.3, (TWINS, 3))
    blob = np.exp(-np.hypot(x, y) / size_px[:, None, None])
    clear = flux[:, :, None, None] * blob[:, None] + rng.normal(0, 0.004, (TWINS, 3, SIDE, SIDE))
    ebv = np.r_[np.zeros(TWINS), np.linspace(0.05, 0.4, TWINS)]
    passed = 10 ** (-0.4 * np.outer(ebv, R_GRZ))
    path = tmp_path / "twins.h5"
    with h5py.File(path, "w") as file:
        file["images"] = (np.concatenate([clear, clear]) * passed[:, :, None, None]).astype("f4")
        file["EBV"] = ebv.astype("f4")
        file["NOISE"] = (0.004 * passed).astype("f4")
        file["TARGETID"], file["Z"] = np.arange(2 * TWINS), np.full(2 * TWINS, 0.1, "f4")
        file["RA"], file["DEC"] = rng.uniform(0, 360, 2 * TWINS), rng.uniform(-60, 60, 2 * TWINS)
    return path


def make(folder, *, extinction_corrected):
    encoder = fresh_encoder(
        EncoderConfig(crop_px=40),
        bands=["g", "r", "z"],
        pixscale_arcsec=0.262,
        calibrated=True,
        noise=[0.004] * 3,
        seed=0,
        extinction_corrected=extinction_corrected,
    )
    split = {"seed": 3, "nside": 32, "fractions": [0.7, 0.1, 0.2]}
    save_encoder(folder, encoder, config={}, parents={}, split=split, steps=0)
    return folder


@pytest.fixture
def told(tmp_path):
    return make(tmp_path / "told", extinction_corrected=True)


@pytest.fixture
def untold(tmp_path):
    return make(tmp_path / "untold", extinction_corrected=False)


def differences(values):
    return np.abs(values[:TWINS] - values[TWINS:]).max()


def test_twins_behind_different_dust_are_one_galaxy(cutouts, told, untold, tmp_path, capsys):
    found = embed(cutouts, told, tmp_path / "e", readout=READOUT)
    assert "corrected for Galactic extinction, E(B-V) 0.000 to 0.400 mag" in capsys.readouterr().out
    blind = embed(cutouts, untold, tmp_path / "blind", readout=READOUT)
    # bfloat16 inside the network: 2**-8 of numbers of order one.
    assert differences(found.vectors()) < 0.02
    assert differences(blind.vectors()) > 0.1
    aperture = found.column("aperture")
    assert differences(aperture) < 1e-3  # magnitudes
    # 3.214 * 0.4 mag for the most reddened, fainter in g; the asinh takes some at the faint end.
    assert 0.9 < differences(blind.column("aperture")) < 3.214 * 0.4 + 1e-3
    with h5py.File(cutouts) as file:
        np.testing.assert_array_equal(found.column("ebv"), file["EBV"][:])
        np.testing.assert_array_equal(found.column("noise"), file["NOISE"][:])
    pictures = (np.stack(some.thumbnails(range(2 * TWINS))).astype(int) for some in (found, blind))
    seen, expected = pictures
    assert np.abs(seen - expected).max() <= 8  # JPEG of pixels that differ by rounding
    assert differences(expected) > 20


def test_the_cards_say_it_and_unlike_embeddings_do_not_mix(cutouts, told, untold, tmp_path):
    assert load_encoder(told).card["encoder"]["extinction_corrected"] is True
    assert "extinction_corrected" not in load_encoder(untold).card["encoder"]
    one = embed(cutouts, told, tmp_path / "one", readout=READOUT)
    other = embed(cutouts, untold, tmp_path / "other", readout=READOUT)
    assert one.card["extinction_corrected"] is True
    assert other.card["extinction_corrected"] is False
    # The median of eight zeros and of 0.05, 0.1 ... 0.4.
    assert one.card.ebv_typical_mag == pytest.approx(0.025)
    one.card["encoder"] = other.card["encoder"]
    for refuse in (require_alike, require_same_encoder):
        with pytest.raises(MismatchError, match=r"extinction_corrected True, .* has False"):
            refuse(one, other)
    del other.card["extinction_corrected"]  # a card of version 0.1
    with pytest.raises(MismatchError, match=r"extinction_corrected True, .* has False"):
        require_alike(one, other)
    one.card["extinction_corrected"] = False
    require_alike(one, other)


def test_cutouts_that_cannot_give_what_the_encoder_knows_are_refused(
    cutouts, told, untold, tmp_path
):
    with h5py.File(cutouts, "r+") as file:
        del file["EBV"]
    says = r"trained with extinction_corrected = True, these .* = False; use cutouts that state E"
    with pytest.raises(MismatchError, match=says):
        embed(cutouts, told, tmp_path / "e")
    assert not (tmp_path / "e").exists()
    with pytest.raises(MismatchError, match=says):
        load_encoder(told).embed(Cutouts.open(cutouts))
    with h5py.File(cutouts, "r+") as file:
        file["EBV"] = np.full(2 * TWINS, 0.1)
    clear = Cutouts.open(cutouts).dereddened()
    with pytest.raises(MismatchError, match=r"= False, these .* = True; use .* as they are"):
        load_encoder(untold).embed(clear)
    with pytest.raises(ConfigError, match="display values are never corrected"):
        Encoder(
            EncoderConfig(),
            bands="grz",
            pixscale_arcsec=0.262,
            calibrated=False,
            softening=[0.1] * 3,
            extinction_corrected=True,
        )


def test_an_encoder_of_before_does_not_look_at_the_dust(cutouts, untold, tmp_path):
    with_dust = embed(cutouts, untold, tmp_path / "with", readout=READOUT)
    with h5py.File(cutouts, "r+") as file:
        del file["EBV"]
    without = embed(cutouts, untold, tmp_path / "without", readout=READOUT)
    for name in ("embedding", "aperture"):
        np.testing.assert_array_equal(with_dust.column(name), without.column(name))
    assert "ebv_typical_mag" not in with_dust.card
    assert load_encoder(untold).config.extinction_corrected is False


def test_arrays_are_corrected_with_the_ebv_that_is_given(cutouts, told, untold):
    encoder, opened = load_encoder(told), Cutouts.open(cutouts)
    pixels, ebv, noise = opened[:], opened.column("ebv"), opened.column("noise")
    given = {"config": READOUT, "batch_size": 5}
    expected = encoder.embed(opened, **given)
    found = encoder.embed(pixels, ebv_mag=ebv, noise=noise, **given)
    np.testing.assert_allclose(found, expected, atol=0.02)
    clear = opened.dereddened()
    known = clear.conditions(np.arange(2 * TWINS)).noise
    np.testing.assert_array_equal(encoder.embed(clear[:], noise=known, **given), expected)
    np.testing.assert_array_equal(encoder.embed(clear, **given), expected)
    assert np.abs(encoder.embed(pixels, **given)[TWINS:] - expected[TWINS:]).max() > 0.1
    blind = load_encoder(untold)
    np.testing.assert_array_equal(
        blind.embed(pixels, ebv_mag=ebv, **given), blind.embed(pixels, **given)
    )
    unknown = np.where(np.arange(2 * TWINS) == 3, np.nan, ebv)
    with pytest.raises(DataError, match="ebv_mag of 1 cutouts is not within 0 to 5 mag, rows 3;"):
        encoder.embed(pixels, ebv_mag=unknown)
    with pytest.raises(ShapeError, match=r"ebv_mag has shape \(3,\), expected \(16,\)"):
        encoder.embed(pixels, ebv_mag=ebv[:3])
    with pytest.raises(ShapeError, match=r"noise has shape \(16,\), expected \(16, 3\)"):
        encoder.embed(pixels, noise=ebv)
    with pytest.raises(ConfigError, match="ebv_mag: open cutouts state their own"):
        encoder.embed(opened, ebv_mag=ebv)
    with pytest.raises(MismatchError, match="8-bit"):
        encoder.embed(np.zeros((2, 3, 48, 48), "u1"), ebv_mag=np.zeros(2))


def test_a_single_cutout_without_ebv_gets_that_of_those_it_is_compared_with(
    cutouts, told, tmp_path
):
    table = embed(cutouts, told, tmp_path / "e", readout=READOUT)
    alone, picture = embed_cutout(told, cutouts, 2 * TWINS - 1, like=table.card)
    np.testing.assert_allclose(alone, table.vectors()[-1], rtol=0.02, atol=0.02)
    with h5py.File(cutouts, "r+") as file:
        dusty, clear = file["images"][-1], file["images"][TWINS - 1]
        del file["EBV"]
        # As seen through the table's median, 0.025 mag.
        file["images"][0] = clear * 10 ** (-0.4 * R_GRZ * 0.025)[:, None, None]
    found, _ = embed_cutout(told, cutouts, 0, like=table.card)
    np.testing.assert_allclose(found, table.vectors()[TWINS - 1], rtol=0.02, atol=0.02)
    other, _ = embed_cutout(told, cutouts, 2 * TWINS - 1, like=table.card)
    assert np.abs(other - alone).max() > 0.1
    assert picture.shape == (SIDE, SIDE, 3)
    assert not np.array_equal(dusty, clear)


def test_training_takes_the_correction_where_it_can_and_keeps_it(cutouts, tmp_path, capsys):
    made = {
        "training": TrainingConfig(epochs=0, batch_size=8),
        "encoder": EncoderConfig(crop_px=40),
    }
    with h5py.File(cutouts, "r+") as file:
        file["EBV"][:], file["NOISE"][:] = 0.5, 0.004
    told = pretrain(cutouts, tmp_path / "told", **made)
    assert told.extinction_corrected
    assert "corrected for Galactic extinction, E(B-V) 0.500 to 0.500" in capsys.readouterr().out
    # Three times the noise, 10**(0.4 R E(B-V)) of it.
    softening = 3 * 0.004 * np.array([10**0.6428, 10**0.433, 10**0.2422])
    np.testing.assert_allclose(told.description["softening"], softening, rtol=1e-5)
    with h5py.File(cutouts, "r+") as file:
        del file["EBV"]
    untold = pretrain(cutouts, tmp_path / "untold", **made)
    assert not untold.extinction_corrected
    assert "not corrected for Galactic extinction: no galaxy states" in capsys.readouterr().out
    np.testing.assert_allclose(untold.description["softening"], [0.012] * 3, rtol=1e-5)
    with pytest.raises(MismatchError, match="extinction_corrected = True"):
        pretrain(cutouts, tmp_path / "more", start=told, training=made["training"])
    for name, weights in told.backbone.state_dict().items():
        assert weights.equal(untold.backbone.state_dict()[name]), name


def test_what_a_reader_gives_is_corrected_once_for_all(cutouts):
    clear = corrected(Cutouts.open(cutouts), wanted=True)
    known = clear.conditions(np.arange(2 * TWINS))
    # Noise was dimmed with the flux: corrected, it is the 0.004 that it began with.
    np.testing.assert_allclose(known.noise, 0.004, rtol=1e-5)
    np.testing.assert_allclose(clear[:TWINS], clear[TWINS:], rtol=1e-4, atol=1e-7)
