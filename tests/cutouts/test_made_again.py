"""A copy that is there counts as made only if it was made of the same, read in the same way."""

import h5py
import numpy as np
import pytest

from ssl_photoz.core.errors import MismatchError
from ssl_photoz.cutouts.reader import Cutouts
from ssl_photoz.cutouts.subset import subset
from survey.convert import convert


@pytest.fixture
def path(make_file):
    return make_file(attrs={"pixscale_arcsec": np.nan})


OUTS = ("copy.h5", "copy")


@pytest.mark.parametrize("out", OUTS)
@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"bands": ("g", "r", "i")}, "bands"),
        ({"pixscale_arcsec": 0.4}, "pixscale_arcsec"),
        ({"read_as": "ssl_legacysurvey"}, "read_as|pixscale_arcsec"),
    ],
)
@pytest.mark.parametrize("opened", [False, True])
def test_other_bands_scale_or_reader_are_refused(path, tmp_path, out, other, said, opened):
    convert(path, tmp_path / out)
    data, given = (Cutouts.open(path, **other), {}) if opened else (path, other)
    with pytest.raises(MismatchError, match=said):
        convert(data, tmp_path / out, **given)
    assert Cutouts.open(tmp_path / out).source.bands == ("g", "r", "z")
    assert np.isnan(Cutouts.open(tmp_path / out).source.pixscale_arcsec)


@pytest.mark.parametrize("out", OUTS)
def test_the_same_is_already_made(path, tmp_path, out, capsys):
    for _ in range(2):
        convert(path, tmp_path / out, bands=("g", "r", "i"), pixscale_arcsec=0.4)
    assert "already made" in capsys.readouterr().out


@pytest.mark.parametrize("out", OUTS)
def test_other_rows_are_another_copy(path, tmp_path, out, capsys):
    cutouts = Cutouts.open(path)
    first, other = (subset(cutouts, np.array(rows)) for rows in ([0, 1, 2], [3, 4, 5]))
    convert(first, tmp_path / out)
    convert(subset(Cutouts.open(path), np.arange(3)), tmp_path / out)
    assert "already made" in capsys.readouterr().out
    with pytest.raises(MismatchError, match="rows"):
        convert(other, tmp_path / out)
    with pytest.raises(MismatchError, match="rows"):
        convert(path, tmp_path / out)


def test_a_copy_of_an_earlier_version_is_still_the_same(path, tmp_path, capsys):
    convert(path, tmp_path / "copy.h5")
    with h5py.File(tmp_path / "copy.h5", "r+") as file:
        del file.attrs["packed_read_as"], file.attrs["packed_rows"]
    convert(path, tmp_path / "copy.h5")
    assert "already made" in capsys.readouterr().out
