"""Positions in a table are in the unit that it states."""

import numpy as np
import pytest
from astropy.table import Column, MaskedColumn, Table

from ssl_photoz.catalog.tables import read_table
from ssl_photoz.core.errors import DataError

RA, DEC = np.array([150.092, 0.5, 359.0]), np.array([2.207, -89.0, 45.0])


@pytest.mark.parametrize("name", ["a.fits", "a.vot"])
def test_radians_minutes_and_seconds_are_degrees(name, tmp_path):
    table = Table(
        {
            "RA": Column(RA * 3600, unit="arcsec"),
            "Dec": Column(np.radians(DEC), unit="rad"),
            "target_ra": MaskedColumn(RA * 60, unit="arcmin", mask=[False, True, False]),
            "angle": Column(np.radians(DEC), unit="rad"),
        }
    )
    table.write(tmp_path / name, format="fits" if name == "a.fits" else "votable")
    found = read_table(tmp_path / name)
    assert found["RA"] == pytest.approx(RA)
    assert found["Dec"] == pytest.approx(DEC)
    assert found["target_ra"][[0, 2]] == pytest.approx(RA[[0, 2]])
    assert np.isnan(found["target_ra"][1])
    assert found["angle"] == pytest.approx(np.radians(DEC))


@pytest.mark.filterwarnings("ignore:.*degrees")
@pytest.mark.parametrize("unit", ["deg", "degrees", None])
def test_degrees_stay_as_they_are(unit, tmp_path):
    Table({"ra": Column(RA, unit=unit), "dec": DEC}).write(tmp_path / "a.fits")
    assert np.array_equal(read_table(tmp_path / "a.fits")["ra"], RA)


def test_a_position_that_is_no_angle_is_refused(tmp_path):
    Table({"ra": Column(RA, unit="m"), "dec": DEC}).write(tmp_path / "a.fits")
    with pytest.raises(DataError, match="column ra is in 'm', expected degrees"):
        read_table(tmp_path / "a.fits")
