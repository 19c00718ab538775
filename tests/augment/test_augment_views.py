import pytest
import torch

from ssl_photoz.augment.display import jitter_display
from ssl_photoz.augment.draws import generator
from ssl_photoz.augment.orient import plain_crop
from ssl_photoz.augment.settings import AugmentationConfig
from ssl_photoz.augment.views import Views
from ssl_photoz.core.config import parse
from ssl_photoz.core.errors import ConfigError, ShapeError

OFF = AugmentationConfig(
    rotation="none", jitter_px=0.0, psf_strength=0.0, noise_strength=0.0, dust="none"
)


def make(settings=None, **fixed):
    return Views(**{"crop_px": 32, **fixed}, config=settings or AugmentationConfig())


def known(batch, *, ebv_mag=0.05, fwhm_arcsec=0.9, noise=0.01):
    return {
        "ebv_mag": torch.full((batch,), ebv_mag),
        "psf_fwhm_arcsec": torch.full((batch, 3), fwhm_arcsec),
        "noise": torch.full((batch, 3), noise),
    }


def field(batch=4, size=48, seed=0):
    return torch.randn(batch, 3, size, size, generator=generator(seed))


def test_nothing_switched_on_is_the_plain_crop():
    flux = field()
    view = make(OFF)(flux, **known(4), generator=generator(1))
    torch.testing.assert_close(view, plain_crop(flux, 32), atol=2e-4, rtol=0)


@pytest.mark.parametrize("calibrated", [True, False])
def test_views_depend_on_the_counters_alone(calibrated):
    views, flux = make(calibrated=calibrated), field()
    first = views(flux, **known(4), generator=generator(0, 5, 0, 0))
    again = views(flux, **known(4), generator=generator(0, 5, 0, 0))
    other_step = views(flux, **known(4), generator=generator(0, 6, 0, 0))
    other_view = views(flux, **known(4), generator=generator(0, 5, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other_step)
    assert not torch.equal(first, other_view)


@pytest.mark.parametrize("rotation", ["free", "quarter"])
@pytest.mark.parametrize("psf_strength", [0.0, 1.0])
def test_noise_of_a_view_is_the_cutouts_own(rotation, psf_strength):
    settings = AugmentationConfig(
        rotation=rotation, psf_strength=psf_strength, noise_strength=0.0, dust="own"
    )
    batch, own = 96, 0.02
    sky = own * field(batch, size=96)
    view = make(settings, crop_px=64)(sky, **known(batch, noise=own), generator=generator(2))
    inside = view[..., 6:-6, 6:-6]
    assert inside.square().mean().sqrt().item() == pytest.approx(own, rel=0.015)
    assert inside.mean().abs() < own / 100


def test_drawn_noise_only_adds():
    batch, own = 64, 0.004
    views = make(AugmentationConfig(rotation="quarter", psf_strength=0.0, dust="none"))
    view = views(own * field(batch), **known(batch, noise=own), generator=generator(3))
    sigma = view.square().mean((2, 3)).sqrt()
    assert (sigma > 0.93 * own).all()
    assert sigma[:, 2].mean() > 2 * own  # z is the noisiest band of the survey


def test_flux_and_colours_of_a_source_survive():
    axis = torch.arange(64) - 31.5
    profile = torch.exp(-0.5 * (axis / 3.0) ** 2)
    source = torch.outer(profile, profile) * torch.tensor([1.0, 2.0, 3.0])[:, None, None]
    settings = AugmentationConfig(noise_strength=0.0, dust="none", jitter_px=2.0)
    view = make(settings, crop_px=48)(
        source.expand(32, -1, -1, -1), **known(32, noise=0.0), generator=generator(4)
    )
    expected = source.sum((1, 2)).expand(32, 3)
    torch.testing.assert_close(view.sum((2, 3)), expected, rtol=2e-3, atol=0)


def test_dust_changes_magnitudes_along_the_extinction_curve():
    settings = AugmentationConfig(rotation="quarter", psf_strength=0.0, noise_strength=0.0)
    flux = torch.ones(2000, 3, 8, 8)
    view = make(settings, crop_px=4)(
        flux, **known(2000, ebv_mag=0.2, noise=0.0), generator=generator(4)
    )
    change_mag = -2.5 * torch.log10(view.mean((2, 3)))
    curve = torch.tensor([3.214, 2.165, 1.211])
    torch.testing.assert_close(change_mag.std(0), 0.13 * 0.2 * curve, rtol=0.06, atol=0)
    change = change_mag / curve
    torch.testing.assert_close(change[:, 0], change[:, 2], atol=1e-5, rtol=0)


def test_seeing_of_a_view_is_at_least_the_resampled_one():
    def variance(images):
        along = images.sum(2) / images.sum((2, 3))[..., None]
        axis = torch.arange(images.shape[-1]) - (images.shape[-1] - 1) / 2
        centre = (along * axis).sum(-1, keepdim=True)
        return (along * (axis - centre) ** 2).sum(-1)

    own_px = 1.0
    axis = torch.arange(64) - 31.5
    profile = torch.exp(-0.5 * (axis / own_px) ** 2)
    star = torch.outer(profile, profile).expand(200, 3, -1, -1)
    settings = AugmentationConfig(noise_strength=0.0, dust="none", jitter_px=1.0)
    attributes = known(200, fwhm_arcsec=own_px * 2.3548 * 0.262, noise=0.0)
    view = make(settings, crop_px=48)(star, **attributes, generator=generator(5))
    sigma_px = variance(view).sqrt()
    # Median PSF sigma of the survey; all draws are wider than this star.
    expected = torch.tensor([2.396, 2.156, 2.016])
    torch.testing.assert_close(sigma_px.median(0).values, expected, rtol=0.06, atol=0)


def test_unknown_attributes_are_the_surveys_medians():
    views, flux = make(), field()
    nothing = views(flux, generator=generator(6))
    unknown = {name: torch.full_like(value, torch.nan) for name, value in known(4).items()}
    assert nothing.isfinite().all()
    assert torch.equal(views(flux, **unknown, generator=generator(6)), nothing)


def test_mixed_precision_changes_nothing():
    views, flux = make(), field()
    expected = views(flux, **known(4), generator=generator(7))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(views(flux, **known(4), generator=generator(7)), expected)
    assert views(flux.half(), **known(4), generator=generator(7)).dtype == torch.float32


def test_uncalibrated_sources_need_no_known_band_and_ignore_physics():
    views = make(bands=("R", "G", "B"), calibrated=False)
    flux = field().sigmoid()
    plain = views(flux, generator=generator(8))
    assert torch.equal(views(flux, **known(4, ebv_mag=2.0), generator=generator(8)), plain)
    with pytest.raises(ConfigError, match="'R'"):
        make(bands=("R", "G", "B"), calibrated=True)


def test_display_gain_is_common_to_the_bands_and_mild():
    grey = torch.full((500, 3, 8, 8), 0.5)
    out = jitter_display(grey, gain=0.02, blur_sigma_px=0.5, noise=0.0, generator=generator(9))
    gains = out.mean((2, 3)) / 0.5
    torch.testing.assert_close(gains[:, 0], gains[:, 1], atol=1e-5, rtol=0)
    assert gains.min() >= 0.98 - 1e-5
    assert gains.max() <= 1.02 + 1e-5
    assert gains.std() == pytest.approx(0.02 / 3**0.5, rel=0.1)


def test_display_colour_and_noise():
    grey = torch.full((500, 3, 16, 16), 0.5)
    out = jitter_display(
        grey, gain=0.0, blur_sigma_px=0.0, noise=0.01, colour=0.1, generator=generator(9)
    )
    gains = out.mean((2, 3)) / 0.5
    assert (gains[:, 0] - gains[:, 1]).std() == pytest.approx(0.1 * (2 / 3) ** 0.5, rel=0.1)
    sigma = out.std((2, 3))
    assert sigma.max() < 0.0125
    assert sigma.mean() == pytest.approx(0.005, rel=0.1)


def test_wrong_shapes_are_refused():
    views = make()
    with pytest.raises(ShapeError, match=r"flux .* expected \(4, 3, 48, 48\)"):
        views(field()[:, :2], generator=generator(0))
    with pytest.raises(ShapeError, match="noise"):
        views(field(), noise=torch.ones(3), generator=generator(0))
    with pytest.raises(ShapeError, match="at least 32"):
        views(field(size=20), generator=generator(0))


def test_settings_come_from_the_command_line():
    got = parse(AugmentationConfig, ["rotation=quarter", "jitter_px=2"], prog="views")
    assert AugmentationConfig(**got) == AugmentationConfig(rotation="quarter", jitter_px=2.0)


@pytest.mark.parametrize(
    ("field_name", "value"),
    [
        ("rotation", "any"),
        ("dust", "all"),
        ("jitter_px", -1.0),
        ("psf_strength", 1.5),
        ("noise_strength", float("nan")),
        ("dust_error", -0.1),
        ("display_gain", 0.9),
    ],
)
def test_settings_without_meaning_are_refused(field_name, value):
    with pytest.raises(ValueError, match=f"{field_name} is"):
        AugmentationConfig(**{field_name: value})


def test_views_of_corrected_flux_have_the_noise_of_corrected_flux():
    draws = {}
    for corrected in (False, True):
        views = Views(
            crop_px=32,
            config=AugmentationConfig(rotation="none", psf_strength=0, dust="none"),
            extinction_corrected=corrected,
        )
        blank = torch.zeros(400, 3, 48, 48)
        draws[corrected] = views(blank, **known(400, noise=0.0), generator=generator(9))
    # The survey's median dust, E(B-V) 0.0345, undone in g, r and z.
    expected = 10 ** (0.4 * 0.034526 * torch.tensor([3.214, 2.165, 1.211]))
    ratio = draws[True].std((0, 2, 3)) / draws[False].std((0, 2, 3))
    torch.testing.assert_close(ratio, expected, rtol=1e-3, atol=0)
