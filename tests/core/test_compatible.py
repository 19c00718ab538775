"""Cutouts of one kind: what counts as a difference."""

import pytest

from ssl_photoz.core.inputs import differences

MINE = {"bands": ["g", "r"], "pixscale_arcsec": 0.262, "calibrated": True, "size_px": 64}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, []),
        ({"bands": ("g", "r")}, []),
        ({"pixscale_arcsec": 0.26200000762939453}, []),
        ({"pixscale_arcsec": 0.2623}, ["pixscale_arcsec"]),
        ({"pixscale_arcsec": float("nan")}, ["pixscale_arcsec"]),
        ({"bands": ("r", "g"), "size_px": 63}, ["bands", "size_px"]),
        ({"calibrated": False}, ["calibrated"]),
    ],
)
def test_scales_have_a_tolerance_and_nothing_else(change, expected):
    assert differences(MINE, {**MINE, **change}) == expected


def test_what_is_unknown_on_both_sides_or_not_said_is_no_difference():
    unknown = {"pixscale_arcsec": float("nan")}
    assert differences(unknown, unknown) == []
    assert differences({"calibrated": True}, MINE) == []
