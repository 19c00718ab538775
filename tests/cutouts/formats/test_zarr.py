"""Zarr groups, written by zarr; among them some that a stranger may have made to do harm."""

import json
import pickle

import numpy as np
import pytest

from ssl_photoz.core.errors import DataError
from ssl_photoz.cutouts.reader import Cutouts

zarr = pytest.importorskip("zarr", reason="the extra zarr is not installed")

N, SIDE = 12, 16


@pytest.fixture
def make(tmp_path):
    def one(*, zarr_format=3, chunks=(5, 1, 8, 16), attributes=None, **more):
        images = np.random.default_rng(0).normal(size=(N, 3, SIDE, SIDE)).astype("f4")
        group = zarr.create_group(tmp_path / "a.zarr", zarr_format=zarr_format)
        group.create_array("images", data=images, chunks=chunks, **more)
        columns = {"TARGETID": np.arange(N) + 2**60, "RA": np.arange(N) * 1.0, "DEC": np.zeros(N)}
        for name, values in columns.items():
            group.create_array(name, data=values)
        group.attrs.update(attributes or {})
        return tmp_path / "a.zarr", images, group

    return one


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("chunks", [(5, 1, 8, 16), (1, 3, 16, 16), (12, 3, 16, 16)])
def test_both_versions_are_read_whatever_the_chunks(make, zarr_format, chunks):
    path, images, _ = make(zarr_format=zarr_format, chunks=chunks)
    cutouts = Cutouts.open(path)
    assert cutouts.source.read_as == "zarr"
    rows = [7, 7, 0, 11]
    np.testing.assert_array_equal(cutouts.read(rows), images[rows])
    np.testing.assert_array_equal(cutouts.read(rows, size_px=6), images[rows][..., 5:11, 5:11])
    assert cutouts.column("id")[0] == 2**60


def test_shards_and_attributes_are_read(make):
    stated = {"bands": "g,r,z", "pixscale_arcsec": 0.3, "simulated": True}
    path, images, _ = make(chunks=(2, 3, 16, 16), shards=(6, 3, 16, 16), attributes=stated)
    cutouts = Cutouts.open(path)
    np.testing.assert_array_equal(cutouts.read(np.arange(N)), images)
    assert (cutouts.source.pixscale_arcsec, cutouts.source.simulated) == (0.3, True)


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_text_is_read(make, zarr_format):
    path, _, group = make(zarr_format=zarr_format)
    names = [f"galaxy {row}" for row in range(N)]
    kind = zarr.dtype.VariableLengthUTF8() if hasattr(zarr, "dtype") else str
    group.create_array("name", shape=(N,), dtype=kind)[:] = np.array(names, object)
    assert Cutouts.open(path).column("name").tolist() == names


class Harm:
    """What a stranger pickled: unpickling it writes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize("filters", [["pickle"], ["vlen-utf8", "pickle"]])
def test_pickled_columns_are_refused_unread(make, tmp_path, filters):
    path, _, _ = make(zarr_format=2)
    column = path / "name"
    column.mkdir()
    about = {"zarr_format": 2, "shape": [N], "chunks": [N], "dtype": "|O", "fill_value": None}
    about |= {"order": "C", "compressor": None, "filters": [{"id": one} for one in filters]}
    (column / ".zarray").write_text(json.dumps(about))
    (column / "0").write_bytes(pickle.dumps([Harm(tmp_path / "harm"), (N,)]))
    with pytest.raises(DataError, match="pickle"):
        Cutouts.open(path, read_as="zarr")
    assert not (tmp_path / "harm").exists()


def test_sizes_that_nothing_stands_behind_are_refused(make):
    path, _, _ = make()
    about = json.loads((path / "RA" / "zarr.json").read_text())
    images = json.loads((path / "images" / "zarr.json").read_text())
    about["shape"][0] = images["shape"][0] = 10**9
    (path / "RA" / "zarr.json").write_text(json.dumps(about))
    (path / "images" / "zarr.json").write_text(json.dumps(images))
    with pytest.raises(DataError, match="claims"):
        Cutouts.open(path)


def test_chunks_that_fill_memory_are_refused(make):
    path, _, _ = make()
    about = json.loads((path / "images" / "zarr.json").read_text())
    about["chunk_grid"]["configuration"]["chunk_shape"] = [10**6, 3, SIDE, SIDE]
    (path / "images" / "zarr.json").write_text(json.dumps(about))
    with pytest.raises(DataError, match="chunks of"):
        Cutouts.open(path)


def test_damage_is_said_to_be_damage(make):
    path, _, _ = make(chunks=(1, 3, 16, 16))
    cutouts = Cutouts.open(path)
    chunk = path / "images" / "c" / "4" / "0" / "0" / "0"
    chunk.write_bytes(chunk.read_bytes()[:50])
    cutouts.read([3])
    with pytest.raises(DataError, match="damaged"):
        cutouts.read([4])
    (path / "images" / "zarr.json").write_text("{")
    with pytest.raises(DataError, match="damaged"):
        Cutouts.open(path, read_as="zarr")


def test_columns_of_another_length_are_refused(make):
    path, _, group = make()
    group.create_array("Z", data=np.zeros(N - 1))
    with pytest.raises(DataError, match=r"`Z` has shape \(11,\)"):
        Cutouts.open(path)


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_columns_and_pixels_that_are_all_fill_value_have_no_files_and_are_read(
    tmp_path, zarr_format
):
    n = 400_000
    pixels = np.random.default_rng(0).integers(1, 255, (n, 1, 3, 3), dtype="u1")
    pixels[100_000:300_000] = 0  # whole chunks
    group = zarr.open_group(str(tmp_path / "a.zarr"), mode="w", zarr_format=zarr_format)
    for name, values, fill in (
        ("images", pixels, 0),
        ("Z", np.full(n, np.nan, "f4"), np.nan),
        ("EBV", np.zeros(n), 0),
        ("TARGETID", np.arange(n) + 2**60, 0),
    ):
        chunks = (50_000, *values.shape[1:])
        group.create_array(name, shape=values.shape, chunks=chunks, dtype=values.dtype,
                           fill_value=fill)[:] = values  # fmt: skip
    assert not [one for one in (tmp_path / "a.zarr" / "Z").rglob("*") if one.name[0] in "0c"]
    cutouts = Cutouts.open(tmp_path / "a.zarr", bands=["r"])
    assert np.isnan(cutouts.z).all()
    assert (cutouts.column("ebv") == 0).all()
    rows = [0, 200_000, n - 1]
    np.testing.assert_array_equal(cutouts.read(rows), pixels[rows])
    assert (cutouts.id == np.arange(n) + 2**60).all()
