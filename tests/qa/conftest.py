import shutil

import h5py
import numpy as np
import pytest

from ssl_photoz.simulator.settings import SimulatorConfig
from ssl_photoz.simulator.survey import write_survey

ROWS = 240
CONFIG = SimulatorConfig(seed=11, size_px=64)


@pytest.fixture(scope="session")
def clean_survey(tmp_path_factory):
    """A simulated survey in which nothing is wrong."""
    path = tmp_path_factory.mktemp("qa") / "clean.h5"
    write_survey(path, CONFIG, galaxies=ROWS, workers=1)
    return path


@pytest.fixture(scope="session")
def star():
    return draw_star


def draw_star(y, x, *, peak, sigma, clip=np.inf, side=64):
    """Light of a Gaussian point source, cut off at ``clip`` where the detector is full."""
    rows, columns = np.mgrid[:side, :side]
    light = peak * np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / (2 * sigma**2))
    return np.minimum(light, clip).astype("f4")


PLANTED = {
    "repeated_id": [100],
    "repeated_position": [101],
    "blank": [30, 31, 32],
    "saturated": [40, 41],
    "shred_peak": [50, 51],
    "star": [60, 61],
    "absurd_label": [62, 63, 64],
    "not_positive": [61, 62, 65],
}


@pytest.fixture(scope="session")
def planted_survey(clean_survey, tmp_path_factory):
    """The same survey with one fault each in the rows of `PLANTED`."""
    path = tmp_path_factory.mktemp("qa") / "planted.h5"
    shutil.copy(clean_survey, path)
    with h5py.File(path, "r+") as file:
        images, ids, ra, dec, z = (file[n] for n in ("images", "TARGETID", "RA", "DEC", "Z"))
        ids[100] = ids[99]
        ra[101], dec[101] = ra[98], dec[98] + 0.7 / 3600
        dec[102] = dec[97] + 8 / 3600  # half of a cutout's side away
        ra[102] = ra[97]
        images[30, :, :, :5], images[31, 1, 63], images[32, 2, 20:24, 20:40] = 0, 0, 0
        for row, (y, x) in {40: (12, 50), 41: (48, 10)}.items():
            images[row] += draw_star(y, x, peak=300, sigma=3, clip=20)
        for row, (y, x) in {50: (31, 44), 51: (20, 26)}.items():
            images[row] += draw_star(y, x, peak=40 * images[row, :, 28:36, 28:36].max(), sigma=6)
        z[60], z[61], z[62], z[63], z[64], z[65] = 0.0002, -0.0004, -9, 99, np.inf, -0.002
    return path


@pytest.fixture(scope="session")
def planted_rows():
    return PLANTED
