import math

import numpy as np
import pytest
import torch
from scipy import stats

from ssl_photoz.augment import survey
from ssl_photoz.augment.draws import PARTS, WORTH_SHARING, generator, normal, uniform
from ssl_photoz.core.errors import ConfigError


def stream(*counters, size=64):
    return uniform(0.0, 1.0, (size,), generator=generator(*counters))


def test_same_counters_give_the_same_stream():
    assert torch.equal(stream(7, 100, 0, 1), stream(7, 100, 0, 1))


@pytest.mark.parametrize("other", [(8, 100, 0, 1), (7, 101, 0, 1), (7, 100, 1, 1), (7, 100, 0, 0)])
def test_each_counter_changes_the_stream(other):
    assert not torch.equal(stream(7, 100, 0, 1), stream(*other))


def test_counters_do_not_collide_by_padding_or_carrying():
    variants = [(1,), (1, 0), (0, 1), (2**32,), (1, 0, 0)]
    streams = {tuple(stream(*counters, size=4).tolist()) for counters in variants}
    assert len(streams) == len(variants)


def test_neighbouring_steps_are_independent_uniforms():
    draws = torch.stack([stream(0, step, size=200) for step in range(100)])
    assert stats.kstest(draws.flatten().numpy(), "uniform").pvalue > 1e-3
    neighbours = np.corrcoef(draws[:-1].flatten().numpy(), draws[1:].flatten().numpy())[0, 1]
    assert abs(neighbours) < 4 / math.sqrt(99 * 200)


def test_global_randomness_is_neither_read_nor_changed():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = stream(3)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert torch.equal(first, stream(3))


@pytest.mark.parametrize("counters", [(), (-1,), (0, 2**64)])
def test_counters_out_of_range_are_refused(counters):
    with pytest.raises(ValueError, match="expected one or more integers"):
        generator(*counters)


@pytest.mark.parametrize("band", ["g", "r", "z"])
@pytest.mark.parametrize("table", [survey.PSF_SIGMA_PX, survey.NOISE_NMGY])
def test_draws_follow_scipys_lognormal(table, band):
    drawn = survey.draw((table[band],), 4000, generator=generator(1, 2))[:, 0].numpy()
    shape, loc, scale = table[band]
    assert stats.kstest(drawn, stats.lognorm(shape, loc, scale).cdf).pvalue > 1e-3


@pytest.mark.parametrize(("band", "fwhm_arcsec"), [("g", 1.48), ("r", 1.33), ("z", 1.24)])
def test_median_seeing_is_the_surveys(band, fwhm_arcsec):
    median_px = survey.PSF_SIGMA_PX[band].median
    assert median_px * survey.FWHM_PER_SIGMA * 0.262 == pytest.approx(fwhm_arcsec, abs=0.006)


def test_pixel_scale_changes_widths_and_noise_oppositely():
    (psf,) = survey.of_bands(survey.PSF_SIGMA_PX, ("r",), pixscale_arcsec=0.524, power=-1)
    (noise,) = survey.of_bands(survey.NOISE_NMGY, ("r",), pixscale_arcsec=0.524, power=1)
    assert psf.median == pytest.approx(survey.PSF_SIGMA_PX["r"].median / 2)
    assert noise.median == pytest.approx(survey.NOISE_NMGY["r"].median * 2)


def test_unknown_band_is_named():
    with pytest.raises(ConfigError, match="'K'"):
        survey.of_bands(survey.PSF_SIGMA_PX, ("g", "K"), pixscale_arcsec=0.262, power=-1)


def test_many_deviates_do_not_depend_on_the_number_of_threads():
    threads = torch.get_num_threads()
    drawn = []
    try:
        for count in (1, 3):
            torch.set_num_threads(count)
            drawn.append(normal((2, WORTH_SHARING // 2 + 5), generator=generator(4)))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(*drawn)


@pytest.mark.parametrize("size", [20_000, WORTH_SHARING + 3])
def test_deviates_are_standard_normal_and_leave_global_randomness_alone(size):
    before = torch.get_rng_state()
    drawn = normal((size,), generator=generator(5)).numpy()
    assert torch.equal(torch.get_rng_state(), before)
    assert stats.kstest(drawn, "norm").pvalue > 1e-3


def test_parts_drawn_by_several_threads_are_unrelated():
    drawn = normal((PARTS, WORTH_SHARING // PARTS), generator=generator(6)).numpy()
    unlike = np.abs(np.corrcoef(drawn)[np.triu_indices(PARTS, 1)])
    assert unlike.max() < 5 / math.sqrt(drawn.shape[1])
