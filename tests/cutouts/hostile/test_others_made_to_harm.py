"""Tars, pictures, tables and folders that lie, lead elsewhere, or hold code."""

import io
import json
import os
import struct
import tarfile
import zlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.io import fits
from PIL import Image

from tests.cutouts.hostile.conftest import complaint

ROWS, SIDE = 5, 16


def fits_folder(folder, change=lambda content: content, **header_cards):
    place = folder / "cutouts"
    place.mkdir()
    for name in range(2):
        made = fits.PrimaryHDU(np.ones((3, SIDE, SIDE), "f4") * (1 + np.arange(SIDE)))
        made.header["BANDS"] = "grz"
        made.header.update(header_cards)
        buffer = io.BytesIO()
        made.writeto(buffer)
        content = buffer.getvalue()
        (place / f"{name}.fits").write_bytes(change(content) if name else content)
    return place


def card(name, value):
    def change(content):
        start = content.index(name.ljust(8).encode() + b"=")
        return content[:start] + f"{name:8}= {value:>20}".ljust(80).encode() + content[start + 80 :]

    return change


def picture(side=SIDE):
    content = io.BytesIO()
    draws = np.random.default_rng(0).integers(0, 255, (side, side, 3), np.uint8)
    Image.fromarray(draws).save(content, "PNG")
    return content.getvalue()


def png_that_claims(width, height):
    def chunk(kind, content):
        checksum = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(1 << 20))
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    )


def pictures(folder, **others):
    place = folder / "pictures"
    place.mkdir()
    for name, content in {"a.png": picture(), "b.png": picture(), **others}.items():
        (place / name).write_bytes(content)
    return place


def tar(folder, *odd, facts=b'{"z": 0.1}'):
    path = folder / "shard-000.tar"
    with tarfile.open(path, "w") as archive:
        for name, content in (("a.png", picture()), ("a.json", facts), ("b.png", picture())):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        for name, kind, target in odd:
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, target
            archive.addfile(member)
    return path


def tar_without_end(folder, *more):
    """Write a tar up to where the empty blocks begin that end it."""
    path = tar(folder)
    content = path.read_bytes().rstrip(b"\0")
    content += bytes(-len(content) % tarfile.BLOCKSIZE)
    path.write_bytes(content + b"".join(more))
    return path


def tar_that_claims(folder):
    member = tarfile.TarInfo("c.png")
    member.size = 7 << 30
    return tar_without_end(folder, member.tobuf(), bytes(2048))


def constant_rows(folder):
    """200 million rows of one value, in a file of a few hundred kilobytes."""
    path, million = folder / "cutouts.parquet", 1_000_000
    flux = pa.FixedSizeListArray.from_arrays(pa.array(np.zeros(4, "f4")), 4)
    table = pa.table({"ra": np.zeros(million), "dec": np.zeros(million)})
    with pq.ParquetWriter(path, table.schema, compression="zstd") as writer:
        for _ in range(200):
            writer.write_table(table, row_group_size=million)
    assert len(flux)
    return path


def yaml_of(text):
    def write(folder):
        path = folder / "surveys.yaml"
        path.write_text(text.format(marker=folder / "executed"))
        return path

    return write


def bytes_of(name, content):
    def write(folder):
        path = folder / name
        path.write_bytes(content)
        return path

    return write


def link(name, target):
    def write(folder):
        path = folder / name
        path.symlink_to(target if target.startswith("/") else folder / target)
        return path

    return write


def fifo(folder):
    path = folder / "cutouts.h5"
    os.mkfifo(path)
    return path


def empty_folder(folder):
    (folder / "nothing").mkdir()
    return folder / "nothing"


def zarr(folder, **changes):
    """A Zarr group (format 2) whose metadata claims what its chunks have not."""
    place = folder / "cutouts.zarr"
    for name, shape, kind in (("images", [ROWS, 3, SIDE, SIDE], "<f4"), ("ra", [ROWS], "<f8")):
        about = {"zarr_format": 2, "shape": shape, "chunks": shape, "dtype": kind, "order": "C"}
        about |= {"compressor": None, "filters": None, "fill_value": 0}
        (place / name).mkdir(parents=True)
        (place / name / ".zarray").write_text(json.dumps(about | changes.get(name, {})))
    (place / "dec").symlink_to(place / "ra")
    (place / ".zgroup").write_text('{"zarr_format": 2}')
    return place


REFUSED = {
    "a tar that is cut off between its members": tar_without_end,
    "a tar with a member of 7 GB": tar_that_claims,
    "a YAML with code": yaml_of("parts: !!python/object/apply:os.mknod ['{marker}']"),
    "a YAML that multiplies": yaml_of(
        "a: &a [x,x,x,x,x,x,x,x,x]\n"
        + "".join(
            f"{chr(98 + k)}: &{chr(98 + k)} [{','.join(['*' + chr(97 + k)] * 9)}]\n"
            for k in range(12)
        )
        + "parts: *m\n"
    ),
    "a YAML that names itself": yaml_of("parts: [{{path: surveys.yaml}}]"),
    "a YAML of nothing": yaml_of(""),
    "a YAML that goes deep": yaml_of("[" * 5000),
    "an empty file": bytes_of("cutouts.h5", b""),
    "a file of zeros": bytes_of("cutouts.h5", bytes(100_000)),
    "the first bytes of HDF5": bytes_of("cutouts.h5", b"\x89HDF\r\n\x1a\n" + bytes(5000)),
    "the first bytes of zip": bytes_of("x.npz", b"PK\x03\x04" + bytes(5000)),
    "the first bytes of Parquet": bytes_of("x.parquet", b"PAR1" + bytes(500) + b"PAR1"),
    "a web page": bytes_of("cutouts.fits", b"<html><body>429 Too Many Requests</body></html>"),
    "a link to itself": link("cutouts.h5", "cutouts.h5"),
    "a link to endless zeros": link("cutouts.h5", "/dev/zero"),
    "a link to nothing": link("cutouts.h5", "/nowhere/at/all"),
    "a pipe": fifo,
    "a folder of nothing": empty_folder,
    "Zarr: a billion rows": lambda f: zarr(
        f, images={"shape": [10**9, 3, SIDE, SIDE]}, ra={"shape": [10**9]}
    ),
    "Zarr: negative sides": lambda f: zarr(f, images={"shape": [ROWS, 3, -SIDE, -SIDE]}),
    "Zarr: objects": lambda f: zarr(
        f, images={"dtype": "|O", "filters": [{"id": "pickle", "protocol": 0}]}
    ),
}
EITHER = {
    "Parquet of 200 million rows": constant_rows,
    "FITS: a negative axis": lambda f: fits_folder(f, card("NAXIS1", -5)),
    "FITS: a billion pixels a side": lambda f: fits_folder(f, card("NAXIS1", 10**9)),
    "FITS: 999 axes": lambda f: fits_folder(f, card("NAXIS", 999)),
    "FITS: 8-bit depth of 7": lambda f: fits_folder(f, card("BITPIX", 7)),
    "FITS: no end": lambda f: fits_folder(f, lambda c: c.replace(b"END  ", b"DNE  ")),
    "FITS: no ASCII": lambda f: fits_folder(f, lambda c: c.replace(b"BANDS ", b"B\xff\xfe\x00D ")),
    "FITS: not-a-number in the WCS": lambda f: fits_folder(
        f, CRVAL1="nowhere", CTYPE1="RA---TAN", CTYPE2="DEC--TAN"
    ),
    "a picture of 60,000 pixels a side": lambda f: pictures(
        f, **{"c.png": png_that_claims(60_000, 60_000)}
    ),
    "a picture of no pixels": lambda f: pictures(f, **{"c.png": png_that_claims(0, 0)}),
    "a picture of another size": lambda f: pictures(f, **{"c.png": picture(SIDE + 2)}),
    "text under a picture's name": lambda f: pictures(f, **{"c.png": b"no picture"}),
    "a tar that leads out": lambda f: tar(
        f,
        ("../../c.png", tarfile.REGTYPE, ""),
        ("/etc/c.png", tarfile.SYMTYPE, "/etc/passwd"),
        ("d.png", tarfile.LNKTYPE, "../../../etc/passwd"),
        ("e.png", tarfile.FIFOTYPE, ""),
        ("f.png", tarfile.CHRTYPE, ""),
    ),
    "JSON that goes deep": lambda f: tar(f, facts=b"[" * 20_000),
    "JSON with odd numbers": lambda f: tar(f, facts=b'{"z": NaN, "ra": 1e999, "id": 1e400}'),
    "JSON with endless digits": lambda f: tar(f, facts=b'{"id": ' + b"9" * 6000 + b"}"),
    "JSON with a long name": lambda f: tar(f, facts=json.dumps({"n" * 10_000: 1}).encode()),
}


@pytest.mark.parametrize("name", REFUSED)
def test_is_refused_with_one_line(name, look, tmp_path):
    looked = look(REFUSED[name](tmp_path), inspect=True)
    assert looked.code == 2, looked.said
    assert complaint(looked) == ""
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("name", EITHER)
def test_is_read_or_refused(name, look, tmp_path):
    assert complaint(look(EITHER[name](tmp_path), inspect=True)) == ""
