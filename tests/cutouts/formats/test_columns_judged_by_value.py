"""Columns judged by their values: links, floats as ids, and types that differ from file to file."""

import h5py
import numpy as np
import pytest

from ssl_photoz.cutouts.reader import Cutouts

BIG = 39_627_790_000_000_001 + 12_345 * np.arange(12)
SMALL = 9_000_000_000_000_001 + np.arange(12)  # below 2**53


def test_links_within_a_file_are_followed(make_file):
    path = make_file(TARGETID=BIG)
    with h5py.File(path, "r+") as file:
        file.create_group("spec")
        for name, place in (("Z", "spec/z"), ("TARGETID", "spec/id"), ("images", "pixels")):
            file.move(name, place)
        file["Z"], file["TARGETID"] = h5py.SoftLink("/spec/z"), h5py.SoftLink("spec/./id")
        file["again"] = h5py.SoftLink("/images")  # to a link
        file["images"] = h5py.SoftLink("pixels")
        z, images = file["spec/z"][:], file["pixels"][:]
        del file["again"]
    with Cutouts.open(path) as cutouts:
        assert cutouts.id.tolist() == BIG.tolist()
        np.testing.assert_array_equal(cutouts.z, z)
        np.testing.assert_array_equal(cutouts.read([4, 1]), images[[4, 1]])


def test_links_that_leave_the_file_or_turn_in_circles_are_named_and_not_followed(make_file):
    other = make_file("other.h5")
    path = make_file(Z=None)
    with h5py.File(path, "r+") as file:
        file["out"] = h5py.ExternalLink(str(other), "/")
        file["Z"] = h5py.SoftLink("/out/Z")
        file["MAG"] = h5py.SoftLink("/nowhere")
        file["ROUND"], file["TURN"] = h5py.SoftLink("/TURN"), h5py.SoftLink("/ROUND")
    cutouts = Cutouts.open(path)
    assert np.isnan(cutouts.z).all()
    assert not {"mag", "round", "turn"} & set(cutouts.columns)
    said = next(note for note in cutouts.source.notes if note.startswith("not read, 5: "))
    for name in ("MAG", "ROUND", "TURN", "Z", "out"):
        assert f"{name} (a link out of the file)" in said


def hdf5(make_file, tmp_path, ids):
    return make_file(TARGETID=ids)


def zarr(make_file, tmp_path, ids):
    zarr = pytest.importorskip("zarr", reason="the extra zarr is not installed")
    group = zarr.create_group(tmp_path / "a.zarr")
    group.create_array("images", data=np.ones((12, 3, 8, 8), "f4"))
    group.create_array("TARGETID", data=ids)
    return tmp_path / "a.zarr"


@pytest.mark.parametrize("write", [hdf5, zarr])
def test_ids_stored_as_floats_are_exact_or_not_used_and_said(make_file, tmp_path, write):
    cutouts = Cutouts.open(write(make_file, tmp_path, BIG.astype("f8")))
    assert cutouts.ids_are_rows
    assert cutouts.id.tolist() == list(range(12))
    assert any(
        "TARGETID (float64: 12 of 12 ids are no whole" in one for one in cutouts.source.notes
    )


@pytest.mark.parametrize("write", [hdf5, zarr])
def test_floats_that_hold_ids_exactly_give_them(make_file, tmp_path, write):
    ids = SMALL.astype("f8")
    ids[3] = np.nan
    cutouts = Cutouts.open(write(make_file, tmp_path, ids))
    assert cutouts.id.dtype == np.int64
    assert cutouts.id.tolist() == [*SMALL[:3], -1, *SMALL[4:]]


def test_ids_in_single_precision_are_judged_by_its_digits(make_file):
    assert Cutouts.open(make_file(TARGETID=np.arange(12, dtype="f4"))).id.tolist() == [*range(12)]
    assert Cutouts.open(make_file("b.h5", TARGETID=np.full(12, 2.0**25, "f4"))).ids_are_rows
