"""Pictures as JPEG files end to end in HDF5: written by Pillow and h5py."""

import io
import subprocess
import sys

import h5py
import numpy as np
import pytest
from PIL import Image

from ssl_photoz.core.errors import DataError
from ssl_photoz.cutouts.reader import Cutouts

N, SIDE = 6, 24


def jpeg(pixels):
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "JPEG", quality=95)
    return content.getvalue()


@pytest.fixture
def pictures(tmp_path):
    """Write the file; keywords replace datasets. Returns its path and the decoded pictures."""

    def make(sides=(SIDE,) * N, **replace):
        rng = np.random.default_rng(0)
        files = [jpeg(rng.integers(0, 255, (side, side, 3), np.uint8)) for side in sides]
        offset = np.cumsum([0, *map(len, files)])
        datasets = {
            "jpeg": np.frombuffer(b"".join(files), np.uint8),
            "offset": offset,
            "objid": np.arange(N) + 1_237_648_704_577_142_880,
            "RA": np.arange(N) * 1.0,
            "DEC": np.zeros(N),
            "Z": np.full(N, np.nan, "f4"),
            **replace,
        }
        with h5py.File(tmp_path / "rgb.h5", "w") as file:
            for name, values in datasets.items():
                file[name] = values
            file.attrs.update({"bands": "R,G,B = SDSS i,r,g", "pixel_scale_arcsec": 0.4})
        decoded = [np.asarray(Image.open(io.BytesIO(one))) for one in files]
        return tmp_path / "rgb.h5", decoded

    return make


def test_pictures_are_decoded_and_marked_as_no_flux(pictures):
    path, decoded = pictures()
    with Cutouts.open(path) as cutouts:
        source = cutouts.source
        assert (source.read_as, source.bands, source.calibrated) == (
            "sdss_jpeg",
            ("i", "r", "g"),
            False,
        )
        assert (source.rows, source.size_px, source.dtype) == (N, SIDE, "uint8")
        assert source.pixscale_arcsec == 0.4
        expected = np.stack([decoded[row] for row in (4, 0, 4)]).transpose(0, 3, 1, 2)
        np.testing.assert_array_equal(cutouts.read([4, 0, 4]), expected)
        np.testing.assert_array_equal(
            cutouts.read([4, 0, 4], size_px=10), expected[..., 7:17, 7:17]
        )
        assert cutouts.column("id")[0] == 1_237_648_704_577_142_880
        assert "jpeg" not in cutouts.columns


def test_a_picture_of_another_size_is_an_error(pictures):
    path, _ = pictures(sides=(SIDE, SIDE, SIDE + 2, SIDE, SIDE, SIDE))
    cutouts = Cutouts.open(path)
    cutouts.read([0, 1])
    with pytest.raises(DataError, match=r"picture 2 is \(26, 26\)"):
        cutouts.read([2])


@pytest.mark.parametrize("offset", [[0, 5, 3, 9, 12, 20, 40], [-5, 1, 2, 3, 4, 5, 6], [0] * 7])
def test_offsets_that_lead_nowhere_are_an_error(pictures, offset):
    with pytest.raises(DataError, match="damaged"):
        Cutouts.open(pictures(offset=np.array(offset))[0]).read([1])


@pytest.mark.parametrize("what", ["jpeg", "offset"])
def test_other_types_are_refused(pictures, what):
    with pytest.raises(DataError):
        Cutouts.open(pictures(**{what: np.ones((N, 2))})[0], read_as="sdss_jpeg")


def test_the_real_file_opens_by_itself(real_data):
    with Cutouts.open(real_data / "sdss_equatorial_rgb.h5") as cutouts:
        assert len(cutouts) == 43_169
        assert cutouts.source.bands == ("i", "r", "g")
        assert cutouts.read([0, 43_168]).shape == (2, 3, 128, 128)
        assert np.isfinite(cutouts.column("z")).sum() == 6275


def test_the_real_file_is_read_as_its_own_program_unpacks_it(real_data, tmp_path):
    source, unpacked = real_data / "sdss_equatorial_rgb.h5", tmp_path / "unpacked.h5"
    program = [sys.executable, str(real_data / "unpack_sdss.py"), str(source), str(unpacked)]
    subprocess.run([*program, "--limit", "40"], check=True, capture_output=True)
    rows = np.arange(40)
    with Cutouts.open(source) as one, Cutouts.open(unpacked) as other:
        np.testing.assert_array_equal(one.read(rows), other.read(rows))
        assert one.source.about == other.source.about
        for name in other.columns:
            np.testing.assert_array_equal(one.column(name)[rows], other.column(name))


def test_flipped_bytes_are_an_error_or_other_pixels_and_never_a_crash(pictures):
    path, _ = pictures()
    with h5py.File(path) as file:
        place = file["jpeg"].id.get_offset()
        size = file["jpeg"].nbytes
    content = path.read_bytes()
    for offset in np.random.default_rng(0).integers(0, size, 40):
        damaged = bytearray(content)
        damaged[place + offset] ^= 0xFF
        path.write_bytes(damaged)
        try:
            with Cutouts.open(path) as cutouts:
                assert cutouts.read(range(N)).shape[0] == N
        except DataError:
            continue
