"""Words for truth values, band names in every spelling, and two columns of one name."""

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.io import fits

from ssl_photoz.core.errors import DataError
from ssl_photoz.cutouts.formats.catalogue import read_beside
from ssl_photoz.cutouts.reader import Cutouts
from ssl_photoz.cutouts.schema import stated_truth
from ssl_photoz.cutouts.single import read_single

EIGHT_BITS = np.random.default_rng(0).integers(1, 255, (12, 3, 16, 16), dtype="u1")


def zarr_of(path, attributes, **arrays):
    zarr = pytest.importorskip("zarr", reason="the extra zarr is not installed")
    group = zarr.create_group(path)
    group.create_array("images", data=EIGHT_BITS)
    for name, values in arrays.items():
        group.create_array(name, data=values)
    group.attrs.update(attributes)
    return path


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        *[(word, False) for word in ("False", "no", "0", " N ", b"false", 0, np.False_, [0.0])],
        *[(word, True) for word in ("TRUE", "yes", "1", "t", np.array(["y"]), 1, np.True_, True)],
    ],
)
def test_words_for_true_and_false_are_understood(tmp_path, word, meant):
    for default in (True, False):
        said = stated_truth(tmp_path, {"simulated": word}, "simulated", default=default)
        assert said is meant


@pytest.mark.parametrize("word", ["", "maybe", 2, float("nan"), [1, 0]])
def test_other_words_are_refused(tmp_path, word):
    with pytest.raises(DataError, match=r"`calibrated` is .*, expected true or false"):
        stated_truth(tmp_path, {"calibrated": word}, "calibrated", default=True)


def test_8_bit_pictures_that_say_no_are_not_calibrated_in_any_format(make_file, tmp_path):
    stated = {"calibrated": "False", "simulated": "no"}
    hdf5 = make_file(images=EIGHT_BITS, attrs=stated)
    for path in (hdf5, zarr_of(tmp_path / "a.zarr", stated)):
        source = Cutouts.open(path).source
        assert (source.calibrated, source.simulated) == (False, False)
    with pytest.raises(DataError, match="'perhaps', expected true or false"):
        Cutouts.open(make_file("odd.h5", attrs={"simulated": "perhaps"}))


@pytest.mark.parametrize("bands", ["gri", "g r i", "g,r,i", "g, r, i", ["g", "r", "i"], b"gri"])
def test_bands_are_named_in_every_spelling(make_file, tmp_path, bands):
    assert Cutouts.open(make_file(attrs={"bands": bands})).source.bands == ("g", "r", "i")
    dataset = make_file("dataset.h5", BANDS=bands)
    assert Cutouts.open(dataset).source.bands == ("g", "r", "i")
    assert "bands" not in Cutouts.open(dataset).columns
    if not isinstance(bands, bytes):
        stated = zarr_of(tmp_path / "a.zarr", {"bands": bands})
        assert Cutouts.open(stated).source.bands == ("g", "r", "i")


def test_long_names_in_one_text_are_not_taken_apart_into_letters(make_file):
    path = make_file(attrs={"bands": "F435W F606W F814W"})
    assert Cutouts.open(path).source.bands == ("F435W", "F606W", "F814W")
    one = make_file("one.h5", images=np.ones((12, 1, 16, 16), "f4"), attrs={"bands": "SDSS r"})
    assert Cutouts.open(one).source.bands == ("r",)
    with pytest.raises(DataError, match="3 bands, expected 1"):
        Cutouts.open(make_file("odd.h5", attrs={"bands": "optical"}))


def test_bands_that_contradict_each_other_are_refused(make_file):
    with pytest.raises(DataError, match=r"`BANDS` names the bands g,r,i, the attribute .* g,r,z"):
        Cutouts.open(make_file(BANDS=["g", "r", "i"], attrs={"bands": "g,r,z"}))


@pytest.mark.parametrize("bands", ["gri", "g r i", "g,r,i"])
def test_a_fits_header_names_bands_in_every_spelling(tmp_path, bands):
    header = fits.Header({"BANDS": bands})
    (tmp_path / "f").mkdir()
    path = tmp_path / "f" / "1.fits"
    fits.PrimaryHDU(np.ones((3, 16, 16), "f4"), header).writeto(path)
    assert read_single(path).bands == ("g", "r", "i")
    assert Cutouts.open(tmp_path / "f").source.bands == ("g", "r", "i")


def test_two_columns_of_one_name_are_one_or_refused(make_file, tmp_path):
    z = np.linspace(0.1, 0.3, 12).astype("f4")
    z[3] = np.nan
    same = Cutouts.open(make_file("same.h5", Z=z, z=z))
    np.testing.assert_array_equal(same.z, z)
    assert same.stored.left_out == ("z",)
    with pytest.raises(DataError, match="`Z` and `z` both mean column 'z' and differ; rename"):
        Cutouts.open(make_file("other.h5", Z=z, z=z + 17))
    with pytest.raises(DataError, match="`Z` and `z` both mean column 'z' and differ; rename"):
        Cutouts.open(zarr_of(tmp_path / "a.zarr", {}, Z=z, z=z + 17))
    table = pa.table({"file": ["a", "b"], "Z": [0.1, 0.2], "z": [17.0, 18.0]})
    pq.write_table(table, tmp_path / "catalogue.parquet")
    with pytest.raises(DataError, match="`Z` and `z` both mean column 'z' and differ; rename"):
        read_beside(tmp_path / "catalogue.parquet", ["a", "b"], *np.full((2, 2), np.nan))
    image = pa.array(np.ones((2, 3, 4, 4), "f4").tolist())
    pq.write_table(table.append_column("image", image), tmp_path / "images.parquet")
    with pytest.raises(DataError, match="`Z` and `z` both mean 'z'; rename"):
        Cutouts.open(tmp_path / "images.parquet")


def test_names_in_a_dataset_go_along_into_a_copy(make_file, tmp_path):
    from survey.convert import convert

    convert(make_file(BANDS=["g", "r", "i"]), tmp_path / "copy.h5")
    with h5py.File(tmp_path / "copy.h5") as file:
        assert file.attrs["bands"] == "g,r,i"
