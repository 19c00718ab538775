import json

import h5py
import numpy as np
import pytest
from PIL import Image

from ssl_photoz import cli
from ssl_photoz.cutouts.quality import border_noise
from ssl_photoz.cutouts.reader import Cutouts
from ssl_photoz.qa.summary import summarise


def test_noise_is_that_of_the_sky_whatever_stands_in_it():
    rng = np.random.default_rng(0)
    sigma = np.array([0.003, 0.005, 0.02])
    sky = rng.normal(0.1, 1, (300, 3, 64, 64)) * sigma[:, None, None]
    sky[:, :, 20:44, 20:44] += 5
    sky[:, :, :4, :6] += 3
    np.testing.assert_allclose(np.median(border_noise(sky), axis=0), sigma, rtol=0.05)


def faulty_file(make_file, n=600):
    rng = np.random.default_rng(2)
    images = rng.normal(0, 0.01, (n, 3, 16, 16)).astype(np.float32)
    images[10, 0, 0, 0], images[599, 1, 2, 2] = np.nan, np.inf
    images[20:23], images[30], images[40, 2] = 0, 1, 0
    images[50, 1, 8, 8] = 77
    images[51, 2, 8, 8] = -5
    ids = np.arange(n)
    ids[[100, 101, 102]] = 7
    ids[200] = 8
    ra, dec = np.full(n, 10.0), np.full(n, 20.0)
    ra[60], dec[61] = 400, np.nan
    ra[62], dec[62] = np.nan, np.nan
    z = np.full(n, np.nan, np.float32)
    z[:5] = [0.01, 0.02, 0.04, 2.0, 0.031]
    z[5:8] = [0, -0.1, -0.001]
    return make_file(n=n, images=images, TARGETID=ids, RA=ra, DEC=dec, Z=z)


def test_everything_put_in_is_counted(make_file):
    summary = summarise(Cutouts.open(faulty_file(make_file)), sample=100)
    assert summary.rejects == {
        "nan or inf pixels": 2,
        "all-zero cutout": 3,
        "constant cutout": 1,
        "all-zero band": 1,
        "position out of range": 2,
    }
    assert (summary.repeated_ids, summary.repeats) == (2, 4)
    assert summary.without_position == 1
    assert (summary.labelled, summary.not_positive) == (5, 3)
    assert summary.redshift_counts == (2, 2, 0, 0, 0, 0, 0, 0, 0, 0, 1)
    assert (summary.pixel_max[1], summary.pixel_min[2]) == (77, -5)
    np.testing.assert_allclose(summary.noise, 0.01, rtol=0.1)


def test_the_text_says_it(make_file):
    text = summarise(Cutouts.open(faulty_file(make_file))).as_text()
    for said in ("600, 3 bands of 16 x 16 px, float32", "3  all-zero cutout", "unusable     9"):
        assert said in text
    assert "SIMULATED" not in text
    simulated = make_file("s.h5", attrs={"simulated": True})
    assert "SIMULATED" in summarise(Cutouts.open(simulated)).as_text()


def test_a_file_of_nothing_but_faults(make_file):
    path = make_file(images=np.full((12, 3, 16, 16), np.nan, np.float32))
    summary = summarise(Cutouts.open(path))
    assert summary.rejects == {"nan or inf pixels": 12}
    assert json.loads(json.dumps(summary.as_dict(), allow_nan=False))["noise"] == [None] * 3
    assert summary.as_text()


def test_inspect_prints_and_writes(make_file, tmp_path, capsys):
    out = tmp_path / "inspected"
    assert cli.main(["inspect", f"data={faulty_file(make_file)}", f"out={out}", "sheet=9"]) == 0
    assert "2  nan or inf pixels" in capsys.readouterr().out
    assert json.loads((out / "qa.json").read_text())["rejects"]["all-zero band"] == 1
    assert Image.open(out / "contact_sheet.png").size == (3 * 98 + 2, 3 * 112 + 2)
    assert sorted(path.name for path in out.iterdir()) == [
        "contact_sheet.png",
        "qa.html",
        "qa.json",
    ]


@pytest.mark.parametrize("setting", ["sheet=0", "sample=0", "shet=4"])
def test_inspect_refuses_bad_settings(make_file, tmp_path, capsys, setting):
    assert cli.main(["inspect", f"data={make_file()}", f"out={tmp_path / 'o'}", setting]) == 2
    assert setting.split("=")[0] in capsys.readouterr().err


def test_real_calibrated_cutouts_of_varying_pixel_scale(real_data, tmp_path, capsys):
    data = real_data / "decals_grz_examples.h5"
    assert cli.main(["inspect", f"data={data}", f"out={tmp_path}"]) == 0
    text = capsys.readouterr().out
    for said in ("9, 3 bands of 424 x 424 px", "varies from row to row", "row numbers", "2 usable"):
        assert said in text
    with h5py.File(data) as file:
        brightest = float(file["images"][:, 0].max())
    summary = json.loads((tmp_path / "qa.json").read_text())
    assert summary["pixel_max"][0] == pytest.approx(brightest)
    assert summary["source"]["pixscale_arcsec"] is None


def test_the_page_says_how_it_was_read_and_what_is_left_out(make_file, tmp_path):
    for name, extra in {"a": {"MAG_R": np.ones(12)}, "b": {}}.items():
        (tmp_path / "d").mkdir(exist_ok=True)
        make_file(f"d/{name}.h5", **extra)
    summary = summarise(Cutouts.open(tmp_path / "d"))
    text = summary.as_text()
    assert "read as      folder: folder with 2 files (a.h5, ...)" in text
    assert "2 parts, read as challenge" in text
    assert "left out     mag_r" in text
    assert summary.as_dict()["source"]["read_as"] == "folder"
