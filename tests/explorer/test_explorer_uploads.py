"""A cutout from outside finds itself; a file that lies about itself finds nothing."""

import io
import pickle
import re

import h5py
import numpy as np
import pytest
from astropy.io import fits

from ssl_photoz.core.errors import DataError
from ssl_photoz.explorer import unpack

STATED = {"bands": "grz", "pixscale_arcsec": 0.262}
HEADERS = {"Content-Type": "application/octet-stream"}


def npy(pixels):
    file = io.BytesIO()
    np.save(file, pixels)
    return file.getvalue()


def hdf5(tmp_path, fill):
    path = tmp_path / "made.h5"
    with h5py.File(path, "w") as file:
        fill(file)
    return path.read_bytes()


def fits_file(pixels, **header):
    file = io.BytesIO()
    fits.PrimaryHDU(pixels, fits.Header(list(header.items()))).writeto(file)
    return file.getvalue()


def fits_header(**cards):
    """A header alone, whatever it claims."""
    lines = ["SIMPLE  =                    T", *(f"{k:<8}= {v!s:>20}" for k, v in cards.items())]
    text = "".join(f"{line:<80}" for line in [*lines, "END"])
    return text.ljust(-(-len(text) // 2880) * 2880).encode()


@pytest.fixture(scope="module")
def images(run_folder):
    with h5py.File(run_folder / "cutouts.h5") as file:
        return file["images"][:]


def made(kind, images, row, tmp_path):
    one = images[row]
    if kind == "fits":
        return fits_file(one, BANDS="grz", CD1_1=-0.262 / 3600, CRVAL1=10.0)
    if kind == "npy of one":
        return npy(one)
    if kind == "npy of many":
        return npy(images[:9])
    return hdf5(tmp_path, lambda file: file.update({"images": images[:9]}))


@pytest.mark.parametrize("kind", ["fits", "npy of one", "npy of many", "hdf5"])
def test_a_cutout_of_the_run_finds_itself(client, images, kind, tmp_path):
    content = made(kind, images, 6, tmp_path)
    row = 6 if kind in ("npy of many", "hdf5") else 0
    answer = client.post(f"/api/cutout?row={row}", content=content, headers=HEADERS)
    assert answer.status_code == 200, answer.text
    nearest = answer.json()["look_alikes"]["galaxies"][0]
    assert nearest["row"] == 6
    assert nearest["distance"] < 1e-3  # 16-bit floats
    assert answer.json()["picture"]


def take_apart(path, content, *, row=0):
    source = path.with_suffix(unpack.suffix_of(content))
    source.write_bytes(content)
    unpack.unpack(source, path.with_suffix(".out"), row=row, **STATED)
    return path.with_suffix(".out")


def hostile(tmp_path):
    flux = np.zeros((3, 48, 48), "f4")
    huge = {"BITPIX": -32, "NAXIS": 3, "NAXIS1": 1000, "NAXIS2": 1000, "NAXIS3": 3}
    head = npy(flux)[:128]
    (tmp_path / "other.h5").write_bytes(hdf5(tmp_path, lambda f: f.update({"images": flux[None]})))
    outside = str(tmp_path / "other.h5")

    def external(file):
        file["images"] = h5py.ExternalLink(outside, "/images")

    def soft(file):
        file["images"] = h5py.SoftLink("/elsewhere")

    def raw(file):
        file.create_dataset(
            "images", (1, 3, 48, 48), "f4", external=[("/etc/passwd", 0, h5py.h5f.UNLIMITED)]
        )

    def virtual(file):
        layout = h5py.VirtualLayout((1, 3, 48, 48), "f4")
        layout[:] = h5py.VirtualSource(outside, "images", shape=(1, 3, 48, 48))
        file.create_virtual_dataset("images", layout)

    def bomb(file):
        file.create_dataset("images", (1, 3, 30_000, 30_000), "f4", compression="gzip")

    def chunk(file):
        shape = (40, 3, 1000, 1000)
        file.create_dataset("images", shape, "f4", chunks=shape, compression="gzip")

    yield "a FITS bomb", fits_header(**{**huge, "NAXIS1": 10**9, "NAXIS2": 10**9}), "claims"
    yield "a FITS file cut short", fits_header(**huge), "claims 12000000 bytes"
    yield "a FITS header of no numbers", fits_header(BITPIX="'x'", NAXIS="'y'"), "damaged"
    yield "negative axes", fits_header(**{**huge, "NAXIS1": -5}), "claims"
    yield "a FITS header without end", b"SIMPLE  =" + b" " * 600_000, "without end"
    yield "an NPY bomb", head.replace(b"(3, 48, 48)", b"(3,10**9,1)"), "damaged"
    yield "an NPY file cut short", npy(flux)[:-100], "damaged"
    yield "a wide NPY file", npy(np.zeros((1, 2000, 2000), "u1")), "at most 1024"
    yield "pickled objects", npy(np.array([{"a": 1}], object)), "damaged"
    yield "text pixels", npy(np.array([["a"]])), "real numbers"
    yield "five axes", npy(np.zeros((1, 1, 1, 2, 2), "f4")), "expected"
    yield "a pickle", pickle.dumps(flux), "no HDF5, NPY or FITS"
    yield "a script", b"<script>alert(1)</script>", "no HDF5, NPY or FITS"
    yield "nothing", b"", "no HDF5, NPY or FITS"
    yield "a torn HDF5 file", (tmp_path / "other.h5").read_bytes()[:700], "damaged"
    yield "no images", hdf5(tmp_path, lambda file: file.update({"x": [1]})), "no dataset"
    for what, fill, said in [
        ("a link to another file", external, "no dataset"),
        ("a link inside", soft, "no dataset"),
        ("pixels in another file", raw, "another file"),
        ("pixels of another file", virtual, "another file"),
        ("an HDF5 bomb", bomb, "at most|pieces"),
        ("an HDF5 bomb in one chunk", chunk, "pieces"),
    ]:
        yield what, hdf5(tmp_path, fill), said


def test_files_that_lie_are_refused_before_they_cost_anything(tmp_path):
    for number, (what, content, said) in enumerate(hostile(tmp_path)):
        with pytest.raises(DataError) as caught:
            take_apart(tmp_path / str(number), content)
        assert re.search(said, str(caught.value)), (what, str(caught.value))


def test_the_clean_file_holds_the_pixels_and_nothing_else(tmp_path, images):
    def fill(file):
        file["images"] = images[:2]
        file["secret"] = h5py.ExternalLink("/etc/passwd", "/x")
        file.attrs.update({"bands": "g,r,z", "pixscale_arcsec": 0.262, "note": "x", "simulated": 1})

    with h5py.File(take_apart(tmp_path / "source", hdf5(tmp_path, fill), row=1)) as file:
        assert set(file) == {"images", "RA", "DEC"}
        assert set(file.attrs) == {"bands", "pixscale_arcsec"}
        np.testing.assert_array_equal(file["images"][0], images[1])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (fits_header(BITPIX=-32, NAXIS=3, NAXIS1=1000, NAXIS2=1000, NAXIS3=3), "claims"),
        (npy(np.full((3, 48, 48), np.nan, "f4")), "nan"),
        (npy(np.ones((5, 48, 48), "f4")), "bands"),
        (npy(np.ones((3, 8, 8), "f4")), "px"),
        (npy(np.ones((3, 48, 48), "u1")), "calibrated = True"),
        (b"GIF89a", "no HDF5"),
    ],
)
def test_the_server_says_why_and_goes_on(client, content, said):
    answer = client.post("/api/cutout", content=content, headers=HEADERS)
    assert answer.status_code == 422
    assert said in answer.json()["error"]
    assert "/tmp" not in answer.json()["error"]
    assert client.get("/api/run").status_code == 200


def test_only_bytes_are_taken(client):
    for kind in ("multipart/form-data; boundary=x", "application/json", "text/plain"):
        answer = client.post("/api/cutout", content=b"x", headers={"Content-Type": kind})
        assert answer.status_code == 415
    assert client.post("/api/cutout?row=-1", content=b"x", headers=HEADERS).status_code == 422


def test_a_process_that_dies_is_a_refusal(client, monkeypatch, images):
    from ssl_photoz.explorer import uploads

    monkeypatch.setattr(uploads.sys, "executable", "false")
    answer = client.post("/api/cutout", content=npy(images[0]), headers=HEADERS)
    assert (answer.status_code, "broke" in answer.json()["error"]) == (422, True)


def test_one_upload_at_a_time(client, run, images):
    from ssl_photoz.explorer.uploads import BusyError, Uploads

    uploads = Uploads(run)
    with uploads._one, pytest.raises(BusyError, match="try again"):
        uploads.embed(npy(images[0]), row=0)


def test_memory_is_limited(tmp_path, monkeypatch):
    resource = pytest.importorskip("resource")
    asked = {}
    monkeypatch.setattr(resource, "setrlimit", lambda what, limits: asked.update({what: limits}))
    (tmp_path / "x.npy").write_bytes(b"")
    assert unpack.main([str(tmp_path / "x.npy"), str(tmp_path / "y"), "0", "g,r,z", "0.262"]) == 2
    assert asked[resource.RLIMIT_AS] == (unpack.MEMORY_BYTES,) * 2


@pytest.mark.parametrize(
    ("fill", "expected"),
    [
        (lambda file: file.update({"EBV": np.array([0.1, 0.25])}), 0.25),
        (lambda file: file.update({"EBV": h5py.ExternalLink("/etc/passwd", "/x")}), None),
        (lambda file: file.update({"EBV": h5py.SoftLink("/images")}), None),
        (lambda file: file.update({"EBV": np.array([b"0.1", b"0.2"])}), None),
        (lambda file: file.update({"EBV": np.array([0.1])}), None),
        (lambda file: file.create_group("EBV"), None),
        (
            lambda file: file.create_dataset("EBV", (2,), "f8", external=[("/etc/passwd", 0, 16)]),
            None,
        ),
    ],
)
def test_the_clean_file_has_the_cutouts_own_ebv_if_that_is_plain(tmp_path, images, fill, expected):
    def both(file):
        file["images"] = images[:2]
        fill(file)

    with h5py.File(take_apart(tmp_path / "source", hdf5(tmp_path, both), row=1)) as file:
        assert (float(file["EBV"][0]) if "EBV" in file else None) == expected
