from types import SimpleNamespace

import numpy as np
import pytest
from astropy import units
from astropy.coordinates import SkyCoord

from ssl_photoz.core.errors import ConfigError, ShapeError
from ssl_photoz.cutouts.split import SplitConfig, assign_splits, sky_split, uniform_hash


def sky(n, seed=0):
    rng = np.random.default_rng(seed)
    return rng.uniform(0, 360, n), np.degrees(np.arcsin(rng.uniform(-1, 1, n)))


def test_shares_of_the_sky_are_the_fractions():
    ra, dec = sky(200_000)
    split = assign_splits(ra, dec, np.arange(len(ra)), SplitConfig(fractions=(0.6, 0.15, 0.25)))
    n_cells = 12 * 32**2
    for name, share in zip(("train", "val", "test"), (0.6, 0.15, 0.25), strict=True):
        sigma = np.sqrt(share * (1 - share) / n_cells)
        assert abs(np.mean(split == name) - share) < 4 * sigma


def test_clustered_galaxies_stay_together():
    """Pairs within 33.5 arcsec share pixels: they may part only where a cell ends."""
    ra, dec = sky(20_000, seed=3)
    step = np.random.default_rng(4).uniform(0, 2 * np.pi, len(ra))
    here = SkyCoord(ra, dec, unit="deg")
    there = here.directional_offset_by(step * units.rad, 30 * units.arcsec)
    ids = np.arange(len(ra))
    one = assign_splits(ra, dec, ids)
    other = assign_splits(there.ra.deg, there.dec.deg, ids)
    # A 30 arcsec step crosses an edge of a 1.83 degree square with probability about
    # (4/pi) * 30 / 6600; only crossings between unlike cells part a pair.
    assert np.mean(one != other) < 4 / np.pi * 30 / 6600 * 1.5
    by_row = np.random.default_rng(0).choice(["train", "val", "test"], (2, len(ra)))
    assert np.mean(by_row[0] != by_row[1]) > 0.5


def test_test_galaxies_are_far_from_training_galaxies():
    rng = np.random.default_rng(5)
    centres_ra, centres_dec = sky(300, seed=6)
    ra = np.repeat(centres_ra, 40) + rng.normal(0, 0.01, 12_000)
    dec = np.clip(np.repeat(centres_dec, 40) + rng.normal(0, 0.01, 12_000), -90, 90)
    split = assign_splits(ra % 360, dec, np.arange(12_000)).reshape(300, 40)
    mixed = np.mean([len(set(cluster)) > 1 for cluster in split])
    # A cluster 0.05 degree across straddles an edge of a 1.83 degree cell now and then.
    assert mixed < 0.08
    assert {"train", "val", "test"} <= set(split.ravel())


def cells_of_two_sides():
    """Two places 8 arcsec apart, on either side of an edge between a train and a test cell."""
    rng = np.random.default_rng(0)
    while True:
        ra, dec = rng.uniform(0, 360, 20_000), np.zeros(20_000)
        other = ra + 8 / 3600
        one, two = (assign_splits(where, dec, np.arange(20_000)) for where in (ra, other))
        if len(found := np.flatnonzero((one == "test") & (two == "train"))):
            return ra[found[0]], other[found[0]]


@pytest.mark.parametrize("as_text", [False, True])
def test_rows_of_one_galaxy_are_on_one_side_even_across_an_edge(as_text):
    ra = np.array([*cells_of_two_sides(), np.nan])
    dec = np.array([0, 0, np.nan])
    apart = np.array([2**60 + 1, 2**60 + 3, 5])
    same = np.array([2**60 + 1] * 3)
    if as_text:
        apart, same = apart.astype(str), same.astype(str)
    assert assign_splits(ra, dec, apart).tolist() == ["test", "train", "train"]
    assert len(set(assign_splits(ra, dec, same).tolist())) == 1


@pytest.mark.parametrize("none", [0, -1, "", "J1234"])
def test_an_id_at_many_places_joins_none_of_them(none):
    """Each galaxy is where its own position says, whatever the others are called."""
    ra, dec = sky(400)
    own = np.arange(1000, 1400)
    ids = own.astype(str) if isinstance(none, str) else own.copy()
    ids[::2] = none
    np.testing.assert_array_equal(assign_splits(ra, dec, ids), assign_splits(ra, dec, own))


@pytest.mark.parametrize("none", [0, -999, "nan"])
def test_rows_without_id_or_position_are_dealt_one_by_one(none):
    """A binomial share of 1000 galaxies; as one galaxy, they would all be on one side."""
    nowhere = np.full(1000, np.nan)
    split = assign_splits(
        nowhere, nowhere, np.array([none] * 1000), SplitConfig(counts=(500, 200, 300))
    )
    assert [int((split == side).sum()) for side in ("train", "val", "test")] == [500, 200, 300]
    named = assign_splits(
        nowhere, nowhere, np.array(["J12"] * 1000), SplitConfig(counts=(500, 200, 300))
    )
    assert len(set(named)) == 1


def test_the_same_galaxy_is_on_the_same_side_in_every_file():
    ra, dec = sky(10_000)
    ids = np.arange(10_000) * 7
    whole = assign_splits(ra, dec, ids, SplitConfig(seed=5))
    some = np.random.default_rng(2).permutation(10_000)[:777]
    again = assign_splits(ra[some], dec[some], ids[some], SplitConfig(seed=5))
    np.testing.assert_array_equal(again, whole[some])


def test_another_seed_is_another_division():
    ra, dec = sky(20_000)
    one, two = (
        assign_splits(ra, dec, np.arange(20_000), SplitConfig(seed=seed)) == "test"
        for seed in (0, 1)
    )
    assert abs(np.mean(one & two) - 0.2 * 0.2) < 0.015


def test_neighbouring_cells_draw_independent_uniform_numbers():
    draws = np.stack([uniform_hash(np.arange(100_000), seed) for seed in (0, 1, 2)])
    assert draws.min() >= 0
    assert draws.max() < 1
    counts = np.array([np.histogram(draw, 100, (0, 1))[0] for draw in draws])
    assert (((counts - 1000) ** 2 / 1000).sum(axis=1) < 99 + 5 * np.sqrt(2 * 99)).all()
    both = [draws[0], draws[1], draws[2], np.roll(draws[0], 1), np.roll(draws[0], 8)]
    away = np.corrcoef(both) - np.eye(5)
    assert np.abs(away).max() < 5 / np.sqrt(100_000)


def test_rows_without_a_position_train_unless_their_id_has_one_elsewhere():
    ra, dec = sky(2000)
    test_row = int(np.flatnonzero(assign_splits(ra, dec, np.arange(2000)) == "test")[0])
    nan = [np.nan, np.nan]
    split = assign_splits(
        np.append(ra, nan), np.append(dec, nan), np.append(np.arange(2000), [5000, test_row])
    )
    assert split[-2:].tolist() == ["train", "test"]


def test_settings_that_make_no_sense():
    for bad in ({"nside": 33}, {"fractions": (0.5, 0.1, 0.1)}, {"fractions": (1.2, -0.1, -0.1)}):
        with pytest.raises(ConfigError):
            SplitConfig(**bad)
    with pytest.raises(ShapeError):
        assign_splits(np.zeros(3), np.zeros(2), np.zeros(3))


def test_the_masks_of_a_split_are_its_names():
    ra, dec = sky(500)
    galaxies = SimpleNamespace(ra=ra, dec=dec, id=np.arange(500))
    split, names = sky_split(galaxies), assign_splits(ra, dec, galaxies.id)
    for name in ("train", "val", "test"):
        np.testing.assert_array_equal(getattr(split, name), names == name)
    assert len(split) == 500
