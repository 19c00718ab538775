"""Cutouts from the image in which sources were found, and what may be asked of them."""

import numpy as np
import pyarrow.parquet as pq
import pytest
from astropy.io import fits

import ssl_photoz as sp
from benchmarks.detect.field import FieldConfig, write_field
from ssl_photoz import cli
from ssl_photoz.catalog.tables import read_table, write_table
from ssl_photoz.core.errors import ConfigError, DataError, MismatchError
from tests.detection.conftest import gaussians, header, tan

SIDE = 600


@pytest.fixture
def numbered(tmp_path):
    """An image, turned and distorted, whose pixels hold their own place; and its coordinates."""
    wcs = tan(SIDE, turn_deg=30, sip=0.02)
    place = np.arange(1, SIDE**2 + 1, dtype="f4").reshape(SIDE, SIDE)
    fits.PrimaryHDU(np.stack([place, -place]), header(SIDE, "gr", wcs=wcs)).writeto(
        tmp_path / "image.fits"
    )
    return tmp_path / "image.fits", wcs


def catalogue(tmp_path, wcs, places):
    ra, dec = wcs.all_pix2world(places, 0).T
    columns = {"id": np.arange(len(ra)), "ra": ra, "dec": dec}
    write_table(tmp_path / "c.csv", columns, simulated=False)
    return tmp_path / "c.csv"


@pytest.mark.parametrize("size", [32, 33])
def test_pixels_are_those_of_the_image_and_the_object_in_the_middle(numbered, tmp_path, size):
    path, wcs = numbered
    rng = np.random.default_rng(0)
    places = np.vstack([rng.uniform(20, SIDE - 20, (300, 2)), [(3, 300), (300, 598), (9e3, 9e3)]])
    out = tmp_path / "a.h5"
    frame = sp.FrameConfig(bands=("r", "g"), size_px=size)
    cutouts = sp.fetch(catalogue(tmp_path, wcs, places), out, image=path, frame=frame)
    pixels = cutouts[:]
    assert cutouts.source.bands == ("r", "g")
    assert len(pixels) == 300
    assert (pixels[:, 0] == -pixels[:, 1]).all()
    for one, (x, y) in zip(pixels[:, 1], places, strict=False):
        low, left = divmod(int(one[0, 0]) - 1, SIDE)
        rows, columns = np.mgrid[low : low + size, left : left + size]
        assert np.array_equal(one, rows * SIDE + columns + 1)
        assert abs(left + (size - 1) / 2 - x) <= 0.51
        assert abs(low + (size - 1) / 2 - y) <= 0.51
    rejects = pq.read_table(tmp_path / "a.rejects.parquet").to_pydict()
    assert rejects["row"] == [300, 301, 302]
    assert set(rejects["reason"]) == {"reaches past the edge of the image"}


def test_what_an_image_cannot_give_is_refused_before_the_work(numbered, tmp_path):
    path, wcs = numbered
    table = catalogue(tmp_path, wcs, [(100, 100)])
    given = {"catalogue": table, "out": tmp_path / "a.h5", "image": path}
    with pytest.raises(ConfigError, match=r"has bands g,r, asked for g,r,z"):
        sp.fetch(**given)
    with pytest.raises(ConfigError, match=r"give frame\.pixscale_arcsec=0\.262"):
        sp.fetch(**given, frame=sp.FrameConfig(("g",), pixscale_arcsec=0.4))
    with pytest.raises(DataError, match="no image"):
        sp.fetch(**{**given, "image": tmp_path / "none.fits"})
    with pytest.raises(ConfigError, match="give one of them"):
        sp.fetch(**given, coadds=tmp_path)
    frame = sp.FrameConfig(("g",), size_px=32)
    sp.fetch(**given, frame=frame)
    with fits.open(path, mode="update") as hdus:
        hdus[0].data[0, 0, 0] = 0
    with pytest.raises(MismatchError, match="fetched with image"):
        sp.fetch(**given, frame=frame)


@pytest.mark.slow
def test_one_file_a_band_and_several_processes_give_the_same(tmp_path):
    """From the command line: detect, then fetch in this process and in two."""
    places = np.random.default_rng(0).uniform(20, 280, (12, 2))
    for number, band in enumerate("gr"):
        pixels = gaussians(300, places, bands=2)[number]
        fits.PrimaryHDU(pixels, header(300, band)).writeto(tmp_path / f"{band}.fits")
    image = f"image=[{tmp_path}/g.fits,{tmp_path}/r.fits]"
    sources = f"{tmp_path}/s.parquet"
    cli.run("detect", [image, f"out={sources}", "bands=[r]"])
    given = [f"catalogue={sources}", image, "frame.bands=[r,g]", "size_px=24"]
    one = cli.run("fetch", [*given, f"out={tmp_path}/one.h5"])
    two = cli.run("fetch", [*given, f"out={tmp_path}/two.h5", "workers=2"])
    assert len(one) == len(read_table(tmp_path / "s.parquet")["id"])
    assert np.array_equal(one[:], two[:])


@pytest.mark.slow
def test_from_an_image_to_redshifts_and_dwarfs(tmp_path):
    """A SIMULATED field, an encoder and labels of a SIMULATED survey."""
    field = FieldConfig(side_px=420, rotation_deg=20, distortion=0.01, surveyed_per_arcmin2=6)
    truth = write_field(tmp_path / "field.fits", field)
    sources = f"{tmp_path}/sources.fits"
    cli.run("detect", [f"image={tmp_path}/field.fits", f"out={sources}", "simulated=true"])
    found = read_table(tmp_path / "sources.fits")
    bright = np.flatnonzero(truth["mag_r"] < 21)
    near = [np.hypot(found["x"] - truth["x"][n], found["y"] - truth["y"][n]).min() for n in bright]
    assert np.mean(np.array(near) < 1) > 0.85

    cutouts = sp.fetch(
        sources,
        tmp_path / "cutouts.h5",
        image=tmp_path / "field.fits",
        frame=sp.FrameConfig(size_px=48),
    )
    assert 0.6 * len(found["x"]) < len(cutouts) < len(found["x"])
    assert cutouts.source.calibrated
    assert cutouts.source.simulated
    assert {"mag_r", "blended"} <= set(cutouts.columns)

    simulator = sp.SimulatorConfig(size_px=48)
    sp.simulate(tmp_path / "survey.h5", galaxies=400, simulator=simulator, workers=1)
    encoder = sp.pretrain(
        tmp_path / "survey.h5",
        tmp_path / "encoder",
        training=sp.TrainingConfig(epochs=0),
        encoder=sp.EncoderConfig(crop_px=40, extinction_corrected=False),
    )
    readout = sp.ReadOutConfig(orientations=1)
    survey = sp.embed(tmp_path / "survey.h5", encoder, tmp_path / "labelled", readout=readout)
    ours = sp.embed(cutouts, encoder, tmp_path / "ours", readout=readout)
    sp.probe(survey, tmp_path / "probe", probes=("ridge",), sample=sp.SampleConfig(label="field"))
    table = read_table(
        sp.predict(tmp_path / "probe", tmp_path / "z.parquet", embeddings=ours, which="ridge")
    )
    assert len(table["id"]) == len(cutouts)
    assert np.isfinite(table["z_phot"]).all()
    (tmp_path / "both.yaml").write_text("parts: [survey.h5, cutouts.h5]")
    both = sp.embed(tmp_path / "both.yaml", encoder, tmp_path / "both", readout=readout)
    index = sp.index(both, tmp_path / "index")
    sp.dwarfs(
        index,
        both,
        tmp_path / "dwarfs",
        dwarf=sp.DwarfConfig(z_max=0.1, also=()),
        classifier=sp.ClassifierConfig(methods=("vote",)),
    )
    listed = read_table(tmp_path / "dwarfs" / "candidates.csv")
    assert sorted(listed["id"]) == sorted(cutouts.id)
