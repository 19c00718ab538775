import csv

import pytest

from ssl_photoz.core.errors import DataError
from ssl_photoz.nearby.verdicts import COLUMNS, add_verdict, read_verdicts


def test_the_last_word_on_a_galaxy_counts_and_earlier_lines_stay(tmp_path):
    path = tmp_path / "new" / "verdicts.csv"
    add_verdict(path, id=2**60 + 1, ra=10.5, dec=-3.25, verdict="dwarf")
    add_verdict(path, id="b, with a comma", ra=0.1, dec=0.2, verdict="junk")
    before = path.read_text()
    add_verdict(path, id=2**60 + 1, ra=10.5, dec=-3.25, verdict="not_dwarf")
    assert path.read_text().startswith(before)
    said = {one.id: one for one in read_verdicts(path)}
    assert {name: one.verdict for name, one in said.items()} == {
        str(2**60 + 1): "not_dwarf",
        "b, with a comma": "junk",
    }
    assert float(said[str(2**60 + 1)].dec) == -3.25
    with path.open(newline="") as file:
        assert tuple(next(csv.reader(file))) == COLUMNS


def test_a_file_made_by_hand_needs_two_columns_and_known_words(tmp_path):
    path = tmp_path / "hand.csv"
    path.write_text("verdict,id\ndwarf,7\n,8\n")
    assert {one.id: one.verdict for one in read_verdicts(path)} == {"7": "dwarf"}
    path.write_text("verdict,id\ndwarf,7\nmaybe,8\n")
    with pytest.raises(DataError, match=r"line 3: verdict 'maybe', expected one of dwarf"):
        read_verdicts(path)
    path.write_text("name,verdict\n7,dwarf\n")
    with pytest.raises(DataError, match="no column id"):
        read_verdicts(path)
    with pytest.raises(DataError, match="'yes'"):
        add_verdict(path, id=1, ra=0, dec=0, verdict="yes")


def test_galaxies_that_share_an_id_have_a_last_word_each(tmp_path):
    path = tmp_path / "verdicts.csv"
    for ra, verdict in ((10, "dwarf"), (20, "junk"), (10 + 3 / 3600, "not_dwarf")):
        add_verdict(path, id=0, ra=ra, dec=0, verdict=verdict)
    assert [one.verdict for one in read_verdicts(path)] == ["not_dwarf", "junk"]
    path.write_text("id,ra,dec,verdict\n7,ten,0,dwarf\n")
    with pytest.raises(DataError, match=r"verdict on 7: position 'ten', '0', expected degrees"):
        read_verdicts(path)
