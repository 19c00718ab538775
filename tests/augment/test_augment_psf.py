import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from ssl_photoz.augment import survey
from ssl_photoz.augment.draws import generator
from ssl_photoz.augment.psf import draw_extra_sigma, widen
from ssl_photoz.core.errors import ShapeError

GRZ = survey.of_bands(survey.PSF_SIGMA_PX, ("g", "r", "z"), pixscale_arcsec=0.262, power=-1)


def gaussian(sigma_px, size=64):
    axis = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
    profile = torch.exp(-0.5 * (axis / sigma_px) ** 2) / (sigma_px * math.sqrt(2 * math.pi))
    return torch.outer(profile, profile).float()[None, None]


def variance(image):
    axis = torch.arange(image.shape[-1], dtype=torch.float64) - (image.shape[-1] - 1) / 2
    profile = image.double().sum(0) / image.double().sum()
    return (profile * axis**2).sum().item()


@pytest.mark.parametrize("extra_px", [0.0, 0.05, 0.2, 0.5, 1.0, 2.0, 3.0])
@pytest.mark.parametrize("own_px", [1.2, 2.0])
def test_widths_add_in_quadrature(own_px, extra_px):
    wide = widen(gaussian(own_px), extra_sigma_px=torch.tensor([[extra_px]]))
    assert variance(wide[0, 0]) == pytest.approx(own_px**2 + extra_px**2, rel=0.002)
    expected = gaussian(math.hypot(own_px, extra_px))
    torch.testing.assert_close(wide, expected, atol=1e-3 * expected.max().item(), rtol=0)


def test_every_object_and_band_has_its_own_width():
    extra_px = torch.tensor([[0.5, 1.0, 1.5], [2.0, 0.3, 0.0]])
    wide = widen(gaussian(1.5).expand(2, 3, -1, -1), extra_sigma_px=extra_px)
    got = torch.tensor([[variance(image) for image in bands] for bands in wide])
    torch.testing.assert_close(got, 1.5**2 + extra_px**2, rtol=2e-3, atol=0)


def test_agrees_with_scipy_up_to_the_reflected_edges():
    flux = torch.randn(1, 1, 33, 48, generator=generator(0))
    got = widen(flux, extra_sigma_px=torch.tensor([[1.5]]))
    rival = gaussian_filter(flux[0, 0].double().numpy(), 1.5, mode="reflect", truncate=8)
    torch.testing.assert_close(got[0, 0].double(), torch.from_numpy(rival), atol=1e-4, rtol=0)


@settings(max_examples=20, deadline=None)
@given(extra_px=st.floats(0, 8), size=st.integers(5, 40), seed=st.integers(0, 99))
def test_flux_is_conserved_even_at_the_edges(extra_px, size, seed):
    flux = torch.rand(1, 2, size, size, generator=generator(seed))
    wide = widen(flux, extra_sigma_px=torch.full((1, 2), extra_px))
    torch.testing.assert_close(wide.sum((2, 3)), flux.sum((2, 3)), rtol=1e-5, atol=0)


def test_widening_twice_is_widening_once_in_quadrature():
    flux = torch.randn(1, 1, 32, 32, generator=generator(3))
    twice = flux
    for extra_px in (0.6, 0.8):
        twice = widen(twice, extra_sigma_px=torch.tensor([[extra_px]]))
    once = widen(flux, extra_sigma_px=torch.tensor([[1.0]]))
    torch.testing.assert_close(twice, once, atol=1e-5, rtol=0)


def test_exact_under_mixed_precision_and_leaves_the_setting():
    flux, extra_px = torch.randn(2, 1, 16, 16, generator=generator(1)), torch.ones(2, 1)
    expected = widen(flux, extra_sigma_px=extra_px)
    torch.set_float32_matmul_precision("medium")
    try:
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(widen(flux, extra_sigma_px=extra_px), expected)
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")


def test_wrong_shape_is_refused():
    with pytest.raises(ShapeError, match=r"extra_sigma_px has shape \(2,\), expected \(2, 3\)"):
        widen(torch.zeros(2, 3, 8, 8), extra_sigma_px=torch.zeros(2))


def test_seeing_becomes_the_surveys_where_it_was_better():
    own_px = torch.full((4000, 3), 0.5)  # sharper than any draw
    extra_px = draw_extra_sigma(own_px, bands=GRZ, generator=generator(0))
    medians = (extra_px.square() + own_px.square()).sqrt().median(0).values
    expected = torch.tensor([band.median for band in GRZ])
    torch.testing.assert_close(medians, expected, rtol=0.02, atol=0)


def test_bad_seeing_is_left_alone_and_strength_scales_the_variance():
    bad = draw_extra_sigma(torch.full((50, 3), 20.0), bands=GRZ, generator=generator(0))
    assert not bad.any()
    own_px = torch.ones(50, 3)
    full = draw_extra_sigma(own_px, bands=GRZ, generator=generator(0))
    half = draw_extra_sigma(own_px, bands=GRZ, generator=generator(0), strength=0.5)
    torch.testing.assert_close(half.square() * 2, full.square())
