import multiprocessing
import pickle
import tracemalloc

import h5py
import numpy as np
import pytest

from ssl_photoz.core.errors import ConfigError
from ssl_photoz.cutouts.reader import Cutouts, noise_from_depth


@pytest.mark.parametrize("dtype", ["u1", "<f2", "<f4", ">f4", "<f8"])
def test_rows_come_in_the_order_asked_cropped_about_the_centre(make_file, dtype):
    images = np.random.default_rng(0).integers(0, 200, (30, 3, 17, 17)).astype(dtype)
    path = make_file(n=30, images=images)
    rows = np.array([4, 5, 6, 29, 0, 6, 5, 4, 4, 12])
    with Cutouts.open(path, bands=("g", "r", "z")) as cutouts:
        whole, crop = cutouts.read(rows), cutouts.read(rows, size_px=9)
        assert cutouts.read([]).shape == (0, 3, 17, 17)
    np.testing.assert_array_equal(whole, images[rows])
    np.testing.assert_array_equal(crop, images[rows, :, 4:13, 4:13])
    assert crop.dtype == np.dtype(dtype).newbyteorder("=")


def test_chunks_of_several_images_are_read_alike(make_file, tmp_path):
    images = np.random.default_rng(0).normal(size=(20, 3, 16, 16))
    path = make_file(n=20, images=None)
    with h5py.File(path, "a") as file:
        file.create_dataset("images", data=images, chunks=(4, 1, 8, 8), compression="gzip")
    rows = np.random.default_rng(1).integers(0, 20, 50)
    np.testing.assert_array_equal(Cutouts.open(path).read(rows), images[rows])


def test_columns_have_canonical_names_and_all_are_carried(make_file):
    path = make_file(
        n=3,
        TARGETID=np.array([b"J0001", b"J0002", b"J0003"]),
        EBV=np.array([0.1, 0.2, 0.3], ">f4"),
        FLUX_R=np.arange(3),
        image_ivar=np.zeros((3, 3, 16, 16)),
    )
    cutouts = Cutouts.open(path)
    assert set(cutouts.columns) == {"id", "ra", "dec", "z", "ebv", "flux_r"}
    assert cutouts.column("id").tolist() == ["J0001", "J0002", "J0003"]
    assert cutouts.column("ebv").dtype == np.dtype("=f4")
    np.testing.assert_allclose(cutouts.column("ebv"), [0.1, 0.2, 0.3], rtol=1e-6)
    assert np.isnan(cutouts.column_or_nan("psfsize", (3, 3))).all()


def test_lower_case_names_missing_ids_and_missing_redshifts(make_file):
    old = {"TARGETID": None, "RA": None, "DEC": None, "Z": None}
    cutouts = Cutouts.open(make_file(n=4, **old, ra=np.arange(4.0), dec=np.zeros(4)))
    assert cutouts.column("ra").tolist() == [0, 1, 2, 3]
    assert cutouts.ids_are_rows
    assert cutouts.column("id").tolist() == [0, 1, 2, 3]
    assert np.isnan(cutouts.column("z")).all()


def test_noise_from_depth_inverts_optimal_point_source_photometry(make_file):
    """The variance of a PSF-weighted flux is sigma² / sum(PSF²), summed on a pixel grid."""
    fwhm_arcsec, pixscale, sigma = np.array([1.3, 1.5, 2.0]), 0.262, np.array([0.003, 0.01, 0.02])
    y, x = np.mgrid[-30:31, -30:31]
    width = fwhm_arcsec / 2.3548 / pixscale
    psf = np.exp(-(x**2 + y**2)[..., None] / (2 * width**2))
    psf /= psf.sum(axis=(0, 1))
    depth = (psf**2).sum(axis=(0, 1)) / sigma**2
    np.testing.assert_allclose(
        noise_from_depth(depth, fwhm_arcsec, pixscale_arcsec=pixscale), sigma, rtol=1e-3
    )
    path = make_file(n=2, PSFDEPTH=[depth, 0 * depth], PSFSIZE=[fwhm_arcsec] * 2)
    derived = Cutouts.open(path).column_or_nan("noise", (2, 3))
    np.testing.assert_allclose(derived[0], sigma, rtol=1e-3)
    assert np.isnan(derived[1]).all()


def test_what_a_file_states_is_believed(make_file):
    stated = {"bands": "R,G,B = SDSS i,r,g", "pixel_scale_arcsec": 0.4, "simulated": True}
    images = np.zeros((12, 3, 8, 8), np.uint8)
    source = Cutouts.open(make_file(images=images, attrs=stated)).source
    assert (source.bands, source.pixscale_arcsec) == (("i", "r", "g"), 0.4)
    assert source.simulated
    assert not source.calibrated
    assert Cutouts.open(make_file(images=images, attrs={"calibrated": True})).source.calibrated


def test_what_a_file_does_not_state_is_the_challenges_or_unknown(make_file):
    source = Cutouts.open(make_file()).source
    assert (source.bands, source.pixscale_arcsec) == (("g", "r", "z"), 0.262)
    assert source.calibrated
    assert not source.simulated
    assert (source.rows, source.size_px, source.dtype) == (12, 16, "float32")
    display = Cutouts.open(make_file(images=np.zeros((12, 3, 8, 8), np.uint8))).source
    assert np.isnan(display.pixscale_arcsec)
    sdss = Cutouts.open(make_file(images=np.zeros((12, 5, 8, 8), "f4")), pixscale_arcsec=0.396)
    assert sdss.source.bands == ("u", "g", "r", "i", "z")
    assert sdss.source.pixscale_arcsec == 0.396


def test_a_pixel_scale_per_row_is_one_number_only_if_all_agree(make_file):
    assert Cutouts.open(make_file(pixscale=np.full(12, 0.3))).source.pixscale_arcsec == 0.3
    varied = Cutouts.open(make_file(pixscale=np.linspace(0.1, 1, 12))).source
    assert np.isnan(varied.pixscale_arcsec)


def _total_in_child(cutouts, queue):
    queue.put(float(cutouts.read([3]).sum()))


@pytest.mark.dist
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_reading_works_in_another_process_after_reading_here(make_file, method):
    cutouts = Cutouts.open(make_file())
    expected = float(cutouts.read([3]).sum())
    context = multiprocessing.get_context(method)
    queue = context.Queue()
    child = context.Process(target=_total_in_child, args=(cutouts, queue))
    child.start()
    assert queue.get(timeout=60) == expected
    child.join()
    assert float(cutouts.read([3]).sum()) == expected


def test_a_copy_by_pickle_reads_the_same(make_file):
    cutouts = Cutouts.open(make_file())
    cutouts.read([0])
    copy = pickle.loads(pickle.dumps(cutouts))
    np.testing.assert_array_equal(copy.read([5]), cutouts.read([5]))
    np.testing.assert_array_equal(copy.column("ra"), cutouts.column("ra"))


def test_a_challenge_sized_file_takes_the_memory_of_the_rows_asked(make_file):
    n = 250_000
    path = make_file(n=8, images=None, TARGETID=None, RA=None, DEC=None, Z=None)
    with h5py.File(path, "a") as file:
        shape = (n, 3, 128, 128)
        file.create_dataset("images", shape, "f4", chunks=(1, 3, 128, 128), fillvalue=0.5)
        file["RA"], file["DEC"] = np.zeros(n), np.zeros(n)
    tracemalloc.start()
    with Cutouts.open(path) as cutouts:
        pixels = cutouts.read(np.random.default_rng(0).integers(0, n, 16))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (pixels == 0.5).all()
    assert peak < 2.5 * pixels.nbytes


def test_slices_are_pixels(make_file):
    images = np.random.default_rng(0).normal(size=(12, 3, 16, 16)).astype("f4")
    z = np.linspace(0.1, 0.4, 12).astype("f4")
    cutouts = Cutouts.open(str(make_file(images=images, Z=z)))
    np.testing.assert_array_equal(cutouts[3:7], images[3:7])
    np.testing.assert_array_equal(cutouts[::-5], images[::-5])
    np.testing.assert_array_equal(cutouts[cutouts.z > 0.3], images[z > 0.3])
    np.testing.assert_array_equal(cutouts[[4, -1]], images[[4, -1]])
    np.testing.assert_array_equal(cutouts[-1], images[-1])
    assert cutouts[[]].shape == cutouts[12:].shape == (0, 3, 16, 16)
    assert len(list(cutouts)) == len(cutouts) == 12
    np.testing.assert_array_equal(np.asarray(cutouts), images)
    assert "12 of 16 px in g,r,z, 0.262 arcsec/px, float32" in repr(cutouts)
    with pytest.raises(IndexError):
        cutouts[12]


def test_columns_that_everybody_needs_are_attributes(make_file):
    cutouts = Cutouts.open(make_file())
    for name in ("id", "ra", "dec", "z"):
        np.testing.assert_array_equal(getattr(cutouts, name), cutouts.column(name))


def test_open_cutouts_are_given_back(make_file):
    cutouts = Cutouts.open(make_file())
    assert Cutouts.open(cutouts) is cutouts
    with pytest.raises(ConfigError, match="is open"):
        Cutouts.open(cutouts, bands=("g", "r", "z"))
