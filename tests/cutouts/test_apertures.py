import numpy as np
import pytest
import torch

from ssl_photoz.core.errors import DataError, ShapeError
from ssl_photoz.cutouts.apertures import ApertureFluxes, disc


def gaussian(size_px, sigma_px, total):
    """A source centred on the cutout; sigma of several pixels, so sampling is integration."""
    axis = np.arange(size_px) - (size_px - 1) / 2
    squares = axis[:, None] ** 2 + axis**2
    return total * np.exp(-squares / (2 * sigma_px**2)) / (2 * np.pi * sigma_px**2)


def measured(images, bands="grz", **options):
    options = {"size_px": images.shape[-1], "pixscale_arcsec": 0.262, "calibrated": True} | options
    measure = ApertureFluxes(tuple(bands), **options)
    features = measure(torch.from_numpy(np.asarray(images, np.float32)))
    return {name: features[:, index].numpy() for index, name in enumerate(measure.names)}


@pytest.mark.parametrize("radius_px", [1.3, 3.0, 7.9, 20.0])
@pytest.mark.parametrize("size_px", [41, 48])
def test_a_disc_has_the_area_of_a_disc(size_px, radius_px):
    weights = disc(size_px, radius_px)
    assert weights.sum() == pytest.approx(np.pi * radius_px**2, rel=0.01)
    assert weights.min() >= 0
    assert weights.max() <= 1
    np.testing.assert_array_equal(weights, weights.T)
    np.testing.assert_array_equal(weights, weights[::-1])


@pytest.mark.parametrize("size_px", [80, 81])
def test_bright_sources_have_their_magnitudes_colours_and_concentrations(size_px):
    """A Gaussian has the share 1 - exp(-R²/2s²) of its flux within R."""
    totals, sigma_px = np.array([1000.0, 2000.0, 4000.0]), 6.0
    image = np.stack([gaussian(size_px, sigma_px, total) for total in totals])[None]
    found = measured(image)
    for radius in (1.0, 2.5, 4.0):
        within = 1 - np.exp(-((radius / 0.262) ** 2) / (2 * sigma_px**2))
        for band, total in zip("grz", totals, strict=True):
            expected = 22.5 - 2.5 * np.log10(total * within)
            assert found[f"mag_{band}_{radius:g}"][0] == pytest.approx(expected, abs=0.01)
        assert found[f"g-r_{radius:g}"][0] == pytest.approx(2.5 * np.log10(2), abs=0.001)
    ratio = np.expm1(-((4 / 0.262) ** 2) / 72) / np.expm1(-((2.5 / 0.262) ** 2) / 72)
    assert found["conc_r_2.5"][0] == pytest.approx(2.5 * np.log10(ratio), abs=0.01)


def test_faint_and_negative_fluxes_are_linear_and_finite():
    per_pixel = np.array([-1e-6, 0, 1e-6, 2e-6])
    images = np.broadcast_to(per_pixel[:, None, None, None], (4, 1, 64, 64))
    mags = measured(images, bands="r")["mag_r_2.5"].astype(float)
    assert np.isfinite(mags).all()
    assert (np.diff(mags) < 0).all()
    np.testing.assert_allclose(np.diff(mags), np.diff(mags).mean(), rtol=0.02)


def test_noise_scatters_an_empty_aperture_by_about_one_tenth_of_its_range():
    """At zero flux a change of one softening b is 2.5/ln(10) * asinh(1/2) = 0.52 mag."""
    rng = np.random.default_rng(0)
    sky = rng.normal(0, 0.0044, (400, 1, 64, 64))
    found = measured(sky, bands="r")
    for radius in (1, 2.5, 6):
        linear = 2.5 / np.log(10) / 2
        assert np.std(found[f"mag_r_{radius}"]) == pytest.approx(linear, rel=0.15)


def test_orientation_does_not_matter_and_larger_cutouts_are_cropped():
    image = np.random.default_rng(0).normal(size=(2, 3, 64, 64)).astype(np.float32)
    measure = ApertureFluxes("grz", size_px=48, pixscale_arcsec=0.4, calibrated=False)
    flux = torch.from_numpy(image)
    expected = measure(flux[..., 8:56, 8:56])
    torch.testing.assert_close(measure(flux), expected)
    for turned in (flux.flip(-1), flux.transpose(2, 3), flux.rot90(1, (2, 3))):
        torch.testing.assert_close(measure(turned), expected, atol=1e-3, rtol=1e-3)


def test_only_apertures_inside_the_crop_are_measured():
    measure = ApertureFluxes("gr", size_px=64, pixscale_arcsec=0.262, calibrated=True)
    assert measure.radii_arcsec == (1.0, 1.5, 2.5, 4.0, 6.0)
    assert len(measure.names) == 2 * 5 + 5 + 2 * 4 == measure(torch.ones(1, 2, 64, 64)).shape[1]
    assert len(set(measure.names)) == len(measure.names)
    with pytest.raises(DataError, match="no aperture fits a crop of 6 px"):
        ApertureFluxes("gr", size_px=6, pixscale_arcsec=0.262, calibrated=True)
    with pytest.raises(DataError, match="needs a pixel scale, got nan"):
        ApertureFluxes("gr", size_px=64, pixscale_arcsec=np.nan, calibrated=True)
    with pytest.raises(ShapeError, match=r"expected \(B, 2, H, W\)"):
        measure(torch.ones(1, 3, 64, 64))
