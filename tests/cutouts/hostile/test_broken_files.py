"""Files cut short anywhere, and files with flipped bits: a correct read, or one clear error."""

import shutil

import numpy as np
import pytest

from benchmarks.formats.writers import WRITERS
from tests.cutouts.hostile.conftest import complaint
from tests.cutouts.hostile.corpus import PARTS, flipped, truncated

FLIPS = 24
INSPECTED = 16  # every so manieth is looked at by `inspect`


def differences(found, expected):
    """Name what was read otherwise than from the unbroken file, of rows not said to be faulty."""
    if found["rows"] != expected["rows"]:
        return [f"{found['rows']} rows of {expected['rows']}"]
    fine = found["faults"] == ""
    return [
        name
        for name, right in expected.items()
        if name not in ("rows", "bands", "faults")
        and (name not in found or not same(found[name][fine], right[fine]))
    ]


def same(found, right):
    return np.array_equal(found, right, equal_nan=right.dtype.kind == "f")


@pytest.mark.slow
@pytest.mark.parametrize("name", WRITERS)
def test_cut_short_at_every_64th(name, whole, look, tmp_path):
    data, expected = whole(name)
    wrong, unnoticed = [], 0
    for part in range(PARTS):
        broken = truncated(data, tmp_path, part)
        looked = look(broken, inspect=part % INSPECTED == 5)
        if said := complaint(looked):
            wrong.append(f"{part}/64: {said}")
        elif looked.read is not None:
            unnoticed += (looked.read["faults"] == "").all()
            if other := differences(looked.read, expected):
                wrong.append(f"{part}/64 was read, but {', '.join(map(str, other))}")
        shutil.rmtree(broken) if broken.is_dir() else broken.unlink()
    assert not wrong, "\n".join(wrong)
    assert unnoticed < PARTS / 2  # padding may be lost


@pytest.mark.slow
@pytest.mark.parametrize("name", WRITERS)
def test_flipped_bits(name, whole, look, tmp_path):
    data, expected = whole(name)
    wrong = []
    for seed in range(FLIPS):
        broken = flipped(data, tmp_path, seed)
        looked = look(broken, inspect=seed % INSPECTED == 5)
        if said := complaint(looked):
            wrong.append(f"seed {seed}: {said}")
        elif (
            looked.read is not None
            and looked.read["pixels"].shape[1:] != expected["pixels"].shape[1:]
        ):
            wrong.append(f"seed {seed}: read as {looked.read['pixels'].shape}")
        shutil.rmtree(broken) if broken.is_dir() else broken.unlink()
    assert not wrong, "\n".join(wrong)
