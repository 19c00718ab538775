import csv
import gzip
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.table import Table

from ssl_photoz.catalog.tables import SUFFIXES, read_table, require_suffix, write_table
from ssl_photoz.core.errors import ConfigError, DataError

COLUMNS = {
    "id": np.array([2**60 + 1, 5]),
    "name": np.array(["a", "bc"], dtype=object),
    "z": np.array([0.25, np.nan], np.float32),
    "half": np.array([0.5, 2], np.float16),
    "near": np.array([[1, 2], [3, 4]]),
}


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_other_readers_see_what_was_written(tmp_path, suffix):
    path = tmp_path / f"t{suffix}"
    write_table(path, COLUMNS, simulated=True)
    if suffix == ".csv":
        back = list(csv.DictReader(path.open()))
        assert [int(row["id"]) for row in back] == COLUMNS["id"].tolist()
        assert [row["near"] for row in back] == ["1 2", "3 4"]
        assert float(back[0]["z"]) == 0.25
        assert [row["simulated"] for row in back] == ["True", "True"]
        return
    if suffix == ".parquet":
        back = pq.read_table(path).to_pydict()
        assert back["near"] == [[1, 2], [3, 4]]
    else:
        back = Table.read(path, format={".fits": "fits", ".vot": "votable"}[suffix])
        assert [str(one) for one in back["near"]] == ["1 2", "3 4"]
    assert [str(one) for one in back["name"]] == ["a", "bc"]
    for name in ("id", "half"):
        assert list(back[name]) == COLUMNS[name].tolist()
    np.testing.assert_array_equal(np.ma.filled(np.ma.asarray(back["z"]), np.nan), COLUMNS["z"])
    assert list(back["simulated"]) == [True, True]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_tables_are_read_back(tmp_path, suffix):
    path = tmp_path / f"t{suffix}"
    write_table(path, COLUMNS, simulated=False)
    back = read_table(path)
    assert back["id"].dtype == np.int64
    assert back["id"].tolist() == COLUMNS["id"].tolist()
    assert back["name"].tolist() == ["a", "bc"]
    np.testing.assert_array_equal(back["z"].astype("f4"), COLUMNS["z"])
    assert back["simulated"].tolist() == [False, False]
    assert back.get("near", np.array(["1 2", "3 4"])).tolist() == ["1 2", "3 4"]


def test_gaps_in_whole_numbers_become_nan_and_in_text_none(tmp_path):
    gaps = pa.table({"n": pa.array([1, None]), "t": pa.array(["x", None])})
    pq.write_table(gaps, tmp_path / "t.parquet")
    masked = Table({"n": [1, 2], "t": ["x", "y"]}, masked=True)
    masked["n"].mask[1] = masked["t"].mask[1] = True
    masked.write(tmp_path / "t.vot", format="votable")
    for suffix in (".parquet", ".vot"):
        back = read_table(tmp_path / f"t{suffix}")
        np.testing.assert_array_equal(back["n"], [1, np.nan])
        assert back["t"][0] == "x"
        assert not back["t"][1]


def test_a_column_of_lists_is_left_out(tmp_path):
    write_table(tmp_path / "t.parquet", COLUMNS, simulated=False)
    assert "near" not in read_table(tmp_path / "t.parquet")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_damaged_and_foreign_files_are_refused(tmp_path, suffix):
    path = tmp_path / f"t{suffix}"
    path.write_bytes(b"\x00\x01\x02 nothing of the kind \xff\xfe" * 40)
    with pytest.raises(DataError, match=r"t\.\w+ (cannot be read|is not a)"):
        read_table(path)
    path.unlink()
    with pytest.raises(DataError, match="no table"):
        read_table(path)
    write_table(path, COLUMNS, simulated=False)
    with pytest.raises(DataError, match="has 2 rows, expected at most 1"):
        read_table(path, max_rows=1)


@pytest.mark.filterwarnings("ignore:File may have been truncated")
def test_truncated_tables_are_refused(tmp_path):
    many = {"id": np.arange(5000), "ra": np.linspace(0, 1, 5000)}
    for suffix in (".fits", ".vot", ".parquet"):
        path = tmp_path / f"t{suffix}"
        write_table(path, many, simulated=False)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        with pytest.raises(DataError, match="cannot be read"):
            read_table(path)


def test_a_packed_fits_file_is_not_unpacked(tmp_path):
    write_table(tmp_path / "a.fits", {"id": np.zeros(10_000, int)}, simulated=False)
    with (tmp_path / "a.fits").open("rb") as plain, gzip.open(tmp_path / "t.fits", "wb") as packed:
        shutil.copyfileobj(plain, packed)
    with pytest.raises(DataError, match="not a plain FITS file"):
        read_table(tmp_path / "t.fits")


STREAM = '<STREAM href="file:///etc/passwd" encoding="base64"/>'
VOTABLE = (
    '<?xml version="1.0"?>{head}<VOTABLE version="1.3"><RESOURCE><TABLE>'
    '<FIELD name="id" datatype="long"/><DATA><BINARY>{stream}</BINARY></DATA>'
    "</TABLE></RESOURCE></VOTABLE>"
)


@pytest.mark.parametrize(
    ("head", "stream"),
    [
        ("", STREAM),
        ("", STREAM.replace(" href", "\n\thref").replace("STREAM", "stream")),
        (f"<!DOCTYPE v [<!ENTITY s '{STREAM.replace('<', '&#60;')}'>]>", "&s;"),
    ],
)
def test_a_votable_that_reaches_for_another_file_is_refused(tmp_path, head, stream):
    path = tmp_path / "t.vot"
    for encoding in ("utf-8", "utf-16"):
        path.write_text(VOTABLE.format(head=head, stream=stream), encoding=encoding)
        with pytest.raises(DataError, match="rows stand in the file itself"):
            read_table(path)


def test_a_binary_votable_of_its_own_is_read(tmp_path):
    table = Table({"id": np.array([2**60 + 1, 7])})
    table.write(tmp_path / "t.vot", format="votable", tabledata_format="binary2")
    assert read_table(tmp_path / "t.vot")["id"].tolist() == [2**60 + 1, 7]


def test_other_suffixes_are_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"ends in '\.txt', expected \.parquet, \.fits"):
        require_suffix(tmp_path / "t.txt")
    with pytest.raises(DataError, match=r"ends in '\.pkl'"):
        read_table(tmp_path / "t.pkl")
