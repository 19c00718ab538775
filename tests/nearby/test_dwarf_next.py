import csv

import numpy as np
import pytest
from ssl_photoz.recipes.probe import dwarfs as program

from ssl_photoz import cli
from ssl_photoz.core.errors import ConfigError, DataError, MismatchError
from ssl_photoz.nearby.candidates import farthest_first, propose_looks
from ssl_photoz.nearby.settings import DwarfConfig
from ssl_photoz.similarity.index import Index

NEAR = DwarfConfig(z_max=0.08, also=())


def test_each_is_the_one_farthest_from_those_taken():
    rng = np.random.default_rng(0)
    units = rng.normal(size=(200, 5)).astype(np.float32)
    units /= np.linalg.norm(units, axis=1, keepdims=True)
    taken = farthest_first(units, 20).tolist()
    assert taken[0] == 0
    for count in range(1, 20):
        closest = (units @ units[taken[:count]].T).max(axis=1)
        assert closest[taken[count]] == pytest.approx(closest.min(), abs=1e-6)
    assert len(set(taken)) == 20
    assert sorted(farthest_first(units[:3], 10).tolist()) == [0, 1, 2]


def test_the_likeliest_are_asked_about_and_not_twice_the_same(make_store):
    def repeat(columns, vectors):
        vectors[260:] = vectors[260]

    index = Index.build(make_store(change=repeat))
    rows, score = np.arange(300), np.linspace(-3, 3, 300)
    score[250] = np.nan
    looks = propose_looks(index, rows, score, n=5)
    assert looks[0] == 299
    assert len(set(looks.tolist()) & set(range(260, 300))) == 1
    assert set(looks.tolist()) <= set(range(199, 300)) - {250}
    assert 250 not in propose_looks(index, rows, score, n=299)
    with pytest.raises(ConfigError, match="n is 0"):
        propose_looks(index, rows, score, n=0)


@pytest.fixture
def made(make_store, tmp_path):
    """Embeddings, an index and a dwarfs folder; the unlabelled galaxies have a secret redshift."""
    secret = {}

    def change(columns, vectors):
        hidden = np.random.default_rng(4).random(len(vectors)) < 0.5
        secret["z"] = columns["z"].copy()
        columns["z"][hidden] = np.nan

    store = make_store(n=600, labelled=1.0, change=change)
    Index.build(store).save(tmp_path / "index")
    folders = {"index": tmp_path / "index", "embeddings": store.folder}
    program.dwarfs(**folders, out=tmp_path / "d", dwarf=NEAR)
    return store, folders, secret["z"]


def test_verdicts_filled_in_come_back_as_labels(made, tmp_path, capsys):
    store, folders, secret = made
    looks = tmp_path / "looks.csv"
    asked = {**folders, "candidates": tmp_path / "d", "propose": 12}
    assert program.dwarfs(**asked, out=looks) == looks
    lines = list(csv.DictReader(looks.open()))
    assert len(lines) == 12
    row_of = {str(one): row for row, one in enumerate(store.column("id").tolist())}
    rows = [row_of[line["id"]] for line in lines]
    assert set(store.column("split")[rows]) == {"train"}
    assert np.isnan(store.column("z")[rows]).all()
    assert {line["verdict"] for line in lines} == {""}
    for line, row in zip(lines, rows, strict=True):
        line["verdict"] = "dwarf" if secret[row] < 0.08 else "not_dwarf"
    lines[0]["verdict"] = "junk"
    with looks.open("w", newline="") as file:
        writer = csv.DictWriter(file, lines[0])
        writer.writeheader()
        writer.writerows(lines)
    given = {**folders, "dwarf": NEAR, "verdicts": looks}
    again = program.dwarfs(**given, out=tmp_path / "again")
    learnt = again.card.metrics["verdicts"]
    wanted = sum(line["verdict"] == "dwarf" for line in lines)
    assert learnt == {
        "dwarf": wanted, "not_dwarf": 11 - wanted, "junk": 1, "not_used": 0, "not_found": 0,
        "ambiguous": 0,
    }  # fmt: skip
    listed = {
        row["id"]: row for row in csv.DictReader((tmp_path / "again" / "candidates.csv").open())
    }
    assert lines[0]["id"] not in listed
    assert listed[lines[1]["id"]]["verdict"] == lines[1]["verdict"]
    more = tmp_path / "more.csv"
    program.dwarfs(**asked, out=more, verdicts=looks)
    assert not {line["id"] for line in csv.DictReader(more.open())} & {line["id"] for line in lines}
    with pytest.raises(ConfigError, match=r"expected a \.csv"):
        program.dwarfs(**asked, out=tmp_path / "looks.fits")


def test_nothing_to_look_at_and_strange_embeddings_are_said(made, make_store, tmp_path):
    store, folders, _ = made
    other = make_store("other", seed=5)
    Index.build(other).save(tmp_path / "other_index")
    given = {"candidates": tmp_path / "d", "propose": 50, "out": tmp_path / "looks.csv"}
    there = {"index": tmp_path / "other_index", "embeddings": other.folder}
    with pytest.raises(MismatchError, match="run dwarfs on these embeddings"):
        program.dwarfs(**given, **there)
    everyone = tmp_path / "all.csv"
    ids = store.column("id").tolist()
    everyone.write_text("id,verdict\n" + "".join(f"{one},not_dwarf\n" for one in ids))
    with pytest.raises(DataError, match="can be looked at"):
        program.dwarfs(**given, **folders, verdicts=everyone)
    assert not (tmp_path / "looks.csv").exists()


def test_the_verb_of_version_0_1_proposes_the_same(made, tmp_path, capsys):
    _, folders, _ = made
    now, before = tmp_path / "now.csv", tmp_path / "before.csv"
    program.dwarfs(**folders, candidates=str(tmp_path / "d"), propose=7, out=str(now))
    given = [f"{name}={folder}" for name, folder in folders.items()]
    assert cli.main(["next", *given, f"dwarfs={tmp_path / 'd'}", f"out={before}", "n=7"]) == 0
    assert "next is now dwarfs" in capsys.readouterr().err
    assert before.read_bytes() == now.read_bytes()


def test_a_proposal_beside_a_list_is_written_once(made, tmp_path, capsys):
    _, folders, _ = made
    for _ in range(2):
        program.dwarfs(**folders, out=tmp_path / "d", dwarf=NEAR, propose=5)
    looks = tmp_path / "d" / "next_looks.csv"
    assert len(list(csv.DictReader(looks.open()))) == 5
    assert "is not written again" in capsys.readouterr().out
