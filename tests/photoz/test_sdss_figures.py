"""The figures that the SDSS CNN papers quote, against their definitions."""

import numpy as np
import pytest

from ssl_photoz.photoz.base import Prediction
from ssl_photoz.photoz.labels import Labelled
from ssl_photoz.photoz.scores import score, table


@pytest.fixture
def said():
    rng = np.random.default_rng(0)
    z = rng.uniform(0.02, 0.4, 300)
    phot = z + rng.normal(0.004, 0.03, 300)
    empty = np.empty((300, 0), np.float32)
    where = {"id": np.arange(300), "ra": np.zeros(300), "dec": np.zeros(300)}
    found = score(
        Prediction(phot, phot - 0.03, phot + 0.03), Labelled(features=empty, z=z, **where)
    )
    return z, phot, found


def test_every_figure_is_by_its_definition(said):
    z, phot, found = said
    dz = (phot - z) / (1 + z)
    wanted = {
        "MAE": np.mean(np.abs(phot - z)),
        "RMSE": np.sqrt(np.mean((phot - z) ** 2)),
        "MSE": np.mean((phot - z) ** 2),
        "R2": 1 - np.sum((phot - z) ** 2) / np.sum((z - z.mean()) ** 2),
        "bias": dz.mean(),
        "precision": 1.48 * np.median(np.abs(dz - np.median(dz))),
        "0.05": np.mean(np.abs(dz) > 0.05),
        "0.10": np.mean(np.abs(dz) > 0.10),
        "0.15": np.mean(np.abs(dz) > 0.15),
    }
    head, line = table({"cnn": {"test": found}}, full=True).splitlines()[-2:]
    assert head.replace("> ", "").split()[1:] == list(wanted)
    told = [float(word) for word in line.split()[1:]]
    assert told == pytest.approx(list(wanted.values()), abs=6e-5)


def test_the_short_table_is_as_before(said):
    assert len(table({"cnn": {"test": said[2]}}).splitlines()) == 2


def test_an_unknown_r2_is_said_to_be_none(said):
    line = table({"cnn": {"test": {**said[2], "r2": None}}}, full=True).splitlines()[-1]
    assert "nan" in line
