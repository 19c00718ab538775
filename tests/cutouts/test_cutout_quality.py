import numpy as np
import pytest

from ssl_photoz.cutouts.quality import has_position, reject_reasons, row_reasons, usable_labels


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_each_fault_has_its_reason(dtype):
    images = np.random.default_rng(0).normal(size=(9, 3, 8, 8)).astype(dtype)
    images[1, 2, 7, 7] = np.nan
    images[2, 0, 0, 0] = np.inf
    images[3, 1, 4, 4] = -np.inf
    images[4] = 0
    images[5] = [[[1]], [[2]], [[3]]]
    images[6, 1] = 0
    images[7, 1] = 0.25
    images[8] = np.nan
    assert reject_reasons(images).tolist() == [
        "",
        "nan or inf pixels",
        "nan or inf pixels",
        "nan or inf pixels",
        "all-zero cutout",
        "constant cutout",
        "all-zero band",
        "",
        "nan or inf pixels",
    ]


def test_display_values():
    images = np.random.default_rng(0).integers(0, 256, (4, 3, 8, 8)).astype(np.uint8)
    images[1], images[2], images[3, 0] = 0, 255, 0
    found = reject_reasons(images).tolist()
    assert found == ["", "all-zero cutout", "constant cutout", "all-zero band"]
    assert reject_reasons(images[:0]).shape == (0,)


def test_positions_off_the_sphere_are_refused_and_absent_ones_are_not():
    nan, inf = np.nan, np.inf
    ra = np.array([0, 360, 180, -0.1, 360.1, 10, 10, nan, 10, nan, inf])
    dec = np.array([-90, 90, 0, 0, 0, 90.1, -91, 0, nan, nan, 0])
    assert (row_reasons(ra, dec) == "").tolist() == [True] * 3 + [False] * 6 + [True, False]
    assert has_position(ra, dec).tolist() == [True] * 9 + [False, True]


def test_only_finite_positive_redshifts_are_labels():
    z = np.array([0.1, 0, -0.001, np.nan, np.inf, 1e-4])
    assert usable_labels(z).tolist() == [True, False, False, False, False, True]
