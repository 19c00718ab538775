"""Files called the same in two folders, or two tars, are two galaxies."""

import io
import tarfile

import numpy as np
import pytest
from astropy.io import fits
from PIL import Image

from ssl_photoz.core.errors import DataError
from ssl_photoz.cutouts.reader import Cutouts

KINDS = ("ring", "spiral")


def picture(seed):
    content = io.BytesIO()
    draws = np.random.default_rng(seed).integers(0, 255, (16, 16, 3), np.uint8)
    Image.fromarray(draws).save(content, "PNG")
    return content.getvalue()


def pictures(folder):
    for seed, kind in enumerate(KINDS):
        (folder / kind).mkdir(parents=True)
        for number in (1, 2):
            (folder / kind / f"{number:04d}.png").write_bytes(picture(2 * seed + number))
    return folder


def fits_files(folder):
    for kind in KINDS:
        (folder / kind).mkdir(parents=True)
        for number in (1, 2):
            image = np.full((3, 8, 8), float(number), "f4")
            header = fits.Header({"BANDS": "grz"})
            fits.PrimaryHDU(image, header).writeto(folder / kind / f"{number:04d}.fits")
    return folder


def tars(folder):
    folder.mkdir()
    for seed, kind in enumerate(KINDS):
        with tarfile.open(folder / f"{kind}.tar", "w") as archive:
            for number in (1, 2):
                content = picture(2 * seed + number)
                member = tarfile.TarInfo(f"{kind}/{number:04d}.png")
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    return folder


def catalogue(folder, rows, header="file_name,redshift,ra,dec"):
    (folder / "metadata.csv").write_text("\n".join([header, *rows]) + "\n")


ROWS = [
    *("ring/0001.png,0.101,10.01,0", "ring/0002.png,0.102,10.02,0"),
    *("spiral/0001.png,0.201,20.01,1", "spiral/0002.png,0.202,20.02,1"),
]


@pytest.mark.parametrize("write", [pictures, fits_files, tars])
@pytest.mark.parametrize("prefix", ["", "./", "/somewhere/else/"])
def test_each_has_the_redshift_and_position_of_its_own_path(tmp_path, write, prefix):
    folder = write(tmp_path / "g")
    catalogue(folder, [prefix + row for row in reversed(ROWS)])
    cutouts = Cutouts.open(folder)
    ids = cutouts.id.tolist()
    assert ids == ["ring/0001", "ring/0002", "spiral/0001", "spiral/0002"]
    np.testing.assert_allclose(cutouts.z, [0.101, 0.102, 0.201, 0.202], rtol=1e-6)
    np.testing.assert_allclose(cutouts.ra, [10.01, 10.02, 20.01, 20.02])
    assert cutouts.dec.tolist() == [0, 0, 1, 1]


def test_tars_with_the_same_members_are_told_apart_by_their_names(tmp_path):
    folder = tmp_path / "g"
    folder.mkdir()
    for name in ("a.tar", "b.tar"):
        with tarfile.open(folder / name, "w") as archive:
            member = tarfile.TarInfo("0001.png")
            member.size = len(picture(0))
            archive.addfile(member, io.BytesIO(picture(0)))
    assert Cutouts.open(folder).id.tolist() == ["a.tar/0001", "b.tar/0001"]
    catalogue(folder, ["0001.png,0.1,10,0"])
    with pytest.raises(DataError, match="0001 and 0001 both match its row 0"):
        Cutouts.open(folder)


def test_a_name_without_its_folder_is_refused_where_two_have_it(tmp_path):
    folder = pictures(tmp_path / "g")
    catalogue(folder, [row.rpartition("/")[2] for row in ROWS[:2]])
    both = r"ring/0001 and spiral/0001 both match its row 0 \(0001\.png in `file_name`\)"
    with pytest.raises(DataError, match=both):
        Cutouts.open(folder)


def test_two_rows_for_one_file_are_refused_unless_they_are_one_object(tmp_path):
    folder = pictures(tmp_path / "g") / "ring"
    rows = ["0001.png,0.1,10,0", "0002.png,0.2,20,1", "0001.png,0.3,30,2"]
    catalogue(folder, rows)
    with pytest.raises(DataError, match=r"its rows 0 and 2 .* both match 0001"):
        Cutouts.open(folder)
    catalogue(folder, [*rows[:2], "0001.png,0.1,10.0001,0"])  # 0.36 arcsec away
    assert Cutouts.open(folder).ra.tolist() == [10, 20]


def test_the_folder_decides_among_rows_of_several_folders(tmp_path):
    folder = pictures(tmp_path / "g")
    catalogue(folder / "spiral", ROWS)
    np.testing.assert_allclose(Cutouts.open(folder / "spiral").z, [0.201, 0.202], rtol=1e-6)
    catalogue(folder, [row for row in ROWS if "ring" in row])
    np.testing.assert_array_equal(np.isnan(Cutouts.open(folder).z), [False, False, True, True])


def test_ids_of_files_called_the_same_are_refused(tmp_path):
    folder = pictures(tmp_path / "g")
    catalogue(folder, ["1,0.1", "2,0.2"], header="objid,redshift")
    with pytest.raises(DataError, match=r"ring/0001 and spiral/0001 both match .* `objid`"):
        Cutouts.open(folder)


def test_names_that_differ_without_their_folders_stay_short(tmp_path):
    for name in ("a/39627000000000001.png", "b/39627000000000003.png"):
        (tmp_path / "g" / name).parent.mkdir(parents=True)
        (tmp_path / "g" / name).write_bytes(picture(0))
    ids = Cutouts.open(tmp_path / "g").id
    assert ids.tolist() == [39627000000000001, 39627000000000003]


def test_one_name_with_two_suffixes_is_two_files(tmp_path):
    (tmp_path / "g").mkdir()
    for name in ("1.png", "1.jpeg"):
        (tmp_path / "g" / name).write_bytes(picture(0))
    assert Cutouts.open(tmp_path / "g").id.tolist() == ["1.jpeg", "1.png"]
