"""Numpy's archives that lie, hold code, or unpack to more than there is."""

import io
import os
import pickle
import struct
import zipfile

import numpy as np
import pytest

from tests.cutouts.hostile.conftest import complaint

ROWS, SIDE = 5, 16


class Payload:
    """Leaves a file behind if anybody unpickles it."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.mknod, (str(self.marker),)


def marker(folder):
    return folder / "executed"


def cube(rows=ROWS):
    return np.random.default_rng(0).normal(0, 0.1, (rows, SIDE, SIDE, 5)).astype("f4")


def labels(rows=ROWS):
    kinds = [("z", "f4"), ("EBV", "f4"), ("dered_petro_r", "f4"), ("specObjID", "i8")]
    return np.zeros(rows, kinds)


def npy(header, content=b""):
    text = header.encode() + b" " * (-len(header) % 64)
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + content


def npz(folder, compression=zipfile.ZIP_STORED, **members):
    path = folder / "sdss.npz"
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members.items():
            if isinstance(content, np.ndarray):
                buffer = io.BytesIO()
                np.save(buffer, content, allow_pickle=True)
                content = buffer.getvalue()
            archive.writestr(f"{name}.npy", content)
    return path


def pickled(folder):
    return np.array([Payload(marker(folder))] * ROWS, object)


def header(shape, kind="<f4"):
    return f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}\n"


def code_in_a_header(folder):
    text = f"{{'descr': __import__('os').mknod('{marker(folder)}'), 'shape': (5,)}}\n"
    return npz(folder, cube=npy(text), labels=labels())


def code_in_a_pickle_named_npz(folder):
    path = folder / "sdss.npz"
    path.write_bytes(pickle.dumps(Payload(marker(folder))))
    return path


def inflating_npz(folder):
    """A cube of 4 GB of zeros in a file of 4 MB."""
    path, size = folder / "sdss.npz", 800_000
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("labels.npy", npy(header((size,), "<f4"), bytes(4 * size)))
        with archive.open("cube.npy", "w", force_zip64=True) as file:
            file.write(npy(header((size, SIDE, SIDE, 5))))
            for _ in range(64):
                file.write(bytes(size * SIDE * SIDE * 20 // 64))
    return path


MEMBERS = {"cube": cube(), "labels": labels()}
REFUSED = {
    "pickled pixels": lambda f: npz(f, **{**MEMBERS, "cube": pickled(f)}),
    "pickled labels": lambda f: npz(f, **{**MEMBERS, "labels": pickled(f)}),
    "code in a header": code_in_a_header,
    "a pickle under its name": code_in_a_pickle_named_npz,
    "a billion rows": lambda f: npz(
        f, cube=npy(header((10**9, SIDE, SIDE, 5)), bytes(4096)), labels=labels()
    ),
    "a negative side": lambda f: npz(
        f, cube=npy(header((ROWS, -SIDE, SIDE, 5)), bytes(4096)), labels=labels()
    ),
    "rows that differ": lambda f: npz(f, cube=cube(), labels=labels(ROWS + 1)),
    "complex pixels": lambda f: npz(f, cube=cube().astype("c8"), labels=labels()),
    "a header without end": lambda f: npz(
        f, cube=b"\x93NUMPY\x01\x00\xff\xff{'descr'", labels=labels()
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_is_refused_with_one_line(name, look, tmp_path):
    looked = look(REFUSED[name](tmp_path), inspect=True)
    assert looked.code == 2, looked.said
    assert complaint(looked) == ""
    assert not marker(tmp_path).exists()


def test_what_inflates_is_read_or_refused(look, tmp_path):
    assert complaint(look(inflating_npz(tmp_path), inspect=True)) == ""


def test_a_link_to_cutouts_is_read(look, tmp_path):
    npz(tmp_path, **MEMBERS)
    (tmp_path / "elsewhere.npz").symlink_to(tmp_path / "sdss.npz")
    looked = look(tmp_path / "elsewhere.npz", inspect=True)
    assert looked.code == 0, looked.said
    np.testing.assert_array_equal(looked.read["pixels"], cube().transpose(0, 3, 1, 2))


def test_the_payload_would_leave_its_mark(tmp_path):
    pickle.loads(pickle.dumps(Payload(marker(tmp_path))))
    assert marker(tmp_path).exists()
