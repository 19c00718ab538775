"""The index as the library's users meet it: an array in, ids and distances out."""

import numpy as np
import pytest
from ssl_photoz.recipes.probe.index import index as index_verb

import ssl_photoz as sp
from ssl_photoz.core.errors import ConfigError, MismatchError, ShapeError
from ssl_photoz.similarity.index import Index
from ssl_photoz.similarity.index_building import build_index, grow_index
from ssl_photoz.similarity.settings import IndexConfig

TYPES = ("flat", "hnsw", "ivf_flat", "ivf_sq8", "ivf_pq")


@pytest.fixture
def X():
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(20, 24))
    return (centres[rng.integers(20, size=1500)] + 0.4 * rng.normal(size=(1500, 24))).astype("f4")


@pytest.mark.parametrize("ids", [np.arange(1500) + 2**60, [f"J{n}" for n in range(1500)]])
def test_the_lines_of_the_readme(X, ids, tmp_path):
    index = sp.Index.build(X, ids=ids)
    found, distance = index.search(X[:3], k=12)
    assert found.shape == distance.shape == (3, 12)
    assert found[:, 0].tolist() == list(ids[:3])
    np.testing.assert_allclose(distance[:, 0], 0, atol=1e-6)
    assert (np.diff(distance, axis=1) >= 0).all()
    index.save(str(tmp_path / "index"))
    again = sp.Index.load(str(tmp_path / "index"))
    np.testing.assert_array_equal(again.search(X[:3])[0], found)
    assert len(again) == again.card.rows == 1500
    assert sp.Index.load(again) is again


def test_without_ids_rows_are_numbered(X):
    found, distance = Index.build(X.tolist()).search(X[5:6], k=4)
    np.testing.assert_array_equal(found, Index.build(X).nearest_rows(X[5:6], 4)[1])
    assert found[0, 0] == 5
    assert distance.dtype == np.float32


@pytest.mark.parametrize("name", TYPES)
def test_every_type_is_built_in_memory_as_on_disk(make_store, tmp_path, name):
    store = make_store(n=1500)
    config = IndexConfig(index_type=name, pca_dim=8)
    here = Index.build(store, config=config)
    here.save(tmp_path / "here")
    there = build_index(tmp_path / "there", store, config)
    there.save(tmp_path / "there")
    saved = Index.load(tmp_path / "here")
    queries = store.vectors()[:200]
    expected = there.search(queries, 5)
    for one in (here, saved):
        found = one.search(queries, 5)
        same = found[0] == expected[0]
        assert same.mean() >= (0.97 if name == "hnsw" else 1)
        np.testing.assert_allclose(found[1][same], expected[1][same], atol=1e-6)
    ours, theirs = dict(saved.card), dict(Index.load(tmp_path / "there").card)
    for name_of_fact in ("files", "sizes"):
        ours.pop(name_of_fact), theirs.pop(name_of_fact)
    for shard in (*ours.get("index_shards", ()), *theirs.get("index_shards", ())):
        shard.pop("cells")  # only an index that is built on disk looks at positions
    if name != "hnsw":
        assert ours == theirs
    np.testing.assert_array_equal(saved.ids, store.column("id"))


def test_an_index_built_in_memory_grows(make_store, tmp_path):
    from ssl_photoz.embeddings.store import Embeddings, finish, write_shard

    rng = np.random.default_rng(1)
    for number in range(3):
        columns = {
            "id": np.arange(500) + 1000 * number,
            "embedding": rng.normal(size=(500, 6)).astype("f4"),
        }
        for name in ("one", "two"):
            if number < 2 or name == "two":
                write_shard(tmp_path / name, number, columns)
    facts = {"config": {}, "parents": {}, "simulated": True, "calibrated": True, "encoder": "e"}
    finish(tmp_path / "one", rows_in=1000, **facts)
    finish(tmp_path / "two", rows_in=1500, **facts)
    one, two = (Embeddings.open(tmp_path / name) for name in ("one", "two"))
    folder = tmp_path / "index"
    Index.build(one, config=IndexConfig(index_type="ivf_sq8")).save(folder)
    grow_index(folder, two).save(folder)
    found, _ = Index.load(folder).search(two.vectors(), 1)
    assert (found[:, 0] == two.column("id")).mean() > 0.98
    assert len(list(folder.glob("ids-*"))) == 1


def test_hidden_and_missing_neighbours_have_no_id(X):
    ids = np.arange(1500) + 7
    index = Index.build(X, ids).restricted_to(np.array([3, 4]))
    found, distance = index.search(X[:2], k=4)
    assert set(found[:, :2].ravel()) == {10, 11}
    assert (found[:, 2:] == -1).all()
    assert np.isinf(distance[:, 2:]).all()
    text, _ = Index.build(X, ids.astype(str)).restricted_to(np.array([3, 4])).search(X[:2], k=4)
    assert (text[:, 2:] == "").all()


def test_what_is_no_array_of_embeddings_is_refused(X, make_store):
    with pytest.raises(ShapeError, match=r"expected numbers of shape \(N, D\)"):
        Index.build(X[0])
    with pytest.raises(ShapeError, match=r"ids have shape \(3,\), expected \(1500,\)"):
        Index.build(X, ids=[1, 2, 3])
    with pytest.raises(ConfigError, match="needs at least 256"):
        Index.build(X[:100], config=IndexConfig(index_type="ivf_pq"))
    with pytest.raises(MismatchError, match="built from an array"):
        Index.build(X).check_belongs(make_store())


def test_the_verb_returns_what_it_wrote(make_store, tmp_path):
    store = make_store()
    made = index_verb(str(store.folder), str(tmp_path / "index"), search=IndexConfig(pca_dim=6))
    assert made.card.quality["k"] == 10
    assert made.card.config["pca_dim"] == 6
    assert made.sha256 == Index.load(tmp_path / "index").sha256
    found, _ = made.search(store.vectors()[:4], k=2)
    np.testing.assert_array_equal(found[:, 0], store.column("id")[:4])


def test_an_index_of_version_0_1_goes_on(make_store, tmp_path):
    """Its card has the same settings, and it names no rows."""
    store, out = make_store(), tmp_path / "index"
    index_verb(store, out)
    from ssl_photoz.core import artefact

    card = artefact.read_json(out / "card.json")
    (ids,) = out.glob("ids-*")
    ids.unlink()
    del card["files"][ids.name]
    assert set(card["config"]) == {
        *("embeddings", "out", "pca_dim", "whiten", "index_type", "recall", "memory_gb", "hide"),
        *("hide_listed", "quality_k", "quality_bin_width", "seed"),
    }
    artefact.write_json(out / "card.json", card)
    again = index_verb(store, out)
    assert again.search(store.vectors()[:2], k=1)[0].ravel().tolist() == [0, 1]
