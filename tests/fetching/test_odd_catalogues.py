"""Catalogues with gaps, words and sentinels among their numbers, through `fetch` and `select`."""

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from ssl_photoz.recipes.survey.select import select

from ssl_photoz import cli
from ssl_photoz.catalog.redshifts import read_redshifts
from ssl_photoz.core.errors import DataError
from ssl_photoz.fetching.challenge.populations import NAMES

FIRST = 4949486599722954753


def fetched(service, catalogue, folder):
    out = folder / "cutouts.h5"
    arguments = [f"catalogue={catalogue}", f"out={out}", f"service.url={service.url}"]
    cli.run("fetch", [*arguments, "size_px=16", "service.per_second=500"])
    return h5py.File(out)


def test_one_word_among_redshifts_is_one_unknown_redshift(service, tmp_path, capsys):
    lines = [f"{100 + i},{10 + i},{i},{z}" for i, z in enumerate(["0.1", "bad", "0.3", "--"])]
    (tmp_path / "c.csv").write_text("\n".join(["TARGETID,RA,DEC,Z", *lines, ""]))
    with fetched(service, tmp_path / "c.csv", tmp_path) as file:
        np.testing.assert_allclose(file["Z"][:], [0.1, np.nan, 0.3, np.nan], rtol=1e-6)
        assert file["TARGETID"][:].tolist() == [100, 101, 102, 103]
    said = capsys.readouterr().out
    at_the_start = said[: said.index("E(B-V)")]
    assert "2 of 4 known, 2 no number, such as 'bad'" in at_the_start


def test_sentinels_among_redshifts_are_unknown(service, tmp_path, capsys):
    z = np.array([0.1, 9.9999, 99, -99, 999, -1, -0.0005, 7.5], np.float32)
    table = {"TARGETID": np.arange(8) + 5, "RA": np.arange(8.0) + 10, "DEC": np.zeros(8), "Z": z}
    pq.write_table(pa.table(table), tmp_path / "c.parquet")
    with fetched(service, tmp_path / "c.parquet", tmp_path) as file:
        kept = [0, 6, 7]
        assert np.flatnonzero(np.isfinite(file["Z"][:])).tolist() == kept
        np.testing.assert_array_equal(file["Z"][kept], z[kept])
    assert "3 of 8 known, 5 stand for none, such as 9.9999" in capsys.readouterr().out


def test_a_second_id_with_a_gap_is_carried_exactly(service, tmp_path):
    spectra = [FIRST, None, FIRST + 4]
    table = {"TARGETID": [1, 2, 3], "RA": [1.0, 2, 3], "DEC": [0.0] * 3, "SPECOBJID": spectra}
    pq.write_table(pa.table(table), tmp_path / "c.parquet")
    with fetched(service, tmp_path / "c.parquet", tmp_path) as file:
        assert file["SPECOBJID"].asstr()[:].tolist() == [str(FIRST), "", str(FIRST + 4)]


def test_redshifts_are_judged_one_by_one():
    found = read_redshifts(np.array(["0.25", None, "", "n/a?", "-9", "99.0"], object))
    np.testing.assert_array_equal(found.z, [0.25, *[np.nan] * 5])
    assert found.as_text() == (
        "1 of 6 known, 1 no number, such as 'n/a?', 2 stand for none, such as -9"
    )


def odd_sample(folder, **more):
    n = 4
    table = {
        "TARGETID": [39627790123456020 + 20 * i for i in range(n)],
        "RA": [1.0, 2, 3, 4],
        "DEC": [0.0] * n,
        "Z": [0.1, 0.2, 0.3, 9.9999],
        "SPECOBJID": [FIRST, None, FIRST + 4, FIRST + 6],
        "NAME": ["a", None, "c", "d"],
        "NIGHT": pa.array(["2021-03-04"] * 3 + [None]).cast(pa.date32()),
        **more,
    }
    pq.write_table(pa.table(table), folder / "c.parquet")
    return folder / "c.parquet"


@pytest.mark.parametrize("suffix", [".fits", ".vot", ".csv", ".parquet"])
def test_select_writes_gaps_dates_and_null_text(tmp_path, suffix):
    from ssl_photoz.catalog.tables import read_table

    without = [name for name in NAMES if name not in ("redshift", "twentieth")]
    out = select(odd_sample(tmp_path), tmp_path / f"out{suffix}", without=tuple(without))
    text = out.read_bytes()
    assert b"None" not in text
    back = read_table(out)
    assert back["TARGETID"].tolist() == [39627790123456020 + 20 * i for i in range(3)]
    assert back["SPECOBJID"].tolist() == [FIRST, None, FIRST + 4]
    assert back["NIGHT"].tolist() == ["2021-03-04"] * 3
    assert [one or "" for one in back["NAME"]] == ["a", "", "c"]


def test_select_refuses_before_the_work(tmp_path, capsys):
    path = odd_sample(tmp_path, FIELD=["Große", "b", "c", "d"])
    with pytest.raises(DataError, match=r"FITS cannot hold column FIELD.*write \.parquet"):
        select(path, tmp_path / "out.fits")
    assert capsys.readouterr().out == ""
    assert not (tmp_path / "out.fits").exists()
