"""The augmentations of ssl-legacysurvey, against draws from the distributions of its code."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from ssl_photoz.augment import survey
from ssl_photoz.augment.draws import generator
from ssl_photoz.augment.settings import AugmentationConfig
from ssl_photoz.augment.views import Views

BATCH = 3000
THEIRS = AugmentationConfig(
    rotation="none",
    jitter_px=0.0,
    input_conditions="drawn",
    target_conditions="uniform",
    psf_strength=0.0,
    noise_strength=0.0,
    dust="none",
)
PSF = {"g": (0.2109966, 1.0807153, 1.3153171, 1.3233109, 5.0)}
NOISE = {"g": (0.2264926, -0.0006735, 0.0037602, 0.001094, 0.013)}
QUANTILES = (0.2, 0.4, 0.5, 0.6, 0.8, 0.95)


def extra_as_they_draw_it(figures):
    """Sigma to add: uniform over the range, less a lognormal draw, in quadrature, or nothing."""
    shape, loc, scale, low, high = figures
    rng = np.random.default_rng(0)
    true = rng.lognormal(np.log(scale), shape, 200_000) + loc
    final = rng.uniform(low, high, 200_000)
    return np.sqrt(np.clip(final**2 - true**2, 0, None))


def test_psf_widths_are_distributed_as_theirs():
    axis = torch.arange(48) - 23.5
    profile = torch.exp(-0.5 * (axis / 2.0) ** 2)
    blob = torch.outer(profile, profile).expand(BATCH, 1, 48, 48)
    views = Views(("g",), crop_px=48, config=replace(THEIRS, psf_strength=1.0))
    # The noise of faint cutouts is put back after smoothing: here it is averaged over the core.
    view = views(blob * 1e4, generator=generator(4)) / 1e4
    found = 2 * (float(blob.amax()) / view.amax((1, 2, 3)) - 1).clamp_min(0).sqrt()
    wanted = np.quantile(extra_as_they_draw_it(PSF["g"]), QUANTILES)
    assert np.quantile(found, QUANTILES) == pytest.approx(wanted, abs=0.12)


def test_noise_is_distributed_as_theirs():
    views = Views(("g",), crop_px=32, config=replace(THEIRS, noise_strength=1.0))
    dark = torch.zeros(BATCH, 1, 32, 32)
    found = views(dark, generator=generator(5)).std((1, 2, 3))
    wanted = np.quantile(extra_as_they_draw_it(NOISE["g"]), QUANTILES)
    assert np.quantile(found, QUANTILES) == pytest.approx(wanted, abs=4e-4)


def test_drawing_takes_no_notice_of_what_the_file_says():
    views = Views(("g",), crop_px=32, config=replace(THEIRS, noise_strength=1.0))
    dark, loud = torch.zeros(8, 1, 32, 32), torch.full((8, 1), 0.5)
    plain = views(dark, generator=generator(5))
    torch.testing.assert_close(views(dark, noise=loud, generator=generator(5)), plain)


def test_ranges_follow_the_pixel_scale():
    (wide,) = survey.of_bands(survey.PSF_RANGE_PX, ("g",), pixscale_arcsec=0.131, power=-1)
    assert wide.high == pytest.approx(10.0)
    drawn = survey.draw((wide,), 4000, generator=generator(1))
    assert float(drawn.min()) == pytest.approx(2 * 1.3233109, abs=0.05)
    assert float(drawn.max()) == pytest.approx(10.0, abs=0.05)


@pytest.mark.parametrize("wrong", [{"input_conditions": "sky"}, {"target_conditions": "even"}])
def test_unknown_words_are_refused(wrong):
    with pytest.raises(ValueError, match="expected one of"):
        AugmentationConfig(**wrong)
