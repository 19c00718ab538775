"""Catalogues beside folders: written by csv, astropy and pyarrow."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.table import Table

from ssl_photoz.core.errors import DataError
from ssl_photoz.cutouts.formats.catalogue import canonical, find_catalogue, read_beside

STEMS = ["gal_12", "gal_7", "gal_30"]
NOWHERE = np.full(3, np.nan)


def beside(tmp_path, table, stems=STEMS, ra=NOWHERE, dec=NOWHERE):
    pq.write_table(pa.table(table), tmp_path / "catalogue.parquet")
    return read_beside(tmp_path / "catalogue.parquet", stems, ra, dec)


@pytest.mark.parametrize(
    "names",
    [
        ["gal_7.fits", "gal_30.fits", "gal_12.fits"],
        ["/data/x/gal_7.fits", "gal_30", "b\\gal_12.jpeg"],
    ],
)
def test_rows_are_found_by_file_name(tmp_path, names):
    found = beside(tmp_path, {"Filename": names, "Z": [0.7, 3.0, 1.2]})
    np.testing.assert_allclose(found.columns["z"], [1.2, 0.7, 3.0], rtol=1e-6)
    assert "filename" not in found.columns
    assert found.how.endswith("3 of 3 cutouts matched by filename, 0 of its rows without a cutout")


def test_rows_are_found_by_the_number_in_the_name_and_ids_stay_exact(tmp_path):
    big = 2**62 + 1
    found = beside(
        tmp_path, {"TARGETID": [7, big, 12, 99]}, stems=["gal_12", "gal_7", f"gal_{big}"]
    )
    assert found.columns["id"].tolist() == [12, 7, big]
    assert "1 of its rows without" in found.how


def test_rows_are_found_by_position_across_the_meridian_and_near_the_pole(tmp_path):
    ra, dec = np.array([359.99999, 20.0, 30.0]), np.array([0.0, 89.9999, -10.0])
    table = {"ra": [20.05, 0.00001, 30.0], "dec": [89.9999, 0.0, -10.001], "mag": [1.0, 2.0, 3.0]}
    found = beside(tmp_path, table, ra=ra, dec=dec)  # 0.072", 0.3" and 3.6" away
    np.testing.assert_array_equal(found.columns["mag"], [2.0, 1.0, np.nan])
    assert "2 of 3 cutouts matched by position" in found.how


def test_cutouts_without_a_row_are_said_to_be_unknown(tmp_path):
    table = {"name": ["gal_7"], "z": [0.5], "objid": [5], "kind": ["E"], "good": [True]}
    found = beside(tmp_path, table).columns
    np.testing.assert_array_equal(found["z"], np.array([np.nan, 0.5, np.nan], "f4"))
    assert found["id"].tolist() == [-1, 5, -1]
    assert found["kind"].tolist() == ["", "E", ""]
    np.testing.assert_array_equal(found["good"], [np.nan, 1, np.nan])


def test_a_catalogue_of_other_galaxies_is_refused(tmp_path):
    with pytest.raises(DataError, match="matches none of 3 cutouts"):
        beside(tmp_path, {"id": [1, 2], "z": [0.1, 0.2]})


def test_a_magnitude_called_z_gives_way_to_a_redshift():
    columns = canonical({"z": np.array([17.2]), "redshift": np.array([0.1])})
    np.testing.assert_allclose(columns["z"], [0.1], rtol=1e-6)
    assert columns["catalogue_z"].tolist() == [17.2]


def test_numbers_that_stand_for_no_redshift_are_none():
    z = canonical({"z_spec": np.array([-99.0, -9999, -1, 0.0, -0.001, 0.3])})["z"]
    np.testing.assert_array_equal(np.isnan(z), [True, True, True, False, False, False])


def test_ids_that_went_through_floating_point_are_no_ids():
    columns = canonical({"id": np.array([1e18, np.nan]), "objid": np.array([3, 4])})
    assert columns["id"].tolist() == [3, 4]
    assert "catalogue_id" not in canonical({"targetid": np.array([3, 4])})
    assert "id" not in canonical({"id": np.array([1e18, np.nan])})


def test_the_catalogue_is_found_in_the_folder_or_beside_it(tmp_path):
    folder = tmp_path / "cutouts"
    folder.mkdir()
    assert find_catalogue(folder) is None
    table = Table({"id": [1]})
    table.write(tmp_path / "cutouts.fits")
    assert find_catalogue(folder) == tmp_path / "cutouts.fits"
    table.write(folder / "a.csv")
    assert find_catalogue(folder) == folder / "a.csv"
    table.write(folder / "b.csv")
    with pytest.raises(DataError, match=r"several tables \(a.csv, b.csv\)"):
        find_catalogue(folder)
    table.write(folder / "catalog.csv")
    assert find_catalogue(folder) == folder / "catalog.csv"
