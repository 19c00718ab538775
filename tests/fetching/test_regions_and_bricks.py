"""North and south, bricks and their names, against facts of the surveys."""

import numpy as np
import pytest
from astropy.coordinates import SkyCoord

from ssl_photoz.catalog.sky import in_north
from ssl_photoz.core.errors import ConfigError
from ssl_photoz.fetching.bricks import (
    ROWS,
    brick_names,
    brick_row_column,
    bricks_in_row,
    coadd_path,
)
from ssl_photoz.fetching.regions import layers_of, on_the_sky, require_layer


def test_north_is_above_the_split_and_above_the_galaxy():
    rng = np.random.default_rng(0)
    ra, dec = rng.uniform(0, 360, 4000), np.degrees(np.arcsin(rng.uniform(-1, 1, 4000)))
    b = SkyCoord(ra, dec, unit="deg").galactic.b.deg
    clear = np.abs(b) > 1e-3
    assert np.array_equal(in_north(ra, dec)[clear], ((dec >= 32.375) & (b > 0))[clear])
    assert in_north(np.array([180.0, 180.0]), np.array([32.375, 32.3749])).tolist() == [True, False]
    assert not in_north(np.array([10.68]), np.array([41.27]))[0]  # Andromeda, below the plane


def test_layers():
    ra, dec = np.array([180.0, 180.0]), np.array([50.0, 0.0])
    assert layers_of("ls-dr10", ra, dec).tolist() == ["ls-dr9-north", "ls-dr10-south"]
    assert layers_of("ls-dr9-south", ra, dec).tolist() == ["ls-dr9-south"] * 2
    require_layer("ls-dr10-south", ("g", "r", "i", "z"))
    with pytest.raises(ConfigError, match="ls-dr9-north has bands g,r,z"):
        require_layer("ls-dr10", ("g", "i"))
    with pytest.raises(ConfigError, match="layer is 'dr8'"):
        require_layer("dr8", ("g",))


def test_positions():
    ra = np.array([0, 360, 360.1, -1, np.nan, 5, 5])
    dec = np.array([90, -90, 0, 0, 0, np.nan, 90.1])
    assert on_the_sky(ra, dec).tolist() == [True, True, *[False] * 5]


def test_there_are_as_many_bricks_as_the_surveys_say():
    assert int(bricks_in_row(np.arange(ROWS)).sum()) == 662_174  # legacysurvey.org/dr10/description


def test_a_galaxy_lies_in_its_published_brick():
    # DESI early data release: BRICKID of two galaxies; numbers count along rows from the south.
    before = np.concatenate([[0], np.cumsum(bricks_in_row(np.arange(ROWS)))])
    for ra, dec, brickid in ((245.954289, 45.110618, 565_022), (245.968435, 45.092144, 565_022)):
        row, column = brick_row_column(np.array([ra]), np.array([dec]))
        assert before[row[0]] + column[0] + 1 == brickid


def test_names_of_bricks():
    names = brick_names(np.array([242.85, 244.77, 0.1, 0.1, 359.99]), [11.75, 12.0, -0.25, 0.0, 0])
    assert names.tolist() == ["2428p117", "2447p120", "0001m002", "0001p000", "3598p000"]
    assert brick_names(np.array([10.0, 20.0]), np.array([90.0, -90.0])).tolist() == [
        "1800p900",
        "1800m900",
    ]


def test_coadds_are_found_in_both_layouts(tmp_path):
    for top in ("north/", ""):
        path = tmp_path / f"{top}coadd/000/0001p000/legacysurvey-0001p000-image-r.fits.fz"
        path.parent.mkdir(parents=True)
        path.touch()
    assert "north" in str(coadd_path(tmp_path, "north", "0001p000", "r"))
    assert "south" not in str(coadd_path(tmp_path, "south", "0001p000", "r"))
    assert coadd_path(tmp_path, "south", "0001p000", "g") is None
