"""HDF5 files that lie, lead elsewhere, or unpack to more than there is."""

import zlib

import h5py
import numpy as np
import pytest

from tests.cutouts.hostile.conftest import complaint

ROWS = 6
SECRET = 1234.5


def columns(rows=ROWS):
    draws = np.random.default_rng(0)
    return {
        "images": draws.normal(0, 0.01, (rows, 3, 16, 16)).astype("f4"),
        "TARGETID": np.arange(rows) + 2**60 + 1,
        "RA": draws.uniform(0, 360, rows),
        "DEC": draws.uniform(-30, 60, rows),
        "Z": draws.uniform(0.01, 0.4, rows).astype("f4"),
    }


def written(folder, *leave_out, **others):
    path = folder / "cutouts.h5"
    with h5py.File(path, "w") as file:
        for name, values in {**columns(), **others}.items():
            if name not in leave_out:
                file[name] = values
    return path


def secret(folder):
    path = folder / "secret.h5"
    with h5py.File(path, "w") as file:
        file["images"] = np.full((ROWS, 3, 16, 16), SECRET, "f4")
        file["RA"] = np.full(ROWS, SECRET)
    return path


def external_link(folder):
    path, other = written(folder, "images"), secret(folder)
    with h5py.File(path, "a") as file:
        file["images"] = h5py.ExternalLink(str(other), "images")
    return path


def external_link_as_column(folder):
    path, other = written(folder, "RA"), secret(folder)
    with h5py.File(path, "a") as file:
        file["RA"] = h5py.ExternalLink(str(other), "RA")
    return path


def virtual_dataset(folder):
    path, other = written(folder, "images"), secret(folder)
    layout = h5py.VirtualLayout((ROWS, 3, 16, 16), "f4")
    layout[:] = h5py.VirtualSource(str(other), "images", (ROWS, 3, 16, 16))
    with h5py.File(path, "a") as file:
        file.create_virtual_dataset("images", layout)
    return path


def external_storage(folder):
    path, raw = written(folder, "RA"), folder / "raw"
    np.full(ROWS, SECRET).tofile(raw)
    with h5py.File(path, "a") as file:
        file.create_dataset("RA", (ROWS,), "f8", external=[(str(raw), 0, 8 * ROWS)])
    return path


def soft_link_to_nothing(folder):
    path = written(folder, "RA")
    with h5py.File(path, "a") as file:
        file["RA"] = h5py.SoftLink("/nowhere")
    return path


def group_that_holds_itself(folder):
    path = written(folder, "RA")
    with h5py.File(path, "a") as file:
        file["loop"] = file["/"]
    return path


def unwritten(folder, name, shape, dtype):
    path = written(folder, name)
    with h5py.File(path, "a") as file:
        file.create_dataset(name, shape, dtype, chunks=(1, *shape[1:]))
    return path


def billion_rows(folder):
    path = folder / "cutouts.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("images", (10**9, 3, 16, 16), "f4", chunks=(1, 3, 16, 16))
        for name in ("RA", "DEC"):
            file.create_dataset(name, (10**9,), "f8", chunks=(1 << 16,))
    return path


def inflating_chunk(folder):
    """One chunk of 1.5 GB of zeros, deflated to 1.5 MB."""
    path, side = written(folder, "images"), 8192
    packer = zlib.compressobj(9)
    part = bytes(side * side)
    content = b"".join(packer.compress(part) for _ in range(ROWS * 4)) + packer.flush()
    with h5py.File(path, "a") as file:
        shape = (ROWS, 1, side, side)
        images = file.create_dataset("images", shape, "f4", chunks=shape, compression="gzip")
        images.id.write_direct_chunk((0, 0, 0, 0), content)
    return path


def inflating_column(folder):
    """Strings of 1 MB each that are all spaces: 200 rows, a small file."""
    path = folder / "cutouts.h5"
    with h5py.File(path, "w") as file:
        for name, values in columns(2000).items():
            file[name] = values
        file.create_dataset("NAME", (2000,), "S1000000", chunks=(1,), compression="gzip")
        for row in range(0, 2000, 40):
            file["NAME"][row] = b" " * 1_000_000
    return path


def with_attributes(folder, **attributes):
    path = written(folder)
    with h5py.File(path, "a") as file:
        file.attrs.update(attributes)
    return path


def object_pixels(folder):
    path = written(folder, "images")
    with h5py.File(path, "a") as file:
        ragged = file.create_dataset("images", (ROWS, 3, 4, 4), h5py.vlen_dtype(np.float32))
        ragged[0, 0, 0, 0] = np.ones(3, "f4")
    return path


def references(folder):
    path = written(folder, "Z")
    with h5py.File(path, "a") as file:
        file.create_dataset("Z", (ROWS,), h5py.ref_dtype)
    return path


REFUSED = {
    "a link to another file": external_link,
    "a column in another file": external_link_as_column,
    "a virtual dataset of another file": virtual_dataset,
    "values in a raw file": external_storage,
    "a link to nothing": soft_link_to_nothing,
    "a group that holds itself, no RA": group_that_holds_itself,
    "a billion rows that nobody wrote": billion_rows,
    "pixels that inflate": inflating_chunk,
    "pixels of changing length": object_pixels,
    "complex pixels": lambda folder: written(folder, images=np.ones((ROWS, 3, 16, 16), "c8")),
    "text for pixels": lambda folder: written(folder, images=np.full((ROWS, 3, 4, 4), b"x")),
    "no rows": lambda folder: written(folder, images=np.ones((0, 3, 16, 16), "f4")),
    "sides that differ": lambda folder: written(folder, images=np.ones((ROWS, 3, 16, 9), "f4")),
    "a column too short": lambda folder: written(folder, RA=np.ones(ROWS - 1)),
    "RA as text": lambda folder: written(folder, RA=np.full(ROWS, b"12:30")),
    "a negative pixel scale": lambda folder: with_attributes(folder, pixscale_arcsec=-1.0),
    "a pixel scale of zero": lambda folder: with_attributes(folder, pixscale_arcsec=0.0),
    "a pixel scale that is text": lambda folder: with_attributes(folder, pixscale_arcsec="wide"),
    "bands of another number": lambda folder: with_attributes(folder, bands="g,r"),
    "bands twice": lambda folder: with_attributes(folder, bands="g,g,r"),
    "an endless band": lambda folder: with_attributes(folder, bands="g,r," + "z" * 60_000),
}
READ = {
    "big-endian numbers": lambda folder: written(
        folder, **{n: v.astype(v.dtype.newbyteorder(">")) for n, v in columns().items()}
    ),
    "half precision": lambda folder: written(folder, images=columns()["images"].astype("f2")),
    "double precision": lambda folder: written(folder, images=columns()["images"].astype("f8")),
    "a name of 10,000 letters": lambda folder: written(folder, **{"n" * 10_000: np.ones(ROWS)}),
    "names in other scripts": lambda folder: written(
        folder,
        **{"赤方偏移": np.ones(ROWS), "\u202eRA": np.ones(ROWS), "a\nb\x1b[31m": np.ones(ROWS)},
    ),
    "strings of any length": lambda folder: written(
        folder, NAME=np.array(["ö" * k for k in range(ROWS)], h5py.string_dtype())
    ),
    "strings that are no UTF-8": lambda folder: written(folder, NAME=np.full(ROWS, b"\xff\xfe")),
    "a loop beside the columns": lambda folder: group_that_holds_itself(folder) and loop(folder),
    "thousands of attributes": lambda folder: with_attributes(
        folder, **{f"a{k}": k for k in range(2000)}
    ),
}
EITHER = {
    "redshifts that are references": references,
    "a column that inflates": inflating_column,
    "not-a-number for a pixel scale": lambda folder: with_attributes(
        folder, pixscale_arcsec=np.nan
    ),
    "2,000 columns": lambda folder: written(
        folder, **{f"c{k}": np.ones(ROWS) for k in range(2000)}
    ),
}


def loop(folder):
    path = folder / "cutouts.h5"
    with h5py.File(path, "a") as file:
        file["RA"] = columns()["RA"]
    return path


@pytest.mark.parametrize("name", REFUSED)
def test_is_refused_with_one_line(name, look, tmp_path):
    looked = look(REFUSED[name](tmp_path), inspect=True)
    assert looked.code == 2, looked.said
    assert complaint(looked) == ""
    assert str(SECRET) not in looked.said


@pytest.mark.parametrize("name", READ)
def test_is_read_as_it_is(name, look, tmp_path):
    looked = look(READ[name](tmp_path), inspect=True)
    assert (looked.code, complaint(looked)) == (0, ""), looked.said
    expected = columns()
    exact = expected["images"].astype("f2") if name == "half precision" else expected["images"]
    np.testing.assert_array_equal(looked.read["pixels"], exact)
    for column, original in (("id", "TARGETID"), ("ra", "RA"), ("dec", "DEC"), ("z", "Z")):
        np.testing.assert_array_equal(looked.read[f"column {column}"], expected[original])
    assert looked.read["column id"].dtype == np.int64
    assert "\x1b" not in looked.said


@pytest.mark.parametrize("name", EITHER)
def test_is_read_or_refused(name, look, tmp_path):
    assert complaint(look(EITHER[name](tmp_path), inspect=True)) == ""


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38, -1e30])
def test_odd_pixels_are_read_as_they_are_and_counted(value, look, tmp_path):
    images = columns()["images"]
    images[2, 1, 5, 5] = value
    looked = look(written(tmp_path, images=images), inspect=True)
    assert (looked.code, complaint(looked)) == (0, ""), looked.said
    np.testing.assert_array_equal(looked.read["pixels"], images)
    if not np.isfinite(value):
        assert "nan or inf" in looked.said
