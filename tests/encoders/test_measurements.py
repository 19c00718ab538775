"""Measurements against closed forms: Gaussians, flat light, white noise, Poisson patterns."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from ssl_photoz.core.errors import ConfigError, ShapeError
from ssl_photoz.encoders.measurements import Measurements
from ssl_photoz.encoders.settings import MeasurementConfig

SIZE, PIXEL, NOISE = 64, 0.262, (0.003, 0.004, 0.01)


def measurements(bands="grz", *, size=SIZE, pixscale=PIXEL, calibrated=True, noise=None, **config):
    return Measurements(
        MeasurementConfig(**config),
        bands=bands,
        size_px=size,
        pixscale_arcsec=pixscale,
        calibrated=calibrated,
        noise=NOISE[: len(bands)] if noise is None else noise,
    )


def gaussian(sigma_arcsec, flux=1.0, *, ratio=1.0, angle=0.0, size=SIZE, pixscale=PIXEL):
    """Elliptical Gaussian of a total flux; sigma along the major axis, ratio minor over major."""
    x = (torch.arange(size, dtype=torch.float64) - (size - 1) / 2) * pixscale
    along = x * math.cos(angle) + x[:, None] * math.sin(angle)
    across = -x * math.sin(angle) + x[:, None] * math.cos(angle)
    profile = torch.exp(
        -0.5 * ((along / sigma_arcsec) ** 2 + (across / (ratio * sigma_arcsec)) ** 2)
    )
    peak = flux / (2 * math.pi * sigma_arcsec**2 * ratio) * pixscale**2
    return (peak * profile).float()


def named(module, values):
    return {number.name: values[..., n] for n, number in enumerate(module.described)}


@pytest.mark.parametrize("sigma", [0.6, 1.0, 1.5])
def test_the_magnitude_of_a_gaussian_in_a_gaussian_window(sigma):
    module = measurements()
    flux = torch.stack([gaussian(sigma, 100.0 * k) for k in (1, 2, 4)])[None]
    found = named(module, module.measure(flux)[0])
    for window in module.config.sigmas_arcsec(SIZE * PIXEL / 2):
        # Overlap of two round Gaussians: the total flux times w^2 / (w^2 + s^2).
        seen = 200.0 * window**2 / (window**2 + sigma**2)
        assert found[f"mag_r_{window:.2g}"] == pytest.approx(
            22.5 - 2.5 * math.log10(seen), abs=2e-3
        )
        assert found[f"g-r_{window:.2g}"] == pytest.approx(2.5 * math.log10(2), abs=2e-3)


@pytest.mark.parametrize("sigma", [0.7, 1.2, 2.0])
def test_sizes_and_ellipticities_of_gaussians(sigma):
    module = measurements()
    ratio = 0.6
    flux = torch.stack([gaussian(sigma, 1e3, ratio=ratio, angle=a) for a in (0.0, 0.5, 1.2)])[None]
    found = named(module, module.measure(flux)[0])
    for n in module.config.shape_windows:
        window = module.config.sigmas_arcsec(SIZE * PIXEL / 2)[n]
        # Light times window is a Gaussian whose variances are harmonic sums.
        major, minor = (1 / (1 / s**2 + 1 / window**2) for s in (sigma, ratio * sigma))
        size_px = math.sqrt((major + minor) / 2) / PIXEL
        for band in "grz":
            label = f"{band}_{window:.2g}"
            assert found[f"size_{label}"] == pytest.approx(math.log(size_px), abs=0.01)
            assert found[f"ellipticity_{label}"] == pytest.approx(
                (major - minor) / (major + minor), abs=0.01
            )


def test_faint_light_is_linear_and_negative_light_is_finite():
    module = measurements()
    sky = torch.zeros(1, 3, SIZE, SIZE)
    faint = 1e-4 * torch.stack([gaussian(1.0)] * 3)[None]
    rows = torch.cat([sky, faint, 2 * faint, -faint, -1e4 * faint, 1e9 * faint])
    found = module.measure(rows)
    conditions = [number.block == "conditions" for number in module.described]
    assert torch.isfinite(found[:, ~torch.tensor(conditions)]).all()
    mag = named(module, found)["mag_r_1.1"]
    assert mag[0] - mag[2] == pytest.approx(2 * float(mag[0] - mag[1]), rel=1e-2)
    assert mag[0] - mag[3] == pytest.approx(-float(mag[0] - mag[1]), rel=1e-2)


def test_every_number_is_the_same_in_all_eight_orientations():
    module = measurements()
    flux = torch.randn(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1)) * 0.01
    flux += torch.stack([gaussian(1.4, 5.0, ratio=0.5, angle=0.3)] * 3)
    first = module(flux)
    for turns in range(4):
        turned = torch.rot90(flux, turns, dims=(2, 3))
        torch.testing.assert_close(module(turned), first, atol=2e-3, rtol=1e-3)
        torch.testing.assert_close(module(turned.flip(3)), first, atol=2e-3, rtol=1e-3)


def test_swapped_bands_swap_their_numbers():
    module = measurements(noise=(0.004,) * 3)
    flux = torch.stack([gaussian(s, f) for s, f in ((0.8, 3.0), (1.0, 5.0), (1.4, 9.0))])[None]
    there = named(module, module.measure(flux)[0])
    back = named(module, module.measure(flux.flip(1))[0])
    for name in ("mag_g_1.1", "size_g_1.7", "texture_g_1px", "asymmetry_g", "conc_g_1.1"):
        assert there[name] == pytest.approx(float(back[name.replace("_g", "_z")]), abs=1e-4)
    assert there["g-r_1.1"] == pytest.approx(-float(back["r-z_1.1"]), abs=1e-4)


def test_the_variance_of_a_poisson_pattern_is_found_and_noise_taken_off():
    """Stars of flux f, n per pixel: variance n f^2 over mean n f is f (Tonry & Schneider 1988)."""
    star, noise = 0.5, 0.0005
    rng = np.random.default_rng(0)
    light = rng.poisson(40.0, (400, 1, SIZE, SIZE)) * star
    light = light + noise * rng.standard_normal(light.shape)
    module = measurements("r", noise=(noise,))
    found = named(module, module.measure(torch.from_numpy(light).float()))
    for scale in (1.0, 2.0):
        # The share of white noise's variance that the band-pass keeps: the integral over the plane
        # of the difference of two Gaussians, squared.
        kept = (1 / (4 * math.pi)) * (1 / scale**2 + 1 / (4 * scale**2) - 4 / (5 * scale**2))
        expected = 22.5 - 2.5 * math.log10(star * kept)
        assert found[f"fluctuation_r_{scale:g}px"].mean() == pytest.approx(expected, abs=0.05)


def test_noise_alone_has_no_fluctuation_and_no_asymmetry():
    noise = 0.01
    rng = np.random.default_rng(1)
    light = 100 * gaussian(1.5, 1.0)[None].double().numpy()
    light = light + noise * rng.standard_normal((600, 1, SIZE, SIZE))
    module = measurements("r", noise=(noise,))
    clean = named(module, module.measure(100 * gaussian(1.5)[None, None], noise=torch.zeros(1, 1)))
    noisy = named(
        module,
        module.measure(torch.from_numpy(light).float(), noise=torch.full((600, 1), noise)),
    )
    assert noisy["asymmetry_r"].mean() == pytest.approx(0.0, abs=0.01)
    assert noisy["fluctuation_r_2px"].mean() == pytest.approx(
        float(clean["fluctuation_r_2px"]), abs=0.1
    )


def test_asymmetry_of_a_galaxy_with_a_companion():
    module = measurements("r")
    alone = gaussian(1.0, 100.0)
    beside = alone + torch.roll(gaussian(0.5, 30.0), 6, dims=1)
    found = named(module, module.measure(torch.stack([alone, beside])[:, None]))["asymmetry_r"]
    assert abs(float(found[0])) < 0.02
    # All light of the companion, in its window at 1.57 arcsec, stands on one side.
    assert found[1] > 0.15


def test_conditions_are_logarithms_and_unknown_ones_are_neutral():
    module = measurements()
    flux = torch.stack([gaussian(1.0)] * 3)[None].repeat(2, 1, 1, 1)
    psf = torch.tensor([[1.5, 1.3, 1.2], [math.nan, 1.3, -1.0]])
    found = named(module, module.measure(flux, psf_fwhm_arcsec=psf))
    assert found["psf_g"][0] == pytest.approx(math.log(1.5))
    assert found["psf_g"][1].isnan()
    assert found["psf_z"][1].isnan()
    assert (named(module, module(flux))["psf_g"] == 0).all()


def test_standardised_by_a_sample():
    module = measurements()
    draws = torch.Generator().manual_seed(0)
    flux = torch.stack([gaussian(s, 9.0) for s in (0.8, 1.0, 1.2, 1.6)])[:, None].repeat(1, 3, 1, 1)
    flux = flux + 0.003 * torch.randn(flux.shape, generator=draws)
    module.standardise_by(module.measure(flux))
    found = module(flux)[:, [number.block != "conditions" for number in module.described]]
    torch.testing.assert_close(found.mean(dim=0), torch.zeros(found.shape[1]), atol=1e-3, rtol=0)
    spread = found.std(dim=0, correction=0)
    torch.testing.assert_close(spread, torch.ones_like(spread), atol=1e-2, rtol=0)
    assert module(1e6 * flux).abs().max() <= 6


def test_gradients_reach_the_pixels():
    module = measurements()
    flux = torch.stack([gaussian(1.0, 5.0)] * 3)[None].requires_grad_()
    module(flux).sum().backward()
    assert flux.grad is not None
    assert torch.isfinite(flux.grad).all()
    assert flux.grad.abs().sum() > 0


@pytest.mark.parametrize(("bands", "size", "pixscale"), [("r", 36, 0.262), ("ugriz", 33, 0.396)])
def test_any_bands_crop_and_scale(bands, size, pixscale):
    module = measurements(bands, size=size, pixscale=pixscale, noise=(0.01,) * len(bands))
    found = module(torch.rand(3, len(bands), size, size))
    assert found.shape == (3, len(module))
    assert len({number.name for number in module.described}) == len(module)


def test_display_values_are_marked_so():
    module = measurements("irg", calibrated=False, noise=(0.02,) * 3)
    assert all(number.block != "conditions" for number in module.described)
    flat = torch.full((1, 3, SIZE, SIZE), 0.5)
    window = module.config.sigmas_arcsec(SIZE * PIXEL / 2)[0] / PIXEL
    # Flat light of 0.5 in a window of area 2 pi sigma^2, no zero point.
    expected = -2.5 * math.log10(0.5 * 2 * math.pi * window**2)
    assert named(module, module.measure(flat)[0])["mag_r_0.5"] == pytest.approx(expected, abs=1e-3)


def test_what_cannot_be_measured_is_refused():
    with pytest.raises(ConfigError, match="positive number for each band"):
        measurements(noise=(0.0, 1.0, 1.0))
    with pytest.raises(ConfigError, match="narrow it, or widen crop_px"):
        measurements(size=4)
    with pytest.raises(ValueError, match="twice the one before"):
        MeasurementConfig(scales_px=(1.0, 3.0))
    with pytest.raises(ShapeError, match="expected"):
        measurements()(torch.zeros(1, 3, SIZE, SIZE + 1))
    with pytest.raises(ShapeError, match="noise has shape"):
        measurements()(torch.zeros(1, 3, SIZE, SIZE), noise=torch.zeros(1, 2))
