"""npz files as Pasquet's: written by numpy; what numpy would unpickle is refused."""

import os
import pickle
import tracemalloc
import zipfile

import numpy as np
import pytest

from ssl_photoz import cli
from ssl_photoz.core.errors import DataError
from ssl_photoz.cutouts.reader import Cutouts

N, SIDE = 9, 12
FIELDS = [
    ("z", "f8"),
    ("EBV", "f4"),
    ("dered_petro_r", "f4"),
    ("primtarget", "i4"),
    ("specObjID", "u8"),
    ("name", "S5"),
]


def cube_and_labels(n=N):
    rng = np.random.default_rng(0)
    cube = rng.normal(size=(n, SIDE, SIDE, 5)).astype("f4")
    labels = np.zeros(n, FIELDS)
    labels["z"], labels["EBV"] = rng.uniform(0, 0.4, n), rng.uniform(0, 0.1, n)
    labels["specObjID"] = np.arange(n, dtype="u8") + np.uint64(2**63 + 1)
    labels["name"] = b"abc"
    return cube, labels


@pytest.fixture
def npz(tmp_path):
    """Write ``sdss.npz``; keywords replace arrays."""

    def make(save=np.savez, **replace):
        cube, labels = cube_and_labels()
        save(tmp_path / "sdss.npz", **{"cube": cube, "labels": labels, **replace})
        return tmp_path / "sdss.npz"

    return make


ROWS = np.array([8, 0, 1, 2, 5, 5])


def test_it_is_recognised_and_rows_are_read_where_they_lie(npz):
    path, (cube, labels) = npz(), cube_and_labels()
    with Cutouts.open(path) as cutouts:
        source = cutouts.source
        assert source.read_as == "pasquet"
        assert source.recognised == "npz with `cube` and `labels`"
        assert (source.bands, source.pixscale_arcsec) == (("u", "g", "r", "i", "z"), 0.396)
        expected = cube[ROWS].transpose(0, 3, 1, 2)
        np.testing.assert_array_equal(cutouts.read(ROWS), expected)
        np.testing.assert_array_equal(cutouts.read(ROWS, size_px=6), expected[..., 3:9, 3:9])
        np.testing.assert_array_equal(cutouts.column("z"), labels["z"])
        np.testing.assert_array_equal(cutouts.column("ebv"), labels["EBV"])
        assert cutouts.column("id").tolist() == labels["specObjID"].tolist()
        assert cutouts.column("id").dtype == np.uint64
        assert cutouts.column("name").tolist() == ["abc"] * N
        assert np.isnan(cutouts.column("ra")).all()
    copy = pickle.loads(pickle.dumps(cutouts))
    np.testing.assert_array_equal(copy.read(ROWS), expected)


def test_the_cube_is_never_read_whole(tmp_path):
    cube, labels = cube_and_labels(2000)
    np.savez(tmp_path / "sdss.npz", cube=cube, labels=labels)
    tracemalloc.start()
    with Cutouts.open(tmp_path / "sdss.npz") as cutouts:
        cutouts.read([7, 1999])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < cube.nbytes / 2


def test_ids_that_were_floats_are_no_ids(npz):
    labels = np.zeros(N, [("z", "f4"), ("specObjID", "f8")])
    with Cutouts.open(npz(labels=labels)) as cutouts:
        assert cutouts.ids_are_rows
        assert cutouts.stored.left_out == ("labels[specObjID]",)


class Harmful:
    """Pickled, it writes a file when it is loaded."""

    def __reduce__(self):
        return os.mkdir, ("harmed",)


@pytest.mark.parametrize("name", ["cube", "labels"])
def test_objects_are_refused_and_never_loaded(npz, name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = npz(**{name: np.array([Harmful()] * N, dtype=object)})
    with pytest.raises(DataError, match="pickled Python objects, which are never loaded"):
        Cutouts.open(path)
    assert not (tmp_path / "harmed").exists()


def test_fields_of_objects_are_refused_and_never_loaded(npz, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    labels = np.empty(N, [("z", "f4"), ("name", "O")])
    labels["name"] = [Harmful()] * N
    with pytest.raises(DataError, match="pickled Python objects, which are never loaded"):
        Cutouts.open(npz(labels=labels))
    assert not (tmp_path / "harmed").exists()


@pytest.mark.parametrize(
    ("replace", "message"),
    [
        ({"labels": np.zeros(N)}, r"`labels` are float64 \(9,\), expected \(9,\) records"),
        ({"labels": np.zeros(N + 1, FIELDS)}, r"\(10,\), expected \(9,\) records"),
        ({"cube": np.zeros((N, SIDE, 5, 5), "f4")}, r"shape \(9, 5, 12, 5\), expected"),
        ({"cube": np.zeros((N, SIDE), "f4")}, r"expected \(rows, bands, side, side\)"),
        ({"cube": np.zeros((0, 4, 4, 5), "f4")}, "zero cutouts"),
        ({"cube": np.zeros((N, 4, 4, 5), "c8")}, "complex64, expected"),
        ({"cube": np.asfortranarray(np.zeros((N, 4, 4, 5), "f4"))}, "Fortran order"),
    ],
)
def test_other_arrays_are_refused(npz, replace, message):
    with pytest.raises(DataError, match=message):
        Cutouts.open(npz(**replace))


def test_a_header_that_claims_more_than_is_there_is_refused(tmp_path):
    cube, labels = cube_and_labels()
    np.savez(tmp_path / "sdss.npz", cube=cube, labels=labels)
    with zipfile.ZipFile(tmp_path / "sdss.npz") as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    content["cube.npy"] = content["cube.npy"].replace(
        b"(9, 12, 12, 5), ", b"(9999999, 12, 12, 5), "
    )
    with zipfile.ZipFile(tmp_path / "huge.npz", "w") as archive:
        for name, one in content.items():
            archive.writestr(name, one)
    with pytest.raises(DataError, match=r"`cube\.npy` claims .* bytes|no numpy array"):
        Cutouts.open(tmp_path / "huge.npz")


def test_a_compressed_cube_is_refused_and_converted_once(npz, tmp_path, capsys):
    path, (cube, labels) = npz(np.savez_compressed), cube_and_labels()
    with pytest.raises(DataError, match=r"is compressed.*ssl-photoz convert data="):
        Cutouts.open(path)
    assert cli.main(["convert", f"data={path}", f"out={tmp_path / 'c.h5'}"]) == 0
    assert f"{N} cutouts in, {N} written" in capsys.readouterr().out
    with Cutouts.open(tmp_path / "c.h5") as copy:
        np.testing.assert_array_equal(copy.read(ROWS), cube[ROWS].transpose(0, 3, 1, 2))
        assert copy.column("id").tolist() == labels["specObjID"].tolist()


def test_compressed_rows_come_in_order_and_no_other(npz):
    cube, _ = cube_and_labels()
    with Cutouts.open(npz(np.savez_compressed), in_order=True) as cutouts:
        for rows in ([1, 2, 6], [7], [0, 8]):
            np.testing.assert_array_equal(cutouts.read(rows), cube[rows].transpose(0, 3, 1, 2))
        with pytest.raises(DataError, match="out of order"):
            cutouts.read([3, 2])


@pytest.mark.parametrize("share", [0.3, 0.7, 0.99])
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_truncated_file_is_an_error(npz, share, save):
    path = npz(save)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(DataError):
        Cutouts.open(path, read_as="pasquet")


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_flipped_bytes_are_an_error_or_other_pixels_and_never_a_crash(npz, save):
    path = npz(save)
    content = bytearray(path.read_bytes())
    rng = np.random.default_rng(0)
    for place in rng.integers(0, len(content), 60):
        damaged = bytearray(content)
        damaged[place] ^= 0xFF
        path.write_bytes(damaged)
        try:
            with Cutouts.open(path, in_order=True, read_as="pasquet") as cutouts:
                assert cutouts.read(range(N)).shape == (N, 5, SIDE, SIDE)
                for name in cutouts.columns:
                    assert len(cutouts.column(name)) == N
        except DataError:
            continue
