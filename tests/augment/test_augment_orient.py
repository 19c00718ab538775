import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ssl_photoz.augment.draws import generator
from ssl_photoz.augment.orient import draw_orientation, largest_jitter_px, orient, plain_crop
from ssl_photoz.core.errors import DataError, ShapeError


def place(flux, crop_px, *, angle_rad=0.0, flip=False, shift_px=(0.0, 0.0)):
    batch = len(flux)
    return orient(
        flux,
        crop_px=crop_px,
        angle_rad=torch.full((batch,), float(angle_rad)),
        flip=torch.full((batch,), flip),
        shift_px=torch.tensor([shift_px]).expand(batch, 2),
    )


def texture(batch=2, bands=3, size=40, seed=0):
    return torch.randn(batch, bands, size, size, generator=generator(seed))


def gaussian(sigma_px, size=64, *, centre=(0.0, 0.0)):
    axis = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
    along = [torch.exp(-0.5 * ((axis - at) / sigma_px) ** 2) for at in centre]
    source = torch.outer(along[1], along[0])
    return (source / source.sum()).float()[None, None]


def second_moments(image):
    """Flux, centre (column, row) and variance along each axis of one image."""
    image = image.double()
    flux = image.sum()
    axis = torch.arange(image.shape[-1], dtype=torch.float64) - (image.shape[-1] - 1) / 2
    profiles = image.sum(0) / flux, image.sum(1) / flux
    centre = torch.stack([(p * axis).sum() for p in profiles])
    variance = torch.stack(
        [(p * (axis - c) ** 2).sum() for p, c in zip(profiles, centre, strict=True)]
    )
    return flux.item(), centre, variance


@pytest.mark.parametrize("size", [40, 41])
@pytest.mark.parametrize("quarters", range(4))
@pytest.mark.parametrize("flip", [False, True])
def test_quarter_turns_copy_pixels(size, quarters, flip):
    flux = texture(size=size)
    crop = plain_crop(flux, 24)
    expected = torch.rot90(crop.flip(-1) if flip else crop, quarters, (-2, -1))
    got = place(flux, 24, angle_rad=quarters * math.pi / 2, flip=flip)
    torch.testing.assert_close(got, expected, atol=2e-4, rtol=0)


def test_four_quarter_turns_are_the_identity():
    flux = texture(size=32)
    turned = flux
    for _ in range(4):
        turned = place(turned, 32, angle_rad=math.pi / 2)
    torch.testing.assert_close(turned, flux, atol=5e-4, rtol=0)


def test_whole_pixel_shift_is_an_off_centre_crop():
    flux = texture(size=40)
    got = place(flux, 20, shift_px=(3.0, -2.0))
    torch.testing.assert_close(got, flux[..., 8:28, 13:33], atol=2e-4, rtol=0)


def test_sub_pixel_shift_moves_the_centroid():
    flux, centre, _ = second_moments(place(gaussian(3.0), 48, shift_px=(0.5, -1.25))[0, 0])
    assert flux == pytest.approx(1.0, abs=1e-4)
    torch.testing.assert_close(
        centre, torch.tensor([-0.5, 1.25], dtype=torch.float64), atol=1e-3, rtol=0
    )


@settings(max_examples=20, deadline=None)
@given(
    angle_rad=st.floats(-7, 7),
    flip=st.booleans(),
    shift_px=st.tuples(st.floats(-4, 4), st.floats(-4, 4)),
)
def test_compact_source_keeps_its_flux(angle_rad, flip, shift_px):
    source = gaussian(2.0, centre=(3.0, -2.0))
    got = place(source, 48, angle_rad=angle_rad, flip=flip, shift_px=shift_px)
    assert got.sum().item() == pytest.approx(1.0, abs=2e-3)


@settings(max_examples=20, deadline=None)
@given(
    size=st.integers(24, 40),
    angle_rad=st.floats(-7, 7),
    shift_px=st.tuples(st.floats(-40, 40), st.floats(-40, 40)),
)
def test_no_corner_is_ever_empty(size, angle_rad, shift_px):
    sky = torch.full((1, 1, size, size), 3.25)
    got = place(sky, 24, angle_rad=angle_rad, shift_px=shift_px)
    torch.testing.assert_close(got, torch.full_like(got, 3.25), atol=1e-5, rtol=0)


@pytest.mark.parametrize(("size", "crop", "jitter"), [(128, 80, 5), (128, 64, 13), (152, 96, 5)])
def test_largest_jitter(size, crop, jitter):
    largest = largest_jitter_px(size, crop)
    assert math.floor(largest) == jitter
    assert (crop / 2 + largest) * math.sqrt(2) == pytest.approx(size / 2)


def test_no_reflection_up_to_the_largest_jitter():
    size, crop = 64, 32
    jitter = largest_jitter_px(size, crop)
    framed = torch.ones(1, 1, size, size)
    framed[..., [0, -1], :] = framed[..., :, [0, -1]] = 0.0
    # One pixel of margin: a bilinear sample reads the pixel beside it.
    for angle_rad in torch.linspace(0, 2 * math.pi, 33):
        got = place(framed, crop - 2, angle_rad=angle_rad, shift_px=(jitter, jitter))
        torch.testing.assert_close(got, torch.ones_like(got), atol=1e-5, rtol=0)
    assert largest_jitter_px(64, 64) == 0


def test_bilinear_resampling_widens_by_a_sixth_of_a_square_pixel():
    batch = 300
    source = gaussian(2.0).expand(batch, -1, -1, -1)
    placed = draw_orientation(batch, max_shift_px=2.0, generator=generator(5))
    views = orient(source, crop_px=48, **placed._asdict())
    variance = torch.stack([second_moments(view[0])[2] for view in views]).mean()
    assert variance.item() - 4.0 == pytest.approx(1 / 6, rel=0.05)


def test_objects_do_not_depend_on_their_batch():
    flux = texture(batch=6)
    placed = draw_orientation(6, max_shift_px=3.0, generator=generator(1))
    whole = orient(flux, crop_px=24, **placed._asdict())
    for row in range(6):
        alone = orient(
            flux[row : row + 1],
            crop_px=24,
            **{name: part[row : row + 1] for name, part in placed._asdict().items()},
        )
        torch.testing.assert_close(alone[0], whole[row], atol=1e-4, rtol=0)


def test_free_orientations_cover_all_angles_and_both_hands():
    placed = draw_orientation(4000, max_shift_px=5.0, generator=generator(2))
    vectors = torch.stack((torch.cos(placed.angle_rad), torch.sin(placed.angle_rad)))
    assert vectors.mean(1).norm() < 0.06
    assert 0.46 < placed.flip.float().mean() < 0.54
    assert placed.shift_px.abs().max() <= 5
    assert placed.shift_px.std() == pytest.approx(5 / math.sqrt(3), rel=0.05)


def test_quarter_orientations_are_whole():
    placed = draw_orientation(4000, max_shift_px=2.9, generator=generator(2), rotation="quarter")
    counts = torch.bincount((placed.angle_rad / (math.pi / 2)).round().long(), minlength=4)
    assert len(counts) == 4
    assert counts.min() > 850
    shifts, often = placed.shift_px.unique(return_counts=True)
    assert shifts.tolist() == [-2, -1, 0, 1, 2]
    assert often.min() > 1400


def test_no_rotation_leaves_only_jitter():
    placed = draw_orientation(50, max_shift_px=2.0, generator=generator(2), rotation="none")
    assert not placed.angle_rad.any()
    assert not placed.flip.any()
    assert placed.shift_px.any()


def test_exact_under_mixed_precision():
    flux = texture(size=32)
    with torch.autocast("cpu", torch.bfloat16):
        got = place(flux, 24, angle_rad=0.7, shift_px=(1.3, -2.2))
    assert torch.equal(got, place(flux, 24, angle_rad=0.7, shift_px=(1.3, -2.2)))


def test_half_precision_is_promoted():
    assert place(texture().half(), 24).dtype == torch.float32
    assert place(texture().bfloat16(), 24).dtype == torch.float32


def test_bad_input_is_refused():
    with pytest.raises(DataError, match="divide 8-bit"):
        place(torch.zeros(1, 1, 8, 8, dtype=torch.uint8), 4)
    with pytest.raises(ShapeError, match="B, C, H, W"):
        place(torch.zeros(1, 8, 8), 4)
    with pytest.raises(ShapeError, match="square"):
        place(torch.zeros(1, 1, 8, 9), 4)
    with pytest.raises(ShapeError, match="at least 16"):
        place(torch.zeros(1, 1, 8, 8), 16)
    with pytest.raises(ShapeError, match="cannot crop 16"):
        plain_crop(torch.zeros(1, 1, 8, 8), 16)
    with pytest.raises(ShapeError, match=r"flip .* expected \(2,\)"):
        orient(
            torch.zeros(2, 1, 8, 8),
            crop_px=4,
            angle_rad=torch.zeros(2),
            flip=torch.zeros(3, dtype=torch.bool),
            shift_px=torch.zeros(2, 2),
        )
