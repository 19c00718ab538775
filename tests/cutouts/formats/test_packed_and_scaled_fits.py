"""FITS cutouts as others store them: packed, in tiles, scaled, behind an empty primary HDU."""

import gzip
from contextlib import suppress

import numpy as np
import pytest
from astropy.io import fits

from ssl_photoz.core.errors import DataError
from ssl_photoz.cutouts.batches import good_rows
from ssl_photoz.cutouts.formats import fits_image
from ssl_photoz.cutouts.formats.fits_image import read_image
from ssl_photoz.cutouts.reader import Cutouts
from ssl_photoz.cutouts.single import read_single

SIDE = 16
CARDS = {
    **{"BANDS": "grz", "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 150.0, "CRVAL2": 2.0},
    **{"CRPIX1": 8.5, "CRPIX2": 8.5, "CDELT1": -0.262 / 3600, "CDELT2": 0.262 / 3600},
}


@pytest.fixture
def pixels():
    return np.random.default_rng(0).normal(size=(3, SIDE, SIDE)).astype("f4")


def header():
    return fits.Header(CARDS.items())


def primary(path, image):
    fits.PrimaryHDU(image, header()).writeto(path)


def extension(path, image):
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(image, header())]).writeto(path)


def bands_in_the_primary(path, image):
    cards = header()
    bands = fits.Header([("BANDS", cards.pop("BANDS"))])
    fits.HDUList([fits.PrimaryHDU(header=bands), fits.ImageHDU(image, cards)]).writeto(path)


def tiles(path, image):
    tile = fits.CompImageHDU(image, header(), compression_type="GZIP_2", quantize_level=0)
    fits.HDUList([fits.PrimaryHDU(), tile]).writeto(path)


LOSSLESS = {
    "1.fits": primary,
    "2.fits": extension,
    "3.fits": bands_in_the_primary,
    "4.fits.fz": tiles,
    "5.fits.gz": primary,
    "6.fits.gz": extension,
}


def test_every_way_to_store_them_gives_the_same_cutout(tmp_path, pixels):
    (tmp_path / "c").mkdir()
    for name, write in LOSSLESS.items():
        write(tmp_path / "c" / name, pixels)
    cutouts = Cutouts.open(tmp_path / "c")
    assert cutouts.source.read_as == "fits"
    assert cutouts.source.bands == ("g", "r", "z")
    assert cutouts.source.pixscale_arcsec == pytest.approx(0.262, abs=1e-5)
    assert cutouts.id.tolist() == [1, 2, 3, 4, 5, 6]
    np.testing.assert_allclose(cutouts.ra, 150, atol=1e-9)
    np.testing.assert_allclose(cutouts.dec, 2, atol=1e-9)
    np.testing.assert_array_equal(cutouts.read(range(6)), np.stack([pixels] * 6))
    np.testing.assert_array_equal(cutouts.read([3], size_px=4)[0], pixels[:, 6:10, 6:10])
    for name in LOSSLESS:
        one = read_single(tmp_path / "c" / name)
        np.testing.assert_array_equal(one.pixels, pixels)
        assert one.ra == pytest.approx(150, abs=1e-9)


@pytest.mark.parametrize("suffix", [".fits", ".fits.gz"])
def test_integers_are_scaled_as_they_say(tmp_path, suffix):
    """FITS: physical value = BZERO + BSCALE x stored; BLANK is none (FITS standard 4.0, 4.4.2)."""
    stored = np.arange(-384, 384, dtype=">i2").reshape(3, SIDE, SIDE)
    cards = {**CARDS, "BSCALE": 0.25, "BZERO": 32.0, "BLANK": -384}
    start = {"SIMPLE": True, "BITPIX": 16, "NAXIS": 3, "NAXIS1": SIDE, "NAXIS2": SIDE, "NAXIS3": 3}
    head = fits.Header([*start.items(), *cards.items()]).tostring().encode()
    content = head + stored.tobytes().ljust(2880, b"\0")
    (tmp_path / "c").mkdir()
    path = tmp_path / "c" / f"a{suffix}"
    path.write_bytes(gzip.compress(content) if suffix.endswith("gz") else content)
    found = Cutouts.open(tmp_path / "c").read([0])[0]
    expected = 32 + 0.25 * stored.astype("f4")
    assert np.isnan(found[0, 0, 0])
    np.testing.assert_array_equal(found.ravel()[1:], expected.ravel()[1:])
    np.testing.assert_array_equal(read_single(path).pixels.ravel()[1:], expected.ravel()[1:])


def test_what_is_no_flux_or_too_much_is_named(tmp_path, pixels, monkeypatch):
    folder = tmp_path / "c"
    folder.mkdir()
    primary(folder / "a.fits", pixels)
    primary(folder / "b.fits", (pixels * 50).astype("u1"))
    whole = (folder / "a.fits").read_bytes()
    (folder / "c.fits.gz").write_bytes(gzip.compress(whole)[:-2000])
    huge = fits.Header(
        [("SIMPLE", True), ("BITPIX", -64), ("NAXIS", 3), *((f"NAXIS{a}", 8192) for a in (1, 2))]
    )
    huge["NAXIS3"] = 60
    (folder / "d.fits.gz").write_bytes(gzip.compress(huge.tostring().encode()))
    (folder / "e.fits.gz").write_bytes(b"\x1f\x8b no gzip")
    tiles(folder / "f.fits.fz", pixels)
    packed = fits.getdata(folder / "f.fits.fz", 1)
    assert packed.shape == pixels.shape
    content = (folder / "f.fits.fz").read_bytes()
    vast = content.replace(b"ZTILE1  =                   16", b"ZTILE1  =            999999999")
    (folder / "f.fits.fz").write_bytes(vast)
    cutouts = Cutouts.open(folder)
    _, rejects = good_rows(cutouts)
    said = dict(zip(cutouts.id.tolist(), [rejects.get(row, "") for row in range(6)], strict=True))
    assert said["a"] == ""
    assert said["b"].startswith("BITPIX 8 unscaled, expected flux")
    assert "cannot be read" in said["c"]
    assert "unpack the file" in said["d"]
    assert "damaged gzip" in said["e"]
    assert "tiles of" in said["f"]
    monkeypatch.setattr(fits_image, "MOST_PACKED_BYTES", 1 << 20)
    (tmp_path / "bomb.fits.gz").write_bytes(gzip.compress(bytes(1 << 21)))
    with pytest.raises(DataError, match="more than 1 MiB when unpacked; unpack it"):
        read_single(tmp_path / "bomb.fits.gz")


def test_a_packed_table_is_no_cutout(tmp_path, pixels):
    (tmp_path / "c").mkdir()
    primary(tmp_path / "c" / "a.fits.gz", pixels)
    table = fits.BinTableHDU.from_columns([fits.Column("id", "K", array=[1])])
    table.writeto(tmp_path / "c" / "t.fits.gz")
    assert Cutouts.open(tmp_path / "c").id.tolist() == ["a"]


@pytest.mark.parametrize("kind", ["RICE_1", "GZIP_1", "HCOMPRESS_1"])
def test_damaged_tiles_are_pixels_or_one_error(tmp_path, pixels, kind):
    """Bits flipped in tiles: pixels, or an error that costs one cutout; never anything else."""
    tile = fits.CompImageHDU(pixels, header(), compression_type=kind, tile_shape=(1, SIDE, SIDE))
    fits.HDUList([fits.PrimaryHDU(), tile]).writeto(tmp_path / "a.fits.fz")
    content = (tmp_path / "a.fits.fz").read_bytes()
    np.testing.assert_allclose(read_image(content, pixels.shape), pixels, atol=0.3)
    rng = np.random.default_rng(0)
    for _ in range(25):
        damaged = bytearray(content)
        damaged[int(rng.integers(2880, len(content)))] ^= 1 << int(rng.integers(8))
        with suppress(ValueError):
            assert read_image(bytes(damaged), pixels.shape).shape == pixels.shape
    with pytest.raises(ValueError, match="damaged FITS file"):
        read_image(content[:4000], pixels.shape)
