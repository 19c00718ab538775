"""Folders joined: every row of each, in order, and an index of the first grows to the whole."""

import numpy as np
import pyarrow.parquet as pq
import pytest
from ssl_photoz.recipes.probe import index as index_program
from ssl_photoz.recipes.probe.join import join

from ssl_photoz.core.errors import ConfigError, MismatchError
from ssl_photoz.embeddings import joining
from ssl_photoz.embeddings.joining import join_embeddings, repeated_ids
from ssl_photoz.embeddings.store import Embeddings, Reject, finish, write_shard
from ssl_photoz.similarity.index import Index

DIM, ROWS = 6, 40


@pytest.fixture
def make(tmp_path):
    """Embeddings of two shards, the last of three cutouts of each rejected; then an empty one."""

    def make(name, *, seed=0, change=None, **facts):
        rng = np.random.default_rng(seed)
        for number in range(2):
            row = np.arange(ROWS) + number * (ROWS + 1)
            columns = {
                "row": row,
                "id": row + 1000 * seed + 2**60,
                "ra": rng.uniform(0, 360, ROWS),
                "dec": rng.uniform(-60, 60, ROWS),
                "z": rng.uniform(0, 1, ROWS).astype("f4"),
                "split": rng.choice(["train", "val", "test"], ROWS),
                "embedding": rng.normal(size=(ROWS, DIM)).astype("f4"),
            }
            if change:
                change(columns)
            last = int(row[-1]) + 1
            write_shard(
                tmp_path / name, number, columns, rejects=[Reject(last, f"bad-{last}", "blank")]
            )
        empty = {"row": np.empty(0, np.int64)}
        write_shard(tmp_path / name, 2, empty, rejects=[Reject(2 * ROWS + 2, "last", "blank")])
        rows_in = 2 * ROWS + 3
        about = {"simulated": True, "calibrated": True, "encoder": "e", "split": {"seed": 0}}
        finish(tmp_path / name, rows_in=rows_in, config={}, parents={}, **{**about, **facts})
        return Embeddings.open(tmp_path / name)

    return make


def test_every_row_and_reject_of_each_in_order(make, tmp_path):
    blocks = {"magnitudes": 4, "conditions": 2}
    parts = [make(name, seed=seed, blocks=blocks) for seed, name in enumerate("abc", 1)]
    card = join_embeddings(tmp_path / "all", parts)
    joined = Embeddings.open(tmp_path / "all")
    assert (card["rows_in"], len(joined), card["rows_rejected"]) == (249, 240, 9)
    for name in ("id", "z", "split", "embedding"):
        expected = np.concatenate([part.column(name) for part in parts])
        np.testing.assert_array_equal(joined.column(name), expected)
    expected = np.concatenate([part.column("row") + 83 * n for n, part in enumerate(parts)])
    np.testing.assert_array_equal(joined.column("row"), expected)
    rejects = pq.read_table(tmp_path / "all" / "rejects.parquet").to_pylist()
    assert [one["row"] for one in rejects] == [40, 81, 82, 123, 164, 165, 206, 247, 248]
    rows = {*joined.column("row").tolist(), *(one["row"] for one in rejects)}
    assert rows == set(range(249))
    assert card["split"] == {"seed": 0}
    assert list(joined.card.blocks.items()) == list(blocks.items())
    assert repeated_ids(joined) == 0


def test_an_index_of_the_first_grows_to_the_whole(make, tmp_path, capsys):
    first, second = make("a", seed=1), make("b", seed=2)
    index = tmp_path / "index"
    index_program.index(first.folder, index)
    both = (first.folder, second)
    join(both, tmp_path / "all")
    assert "160 galaxies of 2 folders" in capsys.readouterr().out
    index_program.index(tmp_path / "all", index)
    assert "adding to" in capsys.readouterr().out
    _, found = Index.load(index).nearest_rows(second.vectors(), 1)
    assert (found[:, 0] == np.arange(80) + 80).all()
    join(both, tmp_path / "all")
    assert "already made" in capsys.readouterr().out


def test_a_join_cut_short_goes_on_and_redoes_what_is_damaged(make, tmp_path, monkeypatch):
    parts = [make("a", seed=1), make("b", seed=2)]
    whole = join_embeddings(tmp_path / "whole", parts)
    put, done = joining._put, []

    def stop_after_four(*arguments):
        if len(done) == 4:
            raise KeyboardInterrupt
        done.append(put(*arguments))

    monkeypatch.setattr(joining, "_put", stop_after_four)
    with pytest.raises(KeyboardInterrupt):
        join_embeddings(tmp_path / "cut", parts)
    (tmp_path / "cut" / "part-00003.parquet").write_bytes(b"PAR1 torn")
    done.clear()
    again = join_embeddings(tmp_path / "cut", parts)
    assert len(done) == 3, "the damaged shard and the two that were missing"
    assert again["shards"] == whole["shards"]


def test_repeated_ids_are_counted(make, tmp_path):
    join_embeddings(tmp_path / "all", [make("a", seed=1), make("b", seed=1, trained_steps=7)])
    assert repeated_ids(Embeddings.open(tmp_path / "all")) == 80


@pytest.mark.parametrize(
    ("facts", "says"),
    [
        ({"encoder": "other"}, "has encoder 'e'.*has 'other'"),
        ({"orientations": 8}, "has orientations None.*has 8"),
        ({"simulated": False}, "has simulated True.*has False"),
        ({"split": {"seed": 1}}, "has split {'seed': 0}"),
    ],
)
def test_embeddings_made_otherwise_are_refused(make, tmp_path, facts, says):
    with pytest.raises(MismatchError, match=says):
        join_embeddings(tmp_path / "all", [make("a", seed=1), make("b", seed=2, **facts)])
    assert not (tmp_path / "all").exists()


def test_other_columns_are_refused_by_name(make, tmp_path):
    more = make("b", seed=2, change=lambda columns: columns.update(mag_r=np.zeros(ROWS)))
    other = make("c", seed=3, change=lambda columns: columns.update(z=np.zeros(ROWS)))
    first = make("a", seed=1)
    with pytest.raises(MismatchError, match=r"'mag_r' is missing in .*a and double in .*b"):
        join_embeddings(tmp_path / "all", [first, more])
    with pytest.raises(MismatchError, match=r"'z' is float in .*a and double in .*c"):
        join_embeddings(tmp_path / "all", [first, other])


def test_a_folder_alone_or_twice_is_refused(make, tmp_path):
    one = make("a", seed=1)
    with pytest.raises(ConfigError, match="got 1 embeddings folders, expected at least 2"):
        join_embeddings(tmp_path / "all", [one])
    with pytest.raises(ConfigError, match="each once"):
        join_embeddings(tmp_path / "all", [one, one])
