import shlex
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from astropy.table import Table
from ssl_photoz.recipes.probe import query

from ssl_photoz import cli
from ssl_photoz.catalog.tables import read_table, write_table
from ssl_photoz.core import artefact
from ssl_photoz.core.errors import ConfigError, MismatchError
from ssl_photoz.similarity.index import Index
from ssl_photoz.similarity.search import Search
from ssl_photoz.similarity.settings import FeedbackConfig, MatchConfig, TargetConfig


@pytest.fixture
def made(make_store, tmp_path):
    """Embeddings with pictures, and an index of them."""
    store = make_store(pictures=True)
    Index.build(store).save(tmp_path / "index")
    return store, {"index": tmp_path / "index", "embeddings": store.folder}


def ask(folders, *arguments):
    given = [f"{name}={folder}" for name, folder in folders.items()]
    return cli.run("query", [*given, *arguments])


def test_the_program_and_python_give_identical_answers(made, tmp_path, capsys):
    store, folders = made
    ids = store.column("id")
    photoz, likes, dislikes = (tmp_path / name for name in ("pz.parquet", "a.csv", "b.fits"))
    write_table(photoz, {"id": ids, "z_phot": np.linspace(0, 0.3, 300)}, simulated=True)
    Table({"id": ids[:4]}).write(likes)
    Table({"id": ids[7:9]}).write(dislikes)
    search = Search.open(**folders, photoz=photoz)
    where = "z_phot < 0.2"
    ra, dec = float(store.column("ra")[33]), float(store.column("dec")[33])
    answers = {
        f"id={ids[33]} k=6": search.like_id(ids[33], k=6),
        f"id={ids[33]} where='{where}'": search.like_id(ids[33], where=where),
        f"ra={ra!r} dec={dec!r}": search.like_position(ra, dec),
        f"like={likes}": search.like_these(ids[:4].tolist()),
        f"like={likes} mode=any unlike={dislikes} unlike_weight=0.5 where='{where}'": (
            search.like_these(
                ids[:4].tolist(),
                unlike=dislikes,
                feedback=FeedbackConfig("any", 0.5),
                where=where,
            )
        ),
    }
    for number, (asked, answer) in enumerate(answers.items()):
        out = tmp_path / f"{number}.parquet"
        arguments = shlex.split(asked)
        ask(folders, f"out={out}", f"photoz={photoz}", *arguments)
        assert out.with_suffix(".png").stat().st_size > 10_000
        said, table = capsys.readouterr().out, pq.read_table(out).to_pydict()
        assert answer.describe() in said
        assert table.pop("simulated") == [True] * len(answer.rows)
        expected = answer.table()
        assert list(table) == list(expected)
        for name, values in expected.items():
            np.testing.assert_array_equal(np.array(table[name]), values, err_msg=name)
    assert len(answers) == 5


@pytest.mark.parametrize("suffix", [".csv", ".fits", ".vot", ".parquet"])
def test_an_answer_is_written_in_each_format(made, tmp_path, suffix):
    store, folders = made
    out = tmp_path / "answers" / f"of_33{suffix}"
    ask(folders, f"out={out}", f"id={store.column('id')[33]}", "k=6")
    table = read_table(out)
    assert table["rank"].tolist() == [1, 2, 3, 4, 5, 6]
    assert table["simulated"].all()
    expected = Search.open(**folders).like_id(store.column("id")[33], k=6)
    np.testing.assert_array_equal(table["id"], store.column("id")[expected.rows])
    np.testing.assert_allclose(table["distance"], expected.distances, rtol=1e-6)
    np.testing.assert_array_equal(table["z_spec"].astype("f4"), store.column("z")[expected.rows])


def test_a_cutout_is_looked_up_by_its_embedding(made, tmp_path, monkeypatch):
    store, folders = made
    out = tmp_path / "mine.parquet"
    (tmp_path / "encoder").mkdir()
    (tmp_path / "encoder" / "card.json").write_text("{}")
    asked = [f"cutout={tmp_path}/mine.fits", f"encoder={tmp_path}/encoder", f"out={out}", "k=3"]
    with pytest.raises(MismatchError, match="give that encoder"):
        ask(folders, *asked)
    monkeypatch.setattr(Index, "check_encoder", lambda *_: None)
    monkeypatch.setattr(
        "ssl_photoz.embeddings.single.embed_file",
        lambda *_, like: (store.vectors()[5], store.thumbnails([5])[0]),
    )
    ask(folders, *asked)
    table = pq.read_table(out).to_pydict()
    assert table["id"][0] == store.column("id")[5]
    assert table["distance"][0] == pytest.approx(0, abs=1e-6)
    assert out.with_suffix(".png").exists()


def test_examples_make_an_artefact_once(made, tmp_path, capsys):
    _, folders = made
    asked = [f"out={tmp_path}/q", "examples=3"]
    ask(folders, *asked, "k=4")
    card = artefact.read_card(tmp_path / "q", "query")
    assert card["simulated"] is True
    table = pq.read_table(tmp_path / "q" / "lookalikes.parquet").to_pydict()
    assert [str(one) for one in table["query_id"][::4]] == card["queries"]
    before = (tmp_path / "q" / "lookalikes.png").stat().st_mtime_ns
    ask(folders, *asked, "k=4")
    assert "already made" in capsys.readouterr().out
    assert (tmp_path / "q" / "lookalikes.png").stat().st_mtime_ns == before
    with pytest.raises(MismatchError, match="k = 4, asked for 5"):
        ask(folders, *asked, "k=5")


def test_an_index_of_other_embeddings_is_refused(made, make_store, tmp_path):
    _, folders = made
    other = make_store("other", seed=3)
    with pytest.raises(MismatchError, match="run index on these embeddings"):
        ask({**folders, "embeddings": other.folder}, f"out={tmp_path}/t.csv", "id=1")
    assert not (tmp_path / "t.csv").exists()


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({}, "got no query"),
        ({"id": "3", "examples": 2}, "got id and examples"),
        ({"ra": 3.0}, "ra and dec"),
        ({"cutout": "x.h5"}, "cutout and encoder"),
        ({"cutout": "x.h5", "encoder": "e", "ra": 1.0, "dec": 2.0}, "got ra and dec and cutout"),
        ({"id": "3", "unlike": "x.csv"}, "got unlike without like"),
    ],
)
def test_queries_that_are_no_query_are_refused(tmp_path, asked, says):
    given = {"index": tmp_path, "embeddings": tmp_path, "out": tmp_path / "t.csv"}
    with pytest.raises(ConfigError, match=says):
        query.query(**given, target=TargetConfig(**asked))


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"ra": 361.0, "dec": 0.0}, "expected degrees, 0 to 360"),
        ({"ra": 1.0, "dec": float("nan")}, "expected degrees, 0 to 360"),
        ({"ra": 1.0, "dec": 2.0, "radius_arcsec": 0.0}, r"radius_arcsec is 0\.0"),
        ({"k": 0}, "k is 0"),
        ({"where": "embedding > 3"}, "where: column embedding holds 12 values per galaxy"),
        ({"where": "z ~ 3"}, "expected a comparison"),
        ({"out": Path("answer.txt")}, r"ends in '\.txt'"),
        ({"examples": 2, "out": Path("answer.csv")}, "expected a folder"),
    ],
)
def test_wrong_values_are_refused_and_nothing_is_written(made, tmp_path, asked, says, monkeypatch):
    store, folders = made
    monkeypatch.chdir(tmp_path)
    if not {"ra", "examples"} & set(asked):
        asked = {**asked, "id": str(store.column("id")[0])}
    grouped = ("id", "ra", "dec", "examples")
    given = {**folders, "out": Path("answer.csv")}
    given |= {name: value for name, value in asked.items() if name in ("k", "where", "out")}
    with pytest.raises(ConfigError, match=says):
        query.query(
            **given,
            target=TargetConfig(**{n: v for n, v in asked.items() if n in grouped}),
            matching=MatchConfig(asked.get("radius_arcsec", 2.0)),
        )
    assert not list(tmp_path.glob("answer*"))
