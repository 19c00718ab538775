"""Tables of every kind become one catalogue; ids keep every digit."""

import gzip

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.table import MaskedColumn, Table

from ssl_photoz.catalog.catalogue import DERIVED_ID, ROW_NUMBERS, read_catalogue, target_id
from ssl_photoz.catalog.columns import Roles, guess_roles
from ssl_photoz.core.errors import DataError

IDS = [39_627_000_000_000_001, 2**62 + 1, 2**53 + 1]
TABLE = {
    "TARGETID": IDS,
    "TARGET_RA": [10.5, 200.25, 359.9],
    "TARGET_DEC": [-5.0, 33.0, 80.0],
    "Z": [0.1, 0.2, 0.3],
    "SURVEY": ["main", "sv3", "main"],
}


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("a.fits", "fits"),
        ("a.fits.gz", "fits"),
        ("a.csv", "ascii.csv"),
        ("a.csv.gz", "ascii.csv"),
        ("a.ecsv", "ascii.ecsv"),
        ("a.vot", "votable"),
        ("a.txt", "ascii.commented_header"),
        ("a.parquet", None),
    ],
)
def test_every_format_keeps_ids_exactly(tmp_path, name, form):
    path = tmp_path / name
    if form is None:
        pq.write_table(pa.table(TABLE), path)
    elif name == "a.csv.gz":
        Table(TABLE).write(tmp_path / "a.csv", format=form)
        path.write_bytes(gzip.compress((tmp_path / "a.csv").read_bytes()))
    else:
        Table(TABLE).write(path, format=form)
    catalogue = read_catalogue(path)
    assert catalogue.ids.dtype == np.int64
    assert catalogue.ids.tolist() == IDS
    assert catalogue.ra.tolist() == TABLE["TARGET_RA"]
    assert catalogue.dec.tolist() == TABLE["TARGET_DEC"]
    assert catalogue.find("survey").tolist() == TABLE["SURVEY"]
    said = catalogue.as_text()
    assert "TARGET_RA, TARGET_DEC" in said
    assert "redshift   Z; " in said


def test_text_ids_stay_text(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("name,ra,dec\nNGC 1,1,2\n007,3,4\n")
    catalogue = read_catalogue(path)
    assert catalogue.ids.tolist() == ["NGC 1", "007"]
    assert catalogue.roles.z is None


@pytest.mark.parametrize("ids", ["39627000000000001.0", "", "1e17"])
def test_ids_that_may_have_lost_digits_are_refused(tmp_path, ids):
    path = tmp_path / "a.csv"
    path.write_text(f"targetid,ra,dec\n{ids},1,2\n12,3,4\n")
    with pytest.raises(DataError, match="whole numbers"):
        read_catalogue(path)


def test_a_missing_id_in_a_masked_column_is_refused(tmp_path):
    table = Table(TABLE)
    table["TARGETID"] = MaskedColumn(IDS, mask=[False, True, False])
    table.write(tmp_path / "a.vot", format="votable")
    with pytest.raises(DataError, match="none missing"):
        read_catalogue(tmp_path / "a.vot")


def test_survey_columns_make_desi_ids(tmp_path):
    # A public row of DESI's early data release: RELEASE 9011, BRICKID 565022, BRICK_OBJID 1254.
    (tmp_path / "a.csv").write_text(
        "RELEASE,BRICKID,BRICK_OBJID,RA,DEC\n9011,565022,1254,245.954289,45.110618\n"
    )
    catalogue = read_catalogue(tmp_path / "a.csv")
    assert catalogue.ids_from == DERIVED_ID
    (made,) = catalogue.ids.tolist()
    assert made == int(f"{9011:b}{565022:020b}{1254:022b}", 2)
    assert round(made, -2) == 39_633_166_985_594_100
    assert target_id(np.array([1], "i2"), np.array([1], "i4"), np.array([1], "i4")) == 2**42 + (
        2**22 + 1
    )


def test_without_ids_rows_are_numbered(tmp_path):
    (tmp_path / "a.csv").write_text("RAJ2000,DEJ2000\n1,2\n3,4\n")
    catalogue = read_catalogue(tmp_path / "a.csv")
    assert (catalogue.ids_from, catalogue.ids.tolist()) == (ROW_NUMBERS, [0, 1])


def guess(*names, **given):
    return guess_roles(dict.fromkeys(names, np.zeros(1)), Roles(**given))


def test_guesses():
    assert guess("targetid", "ra", "dec", "z").z == "z"
    assert guess("ra", "dec", "g", "r", "z").z is None  # magnitudes
    assert guess("ra", "dec", "g", "r", "z", z="z").z == "z"
    assert guess("ra", "dec", "g", "r", "z", "redshift").z == "redshift"
    assert guess("TARGET_RA", "TARGET_DEC", "OBJID").id is None  # not unique over bricks


def test_what_cannot_be_guessed_is_asked_for():
    with pytest.raises(DataError, match=r"no column looks like dec.*columns\.dec="):
        guess("ra", "latitude")
    with pytest.raises(DataError, match="RA and ra differ by case alone"):
        guess("RA", "ra", "dec")
    with pytest.raises(DataError, match="no column 'x' for ra; there are a, b"):
        guess("a", "b", ra="x")


def test_sexagesimal_positions_and_hours_are_noticed(tmp_path):
    (tmp_path / "a.csv").write_text("ra,dec\n10:11:12,+1:2:3\n")
    with pytest.raises(DataError, match="expected decimal degrees"):
        _ = read_catalogue(tmp_path / "a.csv").ra
    hours = "\n".join(f"{i},0" for i in range(24))
    (tmp_path / "b.csv").write_text(f"ra,dec\n{hours}\n")
    assert "degrees, or hours?" in read_catalogue(tmp_path / "b.csv").as_text()


def test_damaged_and_empty_tables_are_one_error(tmp_path):
    (tmp_path / "a.fits.gz").write_bytes(b"not gzip")
    with pytest.raises(DataError, match="cannot be read"):
        read_catalogue(tmp_path / "a.fits.gz")
    (tmp_path / "b.csv").write_text("ra,dec\n")
    with pytest.raises(DataError, match="no rows"):
        read_catalogue(tmp_path / "b.csv")
    with pytest.raises(DataError, match="no table"):
        read_catalogue(tmp_path / "none.dat")


def test_columns_of_lists_and_bytes_are_named_and_counted(tmp_path):
    columns = {"TARGETID": [1, 2], "RA": [1.0, 2.0], "DEC": [0.0, 0.0]}
    strange = {"FLUXES": [[1.0, 2.0], [3.0, 4.0]], "MASK": [b"\xff\xfe", b"\x00\xff"]}
    pq.write_table(pa.table({**columns, **strange}), tmp_path / "a.parquet")
    Table({**columns, "FLUXES": np.ones((2, 5))}).write(tmp_path / "a.fits")
    said = read_catalogue(tmp_path / "a.parquet").as_text()
    assert "left out   2, with a list or bytes per row: FLUXES, MASK" in said
    assert "left out   1, with a list or bytes per row: FLUXES" in (
        read_catalogue(tmp_path / "a.fits").as_text()
    )
    Table(columns).write(tmp_path / "b.fits")
    assert "left out" not in read_catalogue(tmp_path / "b.fits").as_text()


def test_ids_that_galaxies_share_are_counted(tmp_path):
    ids = [0, 0, 0, 7, 7, 8]
    Table({"TARGETID": ids, "RA": [1.0, 2, 3, 4, 4, 5], "DEC": np.zeros(6)}).write(
        tmp_path / "a.fits"
    )
    said = read_catalogue(tmp_path / "a.fits").as_text()
    assert "3 rows repeat an id" in said
    assert "1 ids at several places, in 3 rows: told apart by position" in said
