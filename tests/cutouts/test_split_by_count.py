"""Splits by number of rows: for samples that others have split so."""

import numpy as np
import pytest

from ssl_photoz.core.errors import ConfigError
from ssl_photoz.cutouts.split import SplitConfig, assign_splits

N = 1000
COUNTS = (700, 100, 200)


def split(ids, **changes):
    rng = np.random.default_rng(0)
    ra, dec = rng.uniform(0, 360, len(ids)), rng.uniform(-60, 60, len(ids))
    return assign_splits(ra, dec, ids, SplitConfig(**{"counts": COUNTS, **changes}))


def numbers(side):
    return tuple(int(np.sum(side == name)) for name in ("train", "val", "test"))


def test_every_split_has_the_rows_asked_for():
    assert numbers(split(np.arange(N) + 2**60)) == COUNTS


def test_what_is_left_over_is_trained_on():
    assert numbers(split(np.arange(N + 7))) == (707, 100, 200)


def test_the_seed_decides_and_the_order_of_the_file_does_not():
    ids = np.arange(N)
    shuffled = np.random.default_rng(1).permutation(N)
    first = split(ids)
    np.testing.assert_array_equal(split(ids[shuffled]), first[shuffled])
    # Of 300 galaxies that are not in train, chance leaves 30 % out of train again.
    moved = split(ids, seed=1)
    assert 0.2 < np.mean(moved[first != "train"] != "train") < 0.4


def test_rows_of_one_galaxy_stay_together():
    ids = np.repeat(np.arange(N // 4), 4)
    ra = 40 + ids + np.tile([0, 2, 4, 6], N // 4) / 3600
    side = assign_splits(ra, np.zeros(N), ids, SplitConfig(counts=COUNTS)).reshape(-1, 4)
    assert (side == side[:, :1]).all()
    assert numbers(side.ravel()) == COUNTS


def test_galaxies_that_share_an_id_are_dealt_one_by_one():
    assert numbers(split(np.zeros(N, np.int64))) == COUNTS


def test_positions_do_not_matter():
    ids, nowhere = np.arange(N), np.full(N, np.nan)
    np.testing.assert_array_equal(
        assign_splits(nowhere, nowhere, ids, SplitConfig(counts=COUNTS)), split(ids)
    )


def test_too_few_rows_are_refused():
    with pytest.raises(ConfigError, match="1000 rows in all; there are 999"):
        split(np.arange(N - 1))
    with pytest.raises(ConfigError, match="three numbers"):
        SplitConfig(counts=(1, -1, 1))


def test_a_card_gives_back_the_settings():
    for settings in (SplitConfig(counts=COUNTS), SplitConfig(seed=3)):
        said = {"seed": settings.seed, "nside": 32, "fractions": [0.7, 0.1, 0.2]}
        said["counts"] = list(COUNTS) if settings.counts else None
        assert SplitConfig.of(said) == settings
    assert SplitConfig.of({"seed": 0, "nside": 32, "fractions": [0.7, 0.1, 0.2]}).counts is None
