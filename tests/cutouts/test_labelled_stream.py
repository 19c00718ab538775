from collections import Counter

import numpy as np
import pytest

from ssl_photoz.core.errors import ContaminatedError, DataError
from ssl_photoz.cutouts.reader import Cutouts
from ssl_photoz.cutouts.split import SplitConfig, assign_splits
from ssl_photoz.cutouts.stream import (
    LabelledStream,
    deal,
    label_column,
    labelled_per_batch,
    training_labels,
)

N = 300
SPLIT = SplitConfig(fractions=(0.5, 0.2, 0.3))


@pytest.fixture
def cutouts(make_file):
    z = np.random.default_rng(2).uniform(0.01, 0.5, N).astype("f4")
    z[::4], z[1::40] = np.nan, -1
    with Cutouts.open(make_file(n=N, Z=z)) as opened:
        yield opened


def side_of(cutouts):
    config = SplitConfig(fractions=SPLIT.fractions)
    return assign_splits(cutouts.ra, cutouts.dec, cutouts.id, config)


def make(cutouts, labelled, *, start=0, stop=40, **changes):
    given = {"split": SPLIT, "share": 0.25, "batch_size": 16, "seed": 3, **changes}
    return LabelledStream(cutouts, np.arange(N), labelled, start=start, stop=stop, **given)


def test_labels_are_the_usable_ones_of_the_training_sky(cutouts):
    z, side = cutouts.column("z"), side_of(cutouts)
    rows = np.arange(20, N)
    expected = [row for row in rows if side[row] == "train" and z[row] > 0]
    assert training_labels(cutouts, rows, SPLIT).tolist() == expected
    assert 50 < len(expected) < 150


def test_a_stream_resumed_anywhere_goes_on_as_the_whole(cutouts):
    labelled = training_labels(cutouts, np.arange(N), SPLIT)[:30]
    whole = list(make(cutouts, labelled))
    assert len(whole) == 40
    for start in (1, 24, 39):
        rest = list(make(cutouts, labelled, start=start))
        assert [b.rows.tolist() for b in rest] == [b.rows.tolist() for b in whole[start:]]
        for one, other in zip(rest, whole[start:], strict=True):
            np.testing.assert_array_equal(one.z, other.z)
            assert one.flux.equal(other.flux)
    assert whole[0].rows.tolist() != next(iter(make(cutouts, labelled, seed=4))).rows.tolist()


def test_redshifts_are_told_of_the_labelled_and_of_no_other(cutouts):
    labelled = training_labels(cutouts, np.arange(N), SPLIT)[:30]
    for batch in make(cutouts, labelled):
        known = np.isin(batch.rows, labelled)
        assert known[12:].all()  # 4 of 16 come from the labelled deck
        expected = np.where(known, cutouts.column("z")[batch.rows], np.nan)
        np.testing.assert_array_equal(batch.z, expected)
        assert batch.to("cpu").z.shape == (16,)


def test_both_decks_are_dealt_evenly(cutouts):
    labelled = training_labels(cutouts, np.arange(N), SPLIT)[:10]
    batches = list(make(cutouts, labelled, stop=25))
    from_all = Counter(row for batch in batches for row in batch.rows[:12].tolist())
    from_labelled = Counter(row for batch in batches for row in batch.rows[12:].tolist())
    assert from_all == Counter(range(N))  # 25 batches of 12 are one round of 300
    assert from_labelled == Counter(labelled.tolist() * 10)


def test_dealing_is_a_window_on_endless_shuffles():
    rows = np.arange(7)
    endless = deal(rows, [1], 0, 70)
    assert all(sorted(endless[i : i + 7]) == list(range(7)) for i in range(0, 70, 7))
    for first, count in ((0, 3), (5, 4), (6, 20), (63, 7)):
        assert deal(rows, [1], first, count).tolist() == endless[first : first + count].tolist()


@pytest.mark.parametrize("held_out", ["val", "test"])
def test_labels_of_another_split_are_refused(cutouts, held_out):
    labelled = training_labels(cutouts, np.arange(N), SPLIT)
    wrong = np.flatnonzero(side_of(cutouts) == held_out)[:1]
    for refuse in (
        lambda rows: make(cutouts, rows),
        lambda rows: label_column(cutouts, rows, SPLIT),
    ):
        with pytest.raises(ContaminatedError, match=f"1 of {len(labelled) + 1} .* row {wrong[0]}"):
            refuse(np.r_[labelled, wrong])


def test_no_labels_are_refused(cutouts):
    with pytest.raises(DataError, match="0 of 300 rows are labelled"):
        make(cutouts, np.arange(0))


def test_every_batch_holds_some_of_both():
    assert labelled_per_batch(256, 0.25) == 64
    assert labelled_per_batch(8, 0.01) == 1
    assert labelled_per_batch(8, 0.99) == 7
