"""An index grows and hides rows without being built again; cut short, it stays what it was."""

import signal
import subprocess
import sys
import time

import numpy as np
import pyarrow.parquet as pq
import pytest
from ssl_photoz.recipes.probe import index as program

from ssl_photoz.core import artefact
from ssl_photoz.core.errors import DataError, MismatchError, ShapeError
from ssl_photoz.embeddings.store import Embeddings, finish, write_shard
from ssl_photoz.similarity import index as index_module
from ssl_photoz.similarity import index_building
from ssl_photoz.similarity.index import Index
from ssl_photoz.similarity.index_building import build_index, grow_index
from ssl_photoz.similarity.index_types import recall_of
from ssl_photoz.similarity.lists import rows_to_hide
from ssl_photoz.similarity.settings import IndexConfig

SHARD, DIM = 600, 16
TYPES = ("flat", "hnsw", "ivf_flat", "ivf_sq8", "ivf_pq")


@pytest.fixture
def make_shards(tmp_path):
    """Embeddings of some shards; the same shard number is the same shard in every folder."""

    def make(name, shards, *, encoder="e", seed=0):
        for number in range(shards):
            rng = np.random.default_rng([seed, number])
            z = rng.gamma(2.0, 0.1, SHARD).astype("f4")
            bend = np.stack([np.sin((j + 1) * 2 * z + j) for j in range(DIM)], axis=1)
            columns = {
                "row": np.arange(SHARD) + number * SHARD,
                "id": np.arange(SHARD) + number * SHARD + 2**60,
                "ra": rng.uniform(0, 360, SHARD),
                "dec": rng.uniform(-60, 60, SHARD),
                "z": np.where(rng.random(SHARD) < 0.7, z, np.nan).astype("f4"),
                "split": rng.choice(["train", "val", "test"], SHARD),
                "is_star": rng.random(SHARD) < 0.1,
                "shred": np.where(rng.random(SHARD) < 0.1, 1.0, np.nan),
                "embedding": (bend + 0.15 * rng.normal(size=(SHARD, DIM))).astype("f4"),
            }
            write_shard(tmp_path / name, number, columns)
        finish(
            tmp_path / name,
            rows_in=shards * SHARD,
            config={},
            parents={},
            simulated=True,
            calibrated=True,
            encoder=encoder,
        )
        return Embeddings.open(tmp_path / name)

    return make


@pytest.mark.parametrize("name", TYPES)
def test_a_grown_index_finds_old_and_new_rows(make_shards, tmp_path, name):
    old, new = make_shards("old", 2), make_shards("new", 3)
    folder = tmp_path / "index"
    build_index(folder, old, IndexConfig(index_type=name, rows_per_shard=500)).save(folder)
    before = {path.name for path in folder.iterdir()}
    grow_index(folder, new, IndexConfig(rows_per_shard=500)).save(folder)
    index = Index.load(folder)
    index.check_belongs(new)
    assert len(index) == 3 * SHARD
    _, rows = index.nearest_rows(new.vectors(), 1)
    assert (rows[:, 0] == np.arange(3 * SHARD)).mean() >= 0.98
    unit = index.reduction.apply(new.vectors())
    true = np.argsort(-unit @ unit.T, axis=1)[:, :10]
    assert recall_of(index.nearest_rows(new.vectors(), 10)[1], true) >= 0.95
    after = {path.name for path in folder.iterdir()}
    columns = {f"{one}-000000001200.npy" for one in ("ids", "ra", "dec", "z", "split")}
    assert before - after <= {"index-000000001200.faiss", *columns}
    if name.startswith("ivf"):
        firsts = (0, 500, 1000, 1200, 1700)
        assert {one for one in after if one.startswith(("shard-", "index-", "part-"))} == {
            f"shard-{first:012d}.faiss" for first in firsts
        }
    else:
        assert len(list(folder.glob("index-*"))) == 1


def test_growing_trains_nothing_again(make_shards, tmp_path, monkeypatch):
    old, new = make_shards("old", 2), make_shards("new", 3)
    folder = tmp_path / "index"
    build_index(folder, old, IndexConfig(index_type="ivf_sq8")).save(folder)
    patterns = ("reduction*", "trained*", "vectors-*", "shard-*")
    made = [path for pattern in patterns for path in folder.glob(pattern)]
    assert len(made) == 4
    kept = {path: artefact.sha256_of(path) for path in made}
    monkeypatch.setattr(index_building, "train_on_sample", None)
    grow_index(folder, new).save(folder)
    assert kept == {path: artefact.sha256_of(path) for path in kept}


@pytest.mark.parametrize("name", ["flat", "hnsw", "ivf_sq8"])
def test_growth_cut_short_leaves_the_old_index_and_goes_on(
    make_shards, tmp_path, name, monkeypatch
):
    old, new = make_shards("old", 2), make_shards("new", 4)
    folder = tmp_path / "index"
    build_index(folder, old, IndexConfig(index_type=name)).save(folder)
    before = Index.load(folder).nearest_rows(old.vectors()[:50], 5)[1]

    def fail(*_, **__):
        raise KeyboardInterrupt

    for step in ("_cells_touched", "tune", "_opened"):
        with monkeypatch.context() as patch:
            patch.setattr(index_module if step == "tune" else index_building, step, fail)
            exact, one_file = name == "flat", not name.startswith("ivf")
            if not (step == "tune" and exact) and not (step == "_cells_touched" and one_file):
                with pytest.raises(KeyboardInterrupt):
                    grow_index(folder, new, IndexConfig(rows_per_shard=500))
        index = Index.load(folder)
        index.check_belongs(old)
        np.testing.assert_array_equal(index.nearest_rows(old.vectors()[:50], 5)[1], before)
    monkeypatch.setattr(index_building, "_rows_between", fail)  # they are there
    grow_index(folder, new, IndexConfig(rows_per_shard=500)).save(folder)
    index = Index.load(folder)
    assert len(index) == 4 * SHARD
    assert (index.nearest_rows(new.vectors(), 1)[1][:, 0] == np.arange(4 * SHARD)).mean() >= 0.98
    assert not list(folder.glob("part-*"))
    assert not (folder / "growing.json").exists()


def test_growth_that_was_begun_with_other_embeddings_is_not_gone_on_with(
    make_shards, tmp_path, monkeypatch
):
    old, new, longer = make_shards("old", 1), make_shards("new", 2), make_shards("longer", 3)
    folder = tmp_path / "index"
    build_index(folder, old, IndexConfig(index_type="ivf_sq8")).save(folder)
    with monkeypatch.context() as patch:
        patch.setattr(index_module, "tune", None)
        with pytest.raises(TypeError):
            grow_index(folder, longer, IndexConfig(rows_per_shard=100))
    grow_index(folder, new).save(folder)
    index = Index.load(folder)
    assert len(index) == 2 * SHARD
    assert (index.nearest_rows(new.vectors(), 1)[1][:, 0] == np.arange(2 * SHARD)).mean() >= 0.98


def test_only_what_continues_the_indexed_rows_is_added(make_shards, tmp_path):
    folder = tmp_path / "index"
    build_index(folder, make_shards("old", 2), IndexConfig(index_type="flat")).save(folder)
    others = [
        make_shards("shorter", 1),
        make_shards("different", 3, seed=1),
        make_shards("by another encoder", 3, encoder="f"),
    ]
    for other in others:
        with pytest.raises(MismatchError, match="does not begin with them"):
            grow_index(folder, other)


@pytest.mark.parametrize("name", TYPES)
def test_hidden_rows_are_never_found_and_the_others_still_are(make_shards, tmp_path, name):
    store = make_shards("e", 2)
    folder = tmp_path / "index"
    hidden = store.column("is_star")
    build_index(folder, store, IndexConfig(index_type=name)).hiding(hidden).save(folder)
    index = Index.load(folder)
    visible = np.flatnonzero(~hidden)
    assert len(index) == len(visible)
    _, rows = index.nearest_rows(store.vectors(), 10)
    assert not hidden[rows].any()
    unit = index.reduction.apply(store.vectors())
    true = visible[np.argsort(-unit @ unit[visible].T, axis=1)[:, :10]]
    assert recall_of(rows, true) >= 0.95
    part = np.arange(0, len(store), 3)
    _, among = index.restricted_to(part).nearest_rows(store.vectors()[:50], 10)
    assert np.isin(among, part[~hidden[part]]).all()
    np.testing.assert_allclose(index.vectors(np.flatnonzero(hidden)), unit[hidden], atol=1e-3)


@pytest.mark.parametrize("name", ["flat", "ivf_flat"])
def test_what_is_hidden_can_be_shown_again(make_shards, tmp_path, name):
    store = make_shards("e", 2)
    index = build_index(tmp_path / "index", store, IndexConfig(index_type=name))
    hidden = store.column("is_star")
    again = index.hiding(hidden).hiding(None)
    for before, after in zip(
        index.nearest_rows(store.vectors(), 3), again.nearest_rows(store.vectors(), 3), strict=True
    ):
        np.testing.assert_array_equal(before, after)
    assert index.hiding(hidden).hides(hidden)
    assert again.hides(None)
    assert not again.hides(hidden)
    with pytest.raises(ShapeError, match=r"expected \(1200,\)"):
        index.hiding(hidden[:-1])


def test_columns_and_a_list_say_what_to_hide(make_shards, tmp_path):
    store = make_shards("e", 1)
    (tmp_path / "list.csv").write_text(f"id\n{2**60 + 7}\n{2**60 + 9}\n5\n")
    hidden = rows_to_hide(store, columns=["is_star", "shred"], listed=tmp_path / "list.csv")
    expected = store.column("is_star") | (store.column("shred") == 1)
    expected[[7, 9]] = True
    np.testing.assert_array_equal(hidden, expected)
    assert rows_to_hide(store) is None


def test_hiding_what_cannot_be_is_refused(make_shards, tmp_path):
    store = make_shards("e", 1)
    with pytest.raises(DataError, match="column split holds"):
        rows_to_hide(store, columns=["split"])
    with pytest.raises(DataError, match="column embedding holds"):
        rows_to_hide(store, columns=["embedding"])
    with pytest.raises(DataError, match="every one of 600 galaxies"):
        rows_to_hide(store, columns=["id"])


def test_the_same_command_builds_hides_grows_and_then_has_nothing_to_do(
    make_shards, tmp_path, capsys
):
    old, new = make_shards("old", 2), make_shards("new", 3)
    out = tmp_path / "index"

    def run(store, *, pca_dim=128, **asked):
        config = IndexConfig(index_type="ivf_sq8", pca_dim=pca_dim)
        made = program.index(store.folder, out, search=config, **asked)
        assert made.card.embeddings == store.sha256
        return capsys.readouterr().out

    assert "1200 of 1200 galaxies searchable" in run(old)
    assert "already made" in run(old)
    made = artefact.sha256_of(next(out.glob("shard-*")))
    stars = int(old.column("is_star").sum())
    assert f"{1200 - stars} of 1200 galaxies" in run(old, hide=("is_star",))
    assert artefact.sha256_of(next(out.glob("shard-*"))) == made
    assert "already made" in run(old, hide=("is_star",))
    assert artefact.read_card(out, "index")["hidden"] == stars
    assert "1200 of 1200 galaxies" in run(old)
    assert not list(out.glob("hidden*"))
    said = run(new, hide=("is_star",))
    assert "adding to" in said
    assert f"{1800 - int(new.column('is_star').sum())} of 1800 galaxies" in said
    assert "already made" in run(new, hide=("is_star",))
    card = artefact.read_card(out, "index")
    assert card["parents"] == {"embeddings": new.sha256}
    assert card["quality"]["queries"] > 0
    with pytest.raises(MismatchError, match="setting pca_dim"):
        run(new, pca_dim=8)
    with pytest.raises(MismatchError, match="does not begin with them"):
        run(old)


def test_a_build_survives_sigkill(make_shards, tmp_path):
    store = make_shards("e", 6)
    code = (
        "import sys; from pathlib import Path; import time\n"
        "from ssl_photoz.embeddings.store import Embeddings\n"
        "from ssl_photoz.similarity import index_building\n"
        "from ssl_photoz.similarity.settings import IndexConfig\n"
        "write = index_building.write_lists\n"
        "index_building.write_lists = lambda *given: (write(*given), time.sleep(0.05))\n"
        "out = Path(sys.argv[2])\n"
        "config = IndexConfig(index_type='ivf_sq8', rows_per_shard=300)\n"
        "store = Embeddings.open(sys.argv[1])\n"
        "index_building.build_index(out, store, config).save(out)\n"
    )
    command = [sys.executable, "-c", code, str(store.folder), str(tmp_path / "killed")]
    for shards in (2, 7):
        process = subprocess.Popen(command, stderr=subprocess.PIPE)
        end = time.monotonic() + 60
        while len(list((tmp_path / "killed").glob("shard-*"))) < shards:
            assert process.poll() is None, process.stderr.read().decode()[-2000:]
            assert time.monotonic() < end
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert not (tmp_path / "killed" / "card.json").exists()
    config = IndexConfig(index_type="ivf_sq8", rows_per_shard=300)
    build_index(tmp_path / "killed", store, config).save(tmp_path / "killed")
    build_index(tmp_path / "whole", store, IndexConfig(index_type="ivf_sq8")).save(
        tmp_path / "whole"
    )
    killed, whole = (Index.load(tmp_path / name) for name in ("killed", "whole"))
    for one, other in zip(
        killed.nearest_rows(store.vectors()[:99], 4),
        whole.nearest_rows(store.vectors()[:99], 4),
        strict=True,
    ):
        np.testing.assert_array_equal(one, other)
    assert not [path for path in (tmp_path / "killed").iterdir() if "partial" in path.name]


def test_every_shard_accounts_for_its_rows(make_shards):
    """The fixture's folders share shards byte for byte, which growing rests on."""
    one, two = make_shards("one", 1), make_shards("two", 2)
    assert list(one.card["shards"].values()) == list(two.card["shards"].values())[:1]
    assert pq.read_metadata(two.folder / "part-00001.parquet").num_rows == SHARD
