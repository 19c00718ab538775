import math

import pytest
import torch

from ssl_photoz.augment import survey
from ssl_photoz.augment.draws import generator
from ssl_photoz.augment.noise import add_noise, draw_noise, noise_after_widening, noise_deficit
from ssl_photoz.augment.orient import draw_orientation, orient
from ssl_photoz.augment.psf import widen
from ssl_photoz.core.errors import ShapeError

GRZ = survey.of_bands(survey.NOISE_NMGY, ("g", "r", "z"), pixscale_arcsec=0.262, power=1)
WIDTHS_PX = torch.tensor([[0.0, 0.2, 0.5, 1.0, 2.0]])


def test_added_noise_has_the_sigma_asked_for():
    sigma = torch.tensor([[0.0, 0.1], [1.0, 5.0]])
    noisy = add_noise(torch.full((2, 2, 128, 128), 7.0), sigma=sigma, generator=generator(1))
    torch.testing.assert_close(noisy.std((2, 3)), sigma, rtol=0.03, atol=0)
    torch.testing.assert_close(noisy.mean((2, 3)), torch.full((2, 2), 7.0), rtol=0, atol=0.2)


def test_added_noise_is_white():
    noise = add_noise(torch.zeros(1, 1, 200, 200), sigma=torch.ones(1, 1), generator=generator(2))
    assert abs((noise[..., 1:] * noise[..., :-1]).mean()) < 4 / 200
    assert abs((noise[..., 1:, :] * noise[..., :-1, :]).mean()) < 4 / 200


def test_gaussian_passes_its_closed_form():
    got = noise_after_widening(torch.full((1, 5), 3.0), WIDTHS_PX)
    expected = [
        3.0 if s == 0 else 3.0 * math.erf(math.pi * s) / (2 * math.sqrt(math.pi) * s)
        for s in WIDTHS_PX[0].tolist()
    ]
    torch.testing.assert_close(got[0], torch.tensor(expected), rtol=1e-3, atol=0)


@pytest.mark.parametrize("resampled", [False, True])
def test_surviving_noise_by_monte_carlo(resampled):
    batch = 48
    white = torch.randn(batch, 5, 92, 92, generator=generator(3))
    if resampled:
        placed = draw_orientation(batch, max_shift_px=1.0, generator=generator(4))
        white = orient(white, crop_px=64, **placed._asdict())
    smooth = widen(white, extra_sigma_px=WIDTHS_PX.expand(batch, 5))
    inside = smooth[..., 8:-8, 8:-8]  # reflection adds variance at the very edge
    got = inside.square().mean((0, 2, 3)).sqrt()
    expected = noise_after_widening(torch.ones(1, 5), WIDTHS_PX, resampled=resampled)[0]
    torch.testing.assert_close(got, expected, rtol=0.03, atol=0)


def test_deficit_fills_up_to_the_target():
    target, present = torch.tensor([5.0, 5.0, 5.0]), torch.tensor([3.0, 5.0, 6.0])
    assert noise_deficit(target, present).tolist() == [4.0, 0.0, 0.0]


def test_deficit_after_widening_is_restored():
    white = torch.randn(8, 1, 96, 96, generator=generator(5))
    extra_px, own = torch.full((8, 1), 1.2), torch.ones(8, 1)
    smooth = widen(white, extra_sigma_px=extra_px)
    assert smooth[..., 8:-8, 8:-8].std() < 0.3
    missing = noise_deficit(own, noise_after_widening(own, extra_px))
    restored = add_noise(smooth, sigma=missing, generator=generator(6))
    assert restored[..., 8:-8, 8:-8].std() == pytest.approx(1.0, rel=0.02)


def test_noise_is_never_below_the_objects_own():
    own = torch.linspace(0.0, 0.05, 3000)[:, None].expand(3000, 3)
    target = draw_noise(own, bands=GRZ, generator=generator(0))
    assert (target >= own * (1 - 1e-6)).all()
    median = draw_noise(torch.zeros(4000, 3), bands=GRZ, generator=generator(0)).median(0).values
    expected = torch.tensor([band.median for band in GRZ])
    torch.testing.assert_close(median, expected, rtol=0.03, atol=0)


def test_no_strength_means_own_noise():
    own = torch.full((10, 3), 0.002)
    target = draw_noise(own, bands=GRZ, generator=generator(0), strength=0.0)
    torch.testing.assert_close(target, own)


def test_wrong_shapes_are_refused():
    with pytest.raises(ShapeError, match="sigma"):
        add_noise(torch.zeros(2, 3, 4, 4), sigma=torch.ones(3), generator=generator(0))
    with pytest.raises(ShapeError, match="own_sigma"):
        draw_noise(torch.ones(2, 4), bands=GRZ, generator=generator(0))
    with pytest.raises(ShapeError, match="extra_sigma_px"):
        noise_after_widening(torch.ones(2, 3), torch.ones(3))
