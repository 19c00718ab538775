import h5py
import numpy as np
import pytest

from ssl_photoz.cutouts.apertures import ApertureFluxes
from ssl_photoz.cutouts.batches import read_batch
from ssl_photoz.cutouts.reader import Cutouts
from ssl_photoz.cutouts.sample import (
    labelled_crops,
    spread_sample,
    target_statistics,
    typical_noise,
)
from ssl_photoz.cutouts.split import SplitConfig, assign_splits
from ssl_photoz.cutouts.stream import TrainingStream

ROWS = 600
SIGMA = (0.01, 0.02, 0.04)


@pytest.fixture
def path(tmp_path):
    rng = np.random.default_rng(0)
    with h5py.File(tmp_path / "c.h5", "w") as file:
        noise = np.array(SIGMA, "f4")[None, :, None, None]
        file["images"] = (noise * rng.normal(size=(ROWS, 3, 24, 24))).astype("f4")
        file["TARGETID"] = np.arange(ROWS)
        file["RA"] = rng.uniform(0, 360, ROWS)
        file["DEC"] = rng.uniform(-60, 60, ROWS)
        file["Z"] = np.where(rng.random(ROWS) < 0.8, 0.1, np.nan).astype("f4")
    return tmp_path / "c.h5"


def seen(stream):
    return [batch.rows.tolist() for batch in stream]


def test_a_stream_resumed_anywhere_goes_on_as_the_whole(path):
    with Cutouts.open(path) as cutouts:
        given = {"batch_size": 64, "seed": 5, "stop": 25}
        whole = seen(TrainingStream(cutouts, np.arange(ROWS), start=0, **given))
        assert len(whole) == 25
        for start in (1, 9, 10, 24):
            rest = TrainingStream(cutouts, np.arange(ROWS), start=start, **given)
            assert seen(rest) == whole[start:]
        per_epoch = ROWS // 64
        epoch = [row for batch in whole[:per_epoch] for row in batch]
        assert len(set(epoch)) == len(epoch)
        assert whole[0] != whole[per_epoch]


def test_noise_is_the_files_own_or_estimated(path):
    with Cutouts.open(path) as cutouts:
        estimated = typical_noise(cutouts, np.arange(ROWS))
    np.testing.assert_allclose(estimated, SIGMA, rtol=0.05)
    with h5py.File(path, "r+") as file:
        file["NOISE"] = np.tile(np.float32([1, 2, 3]), (ROWS, 1))
    with Cutouts.open(path) as cutouts:
        np.testing.assert_array_equal(typical_noise(cutouts, np.arange(ROWS)), [1, 2, 3])


def test_scored_galaxies_are_never_of_the_test_sky(path):
    split = SplitConfig(fractions=(0.5, 0.2, 0.3))
    with Cutouts.open(path) as cutouts:
        crops = labelled_crops(cutouts, np.arange(ROWS), split, size_px=16)
        places = [cutouts.column(name) for name in ("ra", "dec", "id")]
        side = assign_splits(*places, SplitConfig(fractions=split.fractions))
        labelled = np.isfinite(cutouts.column("z"))
        known, asked = (np.flatnonzero(labelled & (side == name)) for name in ("train", "val"))
        for name, rows in (("known", known), ("asked", asked)):
            expected = read_batch(cutouts, rows, size_px=16).flux
            assert crops[name].equal(expected)
            assert len(crops[f"{name}_z"]) == len(rows)


def test_without_labels_only_the_spread_is_scored(path):
    with h5py.File(path, "r+") as file:
        file["Z"][:] = np.nan
    with Cutouts.open(path) as cutouts:
        crops = labelled_crops(cutouts, np.arange(ROWS), SplitConfig(), size_px=16)
    assert len(crops["asked"]) == 0
    assert 0 < len(crops["known"]) < ROWS


def test_target_statistics_are_those_of_the_sample(path):
    with Cutouts.open(path) as cutouts:
        measure = ApertureFluxes(size_px=24, **cutouts.source.about)
        mean, std = target_statistics(measure, cutouts, np.arange(ROWS))
        values = measure(read_batch(cutouts, np.arange(ROWS)).flux).numpy()
    np.testing.assert_allclose(mean, values.mean(0), rtol=1e-4)
    np.testing.assert_allclose(std, values.std(0, ddof=1), rtol=1e-3)


def test_a_sample_is_spread_over_all_rows():
    assert spread_sample(np.arange(100), 5).tolist() == [0, 24, 49, 74, 99]
    assert spread_sample(np.arange(3), 5).tolist() == [0, 1, 2]
    assert spread_sample(np.arange(0), 5).tolist() == []
