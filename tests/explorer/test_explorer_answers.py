"""What the page is told agrees with the artefacts of the run."""

import json
import shutil

import numpy as np
import pytest
from astropy.table import Table

from ssl_photoz.core.errors import ArtefactError, DataError
from ssl_photoz.explorer.run import open_run, read_places
from ssl_photoz.nearby.verdicts import read_verdicts

ROWS, UNPLACED, WITH_DENSITY = 60, 7, 30


def floats(client, address):
    return np.frombuffer(client.get(address).content, "<f4")


def column_named(client, name):
    names = [column["name"] for column in client.get("/api/run").json()["columns"]]
    return names.index(name)


def test_places_come_as_floats_and_one_galaxy_has_none(client):
    places = floats(client, "/api/places").reshape(-1, 2)
    rows = np.arange(ROWS)
    expected = np.stack([rows % 10, rows // 10], axis=1).astype("f4")
    expected[UNPLACED] = np.nan
    np.testing.assert_array_equal(places, expected)
    run = client.get("/api/run").json()
    assert (run["galaxies"], run["unplaced"], run["simulated"]) == (ROWS, 1, True)


def test_columns_are_those_of_the_store_and_of_the_densities(client, run):
    np.testing.assert_array_equal(floats(client, "/api/columns/0"), run.catalogue.z.astype("f4"))
    mag = floats(client, f"/api/columns/{column_named(client, 'mag_r')}")
    np.testing.assert_array_equal(mag, np.linspace(15, 20, ROWS).astype("f4"))
    listed = client.get("/api/run").json()["columns"]
    survey = column_named(client, "survey")
    assert listed[survey]["words"] == ["<b>bright</b>", "dark"]
    np.testing.assert_array_equal(floats(client, f"/api/columns/{survey}"), np.arange(ROWS) % 2)
    z_phot = floats(client, f"/api/columns/{column_named(client, 'z_phot')}")
    np.testing.assert_allclose(z_phot[:WITH_DENSITY], 0.1 + 0.01 * np.arange(30), atol=1e-4)
    assert np.isnan(z_phot[WITH_DENSITY:]).all()
    assert client.get(f"/api/columns/{len(listed)}").status_code == 404


@pytest.mark.parametrize("row", [0, 24, 25, 59])
def test_a_galaxy_is_what_the_store_says(client, run, row):
    galaxy = client.get(f"/api/galaxies/{row}").json()
    assert galaxy["id"] == str(2**60 + row)
    assert galaxy["ra"] == pytest.approx(run.catalogue.ra[row])
    said = dict(galaxy["columns"])
    assert said["mag_r"] == pytest.approx(np.linspace(15, 20, ROWS)[row], rel=1e-6)
    assert (galaxy["z"] is None) == (row % 5 == 4)
    assert f"ra={galaxy['ra']:.6f}" in galaxy["viewer"]
    if row < WITH_DENSITY:
        grid = client.get("/api/run").json()["grid"]
        assert np.trapezoid(galaxy["density"]["pdf"], grid) == pytest.approx(1, abs=1e-3)
        assert grid[int(np.argmax(galaxy["density"]["pdf"]))] == pytest.approx(0.1 + 0.01 * row)
    else:
        assert galaxy["density"] is None


def test_look_alikes_are_the_nearest_by_cosine(client, run):
    unit = run.index.reduction.apply(run.embeddings.vectors())
    for row in (3, 40):
        away = 1 - unit @ unit[row]
        away[row] = np.inf
        found = client.get(f"/api/galaxies/{row}").json()["look_alikes"]["galaxies"]
        assert [one["row"] for one in found] == np.argsort(away)[:8].tolist()
        np.testing.assert_allclose([one["distance"] for one in found], np.sort(away)[:8], atol=2e-5)


def test_thumbnails_are_those_of_the_store(client, run):
    for row in (0, 26, 59):
        answer = client.get(f"/api/galaxies/{row}/thumbnail")
        assert answer.headers["content-type"] == "image/jpeg"
        from io import BytesIO

        from PIL import Image

        stored = run.embeddings.thumbnails([row])[0]
        np.testing.assert_array_equal(np.asarray(Image.open(BytesIO(answer.content))), stored)


def test_search_by_id_and_by_position(client, run):
    def rows(asked):
        answer = client.get("/api/search", params={"q": asked}).json()
        return [galaxy["row"] for galaxy in answer["galaxies"]]

    assert rows(f" {2**60 + 41} ") == [41]
    ra, dec = run.catalogue.ra[12], run.catalogue.dec[12]
    assert rows(f"{ra} {dec + 5 / 3600}") == rows(f"{ra},{dec}") == [12]
    far = client.get("/api/search", params={"q": "200 60"}).json()["galaxies"]
    assert len(far) == 1
    assert far[0]["separation_arcsec"] > 3600


def test_verdicts_reach_the_file_and_the_last_one_counts(client, verdicts):
    for word in ("dwarf", "junk"):
        answer = client.post("/api/galaxies/5/verdict", json={"verdict": word})
        assert answer.status_code == 200
    assert client.get("/api/galaxies/5").json()["verdict"] == "junk"
    assert answer.json()["counts"] == {"junk": 1}
    (line,) = read_verdicts(verdicts)
    assert (line.id, line.verdict) == (str(2**60 + 5), "junk")


@pytest.mark.parametrize("kind", ["csv", "fits"])
def test_a_selection_becomes_a_table(client, run, kind, tmp_path):
    client.post("/api/galaxies/31/verdict", json={"verdict": "not_dwarf"})
    rows = [31, 2, 31, 59]
    assert client.post("/api/selection", json={"rows": rows}).json()["count"] == 3
    answer = client.post(f"/api/selection/{kind}", json={"rows": rows})
    path = tmp_path / f"t.{kind}"
    path.write_bytes(answer.content)
    table = Table.read(path)
    assert table["id"].tolist() == [2**60 + row for row in (2, 31, 59)]
    np.testing.assert_allclose(table["mag_r"], np.linspace(15, 20, ROWS)[[2, 31, 59]], rtol=1e-6)
    np.testing.assert_allclose(table["ra"], run.catalogue.ra[[2, 31, 59]])
    assert {str(one) for one in table["simulated"]} == {"True"}
    assert str(table["verdict"][1]).strip() == "not_dwarf"


def test_a_run_that_lacks_a_part_says_which_verb_makes_it(run_folder, tmp_path):
    for name in ("embeddings", "index", "map", "pdf"):
        shutil.copytree(run_folder / name, tmp_path / name)
    assert open_run(tmp_path).encoder is None
    shutil.rmtree(tmp_path / "index")
    with pytest.raises(ArtefactError, match="ssl-photoz index"):
        open_run(tmp_path)
    shutil.rmtree(tmp_path / "map")
    with pytest.raises(ArtefactError, match="ssl-photoz map"):
        open_run(tmp_path)


def test_a_map_of_other_rows_or_of_no_places_is_refused(tmp_path):
    from ssl_photoz.catalog.tables import write_table

    path = tmp_path / "map.parquet"
    write_table(path, {"row": np.array([0, 9]), "x": np.ones(2), "y": np.ones(2)}, simulated=True)
    with pytest.raises(ArtefactError, match="0 to 4"):
        read_places(path, rows=5)
    nowhere = np.full(2, np.inf)
    write_table(path, {"row": np.arange(2), "x": nowhere, "y": np.ones(2)}, simulated=True)
    with pytest.raises(DataError, match="no galaxy a finite place"):
        read_places(path, rows=2)
    path.write_bytes(b"PAR1 not really")
    with pytest.raises(ArtefactError, match="run map again"):
        read_places(path, rows=2)


def test_answers_are_json_that_javascript_reads(client):
    def refuse(constant):
        raise AssertionError(constant)

    for address in ("/api/run", "/api/galaxies/4", "/api/search?q=15 0"):
        answer = client.get(address)
        assert answer.status_code == 200
        assert json.loads(answer.text, parse_constant=refuse)  # no NaN, no Infinity
