"""Several files as one dataset: a folder, or a YAML that says how each is to be read."""

import pickle

import h5py
import numpy as np
import pytest

from ssl_photoz.core.errors import ConfigError, DataError
from ssl_photoz.core.inputs import fingerprint
from ssl_photoz.cutouts.formats import concat as concat_module
from ssl_photoz.cutouts.formats.concat import concatenated
from ssl_photoz.cutouts.reader import Cutouts


@pytest.fixture
def write(tmp_path):
    """Write a file in the challenge's layout with its own pixels; keywords replace datasets."""

    def make(name, n=4, *, seed=0, shape=(3, 16, 16), attrs=None, **replace):
        rng = np.random.default_rng(seed)
        datasets = {
            "images": rng.normal(size=(n, *shape)).astype("f4"),
            "TARGETID": np.arange(n) + 2**62 + 1000 * seed,
            "RA": rng.uniform(0, 360, n),
            "DEC": rng.uniform(-90, 90, n),
            **replace,
        }
        datasets = {key: values for key, values in datasets.items() if values is not None}
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        with h5py.File(tmp_path / name, "w") as file:
            for key, values in datasets.items():
                file[key] = values
            file.attrs.update(attrs or {})
        return datasets

    return make


def test_a_folder_is_one_dataset_in_the_order_of_names(write, tmp_path):
    both = [write("d/a.h5", 4, seed=1), write("d/deep/b.hdf5", 7, seed=2)]
    images = np.concatenate([one["images"] for one in both])
    rows = np.array([10, 3, 4, 5, 0, 3])
    with Cutouts.open(tmp_path / "d") as cutouts:
        assert cutouts.source.read_as == "folder"
        assert cutouts.source.recognised == "folder with 2 files (a.h5, ...)"
        assert cutouts.source.notes == ("2 parts, read as challenge",)
        assert len(cutouts) == 11
        np.testing.assert_array_equal(cutouts.read(rows), images[rows])
        np.testing.assert_array_equal(cutouts.read([1, 2]), images[[1, 2]])
        assert cutouts.read([]).shape == (0, 3, 16, 16)
        np.testing.assert_array_equal(
            cutouts.column("id"), np.concatenate([one["TARGETID"] for one in both])
        )
        assert cutouts.column("id").dtype == np.int64
        assert cutouts.column("part").tolist() == ["a.h5"] * 4 + ["deep/b.hdf5"] * 7
    copy = pickle.loads(pickle.dumps(cutouts))
    np.testing.assert_array_equal(copy.read(rows), images[rows])


def test_more_parts_than_may_be_open_are_closed_in_turn(write, tmp_path, monkeypatch):
    monkeypatch.setattr(concat_module, "MOST_OPEN", 2)
    written = [write(f"d/{k}.h5", 3, seed=k) for k in range(5)]
    images = np.concatenate([one["images"] for one in written])
    cutouts = Cutouts.open(tmp_path / "d")
    for _ in range(2):
        for row in range(15):
            np.testing.assert_array_equal(cutouts.read([row]), images[[row]])
    opened = [part._opened._handle is not None for part in cutouts.stored.parts]
    assert sum(opened) == 2


def test_columns_that_are_not_everywhere(write, tmp_path):
    write("d/a.h5", 2, Z=np.float32([0.1, 0.2]), PSFSIZE=np.ones((2, 3)), MAG_R=np.ones(2))
    write("d/b.h5", 3, seed=1)
    cutouts = Cutouts.open(tmp_path / "d")
    np.testing.assert_array_equal(cutouts.column("z"), np.float32([0.1, 0.2, *[np.nan] * 3]))
    assert np.isnan(cutouts.column("psfsize")[2:]).all()
    assert cutouts.column("psfsize").shape == (5, 3)
    assert "mag_r" not in cutouts.columns
    assert cutouts.stored.left_out == ("mag_r",)


def test_ids_of_different_kinds_become_text_and_missing_ones_are_made(write, tmp_path):
    write("d/a.h5", 2)
    write("d/b.h5", 2, TARGETID=np.array([b"J0001", b"J0002"]))
    write("d/c.h5", 1, TARGETID=None)
    ids = Cutouts.open(tmp_path / "d").column("id").tolist()
    assert ids == [str(2**62), str(2**62 + 1), "J0001", "J0002", "c.h5/0"]


def test_without_any_ids_rows_are_counted_through(write, tmp_path):
    write("d/a.h5", 2, TARGETID=None)
    write("d/b.h5", 2, TARGETID=None)
    cutouts = Cutouts.open(tmp_path / "d")
    assert cutouts.ids_are_rows
    assert cutouts.column("id").tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("one", "other", "exact"),
    [
        (np.array([2**63 - 1]), np.array([2**64 - 1], np.uint64), True),
        (np.array([2**60 + 1]), np.array([0.5]), True),
        (np.array([7], "i2"), np.array([2**60 + 1]), False),
        (np.array([7]), np.array([0.5]), False),
    ],
)
def test_no_digit_is_lost_where_types_meet(one, other, exact):
    both = concatenated([one, other])
    assert (both.dtype.kind == "U") == exact
    assert [str(value) for value in both.tolist()][1] == str(other[0])
    assert int(both[0]) == one[0]


def test_sizes_are_cropped_to_the_smallest_about_the_same_centre(write, tmp_path):
    large = write("d/a.h5", 3, shape=(3, 20, 20))["images"]
    small = write("d/b.h5", 2, shape=(3, 16, 16), seed=1)["images"]
    cutouts = Cutouts.open(tmp_path / "d")
    assert cutouts.source.size_px == 16
    assert "cutouts of larger parts are cropped to 16 px" in cutouts.source.notes
    np.testing.assert_array_equal(cutouts.read([1, 2]), large[1:3, :, 2:18, 2:18])
    mixed = cutouts.read([4, 0], size_px=8)
    np.testing.assert_array_equal(mixed, [small[1, :, 4:12, 4:12], large[0, :, 6:14, 6:14]])


def test_types_widen(write, tmp_path):
    half = write("d/a.h5", 2, images=np.full((2, 3, 8, 8), 0.5, "f2"))["images"]
    write("d/b.h5", 2, images=np.full((2, 3, 8, 8), 1 / 3, "f4"))
    cutouts = Cutouts.open(tmp_path / "d")
    assert cutouts.source.dtype == "float32"
    np.testing.assert_array_equal(cutouts.read([1]), half[[1]].astype("f4"))


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"shape": (3, 15, 15)}, "half a pixel apart"),
        ({"shape": (4, 16, 16)}, r"bands of a\.h5 are .*'z'\).* of b\.h5 .*'i'"),
        ({"images": np.zeros((4, 3, 16, 16), "u1")}, "calibrated of"),
        ({"images": np.zeros((4, 3, 16, 16), "u1"), "attrs": {"calibrated": True}}, "8-bit"),
    ],
)
def test_what_cannot_be_one_dataset_is_refused(write, tmp_path, other, message):
    write("d/a.h5")
    write("d/b.h5", **other)
    with pytest.raises(DataError, match=message):
        Cutouts.open(tmp_path / "d")


def test_pixel_scales_that_differ_are_said(write, tmp_path):
    write("d/a.h5", attrs={"pixscale_arcsec": 0.262})
    write("d/b.h5", attrs={"pixscale_arcsec": 0.396})
    source = Cutouts.open(tmp_path / "d").source
    assert np.isnan(source.pixscale_arcsec)
    assert "pixel scales differ: 0.262, 0.396 arcsec" in source.notes


YAML = """
parts:
  - {path: "north/*.h5", name: north, zero_point_mag: 25}
  - path: south.h5
    bands: [z, r, g]
    zero_point_mag: {g: 22.5, r: 20, z: 27.5, i: 0}
    rename: {petro_r: mag_r}
  - plain.h5
bands: [r, z]
"""


@pytest.fixture
def mixture(write, tmp_path):
    """Write three surveys and the YAML above; return it and what was written."""
    extra = {"NOISE": np.full((4, 3), 0.1, "f4"), "PSFDEPTH": np.full((4, 3), 4.0)}
    depth = {**extra, "PSFSIZE": np.tile([1.0, 2.0, 3.0], (4, 1)), "MAG_R": np.full(4, 18.0)}
    written = {
        "north": write("north/a.h5", 4, **depth),
        "south": write("south.h5", 4, seed=1, PETRO_R=np.full(4, 17.0), **extra),
        "plain": write("plain.h5", 4, seed=2, MAG_R=np.full(4, 19.0)),
    }
    (tmp_path / "all.yaml").write_text(YAML)
    return tmp_path / "all.yaml", written


def test_a_yaml_chooses_bands_and_sets_zero_points(mixture):
    path, written = mixture
    with Cutouts.open(path) as cutouts:
        assert cutouts.source.read_as == "dataset"
        assert cutouts.source.recognised == "YAML with 3 parts"
        assert cutouts.source.bands == ("r", "z")
        rows = np.array([9, 0, 5, 1])
        read = cutouts.read(rows, size_px=10)
    crop = {name: one["images"][:, :, 3:13, 3:13] for name, one in written.items()}
    ab = 10.0 ** (-1.0)  # 25 mag is 2.5 mag fainter than 22.5: a tenth
    expected = [
        crop["plain"][1, [1, 2]],
        crop["north"][0, [1, 2]] * ab,
        crop["south"][1, [1, 0]] * np.array([10.0, 0.01])[:, None, None],
        crop["north"][1, [1, 2]] * ab,
    ]
    np.testing.assert_allclose(read, np.stack(expected), rtol=1e-6)


def test_noise_and_depth_go_with_the_pixels_and_columns_are_renamed(mixture):
    cutouts = Cutouts.open(mixture[0])
    np.testing.assert_allclose(cutouts.column("noise")[0], [0.01, 0.01], rtol=1e-6)
    np.testing.assert_allclose(cutouts.column("noise")[4], [1.0, 0.001], rtol=1e-6)
    np.testing.assert_allclose(cutouts.column("psfdepth")[0], [400, 400])
    np.testing.assert_allclose(cutouts.column("psfdepth")[4], [4 / 100, 4 / 0.0001])
    np.testing.assert_allclose(cutouts.column("psfsize")[0], [2, 3])
    assert cutouts.column("mag_r").tolist() == [18.0] * 4 + [17.0] * 4 + [19.0] * 4
    assert cutouts.column("part").tolist() == ["north"] * 4 + ["south"] * 4 + ["plain"] * 4


def test_a_fingerprint_sees_a_change_in_any_part(mixture, write):
    before = fingerprint(mixture[0])
    write("plain.h5", 4, seed=3)
    assert fingerprint(mixture[0]) != before


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("parts: [{path: a.h5, band: [g]}]", "unknown key 'band'; nearest valid: bands"),
        ("parts: [a.h5]\nband: [g]", "unknown key 'band'; nearest valid: bands"),
        ("parts: [{path: a.h5, bands: grz}]", "bands are 'grz', expected"),
        ("parts: [{path: a.h5, zero_point_mag: high}]", "zero_point_mag is 'high', expected"),
        ("parts: [{path: a.h5, pixscale_arcsec: true}]", "pixscale_arcsec is True, expected"),
        ("parts: [{path: a.h5, rename: z}]", "rename is 'z', expected old: new"),
        ("parts: [{path: a.h5, read_as: hdf6}]", "read_as is 'hdf6', expected one of"),
        ("parts: [all.yaml]", "a part is a file or a folder"),
    ],
)
def test_a_yaml_that_is_mistaken_is_refused(write, tmp_path, text, message):
    write("a.h5")
    (tmp_path / "all.yaml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        Cutouts.open(tmp_path / "all.yaml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("parts: [a.h5]\nbands: [g, i]", "has bands g,r,z, asked for g,i"),
        ("parts: [a.h5]\nbands: [g, g]", "has bands g,r,z, asked for g,g"),
        ("parts: [{path: a.h5, zero_point_mag: {g: 20}}]", "zero_point_mag has g, expected g,r,z"),
        ("parts: [{path: a.h5, rename: {mag: z}}]", "cannot rename mag to z"),
        ("parts: [{path: a.h5, rename: {ra: dec}}]", "cannot rename ra to dec"),
        ("parts: [{path: rgb.h5, zero_point_mag: 22.5}]", "no zero point makes flux"),
        ("parts: [absent.h5]", "which is not there"),
    ],
)
def test_a_yaml_that_does_not_fit_its_parts_is_refused(write, tmp_path, text, message):
    write("a.h5")
    write("rgb.h5", images=np.zeros((4, 3, 8, 8), "u1"))
    (tmp_path / "all.yaml").write_text(text)
    with pytest.raises(DataError, match=message):
        Cutouts.open(tmp_path / "all.yaml")
