import h5py
import numpy as np
import pytest
from ssl_photoz.recipes.survey.convert import convert

from ssl_photoz import cli
from ssl_photoz.core.errors import ConfigError, DataError, MismatchError
from ssl_photoz.cutouts.batches import Batches, good_rows
from ssl_photoz.cutouts.layout import find_layout
from ssl_photoz.cutouts.packing import as_half, pack
from ssl_photoz.cutouts.reader import Cutouts

NOISE = 0.003
N = 40


@pytest.fixture
def path(make_file):
    rng = np.random.default_rng(0)
    images = rng.normal(0, NOISE, (N, 3, 16, 16))
    images[:, :, 6:10, 6:10] += 10 ** rng.uniform(-3, 4, (N, 3, 4, 4))
    return make_file(n=N, images=images.astype("f4"), EBV=np.arange(N) / 100.0)


def packed(path, out, **given):
    with Cutouts.open(path) as cutouts:
        return pack(cutouts, out, **{"size_px": 10, "dtype": "float16", **given})


def test_pixels_are_off_by_a_fraction_of_themselves_or_of_the_noise(path, tmp_path):
    assert packed(path, tmp_path / "p.h5").rows == N
    with Cutouts.open(path) as one, Cutouts.open(tmp_path / "p.h5") as other:
        before, after = one.read(range(N), size_px=10), other.read(range(N))
        assert (other.source.size_px, other.source.dtype) == (10, "float16")
        np.testing.assert_array_equal(
            one.read(range(N), size_px=4).astype("f2"), other.read(range(N), size_px=4)
        )
    error = np.abs(after.astype("f8") - before)
    assert (error <= 2.0**-11 * np.maximum(np.abs(before), NOISE)).all()
    assert error.max() > 0


def test_the_copy_has_every_column_and_states_what_was_guessed(path, tmp_path):
    with h5py.File(path, "a") as file:
        file["NAME"] = np.array([b"galaxy"] * N)
        file["image_ivar"] = np.ones((N, 3, 16, 16), "f4")
        file.attrs["SIMULATED"] = True
        file.attrs["credit"] = "somebody"
    assert packed(path, tmp_path / "p.h5").left_out == ("image_ivar",)
    with Cutouts.open(path) as one, Cutouts.open(tmp_path / "p.h5") as other:
        assert one.columns == other.columns
        for name in one.columns:
            np.testing.assert_array_equal(one.column(name), other.column(name))
            assert one.column(name).dtype == other.column(name).dtype
        assert other.source.about == one.source.about
        assert other.source.simulated
    with h5py.File(tmp_path / "p.h5") as file:
        assert file.attrs["credit"] == "somebody"
        assert (file.attrs["bands"], file.attrs["pixscale_arcsec"]) == ("g,r,z", 0.262)
        assert find_layout(file, file["images"]).block_rows == N


def test_bad_cutouts_stay_and_stay_bad(path, tmp_path):
    with h5py.File(path, "a") as file:
        file["images"][3, 0, 8, 8], file["images"][4, 1, 8, 8] = np.nan, -np.inf
        file["images"][5], file["images"][6, 2] = 0, 0
        file["images"][7] = 0.1
    packed(path, tmp_path / "p.h5")
    with Cutouts.open(path) as one, Cutouts.open(tmp_path / "p.h5") as other:
        assert len(good_rows(one)[1]) == 5
        assert good_rows(one)[1] == good_rows(other)[1]


def test_pixels_too_bright_are_cut_and_their_cutouts_counted(path, tmp_path):
    with h5py.File(path, "a") as file:
        file["images"][3, 0, 8, 8], file["images"][3, 0, 8, 9] = 1e6, -1e6
        file["images"][9, 0, 8, 8] = 65504.0
    assert packed(path, tmp_path / "p.h5").saturated == 1
    with Cutouts.open(tmp_path / "p.h5") as other:
        assert other.read([3])[0, 0, 5, 5:7].tolist() == [65504.0, -65504.0]
        assert len(good_rows(other)[0]) == N


def test_as_half_agrees_with_numpy_where_it_can():
    values = np.float32([0, -0.0, 1e-8, 6e-5, 1 / 3, 65504, np.nan, np.inf]).reshape(1, 1, 1, -1)
    half, over = as_half(values)
    np.testing.assert_array_equal(half, values.astype("f2"))
    assert over.tolist() == [False]


def test_float32_keeps_every_bit_and_8_bits_stay_8_bits(path, make_file, tmp_path):
    packed(path, tmp_path / "p.h5", dtype="float32", size_px=None)
    display = np.random.default_rng(0).integers(0, 256, (N, 3, 16, 16)).astype("u1")
    other = make_file("display.h5", n=N, images=display)
    packed(other, tmp_path / "d.h5", size_px=None)
    for one, two in ((path, tmp_path / "p.h5"), (other, tmp_path / "d.h5")):
        with Cutouts.open(one) as before, Cutouts.open(two) as after:
            np.testing.assert_array_equal(before.read(range(N)), after.read(range(N)))
            assert before.source.dtype == after.source.dtype
            assert before.source.calibrated == after.source.calibrated


def test_pixels_fainter_than_half_precision_are_refused(path, tmp_path):
    with h5py.File(path, "a") as file:
        file["images"][:] = file["images"][:] * 1e-3  # noise 3e-6: a few steps of float16
    with pytest.raises(DataError, match=r"noise of .*e-06 per pixel.*give dtype=float32"):
        packed(path, tmp_path / "p.h5")
    assert packed(path, tmp_path / "p.h5", dtype="float32").rows == N


@pytest.mark.parametrize("size_px", [0, 9, 17, 18])
def test_a_crop_that_does_not_fit_or_moves_the_centre_is_refused(path, tmp_path, size_px):
    with pytest.raises(DataError, match=f"size_px is {size_px}, .* 16 px; expected"):
        packed(path, tmp_path / "p.h5", size_px=size_px)
    assert not (tmp_path / "p.h5").exists()


def test_a_copy_that_is_there_is_kept_and_another_is_not_overwritten(path, tmp_path):
    packed(path, tmp_path / "p.h5")
    before = (tmp_path / "p.h5").stat().st_mtime_ns
    assert packed(path, tmp_path / "p.h5") is None
    assert (tmp_path / "p.h5").stat().st_mtime_ns == before
    with pytest.raises(MismatchError, match="packed_size_px = 10, asked for 12"):
        packed(path, tmp_path / "p.h5", size_px=12)
    with pytest.raises(MismatchError, match="packed_from = None"):
        packed(path, path)


def test_a_disk_without_room_is_found_out_first(path, tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1000}))
    with pytest.raises(DataError, match="make room"):
        packed(path, tmp_path / "p.h5")


def test_an_interrupted_copy_leaves_nothing(path, tmp_path, monkeypatch):
    def interrupt(pixels):
        raise KeyboardInterrupt

    monkeypatch.setattr("ssl_photoz.cutouts.packing.as_half", interrupt)
    with pytest.raises(KeyboardInterrupt):
        packed(path, tmp_path / "out" / "p.h5")
    assert list((tmp_path / "out").iterdir()) == []


def test_training_reads_the_copy_as_it_would_the_original(path, tmp_path):
    packed(path, tmp_path / "p.h5", dtype="float32")
    with Cutouts.open(path) as one, Cutouts.open(tmp_path / "p.h5") as other:
        for before, after in zip(
            Batches(one, np.arange(N), batch_size=8, size_px=10),
            Batches(other, np.arange(N), batch_size=8),
            strict=True,
        ):
            assert before.flux.equal(after.flux)
            assert before.ebv_mag.equal(after.ebv_mag)


@pytest.mark.parametrize(("verb", "half"), [("convert", ["dtype=float16"]), ("pack", [])])
def test_the_verb_packs_and_says_what_it_did(path, tmp_path, capsys, verb, half):
    arguments = [verb, f"data={path}", f"out={tmp_path / 'p.h5'}", "size_px=10", *half]
    assert cli.main(arguments) == 0
    assert f"{N} cutouts in, {N} written" in capsys.readouterr().out
    assert cli.main(arguments) == 0
    assert "already made" in capsys.readouterr().out
    with Cutouts.open(tmp_path / "p.h5") as copy:
        assert (copy.source.dtype, copy.source.size_px) == ("float16", 10)
    assert cli.main([*arguments, "dtype=float8"]) == 2
    assert "expected float16 or float32" in capsys.readouterr().err


def test_packing_asks_for_hdf5_and_for_where_or_mask(path, tmp_path):
    with pytest.raises(ConfigError, match="a copy in HDF5"):
        convert(path, tmp_path / "p", dtype="float16")
    with pytest.raises(ConfigError, match="where= or mask="):
        convert(path, tmp_path / "p.h5", where="z > 0", mask=tmp_path)


def test_rows_are_chosen_by_their_columns_in_either_format(path, tmp_path):
    for out in ("p.h5", "p"):
        copy = convert(str(path), str(tmp_path / out), where="ebv < 0.095")
        assert copy.column("ebv").tolist() == pytest.approx([row / 100 for row in range(10)])
