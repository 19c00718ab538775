"""What `write_table` writes faithfully, and what it refuses, in every format."""

import csv
import datetime

import numpy as np
import pyarrow.parquet as pq
import pytest
from astropy.table import Table

from ssl_photoz.catalog.tables import SUFFIXES, read_table, require_writable, write_table
from ssl_photoz.core.errors import ConfigError, DataError

FIRST = 4949486599722954753


def written(tmp_path, suffix, values):
    """Column x as other programs read it, None where there is nothing."""
    path = tmp_path / f"t{suffix}"
    write_table(path, {"x": values}, simulated=False)
    if suffix == ".csv":
        with path.open(encoding="utf-8", newline="") as file:
            return [row["x"] for row in csv.DictReader(file)]
    if suffix == ".parquet":
        return pq.read_table(path)["x"].to_pylist()
    form = {".fits": "fits", ".vot": "votable"}[suffix]
    read = {"mask_invalid": False} if suffix == ".fits" else {}
    column = Table.read(path, format=form, **read)["x"]
    column = [None if one is np.ma.masked else one for one in column]
    return [one.decode() if isinstance(one, bytes) else one for one in column]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_64_bit_integers_with_gaps_stay_exact(tmp_path, suffix):
    x = written(tmp_path, suffix, np.array([FIRST, None, FIRST + 4], object))
    if suffix == ".csv":
        assert x == [str(FIRST), "", str(FIRST + 4)]
    else:
        assert x == [FIRST, None, FIRST + 4]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_null_text_is_not_the_word_none(tmp_path, suffix):
    x = written(tmp_path, suffix, np.array(["a", None, "c"], object))
    assert x == (["a", None, "c"] if suffix == ".parquet" else ["a", "", "c"])


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    "moments",
    [
        np.array(["2021-03-04", "NaT"], "M8[D]"),
        np.array([datetime.date(2021, 3, 4), None], object),
    ],
)
def test_dates_are_dates(tmp_path, suffix, moments):
    x = written(tmp_path, suffix, moments)
    if suffix == ".parquet":
        assert x == [datetime.date(2021, 3, 4), None]
    else:
        assert x == ["2021-03-04", ""]


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".vot"])
@pytest.mark.parametrize("words", [["Große Wolke é1", "Ω"], ["ÿ", "¼"]])
def test_text_beyond_ascii_is_written_in_any_locale(tmp_path, suffix, words, monkeypatch):
    monkeypatch.setattr("locale.getpreferredencoding", lambda *_: "latin-1")
    monkeypatch.setattr("locale.getencoding", lambda: "latin-1")
    assert written(tmp_path, suffix, np.array(words, object)) == words
    assert read_table(tmp_path / f"t{suffix}")["x"].tolist() == words


def test_small_integers_are_no_truth_values(tmp_path):
    for suffix in (".fits", ".vot"):
        assert written(tmp_path, suffix, np.array([-3, 0, 7], np.int8)) == [-3, 0, 7]
        assert written(tmp_path, suffix, np.array([2**32 - 1, 0], np.uint32)) == [2**32 - 1, 0]
    assert written(tmp_path, ".vot", np.array([7, 2**62], np.uint64)) == [7, 2**62]
    assert written(tmp_path, ".vot", np.array([True, None], object)) == [True, None]
    assert written(tmp_path, ".fits", np.array([True, None], object)) == ["true", ""]


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".fits"])
def test_unsigned_integers_beyond_2_63_are_exact(tmp_path, suffix):
    x = written(tmp_path, suffix, np.array([2**63 + 5, 1], np.uint64))
    assert [int(one) for one in x] == [2**63 + 5, 1]
    assert read_table(tmp_path / f"t{suffix}")["x"].tolist() == [2**63 + 5, 1]


@pytest.mark.parametrize("suffix", [".vot", ".fits"])
def test_complex_numbers(tmp_path, suffix):
    assert written(tmp_path, suffix, np.array([1 + 2j, 3])) == [1 + 2j, 3]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_rows_of_different_length(tmp_path, suffix):
    ragged = np.empty(2, object)
    ragged[:] = [np.array([1, 2]), np.array([3])]
    x = written(tmp_path, suffix, ragged)
    assert x == ([[1, 2], [3]] if suffix == ".parquet" else ["1 2", "3"])


@pytest.mark.parametrize(
    ("suffix", "name", "values", "says"),
    [
        (".fits", "x", np.array(["a", "é"]), "FITS .* x: .* 1 of 2 .* 'é'; write .parquet or .csv"),
        (".fits", "x", np.array(["a\nb"]), r"beyond printable ASCII, such as 'a\\nb'"),
        (".fits", "größe", np.array([1.0]), "a name beyond ASCII"),
        (".vot", "x", np.array([2**63], np.uint64), "above 2.63; write .parquet or .csv or .fits"),
        (".vot", "x", np.array(["a\x01"]), "control characters"),
        (".parquet", "x", np.array([1j]), "complex numbers; write .fits or .vot"),
        (".csv", "x", np.array([1j]), "complex numbers; write .fits or .vot"),
        (".csv", "x", np.array([b"caf\xe9"]), "not UTF-8"),
        (".parquet", "x", np.array([b"caf\xe9"]), "not UTF-8"),
        (".fits", "x", np.array([2**64, 1], object), "beyond 64 bits"),
        (".parquet", "x", np.array([2**64, 1], object), "Parquet cannot hold column x"),
        (".parquet", "x", np.array(["a", 1], object), "several kinds"),
    ],
)
def test_what_a_format_cannot_hold_is_refused_by_name(tmp_path, suffix, name, values, says):
    path = tmp_path / f"t{suffix}"
    for refuse in (
        lambda: require_writable(path, {name: values}),
        lambda: write_table(path, {name: values}, simulated=False),
    ):
        with pytest.raises(DataError, match=says) as caught:
            refuse()
        assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_names_that_differ_by_case_alone_are_refused_in_fits(tmp_path):
    with pytest.raises(DataError, match="columns z and Z, which differ by case"):
        write_table(tmp_path / "t.fits", {"z": np.ones(1), "Z": np.ones(1)}, simulated=False)
    with pytest.raises(ConfigError, match="ends in"):
        require_writable(tmp_path / "t.txt", {})


def test_simulated_is_said_once(tmp_path):
    write_table(tmp_path / "t.fits", {"SIMULATED": np.array([True])}, simulated=True)
    assert Table.read(tmp_path / "t.fits").colnames == ["simulated"]


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".fits"])
def test_unsigned_integers_with_gaps(tmp_path, suffix):
    x = written(tmp_path, suffix, np.array([2**63 + 5, None], object))
    assert x == [str(2**63 + 5), ""] if suffix == ".csv" else [2**63 + 5, None]
    assert read_table(tmp_path / f"t{suffix}")["x"].tolist() == [2**63 + 5, None]
