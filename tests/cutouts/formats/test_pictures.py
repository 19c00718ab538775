"""Folders of pictures and WebDataset tars, written by Pillow, json and tarfile."""

import io
import json
import struct
import tarfile
import zlib

import numpy as np
import pytest
from PIL import Image

from ssl_photoz.core.errors import DataError
from ssl_photoz.cutouts.batches import good_rows
from ssl_photoz.cutouts.reader import Cutouts

SIDE = 20


def picture(seed, *, side=SIDE, mode="RGB", kind="PNG"):
    pixels = np.random.default_rng(seed).integers(0, 255, (side, side, 3), np.uint8)
    content = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(content, kind)
    return content.getvalue()


def decoded(content):
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).transpose(2, 0, 1)


def bomb(side):
    """A PNG of a few hundred bytes whose header claims side x side pixels."""

    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.fixture
def write_tar(tmp_path):
    def write(members, name="a.tar", mode="w"):
        with tarfile.open(tmp_path / name, mode) as archive:
            for member, content in members:
                info = tarfile.TarInfo(member)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
        return tmp_path / name

    return write


def test_every_mode_and_both_kinds_become_three_bands(tmp_path):
    made = {
        "a.png": picture(0, mode="L"),
        "b.png": picture(1, mode="RGBA"),
        "c.jpg": picture(2, kind="JPEG"),
        "d.jpeg": picture(3, kind="JPEG"),
        "e.png": picture(4, mode="P"),
    }
    for name, content in made.items():
        (tmp_path / name).write_bytes(content)
    cutouts = Cutouts.open(tmp_path, bands=("i", "r", "g"))
    assert cutouts.source.bands == ("i", "r", "g")
    assert not cutouts.source.calibrated
    assert cutouts.column("id").tolist() == ["a", "b", "c", "d", "e"]
    assert np.isnan(cutouts.column("ra")).all()
    expected = np.stack([decoded(content) for content in made.values()])
    np.testing.assert_array_equal(cutouts.read(np.arange(5)), expected)


def test_bombs_and_broken_pictures_are_rejects_and_never_unpacked(tmp_path):
    for name in ("good", "fine"):
        (tmp_path / f"{name}.png").write_bytes(picture(0))
    (tmp_path / "other.png").write_bytes(picture(1, side=30))
    (tmp_path / "bomb.png").write_bytes(bomb(8000))
    (tmp_path / "huge.png").write_bytes(bomb(60_000))
    (tmp_path / "text.jpg").write_bytes(b"no picture")
    (tmp_path / "half.png").write_bytes(picture(1)[:200])
    Image.fromarray(np.zeros((SIDE, SIDE), np.uint16)).save(tmp_path / "deep.png")
    Image.new("RGB", (SIDE, SIDE + 1)).save(tmp_path / "oblong.png")
    cutouts = Cutouts.open(tmp_path)
    rows, rejects = good_rows(cutouts)
    assert cutouts.column("id")[rows].tolist() == ["fine", "good"]
    said = {str(cutouts.column("id")[row]): reason for row, reason in rejects.items()}
    assert said["bomb"] == "RGB picture of 8000 x 8000 px, no square of 1 to 4096"
    assert said["other"] == "3 bands of 30 px, most are 3 bands of 20 px"
    assert "Decompression" in said["huge"]
    assert said["text"].startswith("no JPEG or PNG")
    assert said["half"].startswith("cannot be read")
    assert "I;16" in said["deep"]
    assert "20 x 21" in said["oblong"]


def test_a_picture_that_grew_since_is_refused_before_it_is_unpacked(tmp_path):
    (tmp_path / "a.png").write_bytes(picture(0))
    (tmp_path / "b.png").write_bytes(picture(1))
    cutouts = Cutouts.open(tmp_path)
    grown = bomb(8000)
    (tmp_path / "a.png").write_bytes(grown + b" " * (len(picture(0)) - len(grown)))
    assert (cutouts.read([0]) == 0).all()
    assert "(8000, 8000)" in cutouts.faults(np.array([0]))[0]


def test_members_of_a_tar_belong_together_up_to_the_first_dot(write_tar):
    first, second = picture(0), picture(1, kind="JPEG")
    said = {"id": 2**60 + 1, "ra": 12.5, "dec": -3, "redshift": 0.1, "survey": "X", "all": [1]}
    path = write_tar(
        [
            ("x/b.0.json", json.dumps(said).encode()),
            ("x/b.0.png", first),
            ("x/c.txt", b"of no use"),
            ("x/c.jpg", second),
            ("y/c.json", b"{broken"),
            ("y/c.png", first),
            ("README", b""),
        ]
    )
    cutouts = Cutouts.open(path)
    assert len(cutouts) == 3
    np.testing.assert_array_equal(
        cutouts.read([2, 1, 0]), np.stack([decoded(one) for one in (first, second, first)])
    )
    assert cutouts.column("id").tolist() == [str(2**60 + 1), "x/c", "y/c"]
    np.testing.assert_array_equal(cutouts.column("ra"), [12.5, np.nan, np.nan])
    np.testing.assert_allclose(cutouts.column("z"), [0.1, np.nan, np.nan], rtol=1e-6)
    assert cutouts.column("survey").tolist() == ["X", "", ""]
    assert "all" not in cutouts.columns


def test_whole_numbers_of_all_members_stay_whole_across_tars(write_tar, tmp_path):
    for tar, number in (("a.tar", 2**62 + 1), ("b.tar", 2**62 + 3)):
        said = json.dumps({"id": number, "n": 1 if tar == "a.tar" else 0.5}).encode()
        write_tar([("1.png", picture(0)), ("1.json", said)], tar)
    cutouts = Cutouts.open(tmp_path)
    assert cutouts.column("id").tolist() == [2**62 + 1, 2**62 + 3]
    assert cutouts.column("n").tolist() == [1.0, 0.5]


def test_links_and_paths_in_a_tar_reach_nothing(tmp_path):
    (tmp_path / "secret.png").write_bytes(picture(5))
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE):
            info = tarfile.TarInfo(f"link{kind!r}.png")
            info.type, info.linkname = kind, "secret.png"
            archive.addfile(info)
        content = picture(6)
        info = tarfile.TarInfo("../../out.png")
        info.size = len(content)
        archive.addfile(info, io.BytesIO(content))
    cutouts = Cutouts.open(tmp_path / "a.tar")
    np.testing.assert_array_equal(cutouts.read([0])[0], decoded(content))
    assert len(cutouts) == 1
    assert not (tmp_path.parent.parent / "out.png").exists()


@pytest.mark.parametrize("mode", ["w:gz", "w:xz"])
def test_a_compressed_tar_is_refused(write_tar, mode):
    path = write_tar([("1.png", picture(0))], mode=mode)
    with pytest.raises(DataError, match="compressed"):
        Cutouts.open(path, read_as="webdataset")


def test_a_truncated_tar_is_refused_or_read_as_far_as_it_goes(write_tar):
    path = write_tar([(f"{number}.png", picture(number)) for number in range(4)])
    whole = path.read_bytes()
    for cut in np.linspace(1, len(whole) - 1, 16).astype(int):
        path.write_bytes(whole[:cut])
        try:
            cutouts = Cutouts.open(path, read_as="webdataset")
        except DataError:
            continue
        rows, _ = good_rows(cutouts)
        np.testing.assert_array_equal(
            cutouts.read(rows), np.stack([decoded(picture(row)) for row in rows])
        )
