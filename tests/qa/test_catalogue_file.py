"""Catalogues named where cutouts are expected: `inspect` says what they are."""

import gzip
import json

import h5py
import numpy as np
import pytest
from astropy.table import Table

from ssl_photoz import cli
from ssl_photoz.core.errors import DataError
from ssl_photoz.cutouts.reader import Cutouts
from ssl_photoz.qa.summary import catalogue_at

N = 5


def write_hdf5(path):
    with h5py.File(path, "w") as file:
        file["RA"], file["NMGY"] = np.zeros(N), np.zeros((N, 7), "f4")
        file["NAME"] = np.array([b"a"] * N)
        file["EDGES"] = np.zeros(3)


def write_csv(path):
    text = "objid,ra,name\n" + "1237648704577142880,1.5,a\n" * N
    opened = gzip.open(path, "wt") if path.suffix == ".gz" else path.open("w")
    with opened as file:
        file.write(text)


def write_table(path):
    ids = np.arange(N) + 2**62
    Table({"objid": ids, "ra": np.zeros(N), "name": ["a"] * N}).write(path)


@pytest.mark.parametrize(
    ("name", "write", "kind", "columns"),
    [
        ("c.h5", write_hdf5, "HDF5", {"RA": "float64", "NMGY": "float32[7]", "NAME": "|S1"}),
        ("c.csv", write_csv, "CSV", {"objid": "int64", "ra": "double", "name": "string"}),
        ("c.csv.gz", write_csv, "CSV", {"objid": "int64", "ra": "double", "name": "string"}),
        ("c.fits", write_table, "FITS", {"objid": "K", "ra": "D", "name": "1A"}),
        ("c.parquet", write_table, "Parquet", {"objid": "int64", "ra": "double"}),
    ],
)
def test_inspect_says_what_a_catalogue_is(tmp_path, capsys, name, write, kind, columns):
    write(tmp_path / name)
    assert cli.main(["inspect", f"data={tmp_path / name}", f"out={tmp_path / 'seen'}"]) == 0
    said = capsys.readouterr().out
    assert f"a catalogue without cutouts ({kind})" in said
    assert f"rows         {N}\n" in said
    found = json.loads((tmp_path / "seen" / "qa.json").read_text())
    assert columns.items() <= found["columns"].items()
    assert found["rows"] == N
    with pytest.raises(DataError):
        Cutouts.open(tmp_path / name)


def test_what_is_not_as_long_as_the_rows_is_no_column(tmp_path):
    write_hdf5(tmp_path / "c.h5")
    assert catalogue_at(tmp_path / "c.h5").others == ("EDGES",)


def test_cutouts_are_no_catalogue(make_file, tmp_path):
    assert catalogue_at(make_file()) is None
    assert catalogue_at(tmp_path) is None
    assert catalogue_at(tmp_path / "absent.csv") is None


def test_a_damaged_table_is_one_error(tmp_path):
    (tmp_path / "c.parquet").write_bytes(b"PAR1" + bytes(100))
    with pytest.raises(DataError, match="damaged table"):
        catalogue_at(tmp_path / "c.parquet")


@pytest.mark.parametrize(
    ("name", "rows"), [("sdss_dr14_skyserver10k.csv.gz", 10_000), ("nsa_lcs_profiles.h5", 3418)]
)
def test_the_real_catalogues_are_told_from_cutouts(real_data, name, rows, tmp_path, capsys):
    assert cli.main(["inspect", f"data={real_data / name}", f"out={tmp_path / 'seen'}"]) == 0
    assert f"rows         {rows}\n" in capsys.readouterr().out
