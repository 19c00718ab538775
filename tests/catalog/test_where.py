import contextlib

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from hypothesis import given, settings
from hypothesis import strategies as st

from ssl_photoz.catalog.where import parse_where, rows_where
from ssl_photoz.core.errors import ConfigError, DataError

N = 500
RNG = np.random.default_rng(1)
TABLE = {
    "mag_r": np.where(RNG.random(N) < 0.1, np.nan, RNG.uniform(15, 22, N)).astype("f4"),
    "z": RNG.uniform(0, 0.2, N).astype("f4"),
    "id": np.arange(N) + 2**60,
    "split": RNG.choice(["train", "test"], N).astype(object),
    "is_dwarf": RNG.random(N) < 0.3,
    "ra": RNG.uniform(0, 360, N),
    "dec": np.degrees(np.arcsin(RNG.uniform(-1, 1, N))),
}
TABLE["ra"][:2] = [0.0, 359.99]
TABLE["dec"][:2] = 0.0
TABLE["ra"][2] = np.nan
Z, MAG = TABLE["z"], TABLE["mag_r"]


def passing(text):
    return rows_where(text, TABLE.__getitem__).tolist()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mag_r<20", MAG < 20),
        ("mag_r >= 2.0e1", MAG >= 20),
        ("20 > mag_r", MAG < 20),
        ("0.01<z<0.05", (Z > np.float32(0.01)) & (Z < np.float32(0.05))),
        ("0.1 > z >= 0.05 AND mag_r < 19.5", (Z < 0.1) & (Z >= 0.05) & (MAG < 19.5)),
        ("mag_r != 3", np.isfinite(MAG)),
        ("split == test", TABLE["split"] == "test"),
        ("split='test' and z > 0.1", (TABLE["split"] == "test") & (Z > 0.1)),
        ('split != "test"', TABLE["split"] != "test"),
        ("is_dwarf == 1", TABLE["is_dwarf"]),
        (f"id == {2**60 + 7}", np.arange(N) == 7),
        (f"{2**60 + 7} <= id < {2**60 + 9}", np.isin(np.arange(N), [7, 8])),
        ("z > -1e9 and id < 99999999999999999999999999", np.full(N, True)),
    ],
)
def test_filters_agree_with_numpy(text, expected):
    assert passing(text) == np.flatnonzero(expected).tolist()


@pytest.mark.parametrize("cone", [(0.0, 0.0, 30.0), (359.0, -89.0, 5.0), (120.0, 45.0, 160.0)])
def test_a_cone_agrees_with_skycoord(cone):
    ra, dec, radius = cone
    places = SkyCoord(np.nan_to_num(TABLE["ra"]), TABLE["dec"], unit="deg")
    inside = SkyCoord(ra, dec, unit="deg").separation(places).deg <= radius
    inside &= np.isfinite(TABLE["ra"])
    assert inside.any()
    assert passing(f"cone({ra}, {dec}, {radius})") == np.flatnonzero(inside).tolist()


@pytest.mark.parametrize("box", [(350, 10, -20, 30), (10, 350, -90, 90), (0, 360, -5, 5)])
def test_a_box_agrees_with_a_loop_also_across_zero(box):
    ra_min, ra_max, dec_min, dec_max = box
    inside = []
    for row, (ra, dec) in enumerate(zip(TABLE["ra"], TABLE["dec"], strict=True)):
        between = ra_min <= ra <= ra_max if ra_min <= ra_max else ra >= ra_min or ra <= ra_max
        if between and dec_min <= dec <= dec_max:
            inside.append(row)
    assert inside
    assert passing(f"box({ra_min},{ra_max},{dec_min},{dec_max})") == inside


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "expected conditions such as"),
        ("z <", "expected a number or text; the text ends there"),
        ("z < 0.1 mag_r < 20", "expected `and` or the end; got 'mag_r < 20'"),
        ("z < 0.1 and", "expected conditions such as .* the text ends there"),
        ("z < 0.1 or z > 0.2", "got 'or z > 0.2'"),
        ("__import__('os').system('true')", "expected a comparison"),
        ("z < (1)", "expected a number or text"),
        ("0.1 < z < high", "expected a number; got 'high'"),
        ("cone(1, 2)", "expected a comma: 3 numbers"),
        ("cone(1, 2, 3, 4)", "closing bracket after 3 numbers"),
        ("cone(400, 2, 3)", r"expected in cone\(\) RA from 0 to 360"),
        ("cone(4, 2, 0)", "a radius above 0"),
        ("box(1, 2, 5, -5)", "dec_min < dec_max"),
        ("z == nearby", "column z, which holds numbers"),
        ("split == 3", "holds text: compare it by == or !="),
        ("split < test", "holds text: compare it by == or !="),
    ],
)
def test_what_is_no_filter_is_refused(text, says):
    with pytest.raises(ConfigError, match=says):
        passing(text)


def test_a_filter_that_nothing_passes_says_how_many_pass_each_part():
    few = (Z < 0.1).sum()
    each = rf"{few} have z < 0\.1, {N} have id > 0, 0 have mag_r > 30"
    with pytest.raises(DataError, match=rf"no galaxy of {N} passes .*: {each}"):
        passing("z < 0.1 and id > 0 and mag_r > 30")


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="zab_019.<>=!(), '\"\n-+e:;[]cone", max_size=40))
def test_any_text_is_parsed_or_refused(text):
    with contextlib.suppress(ConfigError):
        assert parse_where(text)
