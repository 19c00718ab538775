import csv

import numpy as np
import pyarrow.parquet as pq
import pytest
from ssl_photoz.recipes.probe import dwarfs as program

from ssl_photoz.core import artefact
from ssl_photoz.core.errors import ConfigError, ContaminatedError, MismatchError
from ssl_photoz.nearby.settings import DwarfConfig, EvaluationConfig
from ssl_photoz.similarity.catalogue import Catalogue
from ssl_photoz.similarity.index import Index


@pytest.fixture
def given(make_store, tmp_path):
    def add(columns, vectors):
        n = len(vectors)
        z = np.nan_to_num(columns["z"], nan=0.2)
        columns["mag_r"] = 16 + 10 * z
        columns["mag_g"] = columns["mag_r"] + 0.5
        columns["population"] = np.arange(n) % 3
        columns["ra"][1], columns["dec"][1] = columns["ra"][0], columns["dec"][0]
        columns["z"][:2] = [np.nan, np.nan]

    store = make_store(n=500, pictures=True, change=add)
    Index.build(store).save(tmp_path / "index")
    extra = {"cuts": ("mag_r", "mag_g"), "magnitude": "mag_r", "population": "population"}
    return {
        **{"index": tmp_path / "index", "embeddings": store.folder, "out": tmp_path / "d"},
        **{"dwarf": DwarfConfig(z_max=0.08, also=(0.2,)), "evaluation": EvaluationConfig(**extra)},
        "top": 50,
    }


def test_the_program_writes_every_file_once(given, capsys):
    made = program.dwarfs(**given)
    out = given["out"]
    table = pq.read_table(out / "candidates.parquet").to_pydict()
    assert table["rank"] == list(range(1, 51))
    assert all(np.isnan(table["z"]))
    assert all(table["simulated"])
    assert all(len(named.split()) == 3 for named in table["nearest_dwarf_ids"])
    assert max(table["nearest_dwarf_z"]) < 0.08
    assert all(
        link.startswith("https://www.legacysurvey.org/viewer?ra=") for link in table["viewer"]
    )
    top = list(csv.DictReader((out / "candidates.csv").open()))
    assert [int(row["id"]) for row in top] == table["id"]
    every = pq.read_table(out / "probabilities.parquet").to_pydict()
    assert np.isfinite(every["score"]).all()
    assert len(every["score"]) > 100
    assert {"p_z0p08", "p_z0p08_sky", "p_z0p2_vote", "p_z0p08_one_class"} <= set(every)
    metrics = artefact.read_json(out / "metrics.json")
    assert table["score"] == sorted(table["score"], reverse=True)
    assert metrics["average_precision"] > 2 * metrics["base_rate"]
    assert metrics["targets"]["z0p08"]["cuts"]["completeness"] == 1
    assert [part["part"] for part in metrics["strata"]["population"]] == ["0", "1", "2"]
    assert len(metrics["strata"]["mag_r"]) == 5
    assert artefact.read_card(out, "dwarfs")["metrics"] == metrics
    for name in ("candidates", "purity_completeness"):
        assert (out / f"{name}.png").stat().st_size > 10_000
    said = capsys.readouterr().out
    assert "z < 0.08" in said
    assert "cuts" in said
    again = program.dwarfs(**given)
    assert again.card.metrics == made.card.metrics == metrics
    assert again.table()["id"].tolist() == table["id"]
    assert "already made" in capsys.readouterr().out
    with pytest.raises(MismatchError, match=r"z_max = 0\.08, asked for 0\.05"):
        program.dwarfs(**{**given, "dwarf": DwarfConfig(z_max=0.05, also=(0.2,))})


def test_the_list_has_each_object_once_and_none_that_is_known(given):
    program.dwarfs(**{**given, "top": 1000})
    table = pq.read_table(given["out"] / "candidates.parquet").to_pydict()
    assert len({0, 1} & set(table["row"])) == 1
    assert len(set(table["id"])) == len(table["id"])


def test_no_test_dwarf_gives_candidates_without_purity(make_store, tmp_path, capsys):
    def hide(columns, vectors):
        columns["z"][columns["split"] == "test"] = 0.5

    store = make_store(change=hide)
    Index.build(store).save(tmp_path / "index")
    program.dwarfs(tmp_path / "index", store, tmp_path / "d", dwarf=DwarfConfig(z_max=0.08))
    assert "purity is not known" in capsys.readouterr().out
    assert artefact.read_json(tmp_path / "d" / "metrics.json")["average_precision"] is None
    assert not (tmp_path / "d" / "purity_completeness.png").exists()
    assert (tmp_path / "d" / "candidates.parquet").exists()


def test_an_encoder_that_saw_the_answers_is_refused_or_marked(make_store, tmp_path, capsys):
    store = make_store()
    seen = store.column("id")[Catalogue.read(store).rows_where("test", labelled=True)[:4]].tolist()
    card = artefact.read_json(store.folder / "card.json")
    artefact.write_json(store.folder / "card.json", {**card, "labels_seen": seen})
    again = type(store).open(store.folder)
    Index.build(again).save(tmp_path / "index")
    given = {"index": tmp_path / "index", "embeddings": store.folder, "out": tmp_path / "d"}
    given["dwarf"] = DwarfConfig(z_max=0.08)
    with pytest.raises(ContaminatedError, match="learnt from the redshifts of 4 galaxies"):
        program.dwarfs(**given)
    program.dwarfs(**given, contaminated="allow")
    assert "CONTAMINATED: z < 0.08" in capsys.readouterr().out
    assert artefact.read_json(tmp_path / "d" / "metrics.json")["contaminated"] == 4


def test_settings_that_cannot_be_meant_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="expected columns of r, g"):
        EvaluationConfig(cuts=("mag_r",))
    with pytest.raises(ConfigError, match="top is 0"):
        program.dwarfs(tmp_path, tmp_path, tmp_path, top=0)
