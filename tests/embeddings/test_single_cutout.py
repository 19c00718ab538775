import h5py
import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from ssl_photoz.core.errors import DataError, MismatchError
from ssl_photoz.cutouts.single import read_single
from ssl_photoz.embeddings.embed import embed_cutout
from ssl_photoz.embeddings.single import embed_file
from ssl_photoz.embeddings.store import EmbeddingsCard
from ssl_photoz.encoders.artefact import save_encoder
from ssl_photoz.encoders.encoder import fresh_encoder
from ssl_photoz.encoders.settings import EncoderConfig

CARD = EmbeddingsCard(
    {"bands": ["g", "r", "z"], "pixscale_arcsec": 0.262, "stages": "all", "orientations": 1}
)
PIXELS = np.random.default_rng(0).normal(0, 0.01, (2, 3, 48, 48)).astype("f4")


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("encoder")
    made = fresh_encoder(
        EncoderConfig(crop_px=40, softening=1.0),
        bands=["g", "r", "z"],
        pixscale_arcsec=0.262,
        calibrated=True,
        noise=[0.01] * 3,
        seed=0,
    )
    save_encoder(folder, made, config={}, parents={})
    return folder


def header(scale_arcsec=0.262, **more):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval, wcs.wcs.crpix = [150.0, 2.0], [24.5, 24.5]
    wcs.wcs.cd = np.diag([-scale_arcsec, scale_arcsec]) / 3600
    made = wcs.to_header()
    made.update(more)
    return made


def write_fits(path, pixels, **about):
    fits.writeto(path, pixels, header(**about), overwrite=True)
    return path


def test_the_same_pixels_from_any_format_give_the_same_vector(encoder, tmp_path):
    with h5py.File(tmp_path / "c.h5", "w") as file:
        file["images"] = PIXELS
        file["RA"] = file["DEC"] = np.zeros(2)
    vector, picture = embed_cutout(encoder, tmp_path / "c.h5", 1, like=CARD)
    np.save(tmp_path / "one.npy", PIXELS[1])
    np.save(tmp_path / "two.npy", PIXELS)
    given = [
        (tmp_path / "c.h5", 1),
        (write_fits(tmp_path / "one.fits", PIXELS[1], BANDS="grz"), 0),
        (write_fits(tmp_path / "big.fits", PIXELS[1].astype(">f8")), 0),
        (tmp_path / "one.npy", 0),
        (tmp_path / "two.npy", 1),
    ]
    for path, row in given:
        found, drawn = embed_file(encoder, path, row, like=CARD)
        np.testing.assert_array_equal(found, vector, err_msg=path.name)
        np.testing.assert_array_equal(drawn, picture, err_msg=path.name)


def test_what_a_fits_header_states_is_read(tmp_path):
    single = read_single(write_fits(tmp_path / "c.fits", PIXELS[0], BANDS="grz"))
    assert single.bands == ("g", "r", "z")
    assert single.pixscale_arcsec == pytest.approx(0.262)
    assert (single.ra, single.dec) == pytest.approx((150, 2), abs=1e-9)
    fits.PrimaryHDU(PIXELS[0]).writeto(tmp_path / "bare.fits")
    bare = read_single(tmp_path / "bare.fits")
    assert bare.bands is bare.pixscale_arcsec is None
    assert np.isnan(bare.ra)


@pytest.mark.parametrize(
    ("about", "says"), [({"BANDS": "gri"}, "bands"), ({"scale_arcsec": 0.4}, "pixscale_arcsec")]
)
def test_a_fits_file_unlike_the_encoders_cutouts_is_refused(encoder, tmp_path, about, says):
    path = write_fits(tmp_path / "c.fits", PIXELS[0], **about)
    with pytest.raises(MismatchError, match=f"trained with {says}"):
        embed_file(encoder, path, 0, like=CARD)


def test_bad_cutouts_are_named_by_their_own_file(encoder, tmp_path):
    path = write_fits(tmp_path / "blank.fits", np.zeros((3, 48, 48), "f4"))
    with pytest.raises(DataError, match=r"row 0 of .*blank\.fits cannot be embedded: all-zero"):
        embed_file(encoder, path, 0, like=CARD)
    np.save(tmp_path / "c.npy", PIXELS)
    with pytest.raises(DataError, match="rows 0 to 1, asked for row 2"):
        embed_file(encoder, tmp_path / "c.npy", 2, like=CARD)
    np.save(tmp_path / "c.npy", PIXELS[:, :, :, :40])
    with pytest.raises(DataError, match=r"shape \(2, 3, 48, 40\), expected \(bands, side, side\)"):
        embed_file(encoder, tmp_path / "c.npy", 0, like=CARD)


@pytest.mark.filterwarnings("ignore:File may have been truncated")
def test_hostile_files_are_refused(tmp_path):
    path = tmp_path / "c.npy"
    np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match=r"is damaged or truncated \(ValueError"):
        read_single(path)
    path.write_bytes(b"\x80\x04N.")
    with pytest.raises(DataError, match="is not a plain NPY file"):
        read_single(path)
    whole = write_fits(tmp_path / "c.fits", PIXELS[0])
    claims = whole.read_bytes()
    for axis in ("NAXIS1", "NAXIS2"):
        card = f"{axis:8}= {48:>20}".encode()
        assert card in claims
        claims = claims.replace(card, f"{axis:8}= {4_800:>20}".encode())
    whole.write_bytes(claims)
    with pytest.raises(DataError, match="at most 1024 px a side"):
        read_single(whole)
    short = write_fits(tmp_path / "c.fits", PIXELS[0])
    short.write_bytes(short.read_bytes()[:9000])
    with pytest.raises(DataError, match="damaged or truncated"):
        read_single(short)
