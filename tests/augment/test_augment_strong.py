"""The stronger augmentations of published recipes: size scaling, uniform dust, wide PSFs."""

from dataclasses import replace

import pytest
import torch

from ssl_photoz.augment.draws import generator
from ssl_photoz.augment.orient import orient
from ssl_photoz.augment.redden import draw_ebv_change
from ssl_photoz.augment.settings import AugmentationConfig
from ssl_photoz.augment.views import Views
from ssl_photoz.core.extinction import EXTINCTION_PER_EBV

OFF = AugmentationConfig(
    rotation="none", jitter_px=0.0, psf_strength=0.0, noise_strength=0.0, dust="none"
)


def blob(sigma_px, size=64):
    axis = torch.arange(size) - (size - 1) / 2
    profile = torch.exp(-0.5 * (axis / sigma_px) ** 2)
    return torch.outer(profile, profile)[None, None]


def width_px(image):
    axis = torch.arange(image.shape[-1], dtype=torch.float64) - (image.shape[-1] - 1) / 2
    profile = image.double().sum((0, 1, 2))
    return float(((profile * axis**2).sum() / profile.sum()).sqrt())


@pytest.mark.parametrize("factor", [0.8, 1.0, 1.25])
def test_magnification_widens_an_object_and_keeps_its_surface_brightness(factor):
    view = orient(
        blob(4.0),
        crop_px=48,
        angle_rad=torch.zeros(1),
        flip=torch.zeros(1, dtype=torch.bool),
        shift_px=torch.zeros(1, 2),
        magnification=torch.tensor([factor]),
    )
    assert width_px(view) == pytest.approx(4.0 * factor, rel=0.01)
    assert float(view.max()) == pytest.approx(1.0, abs=0.04)


def test_zoomed_views_differ_in_size_within_the_range():
    flux = blob(4.0).expand(64, 3, 64, 64)
    views = Views(crop_px=48, config=replace(OFF, zoom=0.1))
    drawn = views(flux, generator=generator(3))
    sizes = torch.tensor([width_px(view[None]) for view in drawn]) / 4.0
    assert 0.89 < sizes.min() < 0.93
    assert 1.07 < sizes.max() < 1.11


def test_uniform_dust_dims_each_band_by_its_own_extinction():
    views = Views(crop_px=16, config=replace(OFF, dust="uniform", dust_max_mag=1.0))
    flux = torch.ones(2000, 3, 16, 16)
    # Noise-free cutouts without dust of their own: what is left is the transmission.
    view = views(
        flux, ebv_mag=torch.zeros(2000), noise=torch.zeros(2000, 3), generator=generator(5)
    ).mean((2, 3))
    extinction_mag = -2.5 * torch.log10(view)
    ebv_mag = extinction_mag / torch.tensor([EXTINCTION_PER_EBV["legacy"][band] for band in "grz"])
    torch.testing.assert_close(ebv_mag[:, 0], ebv_mag[:, 2], atol=2e-3, rtol=0)
    assert float(ebv_mag.mean()) == pytest.approx(0.5, abs=0.03)
    assert float(ebv_mag.max()) == pytest.approx(1.0, abs=0.02)


def test_uniform_dust_takes_off_the_objects_own_first():
    own_mag = torch.full((4000,), 0.3)
    change = draw_ebv_change(
        own_mag, replace(OFF, dust="uniform", dust_max_mag=0.6), generator=generator(1)
    )
    assert float(change.min()) == pytest.approx(-0.3, abs=0.01)
    assert float(change.max()) == pytest.approx(0.3, abs=0.01)


def test_wide_psfs_reach_their_limit():
    flux = blob(1.0).expand(256, 3, 64, 64)
    views = Views(crop_px=64, config=replace(OFF, psf_max_px=5.0))
    view = views(flux, noise=torch.zeros(256, 3), generator=generator(2))
    # A Gaussian's peak falls as 1 / (1 + s^2) with the sigma s it is convolved with.
    extra_px = (1 / view.amax((2, 3)) - 1).clamp_min(0).sqrt()
    assert float(extra_px.mean()) == pytest.approx(2.5, abs=0.15)
    assert 4.5 < float(extra_px.max()) < 5.2
