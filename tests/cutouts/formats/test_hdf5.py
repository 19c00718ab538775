"""What lies outside an HDF5 file, and what claims more than there is."""

import h5py
import numpy as np
import pytest

from ssl_photoz.core.errors import DataError
from ssl_photoz.cutouts.reader import Cutouts

SHAPE = (12, 3, 16, 16)


def test_pixels_of_another_file_are_refused(make_file, tmp_path):
    other = make_file("other.h5")
    virtual = make_file("virtual.h5", images=None)
    layout = h5py.VirtualLayout(SHAPE, "f4")
    layout[:] = h5py.VirtualSource(other, "images", shape=SHAPE)
    linked = make_file("linked.h5", images=None)
    with h5py.File(virtual, "a") as file, h5py.File(linked, "a") as links:
        file.create_virtual_dataset("images", layout)
        links["images"] = h5py.ExternalLink(str(other), "images")
    with pytest.raises(DataError, match=r"keeps `images` in another file \(.*other\.h5\)"):
        Cutouts.open(virtual)
    with pytest.raises(DataError, match="no dataset `images`"):
        Cutouts.open(linked)


def test_pixels_in_a_file_of_bytes_are_refused(make_file):
    path = make_file(images=None)
    with h5py.File(path, "a") as file:
        file.create_dataset("images", SHAPE, "f4", external=[("/etc/passwd", 0, 1 << 20)])
    with pytest.raises(DataError, match=r"another file \(/etc/passwd\), which is not followed"):
        Cutouts.open(path)


def test_a_virtual_dataset_within_the_file_is_read(make_file):
    path = make_file(images=None)
    pixels = np.random.default_rng(0).normal(size=SHAPE).astype("f4")
    layout = h5py.VirtualLayout(SHAPE, "f4")
    with h5py.File(path, "a") as file:
        file.create_group("inner")["a"] = pixels
        layout[:] = h5py.VirtualSource(file["inner/a"])
        file.create_virtual_dataset("images", layout)
    with Cutouts.open(path) as cutouts:
        np.testing.assert_array_equal(cutouts.read([3, 1]), pixels[[3, 1]])


def test_columns_of_another_file_are_refused_or_left_out(make_file, tmp_path):
    path = make_file(Z=None)
    layout = h5py.VirtualLayout((12,), "f4")
    layout[:] = h5py.VirtualSource(tmp_path / "absent.h5", "Z", shape=(12,))
    with h5py.File(path, "a") as file:
        file["MAG"] = h5py.ExternalLink("absent.h5", "MAG")
    assert "mag" not in Cutouts.open(path).columns
    with h5py.File(path, "a") as file:
        file.create_virtual_dataset("Z", layout)
    with pytest.raises(DataError, match="keeps `Z` in another file"):
        Cutouts.open(path)


def test_a_column_that_would_fill_memory_is_refused(make_file):
    n = 10**9
    path = make_file(images=None, TARGETID=None, RA=None, DEC=None, Z=None)
    with h5py.File(path, "a") as file:
        file.create_dataset("images", (n, 3, 16, 16), "f4", chunks=(1, 3, 16, 16))
        for name in ("RA", "DEC"):
            file.create_dataset(name, (n,), "f8", chunks=(1024,))
    with pytest.raises(DataError, match="`DEC` claims 8000000000 bytes"):
        Cutouts.open(path)


def test_objects_other_than_text_are_left_out(make_file):
    path = make_file()
    with h5py.File(path, "a") as file:
        lists = file.create_dataset("LISTS", (12,), h5py.vlen_dtype("i4"))
        lists[0] = [1, 2]
        file.create_dataset("REFS", (12,), h5py.ref_dtype)
        file.create_dataset("NAME", (12,), h5py.string_dtype())[:] = "galaxy"
    cutouts = Cutouts.open(path)
    assert cutouts.stored.left_out == ("LISTS", "REFS")
    assert cutouts.column("name").tolist() == ["galaxy"] * 12
