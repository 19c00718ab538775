"""Any format to the challenge's HDF5 and to Parquet: read back by h5py and pyarrow alone."""

import json

import h5py
import numpy as np
import pyarrow.parquet as pq
import pytest

from ssl_photoz import cli
from ssl_photoz.core import artefact
from ssl_photoz.cutouts.reader import Cutouts

N = 30


@pytest.fixture
def path(make_file):
    """A file with columns of every kind."""
    rng = np.random.default_rng(0)
    return make_file(
        n=N,
        images=rng.normal(size=(N, 3, 16, 16)).astype(">f8"),
        TARGETID=rng.integers(2**62, 2**63 - 1, N),
        BIG=np.arange(N, dtype="u8") + np.uint64(2**63),
        EBV=rng.uniform(0, 1, N).astype("f4"),
        PSFSIZE=rng.uniform(1, 2, (N, 3)),
        PSFDEPTH=rng.uniform(100, 200, (N, 3)).astype("f4"),
        FLAG=rng.random(N) < 0.5,
        NAME=np.array([f"J{k}°".encode() for k in range(N)]),
        HALF=rng.normal(size=N).astype("f2"),
        image_ivar=np.ones((N, 3, 4, 4)),
    )


def convert(*arguments):
    return cli.main(["convert", *map(str, arguments)])


def test_hdf5_keeps_every_bit_and_says_what_it_leaves_out(path, tmp_path, capsys):
    assert convert(f"data={path}", f"out={tmp_path / 'c.h5'}") == 0
    said = capsys.readouterr().out
    assert "read as challenge: HDF5 with `images` (30, 3, 16, 16) at the root" in said
    assert "left out: image_ivar" in said
    assert f"{N} cutouts in, {N} written" in said
    with h5py.File(path) as before, h5py.File(tmp_path / "c.h5") as after:
        assert set(after) == set(before) - {"image_ivar"}
        for name in after:
            np.testing.assert_array_equal(after[name][:], before[name][:])
            if after[name].dtype.kind != "S":
                assert after[name].dtype == before[name].dtype.newbyteorder("=")
        assert after.attrs["bands"] == "g,r,z"
    with Cutouts.open(path) as one, Cutouts.open(tmp_path / "c.h5") as other:
        assert one.columns == other.columns
        assert one.source.about == other.source.about
        assert other.column("name")[3] == "J3°"
        np.testing.assert_array_equal(one.column("noise"), other.column("noise"))


def test_parquet_has_the_layout_of_the_multimodal_universe(path, tmp_path, capsys):
    assert convert(f"data={path}", f"out={tmp_path / 'p'}", "shard_rows=8", "size_px=10") == 0
    assert "left out: image_ivar" in capsys.readouterr().out
    parts = sorted((tmp_path / "p").glob("*.parquet"))
    assert [pq.read_metadata(part).num_rows for part in parts] == [8, 8, 8, 6]
    table = pq.read_table(parts)
    image = table["image"].combine_chunks()
    flux = np.array(image.field("flux").to_pylist())
    with h5py.File(path) as file:
        np.testing.assert_array_equal(flux, file["images"][:, :, 3:13, 3:13])
        assert table["object_id"].to_pylist() == file["TARGETID"][:].tolist()
        assert table["big"].to_pylist() == file["BIG"][:].tolist()
        np.testing.assert_array_equal(table["z_spec"], file["Z"][:])
        np.testing.assert_allclose(image.field("psf_fwhm").to_pylist(), file["PSFSIZE"][:], 1e-7)
        np.testing.assert_array_equal(np.array(table["psfdepth"].to_pylist()), file["PSFDEPTH"][:])
        assert table["flag"].to_pylist() == file["FLAG"][:].tolist()
    assert image.field("band").to_pylist() == [["g", "r", "z"]] * N
    np.testing.assert_allclose(image.field("scale").to_pylist(), 0.262, rtol=1e-6)
    assert table["name"][3].as_py() == "J3°"
    about = json.loads(table.schema.metadata[b"ssl_photoz"])
    assert about == {
        "bands": ["g", "r", "z"],
        "pixscale_arcsec": 0.262,
        "calibrated": True,
        "simulated": False,
    }
    card = artefact.read_card(tmp_path / "p", "cutouts")
    assert (card["rows_in"], card["rows_written"], card["left_out"]) == (N, N, ["image_ivar"])


def test_what_has_no_place_in_parquet_is_named(make_file, tmp_path, capsys):
    path = make_file(Z_SPEC=np.zeros(12), OBJECT_ID=np.arange(12))
    convert(f"data={path}", f"out={tmp_path / 'p'}")
    assert "left out: object_id, z_spec" in capsys.readouterr().out


def test_an_interrupted_folder_is_gone_on_with(path, tmp_path, monkeypatch, capsys):
    arguments = [f"data={path}", f"out={tmp_path / 'p'}", "shard_rows=8"]
    real, calls = Cutouts.read, []

    def fail_later(self, rows, **given):
        calls.append(rows)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(self, rows, **given)

    monkeypatch.setattr(Cutouts, "read", fail_later)
    assert convert(*arguments) == 130
    assert [one.name for one in sorted((tmp_path / "p").glob("*.parquet"))] == [
        "part-00000.parquet",
        "part-00001.parquet",
    ]
    assert convert(*arguments) == 0
    assert [int(rows[0]) for rows in calls] == [0, 8, 16, 16, 24]
    assert convert(*arguments) == 0
    assert "already made" in capsys.readouterr().out
    assert convert(*arguments, "size_px=8") == 2
    assert "size_px" in capsys.readouterr().err


def test_8_bits_stay_8_bits_and_are_marked(make_file, tmp_path):
    images = np.random.default_rng(0).integers(0, 255, (12, 3, 16, 16)).astype("u1")
    path = make_file(images=images, attrs={"bands": "i,r,g", "credit": "somebody"})
    convert(f"data={path}", f"out={tmp_path / 'c.h5'}")
    convert(f"data={path}", f"out={tmp_path / 'p'}")
    with Cutouts.open(tmp_path / "c.h5") as copy:
        assert not copy.source.calibrated
        assert np.isnan(copy.source.pixscale_arcsec)
        assert copy.stored.attributes["credit"] == "somebody"
        np.testing.assert_array_equal(copy.read(range(12)), images)
    table = pq.read_table(tmp_path / "p" / "part-00000.parquet")
    assert not json.loads(table.schema.metadata[b"ssl_photoz"])["calibrated"]
    assert np.array(table["image"][0].as_py()["flux"]).tolist() == images[0].tolist()
    assert str(table.schema.field("image").type.field("flux").type).count("uint8") == 1


def test_an_unknown_pixel_scale_is_not_guessed_from_the_copy(make_file, tmp_path):
    for name, scale in {"a": 0.262, "b": 0.396}.items():
        (tmp_path / "d").mkdir(exist_ok=True)
        make_file(f"d/{name}.h5", attrs={"pixscale_arcsec": scale})
    convert(f"data={tmp_path / 'd'}", f"out={tmp_path / 'c.h5'}")
    with Cutouts.open(tmp_path / "c.h5") as copy:
        assert np.isnan(copy.source.pixscale_arcsec)
        assert copy.column("part").tolist() == ["a.h5"] * 12 + ["b.h5"] * 12
    assert Cutouts.open(tmp_path / "c.h5", pixscale_arcsec=0.3).source.pixscale_arcsec == 0.3


def test_a_pixel_scale_per_row_goes_along(make_file, tmp_path):
    scales = np.linspace(0.1, 1, 12)
    convert(f"data={make_file(pixscale=scales)}", f"out={tmp_path / 'c.h5'}")
    with Cutouts.open(tmp_path / "c.h5") as copy:
        np.testing.assert_array_equal(copy.column("pixscale"), scales)
        assert np.isnan(copy.source.pixscale_arcsec)


def test_another_suffix_is_refused(path, tmp_path, capsys):
    assert convert(f"data={path}", f"out={tmp_path / 'c.fits'}") == 2
    assert "ends in .fits, expected .h5, .hdf5" in capsys.readouterr().err


def test_there_and_back_again(path, tmp_path):
    """HDF5 to Parquet and back, by our reader of that layout."""
    convert(f"data={path}", f"out={tmp_path / 'p'}", "shard_rows=8")
    assert convert(f"data={tmp_path / 'p'}", f"out={tmp_path / 'c.h5'}") == 0
    with Cutouts.open(path) as one, Cutouts.open(tmp_path / "c.h5") as other:
        np.testing.assert_array_equal(one.read(range(N)), other.read(range(N)))
        assert one.source.about == other.source.about
        for name in ("id", "ra", "dec", "z", "ebv", "psfdepth", "big", "name", "half", "flag"):
            np.testing.assert_array_equal(one.column(name), other.column(name))


@pytest.mark.parametrize("out", ["c.h5", "p"])
def test_no_more_than_a_block_is_read_at_once(make_file, tmp_path, monkeypatch, out):
    images = np.random.default_rng(0).normal(size=(200, 3, 16, 16)).astype("f4")
    path, block, sizes = make_file(n=200, images=images), 20_000, []
    monkeypatch.setattr("ssl_photoz.cutouts.packing.BLOCK_BYTES", block)
    monkeypatch.setattr("ssl_photoz.cutouts.parquet_out.GROUP_BYTES", block)
    real = Cutouts.read

    def measured(self, rows, **given):
        pixels = real(self, rows, **given)
        sizes.append(pixels.nbytes)
        return pixels

    monkeypatch.setattr(Cutouts, "read", measured)
    assert convert(f"data={path}", f"out={tmp_path / out}") == 0
    assert max(sizes) <= block
    assert sum(sizes) == images.nbytes


def test_a_mixture_becomes_one_file_that_says_where_each_came_from(make_file, tmp_path):
    rng = np.random.default_rng(0)
    five = rng.normal(size=(12, 5, 16, 16)).astype("f4")
    three = rng.normal(size=(12, 3, 16, 16)).astype("f4")
    make_file("sdss.h5", images=five)
    make_file("legacy.h5", images=three, TARGETID=np.arange(12) + 2**62)
    (tmp_path / "all.yaml").write_text(
        "parts: [{path: legacy.h5}, {path: sdss.h5, zero_point_mag: 20}]\nbands: [g, r, z]"
    )
    assert convert(f"data={tmp_path / 'all.yaml'}", f"out={tmp_path / 'c.h5'}") == 0
    with h5py.File(tmp_path / "c.h5") as file:
        np.testing.assert_array_equal(file["images"][:12], three)
        np.testing.assert_allclose(file["images"][12:], 10 * five[:, [1, 2, 4]], rtol=1e-6)
        assert file["PART"].asstr()[:].tolist() == ["legacy"] * 12 + ["sdss"] * 12
        assert file["TARGETID"][0] == 2**62
        assert file["TARGETID"].dtype == np.int64


@pytest.mark.parametrize("out", ["c.h5", "p"])
def test_names_that_cannot_be_printed_are_left_out(make_file, tmp_path, capsys, out):
    path = make_file(**{"MAG\x07": np.ones(12), "STRASSE": np.ones(12), "straße": np.zeros(12)})
    assert convert(f"data={path}", f"out={tmp_path / out}") == 0
    assert r"left out: 'mag\x07'" in capsys.readouterr().out
    if out == "c.h5":
        with Cutouts.open(tmp_path / out) as copy:
            assert copy.column("strasse").tolist() == [1] * 12
            assert copy.column("straße").tolist() == [0] * 12


@pytest.mark.parametrize("out", ["c.h5", "p"])
def test_a_copy_gets_ebv_from_other_columns_and_keeps_its_pixels(make_file, tmp_path, out):
    ebv = np.linspace(0, 0.5, 12)
    path = make_file(mw_transmission_r=10 ** (-0.4 * 2.165 * ebv))
    given = [f"data={path}", f"out={tmp_path / out}"]
    assert convert(*given, "dust=auto") == 0
    with Cutouts.open(path) as one, Cutouts.open(tmp_path / out) as other:
        np.testing.assert_array_equal(one.read(range(12)), other.read(range(12)))
        np.testing.assert_allclose(other.column("ebv"), ebv, atol=1e-6)
        assert other.dereddened().source.extinction_corrected
    assert convert(*given, "dust=auto") == 0  # is already made
    assert convert(*given) == 2


def test_a_copy_without_any_source_of_ebv_is_refused(make_file, tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("SFD_DIR", raising=False)
    given = [f"data={make_file()}", f"out={tmp_path / 'c.h5'}"]
    for dust, says in (("catalogue", "no column ebv"), ("SFD", "dust is 'SFD', expected auto")):
        assert convert(*given, f"dust={dust}") == 2
        assert says in capsys.readouterr().err
    assert not (tmp_path / "c.h5").exists()
