"""Planted faults are found, all of them, and a survey without faults is nearly let alone."""

import h5py
import numpy as np
import pytest

from ssl_photoz.core.errors import ConfigError
from ssl_photoz.cutouts.reader import Cutouts
from ssl_photoz.qa.checks import check
from ssl_photoz.qa.settings import CHECKS, REJECTING, CheckConfig

ALL_CHECKS = set(CHECKS)


def flagged(path, **settings):
    cutouts = Cutouts.open(path)
    return check(cutouts, np.arange(len(cutouts)), CheckConfig(**settings))


@pytest.fixture(scope="module")
def clean(clean_survey):
    return flagged(clean_survey)


@pytest.fixture(scope="module")
def planted(planted_survey):
    return flagged(planted_survey)


def test_hardly_anything_is_wrong_with_a_survey_in_which_nothing_is(clean):
    counts = clean.counts()
    blended = counts.pop("shred_peak")
    assert set(counts.values()) == {0}
    assert blended <= 0.05 * len(clean.rows)


@pytest.mark.parametrize(
    "name",
    [
        *("repeated_id", "repeated_position", "blank", "saturated"),
        *("shred_peak", "star", "absurd_label", "not_positive"),
    ],
)
def test_what_was_planted_is_found_and_nothing_else(clean, planted, name, planted_rows):
    before, after = (set(np.flatnonzero(one.flags[name])) for one in (clean, planted))
    new = after - before
    # The pixels of a planted star may also make a neighbour's light rival the middle.
    allowed = set(planted_rows["saturated"]) if name == "shred_peak" else set()
    assert set(planted_rows[name]) <= new
    assert new - set(planted_rows[name]) <= allowed


def test_overlapping_cutouts_are_pairs(planted):
    assert set(np.flatnonzero(planted.flags["overlapping"])) == {97, 98, 101, 102}
    assert planted.neighbours.pairs == 2


def test_the_worst_comes_first(planted):
    rows = planted.worst("blank", 2)
    assert rows[0] == 30  # five columns of 64 px; the others have one line's worth
    assert len(rows) == 2


def test_a_shred_is_an_entry_within_a_brighter_one(tmp_path):
    path = tmp_path / "entries.h5"
    with h5py.File(path, "w") as file:
        file["images"] = np.random.default_rng(0).normal(size=(5, 3, 16, 16)).astype("f4")
        file["RA"] = np.full(5, 150.0)
        file["DEC"] = np.array([0, 3, 3.9, 20, 22]) / 3600
        file["MAG_R"] = np.array([15.0, 18, 19, 20, 20.5])
        file["SHAPE_R"] = np.array([2.0, 0.3, 0.3, 0.5, 0.4])
    found = flagged(path)
    # Row 1 is 1.5 radii of row 0 away, row 2 1.95; row 4 is 4 radii of row 3 away.
    assert np.flatnonzero(found.flags["shred_entry"]).tolist() == [1, 2]
    assert np.flatnonzero(flagged(path, entry_radii=1.8).flags["shred_entry"]).tolist() == [1]


def test_bits_and_classes_of_the_catalogue_are_believed(tmp_path):
    path = tmp_path / "bits.h5"
    with h5py.File(path, "w") as file:
        file["images"] = np.random.default_rng(0).normal(size=(4, 3, 16, 16)).astype("f4")
        file["RA"], file["DEC"] = np.arange(4.0), np.arange(4.0)
        file["MASKBITS"] = np.array([0, 1 << 3, 1 << 11, 1 << 2], np.int16)
        file["SPECTYPE"] = np.array([b"GALAXY", b"STAR  ", b"QSO", b"star"])
        file["Z"] = np.array([0.1, 0.2, 0.3, np.nan], "f4")
    found = flagged(path)
    assert found.flags["saturated"].tolist() == [False, True, False, True]
    assert found.flags["star"].tolist() == [False, True, False, True]


def test_what_makes_no_sense_is_left_out_and_why(tmp_path):
    path = tmp_path / "picture.h5"
    with h5py.File(path, "w") as file:
        images = np.random.default_rng(0).integers(0, 90, (5, 3, 32, 32)).astype(np.uint8)
        images[3, :, 4:9, 4:9] = 255
        file["images"] = images
        file["RA"], file["DEC"] = np.arange(5.0), np.arange(5.0)
    found = flagged(path)
    assert set(found.left_out) == {"shred_peak", "overlapping", "shred_entry"}
    assert "pixel scale" in found.left_out["shred_peak"]
    assert found.counts()["saturated"] == 1
    assert list(found.flags) == [name for name in CHECKS if name not in found.left_out]


def test_pixels_that_were_not_looked_at_are_not_flagged(planted_survey):
    cutouts = Cutouts.open(planted_survey)
    found = check(cutouts, np.arange(0, 35), CheckConfig())
    assert np.flatnonzero(found.flags["blank"]).tolist() == [30, 31, 32]
    assert found.counts()["saturated"] == 0
    assert found.counts()["absurd_label"] == 3


def test_thresholds_are_checked():
    with pytest.raises(ConfigError, match="peak_ratio is 0"):
        CheckConfig(peak_ratio=0)
    with pytest.raises(ConfigError, match="greatest_z"):
        CheckConfig(least_z=3)
    assert set(REJECTING) < ALL_CHECKS
