"""Sources are where they were put, once each, with the flux that they were given."""

import json

import numpy as np
import pytest
from astropy import units
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import Table
from PIL import Image

import ssl_photoz as sp
from ssl_photoz import cli
from ssl_photoz.catalog.tables import read_table
from ssl_photoz.core.errors import ConfigError, DataError
from ssl_photoz.detection.sources import kernel_norm
from ssl_photoz.fetching.settings import ImageConfig
from tests.detection.conftest import NOISE, PIXSCALE_ARCSEC, gaussians, header, tan

PLACES = [(40.3, 50.6), (150.0, 35.25), (100.5, 99.5), (30.1, 160.9), (165.7, 150.2)]


def found_in(path, tmp_path, **config):
    reading = config.pop("reading", ImageConfig())
    out = sp.detect(
        path, tmp_path / "s.parquet", detection=sp.DetectionConfig(**config), reading=reading
    )
    return read_table(out)


def at(table, x, y):
    """Row nearest to a place."""
    return int(np.argmin(np.hypot(table["x"] - x, table["y"] - y)))


@pytest.mark.parametrize(
    "wcs",
    [
        {},
        {"turn_deg": 37.0},
        {"turn_deg": 120.0, "mirrored": True},
        {"sip": 0.05},
        {"ra": 0.0, "dec": 89.99},
        {"galactic": True, "ra": 300.0, "dec": 40.0},
    ],
    ids=str,
)
def test_positions_are_those_of_the_sky_to_a_tenth_of_a_pixel(wcs, write_image, tmp_path):
    wcs = tan(200, **wcs)
    table = found_in(write_image(PLACES, wcs=wcs), tmp_path)
    assert len(table["id"]) == len(PLACES)
    sky = wcs.pixel_to_world(*np.transpose(PLACES)).icrs
    seen = SkyCoord(table["ra"], table["dec"], unit="deg")
    assert sky.match_to_catalog_sky(seen)[1].arcsec.max() < 0.1 * PIXSCALE_ARCSEC


def test_fluxes_magnitudes_and_shapes_are_those_put_in(write_image, tmp_path):
    table = found_in(write_image(PLACES, ratio=0.6, sigma=3.0), tmp_path)
    for number, band in enumerate("grz", 1):
        assert table[f"flux_{band}"] == pytest.approx(10 * number, rel=0.03)
        assert table[f"mag_{band}"] == pytest.approx(22.5 - 2.5 * np.log10(10 * number), abs=0.03)
        pixels = np.pi * table["a_arcsec"] * table["b_arcsec"] / PIXSCALE_ARCSEC**2
        error = table[f"flux_ivar_{band}"] ** -0.5
        assert error == pytest.approx(NOISE * np.sqrt(pixels), rel=0.1)
    assert table["ellipticity"] == pytest.approx(0.4, abs=0.08)
    # Half the light of a round Gaussian is within 1.177 sigma.
    round_ones = found_in(write_image(PLACES, sigma=3.0), tmp_path)
    assert round_ones["radius_arcsec"] == pytest.approx(3 * 1.177 * PIXSCALE_ARCSEC, rel=0.05)
    assert not any(table[flag].any() for flag in ("edge", "saturated", "masked", "blended"))


@pytest.mark.parametrize(("turn_deg", "mirrored"), [(0, False), (50, False), (50, True)])
def test_position_angles_run_from_north_through_east(turn_deg, mirrored, write_image, tmp_path):
    wcs = tan(200, turn_deg=turn_deg, mirrored=mirrored)
    centre = wcs.pixel_to_world(100, 100)
    x, y = wcs.world_to_pixel(centre.directional_offset_by(30 * units.deg, 20 * units.arcsec))
    image_deg = np.degrees(np.arctan2(y - 100, x - 100))
    path = write_image([(100, 100)], sigma=4.0, ratio=0.5, angle_deg=image_deg, wcs=wcs)
    table = found_in(path, tmp_path)
    assert table["angle_deg"] == pytest.approx(30, abs=2)


def test_a_source_on_the_border_of_tiles_is_counted_once(write_image, tmp_path):
    """Tiles of 64 px: sources on their borders, at their corners, and larger than the margin."""
    at_borders = [(63.5, 30.0), (64.0, 100.0), (63.4, 127.6), (128.0, 64.0), (190.2, 191.5)]
    path = write_image(at_borders, side=256)
    whole = found_in(path, tmp_path)
    tiled = found_in(path, tmp_path, tile_px=64, overlap_px=64)
    assert len(whole["x"]) == len(tiled["x"]) == len(at_borders)
    for x, y in at_borders:
        row = at(tiled, x, y)
        assert np.hypot(tiled["x"][row] - x, tiled["y"][row] - y) < 0.1
    path = write_image([(63.5, 120.0)], side=256, sigma=12.0, flux=300.0)
    large = found_in(path, tmp_path, tile_px=64, overlap_px=32, mesh_px=256)
    assert len(large["x"]) == 1
    assert np.hypot(large["x"][0] - 63.5, large["y"][0] - 120) < 0.3


def test_no_more_of_an_image_is_read_at_a_time_than_a_tile_and_its_margin(tmp_path, monkeypatch):
    """As wide as a mosaic: 20,000 px."""
    from ssl_photoz.fetching.sky_image import SkyImage

    rng, width = np.random.default_rng(0), 20_000
    strip = rng.normal(0, NOISE, (64, width)).astype("f4")
    stamp = gaussians(64, [(32, 32)], noise=0)[0]
    places = np.arange(100, width - 100, 400)
    for left in places:
        strip[:, left : left + 64] += stamp
    fits.PrimaryHDU(strip, header(width, "r")).writeto(tmp_path / "a.fits")
    sizes, read = [], SkyImage.read

    def watched(self, rows, columns, bands=None):
        sizes.append(columns.stop - columns.start)
        return read(self, rows, columns, bands)

    monkeypatch.setattr(SkyImage, "read", watched)
    table = found_in(tmp_path / "a.fits", tmp_path, tile_px=2048, overlap_px=128)
    assert max(sizes) <= 2048 + 2 * 128
    bright = table["flux_r"] > 5
    assert (~bright).sum() <= 3  # four sigma happens by chance in a million pixels
    assert bright.sum() == len(places)
    assert np.abs(np.sort(table["x"][bright]) - (places + 32)).max() < 0.1
    assert max(Image.open(tmp_path / "s.png").size) <= 2048


def test_sources_are_flagged(tmp_path):
    places = [(60, 60), (1, 150), (150, 60), (150, 150), (158, 150), (60, 150)]
    pixels = gaussians(200, places, bands=3)
    pixels[0, 58:62, 148:152] = np.nan
    mask = np.zeros((200, 200), "u1")
    mask[150, 60] = 1
    fits.PrimaryHDU(mask).writeto(tmp_path / "mask.fits")
    fits.PrimaryHDU(pixels, header(200)).writeto(tmp_path / "a.fits")
    peak = 30 / (2 * np.pi * 4)
    pixels[2, 60, 60] = 3 * peak
    fits.PrimaryHDU(pixels, header(200)).writeto(tmp_path / "a.fits", overwrite=True)
    reading = ImageConfig(saturation=2 * peak, mask=str(tmp_path / "mask.fits"))
    table = found_in(tmp_path / "a.fits", tmp_path, reading=reading)
    expected = {
        "saturated": [(60, 60)],
        "edge": [(1, 150)],
        "masked": [(150, 60), (60, 150)],
        "blended": [(150, 150), (158, 150)],
    }
    assert len(table["x"]) == len(places)
    for flag, ones in expected.items():
        assert {at(table, *one) for one in ones} == set(np.flatnonzero(table[flag])), flag


def test_an_image_without_anything_is_refused_and_nothing_written(tmp_path):
    rng = np.random.default_rng(0)
    for pixels, said in (
        (np.zeros((64, 64), "f4"), "is empty"),
        (np.full((64, 64), np.nan, "f4"), "is empty"),
        (np.full((64, 64), 3.0, "f4"), "is empty"),
        (rng.normal(0, 1, (64, 64)).astype("f4"), "no source above 8 sigma; lower"),
    ):
        fits.PrimaryHDU(pixels, header(64, "r")).writeto(tmp_path / "a.fits", overwrite=True)
        with pytest.raises(DataError, match=said):
            found_in(tmp_path / "a.fits", tmp_path, threshold_sigma=8.0)
    assert [path.name for path in tmp_path.iterdir()] == ["a.fits"]


def test_a_band_that_is_not_there_is_refused_before_the_work(write_image, tmp_path):
    with pytest.raises(ConfigError, match=r"has bands g,r,z, asked to look in i"):
        found_in(write_image(PLACES), tmp_path, bands=("r", "i"))
    with pytest.raises(ConfigError, match="ends in"):
        sp.detect(write_image(PLACES), tmp_path / "s.txt")
    table = found_in(write_image(PLACES), tmp_path, bands=("r",))
    assert len(table["flux_z"]) == len(PLACES)


def test_the_table_opens_elsewhere_and_the_regions_are_those_of_the_image(write_image, tmp_path):
    path = write_image(PLACES, unit="adu")
    for name, kind in (("s.fits", "fits"), ("s.vot", "votable"), ("s.csv", "csv")):
        cli.run("detect", [f"image={path}", f"out={tmp_path / name}", "simulated=true"])
        table = Table.read(tmp_path / name, format=kind)
        assert len(table) == len(PLACES)
        assert "mag_r" not in table.colnames  # not calibrated
        assert set(np.asarray(table["simulated"]).tolist()) <= {True, "True"}
    regions = (tmp_path / "s.reg").read_text().splitlines()
    assert regions[1] == "image"
    x, y = (float(one) for one in regions[2].removeprefix("ellipse(").split(",")[:2])
    assert min(np.hypot(x - 1 - a, y - 1 - b) for a, b in PLACES) < 0.1
    card = json.loads((tmp_path / "s.csv.card.json").read_text())
    assert (card["rows"], card["bands"], card["calibrated"]) == (5, ["g", "r", "z"], False)


def test_the_picture_shows_each_source_where_it_is(write_image, tmp_path):
    found_in(write_image([(40, 150)], flux=30.0), tmp_path)
    picture = np.asarray(Image.open(tmp_path / "s.png"), float)
    zoom = len(picture) / 200
    assert picture.shape[0] == picture.shape[1]
    green = (picture[..., 1] > 200) & (picture[..., 0] < 120) & (picture[..., 2] < 120)
    rows, columns = np.nonzero(green)
    assert columns.mean() / zoom == pytest.approx(40, abs=2)
    assert 200 - rows.mean() / zoom == pytest.approx(150, abs=2)
    bright = np.argwhere(picture.min(axis=-1) > 80).mean(axis=0) / zoom
    assert bright == pytest.approx([200 - 150.5, 40.5], abs=1.5)


def test_light_at_the_edge_does_not_make_noise_vanish_beside_it():
    """Two squares full of light beyond the edge of a field of noise, as of a very bright star."""
    from ssl_photoz.detection.sources import measure_sky

    pixels = gaussians(448, [])
    light = np.random.default_rng(1).normal(0, 300 * NOISE, (448, 448))
    light[:, :320] = 0
    sky = measure_sky((pixels + light).astype("f4"), 64, 2.0)
    assert sky.observed.all()
    assert sky.noise.min() > 0.2 * NOISE


def test_noise_that_is_correlated_is_not_taken_for_sources(tmp_path):
    """A resampled image: a quarter of the noise of a pixel is its neighbours'."""
    from scipy.ndimage import gaussian_filter

    noise = gaussian_filter(np.random.default_rng(0).normal(0, 1, (400, 400)), 0.8)
    noise[200:203, 200:203] += 100
    fits.PrimaryHDU(noise.astype("f4"), header(400, "r")).writeto(tmp_path / "a.fits")
    table = found_in(tmp_path / "a.fits", tmp_path)
    assert len(table["x"]) <= 1 + 2


@pytest.mark.parametrize("sigma_px", [0.4, 1.0, 2.3])
def test_the_noise_of_a_smoothed_image(sigma_px):
    from scipy.ndimage import gaussian_filter

    noise = np.random.default_rng(0).normal(size=(600, 600))
    assert kernel_norm(sigma_px) == pytest.approx(
        gaussian_filter(noise, sigma_px, truncate=3.0).std(), rel=0.02
    )
