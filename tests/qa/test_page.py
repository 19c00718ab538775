"""The page of `inspect`: whole, self-contained, and open about what it leaves out."""

import json
import os
import re

import h5py
import numpy as np
import pytest

from ssl_photoz import cli
from ssl_photoz.core.html import Section, Table, write_sections


def inspect(path, out, capsys, *more):
    assert cli.main(["inspect", f"data={path}", f"out={out}", "sheet=9", *more]) == 0
    capsys.readouterr()
    return (out / "qa.html").read_text(), json.loads((out / "qa.json").read_text())


def test_a_simulated_survey(planted_survey, tmp_path, capsys):
    html, found = inspect(planted_survey, tmp_path, capsys, "sample=120")
    for heading in ("What it holds", "How it was observed", "Galaxies", "Sky", "Redshifts"):
        assert f"<h2>{heading}</h2>" in html
    assert "SIMULATED" in html
    assert "The pixels of 120 of 240 cutouts were looked at" in html
    assert re.search(r'(src|href)="(?!data:)', html) is None
    assert html.count("<img") >= 9
    assert found["checks"]["absurd_label"] == 3
    assert found["pixels_checked"] == 120
    assert found["pairs"] == 2
    assert found["rejects"] == {}


def test_pictures_of_8_bits(tmp_path, capsys):
    path = tmp_path / "rgb.h5"
    with h5py.File(path, "w") as file:
        file["images"] = np.random.default_rng(0).integers(0, 90, (30, 3, 32, 32)).astype("u1")
        file["RA"], file["DEC"] = np.linspace(0, 300, 30), np.linspace(-20, 60, 30)
    html, found = inspect(path, tmp_path / "out", capsys)
    for said in (
        "Uncalibrated 8-bit source",
        "Left out, colour and size against magnitude: pixels are display values",
        "Left out: shred_peak, the pixel scale is not known",
    ):
        assert said in html
    assert set(found["left_out"]) == {"shred_peak", "shred_entry", "overlapping"}


def test_a_file_in_which_no_cutout_can_be_used(tmp_path, capsys):
    path = tmp_path / "nan.h5"
    with h5py.File(path, "w") as file:
        file["images"] = np.full((6, 3, 16, 16), np.nan, "f4")
        file["RA"], file["DEC"] = np.full(6, np.nan), np.full(6, np.nan)
    _, found = inspect(path, tmp_path / "out", capsys)
    assert found["checks"]["unusable"] == 6


def test_real_galaxies(tmp_path, capsys):
    folder = os.environ.get("SSL_PHOTOZ_DATA", "")
    if not folder:
        pytest.skip("no real data: set SSL_PHOTOZ_DATA to its folder")
    data = f"{folder}/decals_grz_examples.h5"
    html, found = inspect(data, tmp_path, capsys)
    assert "the pixel scale is not known, or not one" in html
    # Of row 2 most of g and r is missing; row 5 has a hole in g where a star saturated.
    assert found["checks"]["blank"] == 2
    assert found["checks"]["repeated_position"] == 0


def test_what_goes_on_a_page_is_escaped_and_what_is_empty_left_out(tmp_path):
    out = tmp_path / "page.html"
    table = Table(("name", "rows"), [("<script>", "1 & 2")])
    sections = [Section("Full", ["a < b"], [table]), Section("Empty")]
    write_sections(out, title="T", cautions=["Mind"], sections=sections)
    html = out.read_text()
    assert "&lt;script&gt;" in html
    assert "1 &amp; 2" in html
    assert "a &lt; b" in html
    assert "Empty" not in html
    assert "Mind." in html
    assert "--ink" in html
