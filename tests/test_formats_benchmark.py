"""The benchmark of formats: does it read what it says, and write its table?"""

import itertools

import numpy as np
import pytest

from benchmarks.formats import __main__ as program
from benchmarks.formats.writers import WRITERS


@pytest.mark.parametrize("way", program.WAYS)
def test_batches_go_through_all_rows_again_and_again(way):
    some = list(itertools.islice(program.batches(10, way, 4), 6))
    assert [len(rows) for rows in some] == [4, 4, 2] * 2
    for one_pass in (some[:3], some[3:]):
        assert sorted(np.concatenate(one_pass).tolist()) == list(range(10))
    in_order = np.concatenate(some[:3]).tolist() == list(range(10))
    assert in_order == (way == program.WAYS[0])


def test_the_table_has_a_line_for_each_format_and_says_simulated(tmp_path):
    names = ["challenge", "parquet file", "webdataset"]
    settings = {"formats": ",".join(names), "rows": 5, "size_px": 8, "seconds": 0.0, "rounds": 1}
    settings |= {"work": tmp_path / "work", "results": tmp_path / "RESULTS.md"}
    program.main([f"{name}={value}" for name, value in settings.items()])
    table = (tmp_path / "RESULTS.md").read_text()
    lines = [line.split(" | ") for line in table.splitlines() if line.startswith("| ")]
    assert [line[0].strip("| ") for line in lines[1:]] == names
    assert lines[1][1] == "3 x 8², float32"
    assert "SIMULATED" in table


def test_settings_that_do_not_exist_are_refused():
    with pytest.raises(SystemExit, match="no setting row"):
        program.main(["row=5"])


def test_all_formats_are_measured_by_default():
    assert program.DEFAULTS["formats"].split(",") == list(WRITERS)
