import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from ssl_photoz.augment import survey
from ssl_photoz.augment.draws import generator
from ssl_photoz.augment.redden import draw_ebv_change, redden
from ssl_photoz.augment.settings import AugmentationConfig
from ssl_photoz.core.errors import ConfigError, ShapeError
from ssl_photoz.core.extinction import EXTINCTION_PER_EBV, r_band_of

R_GRZ = torch.tensor(r_band_of(("g", "r", "z")))
EBV = st.floats(-0.5, 0.5)


def test_one_magnitude_of_extinction_is_one_magnitude():
    flux = torch.rand(2, 3, 4, 4, generator=generator(0)) + 0.1
    dimmed = redden(flux, torch.tensor([0.1, 0.3]), r_band=R_GRZ)
    extinction_mag = -2.5 * torch.log10(dimmed / flux)
    expected = torch.tensor([0.1, 0.3])[:, None] * torch.tensor([3.214, 2.165, 1.211])
    torch.testing.assert_close(extinction_mag.mean((2, 3)), expected, rtol=1e-4, atol=0)


@settings(max_examples=20, deadline=None)
@given(first=EBV, second=EBV)
def test_reddening_composes(first, second):
    flux = torch.randn(1, 3, 4, 4, generator=generator(0))
    stepwise = redden(
        redden(flux, torch.tensor([first]), r_band=R_GRZ), torch.tensor([second]), r_band=R_GRZ
    )
    at_once = redden(flux, torch.tensor([first + second]), r_band=R_GRZ)
    torch.testing.assert_close(stepwise, at_once, rtol=1e-5, atol=1e-6)


@settings(max_examples=20, deadline=None)
@given(ebv_mag=EBV)
def test_dereddening_undoes_reddening(ebv_mag):
    flux = torch.randn(1, 3, 4, 4, generator=generator(0))
    ebv = torch.tensor([ebv_mag])
    back = redden(redden(flux, ebv, r_band=R_GRZ), -ebv, r_band=R_GRZ)
    torch.testing.assert_close(back, flux, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("survey_name", list(EXTINCTION_PER_EBV))
def test_dust_dims_the_blue_most(survey_name):
    coefficients = list(EXTINCTION_PER_EBV[survey_name].values())
    assert coefficients == sorted(coefficients, reverse=True)


def test_bands_choose_the_survey():
    assert r_band_of(("z", "g")) == (1.211, 3.214)
    assert r_band_of(tuple("ugriz"))[1] == 3.303
    with pytest.raises(ConfigError, match="'Y'"):
        r_band_of(("g", "Y"))


def test_own_dust_scatters_by_the_maps_error():
    ebv_mag = torch.full((5000,), 0.2)
    change = draw_ebv_change(ebv_mag, generator=generator(0))
    assert change.std() == pytest.approx(0.026, rel=0.05)
    assert abs(change.mean()) < 4 * 0.026 / math.sqrt(5000)
    clear = draw_ebv_change(torch.zeros(5), generator=generator(0))
    assert not clear.any()


def test_survey_dust_follows_the_surveys_distribution():
    ebv_mag = torch.full((4000,), 0.3)
    total = ebv_mag + draw_ebv_change(
        ebv_mag, AugmentationConfig(dust="survey"), generator=generator(0)
    )
    assert stats.kstest(total.numpy(), stats.lognorm(*survey.EBV_MAG).cdf).pvalue > 1e-3


def test_no_dust_no_change():
    assert not draw_ebv_change(
        torch.ones(5), AugmentationConfig(dust="none"), generator=generator(0)
    ).any()


def test_wrong_shapes_are_refused():
    flux = torch.zeros(2, 3, 4, 4)
    with pytest.raises(ShapeError, match="ebv_mag"):
        redden(flux, torch.zeros(3), r_band=R_GRZ)
    with pytest.raises(ShapeError, match="r_band"):
        redden(flux, torch.zeros(2), r_band=torch.ones(2))


def test_corrected_flux_has_only_the_error_of_the_map_left():
    ebv_mag = torch.full((5000,), 0.3)
    change = draw_ebv_change(ebv_mag, corrected=True, generator=generator(0))
    assert float(change.std()) == pytest.approx(0.13 * 0.3, rel=0.05)
    assert float(change.mean()) == pytest.approx(0.0, abs=0.002)
    anew = draw_ebv_change(
        ebv_mag, AugmentationConfig(dust="survey"), corrected=True, generator=generator(0)
    )
    assert float(anew.median()) == pytest.approx(0.001146 + 0.03338, rel=0.05)
    assert float(anew.min()) >= 0
    even = draw_ebv_change(
        ebv_mag, AugmentationConfig(dust="uniform"), corrected=True, generator=generator(0)
    )
    assert float(even.mean()) == pytest.approx(0.5, abs=0.02)
