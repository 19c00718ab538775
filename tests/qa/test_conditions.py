"""Depth against its definition, and the survey's distributions against scipy's."""

import numpy as np
import pytest
from scipy import integrate, stats

from ssl_photoz.cutouts.reader import Cutouts
from ssl_photoz.qa.conditions import (
    density,
    depth_mag,
    observe,
    survey_fwhm,
    survey_noise,
)
from ssl_photoz.simulator.conditions import EBV_MAG


def test_depth_is_the_flux_that_a_matched_filter_finds_at_five_sigma():
    """On a grid: the error of a PSF's flux is noise over the root of the sum of its squares."""
    fwhm_arcsec, scale, noise = 1.3, 0.262, 0.005
    sigma = fwhm_arcsec / 2.354820045 / scale
    rows, columns = np.mgrid[-40:41, -40:41]
    psf = np.exp(-(rows**2 + columns**2) / (2 * sigma**2))
    psf /= psf.sum()
    flux = 5 * noise / np.sqrt((psf**2).sum())
    found = depth_mag(np.array([noise]), np.array([fwhm_arcsec]), pixscale_arcsec=scale)
    assert found[0] == pytest.approx(22.5 - 2.5 * np.log10(flux), abs=1e-4)


def test_depth_of_the_survey_is_that_of_its_catalogues():
    """DECaLS reaches g 24.7, r 23.9, z 23.0 (datalab.noirlab.edu/ls/decals.php), three passes."""
    for band, claimed in {"g": 24.7, "r": 23.9, "z": 23.0}.items():
        typical = [
            np.array([one.median])
            for one in (
                survey_noise(band, pixscale_arcsec=0.262),
                survey_fwhm(band),
            )
        ]
        assert depth_mag(*typical, pixscale_arcsec=0.262)[0] == pytest.approx(claimed, abs=0.6)


def test_distributions_are_those_of_scipy():
    for one in (EBV_MAG, survey_fwhm("r"), survey_noise("z", pixscale_arcsec=0.5)):
        area, _ = integrate.quad(lambda x, one=one: density(one, x), one.loc, 40 * one.scale)
        assert area == pytest.approx(1, abs=2e-3)
        assert one.median == pytest.approx(stats.lognorm.median(one.shape, one.loc, one.scale))
    assert survey_noise("u", pixscale_arcsec=0.262) is None
    assert survey_fwhm("u") is None


def test_a_simulated_survey_was_observed_as_it_says(clean_survey):
    cutouts = Cutouts.open(clean_survey)
    seen = observe(cutouts, np.arange(len(cutouts)))
    np.testing.assert_array_equal(seen.ebv_mag, cutouts.column("ebv").astype(float))
    ratio = np.median(seen.noise_measured / seen.noise_stated, axis=0)
    np.testing.assert_allclose(ratio, 1, atol=0.12)  # neighbours at the border add some
    for place, band in enumerate("grz"):
        expected = survey_fwhm(band).median
        assert np.median(seen.fwhm_arcsec[:, place]) == pytest.approx(expected, rel=0.05)
