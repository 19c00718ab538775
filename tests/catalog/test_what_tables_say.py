"""Gaps, padding, dates and headers of tables that others wrote."""

import datetime
import decimal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.table import MaskedColumn, Table

from ssl_photoz.catalog.catalogue import read_catalogue
from ssl_photoz.catalog.columns import Roles
from ssl_photoz.catalog.tables import read_table, write_table
from ssl_photoz.core.errors import DataError

IDS = [39627790123456781 + 2 * n for n in range(4)]
SPECTRA = [4949486599722954753, 4949486599722954755, None, 4949486599722954759]


def null_ints(folder, suffix):
    path = folder / f"c{suffix}"
    if suffix.startswith(".csv"):
        lines = [f"{i},1.5,{'' if s is None else s}" for i, s in zip(IDS, SPECTRA, strict=True)]
        path.write_text("\n".join(["TARGETID,RA,SPECOBJID", *lines, ""]))
    elif suffix == ".parquet":
        pq.write_table(pa.table({"TARGETID": IDS, "RA": [1.5] * 4, "SPECOBJID": SPECTRA}), path)
    else:
        table = Table({"TARGETID": IDS, "RA": [1.5] * 4})
        known = [s or 0 for s in SPECTRA]
        gaps = [s is None for s in SPECTRA]
        table["SPECOBJID"] = MaskedColumn(known, mask=gaps, fill_value=-1)
        table.write(path, format={".vot": "votable"}.get(suffix, "fits"))
    return path


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".fits", ".vot"])
def test_64_bit_integers_with_gaps_are_exact(tmp_path, suffix):
    table = read_table(null_ints(tmp_path, suffix))
    assert table["TARGETID"].tolist() == IDS
    assert table["SPECOBJID"].tolist() == SPECTRA
    for other in (".parquet", ".fits", ".csv", ".vot"):
        write_table(tmp_path / f"again{other}", table, simulated=False)
        assert read_table(tmp_path / f"again{other}")["SPECOBJID"].tolist() == SPECTRA


def test_gaps_in_a_compressed_fits_file(tmp_path):
    columns = read_catalogue(_with_dec(tmp_path)).columns
    assert columns["SPECOBJID"].tolist() == SPECTRA


def _with_dec(folder):
    table = Table({"TARGETID": IDS, "RA": [1.5] * 4, "DEC": [0.0] * 4})
    gaps = [s is None for s in SPECTRA]
    table["SPECOBJID"] = MaskedColumn([s or 0 for s in SPECTRA], mask=gaps, fill_value=-1)
    table.write(folder / "c.fits.gz", format="fits")
    return folder / "c.fits.gz"


def test_a_gap_far_down_a_csv_is_one_gap(tmp_path):
    many = 200_000
    path = tmp_path / "c.csv"
    path.write_text("TARGETID,Z\n" + "1,0.1\n" * many + "2,--\n3,0.3\n")
    z = read_table(path)["Z"]
    assert np.flatnonzero(np.isnan(z)).tolist() == [many]
    assert z[-1] == 0.3


@pytest.mark.parametrize("name", ["c.csv", "c.csv.gz", "c.dat", "c.tsv"])
def test_padded_ids_stay_text(tmp_path, name):
    import gzip

    text = "objid ra dec plate\n000005 1 2 266\n123456 1 3 267\n"
    text = text.replace(" ", {"c.dat": " ", "c.tsv": "\t"}.get(name, ","))
    opened = gzip.open if name.endswith(".gz") else open
    with opened(tmp_path / name, "wt") as file:
        file.write(text)
    found = read_catalogue(tmp_path / name, Roles(id="objid"))
    assert found.ids.tolist() == ["000005", "123456"]
    assert found.columns["plate"].tolist() == [266, 267]
    assert found.ra.tolist() == [1, 1]


@pytest.mark.parametrize(
    "words", [["0123", "7"], ["1.50", "2.25"], ["true", "false"], ["1e5", "x"]]
)
@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".fits", ".vot"])
def test_our_own_text_ids_come_back(tmp_path, words, suffix):
    write_table(tmp_path / f"t{suffix}", {"id": np.array(words, object)}, simulated=False)
    assert read_table(tmp_path / f"t{suffix}")["id"].tolist() == words


def test_ids_of_a_named_column_stay_text_and_rounded_ones_are_refused(tmp_path):
    path = tmp_path / "c.csv"
    path.write_text("source,RA,DEC\n007,1,2\n100,1,3\n")
    assert read_catalogue(path, Roles(id="source")).ids.tolist() == ["007", "100"]
    path.write_text("source,RA,DEC\n3.9627790123456781e16,1,2\n3.9627790123456783e16,1,3\n")
    with pytest.raises(DataError, match="has lost its last digits"):
        read_catalogue(path, Roles(id="source"))


@pytest.mark.parametrize(
    ("header", "rows"),
    [
        ("#TARGETID,RA,DEC", "5,1,2\n"),
        ("# TARGETID,RA,DEC", "5,1,2\n"),
        ("# made by us\n#\nTARGETID,RA,DEC", "5,1,2\n"),
        ("\ufeffTARGETID,RA,DEC", "5,1,2\n"),
        ("\ufeff#TARGETID,RA,DEC", "5,1,2\n"),
        ("TARGETID;RA;DEC", "5;1;2\n"),
        ("TARGETID\tRA\tDEC", "5\t1\t2\n"),
        ("TARGETID, RA, DEC", " 5, 1, 2\n"),
        ("TARGETID,RA,DEC\r", "5,1,2\r\n"),
    ],
)
def test_headers_of_every_fashion(tmp_path, header, rows):
    path = tmp_path / "c.csv"
    path.write_bytes(f"{header}\n{rows}".encode())
    table = read_catalogue(path)
    assert (table.ids.tolist(), table.ra.tolist(), table.dec.tolist()) == ([5], [1], [2])


def test_ecsv_by_the_name_of_csv(tmp_path):
    table = Table({"TARGETID": MaskedColumn(IDS, mask=[0, 0, 0, 0]), "RA": [1.0] * 4})
    table["SPEC"] = MaskedColumn([s or 0 for s in SPECTRA], mask=[s is None for s in SPECTRA])
    table.write(tmp_path / "c.csv", format="ascii.ecsv")
    found = read_table(tmp_path / "c.csv")
    assert found["TARGETID"].tolist() == IDS
    assert found["SPEC"].tolist() == SPECTRA


def test_names_that_repeat_are_named(tmp_path):
    (tmp_path / "c.csv").write_text("id,ra,ra\n1,2,3\n")
    twice = pa.table([[1], [2], [3]], names=["id", "ra", "ra"])
    pq.write_table(twice, tmp_path / "c.parquet")
    for suffix in (".csv", ".parquet"):
        with pytest.raises(DataError, match="columns ra are there more than once"):
            read_table(tmp_path / f"c{suffix}")


def test_latin_1_text_is_refused_with_the_reason(tmp_path):
    (tmp_path / "c.csv").write_bytes("id,field\n1,Große\n".encode("latin-1"))
    with pytest.raises(DataError, match="not UTF-8"):
        read_table(tmp_path / "c.csv")


def test_dates_and_times_are_the_text_that_was_written(tmp_path):
    words = {
        "night": ["2021-03-04", "2021-03-05"],
        "obs": ["2021-03-04T05:06:07.12", "2021-03-04T05:06:00"],
        "ut": ["05:06:01", "05:06:02"],
        "ra_hms": ["10:00:01.5", "10:00:02.5"],
    }
    lines = zip(*words.values(), strict=True)
    (tmp_path / "c.csv").write_text(
        ",".join(words) + "\n" + "".join(",".join(line) + "\n" for line in lines)
    )
    found = read_table(tmp_path / "c.csv")
    assert {name: values.tolist() for name, values in found.items()} == words
    day, moment = datetime.date(2021, 3, 4), datetime.datetime(2021, 3, 4, 5, 6, 7, 120000)
    arrow = pa.table(
        {"d": [day, None], "t": pa.array([moment, None], pa.timestamp("ns")), "s": [moment, moment]}
    )
    pq.write_table(arrow, tmp_path / "c.parquet")
    found = read_table(tmp_path / "c.parquet")
    assert found["d"].tolist() == ["2021-03-04", None]
    assert found["t"].tolist() == ["2021-03-04T05:06:07.12", None]


def test_types_of_parquet_that_numpy_has_not(tmp_path):
    table = pa.table(
        {
            "dictionary": pa.array(["a", None, "b"]).dictionary_encode(),
            "binary": pa.array([b"x", None, "é".encode()]),
            "noise": pa.array([b"\xff", b"\xfe", None]),
            "view": pa.array(["p", None, "q"], pa.string_view()),
            "dear": pa.array([decimal.Decimal("1.25"), None, decimal.Decimal("2.50")]),
            "count": pa.array([decimal.Decimal(7), None, decimal.Decimal(9)]),
            "truth": [True, None, False],
            "nothing": pa.nulls(3),
            "small": pa.array([1, None, 3], pa.int32()),
        }
    )
    pq.write_table(table, tmp_path / "c.parquet")
    found = read_table(tmp_path / "c.parquet")
    assert found["dictionary"].tolist() == ["a", None, "b"]
    assert found["binary"].tolist() == ["x", None, "é"]
    assert found["view"].tolist() == ["p", None, "q"]
    assert found["truth"].tolist() == [True, None, False]
    assert found["nothing"].tolist() == [None] * 3
    assert "noise" not in found
    np.testing.assert_array_equal(found["dear"], [1.25, np.nan, 2.5])
    np.testing.assert_array_equal(found["count"], [7, np.nan, 9])
    np.testing.assert_array_equal(found["small"], [1, np.nan, 3])
