import os
import re

import h5py
import numpy as np
import pytest

from ssl_photoz import cli
from ssl_photoz.core.errors import DataError
from ssl_photoz.cutouts.reader import Cutouts

IMAGES = np.zeros((12, 3, 16, 16), np.float32)

BAD_LAYOUTS = {
    "no images": ({"images": None}, "no dataset `images`; it has `DEC`, `RA`, `TARGETID`, `Z`"),
    "no RA": ({"RA": None}, "no `RA`; it has `DEC`"),
    "no Dec": ({"DEC": None}, "no `DEC`"),
    "rank 3": ({"images": IMAGES[0]}, r"shape (3, 16, 16), expected (rows, bands, side, side)"),
    "channels last": ({"images": IMAGES.transpose(0, 2, 3, 1)}, "expected (rows, bands, side"),
    "zero rows": ({"n": 0}, "zero cutouts"),
    "zero pixels": ({"images": IMAGES[..., :0, :0]}, "shape (12, 3, 0, 0)"),
    "text": ({"images": np.full(IMAGES.shape, b"x")}, "`images` is |S1, expected float16"),
    "complex": ({"images": IMAGES.astype("c8")}, "complex64, expected float16"),
    "int32": ({"images": IMAGES.astype("i4")}, "int32, expected float16"),
    "one band": ({"images": IMAGES[:, :1]}, "1 bands and does not name them; give bands="),
    "bands attr": ({"attrs": {"bands": "g,r"}}, "3 bands, expected 2 (g,r)"),
    "bands twice": ({"attrs": {"bands": "g,g,r"}}, "expected 3 (g,g,r)"),
    "short column": ({"MAG_R": np.zeros(11)}, "`images` has 12 rows but `MAG_R` has 11"),
    "long ids": ({"TARGETID": np.arange(13)}, "12 rows but `TARGETID` has 13"),
    "wide PSF": ({"PSFSIZE": np.zeros((12, 4))}, "`PSFSIZE` has shape (12, 4), expected (12, 3)"),
    "text RA": ({"RA": np.full(12, b"10:00:00")}, "`RA` is |S8 of shape (12,), expected real"),
    "2-d Z": ({"Z": np.zeros((12, 2))}, "`Z` is float64 of shape (12, 2)"),
    "two RAs": ({"ra": np.zeros(12)}, "`RA` and `ra` both mean column 'ra'"),
    "pixel scale": ({"attrs": {"pixscale_arcsec": "big"}}, "expected arcsec/px above zero"),
    "pixel scale 0": ({"attrs": {"pixscale_arcsec": 0.0}}, "expected arcsec/px above zero"),
}


@pytest.mark.parametrize("name", BAD_LAYOUTS)
def test_a_bad_layout_gives_one_clear_message(make_file, name):
    replace, message = BAD_LAYOUTS[name]
    path = make_file(**replace)
    with pytest.raises(DataError, match=re.escape(message)) as caught:
        Cutouts.open(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_asking_for_what_the_file_denies(make_file):
    path = make_file(attrs={"bands": "g,r,z", "pixscale_arcsec": 0.262})
    with pytest.raises(DataError, match="states bands g,r,z, asked for i,r,g"):
        Cutouts.open(path, bands=("i", "r", "g"))
    with pytest.raises(DataError, match=r"pixel scale of 0\.262 arcsec, asked for 0\.4"):
        Cutouts.open(path, pixscale_arcsec=0.4)
    with pytest.raises(DataError, match=r"3 bands, expected 2 \(g,r\)"):
        Cutouts.open(make_file(), bands=("g", "r"))


def test_asking_for_rows_pixels_or_columns_that_are_not_there(make_file):
    cutouts = Cutouts.open(make_file())
    with pytest.raises(DataError, match="rows 0 to 11, asked for rows 3 to 12"):
        cutouts.read([3, 12])
    with pytest.raises(DataError, match="asked for rows -1 to 0"):
        cutouts.read([-1, 0])
    with pytest.raises(DataError, match="asked for 32 px, cutouts have 16 px"):
        cutouts.read([0], size_px=32)
    with pytest.raises(DataError, match="no column 'mag'; it has id, ra, dec, z"):
        cutouts.column("mag")


def test_files_that_are_not_cutout_files(tmp_path, make_file):
    (tmp_path / "empty.h5").touch()
    (tmp_path / "text.h5").write_text("RA,DEC\n" * 1000)
    (tmp_path / "folder").mkdir()
    for name, message in {
        "absent.h5": "no cutout file",
        "empty.h5": "is empty",
        "text.h5": "is not an HDF5 file",
        "folder": "is a folder that no format recognises",
    }.items():
        with pytest.raises(DataError, match=message):
            Cutouts.open(tmp_path / name)


@pytest.mark.parametrize("share", [0.02, 0.3, 0.9, 0.999])
def test_a_truncated_file_is_called_truncated(make_file, share):
    whole = make_file(n=200)
    content = whole.read_bytes()
    whole.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(DataError, match="truncated or damaged"):
        Cutouts.open(whole)


def test_a_damaged_chunk_is_found_when_it_is_read(make_file):
    path = make_file(images=None)
    with h5py.File(path, "a") as file:
        images = np.random.default_rng(0).normal(size=(12, 3, 16, 16))
        data = file.create_dataset("images", data=images, chunks=(1, 3, 16, 16), fletcher32=True)
        place = data.id.get_chunk_info(7).byte_offset
    with path.open("r+b") as file:
        file.seek(place + 100)
        file.write(b"\xff" * 64)
    cutouts = Cutouts.open(path)
    cutouts.read([6, 8])
    with pytest.raises(DataError, match="damaged or truncated"):
        cutouts.read([6, 7])


def test_no_permission_to_read(make_file, monkeypatch):
    path = make_file()
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(DataError, match="no permission to read"):
        Cutouts.open(path)


def test_inspect_says_it_in_one_line_and_writes_nothing(make_file, tmp_path, capsys):
    path = make_file(images=IMAGES[0])
    out = tmp_path / "inspected"
    assert cli.main(["inspect", f"data={path}", f"out={out}"]) != 0
    error = capsys.readouterr().err.strip()
    assert error.startswith("error: ")
    assert "\n" not in error
    assert not out.exists()


def test_inspect_without_permission_to_write(make_file, tmp_path, capsys):
    (tmp_path / "blocked").write_text("a file where a folder should be")
    assert cli.main(["inspect", f"data={make_file()}", f"out={tmp_path / 'blocked'}"]) != 0
    assert "blocked" in capsys.readouterr().err
