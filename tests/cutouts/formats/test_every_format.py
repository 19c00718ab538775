"""The same galaxies in every format, each written as its own users write it, come back the same."""

import io
import multiprocessing
import pickle

import numpy as np
import pytest
import yaml
from PIL import Image
from ssl_photoz.recipes.pretrain.embed import embed

from benchmarks.formats import galaxies, writers
from ssl_photoz.cutouts.batches import good_rows
from ssl_photoz.cutouts.formats.registry import FORMATS
from ssl_photoz.cutouts.parquet_out import write_parquet
from ssl_photoz.cutouts.reader import Cutouts
from ssl_photoz.encoders.artefact import save_encoder
from ssl_photoz.encoders.encoder import fresh_encoder
from ssl_photoz.encoders.settings import EncoderConfig, ReadOutConfig

N, SIDE = 11, 24
DISPLAY = {"pictures", "webdataset", "sdss_jpeg"}
NO_PSF = {"fits", "pasquet", "sdss_cubes", "astroclip", *DISPLAY}
NO_CATALOGUE = {"sdss_cubes", "astroclip"}
SDSS = {"pasquet", "sdss_cubes"}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Return where galaxies were written in a format, and the galaxies; each is written once."""
    made = {}

    def write(name):
        if name == "zarr":
            pytest.importorskip("zarr", reason="the extra zarr is not installed")
        if name not in made:
            drawn = galaxies.draw(N, size_px=SIDE, bands=writers.BANDS.get(name, "grz"))
            made[name] = writers.WRITERS[name](tmp_path_factory.mktemp("format"), drawn), drawn
        return made[name]

    return write


@pytest.fixture(params=writers.WRITERS)
def opened(request, written):
    path, drawn = written(request.param)
    with Cutouts.open(path) as cutouts:
        order = np.arange(N)
        if request.param not in NO_CATALOGUE:
            order = np.abs(cutouts.column("ra") - drawn.ra[:, None]).argmin(axis=1)
        yield request.param, cutouts, drawn, order


def pixels_of(name, drawn):
    if name not in DISPLAY:
        return drawn.images
    pictures = drawn.pictures
    if name == "sdss_jpeg":
        pictures = np.stack([np.asarray(Image.open(io.BytesIO(as_jpeg(one)))) for one in pictures])
    return pictures.transpose(0, 3, 1, 2)


def as_jpeg(picture):
    content = io.BytesIO()
    Image.fromarray(picture).save(content, "JPEG")
    return content.getvalue()


def test_every_format_is_written_here():
    several = {"dataset", "folder"}  # of files of the others
    assert {name.partition(" ")[0] for name in writers.WRITERS} == set(FORMATS) - several


def test_it_is_recognised_and_described(opened):
    name, cutouts, drawn, _ = opened
    source = cutouts.source
    assert source.read_as == name.partition(" ")[0]
    assert source.recognised not in ("", "as asked")
    assert (source.rows, source.size_px) == (N, SIDE)
    assert source.calibrated == (name not in DISPLAY)
    assert source.dtype == ("uint8" if name in DISPLAY else "float32")
    if name in DISPLAY:
        assert len(source.bands) == 3
        assert np.isnan(source.pixscale_arcsec)
    else:
        scale = 0.396 if name in SDSS else galaxies.PIXSCALE_ARCSEC
        assert source.bands == drawn.bands
        assert source.pixscale_arcsec == pytest.approx(scale, abs=1e-5)


def test_pixels_are_exact_in_any_order_and_cropped_about_the_centre(opened):
    name, cutouts, drawn, order = opened
    expected = pixels_of(name, drawn)
    wanted = [4, 5, 0, 10, 4, 9, 1]
    rows = [order[one] for one in wanted]
    np.testing.assert_array_equal(cutouts.read(rows), expected[wanted])
    np.testing.assert_array_equal(cutouts.read(rows, size_px=10), expected[wanted][..., 7:17, 7:17])
    np.testing.assert_array_equal(cutouts.read(np.arange(N))[order], expected)
    assert cutouts.read([]).shape == (0, *expected.shape[1:])


def test_columns_have_canonical_names_and_lose_nothing(opened):
    name, cutouts, drawn, order = opened
    if name not in ("ssl_legacysurvey", "sdss_cubes"):  # with an id made of others, and with none
        assert cutouts.column("id")[order].astype(str).tolist() == drawn.id.astype(str).tolist()
    for column in ("z",) if name in NO_CATALOGUE else ("ra", "dec", "z", "ebv", "flux_r"):
        values = cutouts.column(column)[order]
        np.testing.assert_allclose(values, getattr(drawn, column), rtol=2e-7, err_msg=column)
    if name not in NO_PSF:
        np.testing.assert_array_equal(cutouts.column("psfsize")[order], drawn.psfsize)
        noise = np.tile([galaxies.NOISE_NMGY[band] for band in drawn.bands], (N, 1))
        np.testing.assert_allclose(cutouts.column("noise"), noise, rtol=1e-3)


def test_nothing_is_wrong_with_any_row(opened):
    _, cutouts, _, _ = opened
    rows, rejects = good_rows(cutouts)
    assert (len(rows), rejects) == (N, {})


def crops(cutouts, rows, queue):
    queue.put(cutouts.read(rows, size_px=8))


def test_it_can_be_pickled_and_survives_a_fork(opened):
    name, cutouts, drawn, order = opened
    expected = pixels_of(name, drawn)[[3, 7]][..., 8:16, 8:16]
    rows = [order[3], order[7]]
    cutouts.read(rows)
    copy = pickle.loads(pickle.dumps(cutouts))
    np.testing.assert_array_equal(copy.read(rows, size_px=8), expected)
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=crops, args=(cutouts, rows, queue))
    child.start()
    np.testing.assert_array_equal(queue.get(timeout=60), expected)
    child.join()
    np.testing.assert_array_equal(cutouts.read(rows, size_px=8), expected)


@pytest.fixture(scope="module")
def encoders(tmp_path_factory):
    """Return an encoder of random weights for some cutouts; made once for each kind."""
    made = {}

    def make(source):
        about = {**source.about, "bands": list(source.bands)}
        if str(about) not in made:
            folder = tmp_path_factory.mktemp("encoder")
            encoder = fresh_encoder(
                EncoderConfig(stem="small", crop_px=16, softening=1.0),
                noise=[0.01] * len(source.bands),
                seed=0,
                **about,
            )
            split = {"seed": 0, "nside": 32, "fractions": [0.8, 0.1, 0.1]}
            save_encoder(folder, encoder, config={}, parents={}, split=split, steps=0)
            made[str(about)] = folder
        return made[str(about)]

    return make


@pytest.mark.parametrize("name", writers.WRITERS)
def test_the_path_goes_on_from_every_format(written, encoders, tmp_path, name):
    path, _ = written(name)
    if name in DISPLAY:  # pictures do not state how large they are on the sky
        part = {"path": str(path), "pixscale_arcsec": 0.3}
        path = tmp_path / "pictures.yaml"
        path.write_text(yaml.safe_dump({"parts": [part]}))
    with Cutouts.open(path) as cutouts:
        source, ids = cutouts.source, cutouts.column("id").astype(str).tolist()
    stored = embed(
        path,
        encoders(source),
        tmp_path / "made",
        readout=ReadOutConfig(orientations=1),
        shard_rows=8,
    )
    card = stored.card
    assert (card.rows_in, card.rows_written, card.rows_rejected) == (N, N, 0)
    assert stored.column("id").astype(str).tolist() == ids
    assert card["calibrated"] == (name not in DISPLAY)
    assert len(card["parents"]["cutouts"]) == 64


def test_a_parquet_copy_of_every_format_reads_back_the_same(opened, tmp_path):
    _, cutouts, _, _ = opened
    done = write_parquet(cutouts, tmp_path / "copy", size_px=SIDE, shard_rows=4, config={})
    with Cutouts.open(tmp_path / "copy") as copy:
        assert copy.source.read_as == "parquet"
        for name in ("rows", "bands", "size_px", "calibrated", "simulated", "dtype"):
            assert getattr(copy.source, name) == getattr(cutouts.source, name)
        np.testing.assert_equal(copy.source.pixscale_arcsec, cutouts.source.pixscale_arcsec)
        np.testing.assert_array_equal(copy.read(np.arange(N)), cutouts.read(np.arange(N)))
        for column in set(cutouts.columns) - set(done.left_out):
            np.testing.assert_array_equal(copy.column(column), cutouts.column(column), column)
