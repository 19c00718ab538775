import importlib

import faiss
import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from ssl_photoz.core import artefact
from ssl_photoz.core.errors import ArtefactError, ConfigError, DataError
from ssl_photoz.embeddings.store import write_embeddings
from ssl_photoz.similarity import index as index_module
from ssl_photoz.similarity.index import Index
from ssl_photoz.similarity.index_building import build_index
from ssl_photoz.similarity.index_types import recall_of
from ssl_photoz.similarity.settings import IndexConfig

ROWS, DIM = 4000, 24
TYPES = ("flat", "hnsw", "ivf_flat", "ivf_sq8", "ivf_pq")
CUSTOM = "OPQ8,IVF16,PQ8np"


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Clustered vectors, as embeddings are."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(40, DIM))
    vectors = centres[rng.integers(40, size=ROWS)] + 0.4 * rng.normal(size=(ROWS, DIM))
    columns = {
        "id": np.arange(ROWS),
        "ra": rng.uniform(0, 360, ROWS),
        "dec": rng.uniform(-60, 60, ROWS),
        "z": rng.uniform(0.01, 0.5, ROWS).astype("f4"),
        "split": np.full(ROWS, "test"),
    }
    folder = tmp_path_factory.mktemp("store")
    return write_embeddings(folder / "e", columns, vectors.astype("f4"), simulated=True)


@pytest.fixture(scope="module")
def made(store, tmp_path_factory):
    """An index folder of every type."""
    folder = tmp_path_factory.mktemp("indexes")
    for name in (*TYPES, CUSTOM):
        build_index(
            folder / name, store, IndexConfig(index_type=name, pca_dim=16, rows_per_shard=1500)
        ).save(folder / name)
    return folder


def truth(index, queries, k):
    """Rows by scikit-learn, among the vectors that the index says it compares."""
    unit = index.reduction.apply(queries)
    everything = index.vectors(np.arange(ROWS))
    reference = NearestNeighbors(n_neighbors=k, metric="cosine", algorithm="brute").fit(everything)
    return reference.kneighbors(unit)


@pytest.mark.parametrize("name", [*TYPES, CUSTOM])
def test_every_type_finds_the_true_neighbours_at_their_true_distance(store, made, name):
    index = Index.load(made / name)
    queries = np.random.default_rng(1).normal(size=(100, DIM)).astype("f4") + store.vectors()[:100]
    distances, rows = index.nearest_rows(queries, 10)
    expected, neighbours = truth(index, queries, 10)
    assert recall_of(rows, neighbours) >= 0.95
    same = rows == neighbours
    assert same[:, 0].mean() > 0.9
    np.testing.assert_allclose(distances[same], expected[same], atol=2e-3)
    assert np.all(np.diff(distances, axis=1) >= 0)


@pytest.mark.parametrize("name", [*TYPES, CUSTOM])
def test_a_row_finds_itself_first(store, made, name):
    index = Index.load(made / name)
    distances, rows = index.nearest_rows(store.vectors()[:200], 1)
    assert (rows[:, 0] == np.arange(200)).mean() >= 0.99
    assert np.median(distances) < 1e-3


@pytest.mark.parametrize("name", [*TYPES, CUSTOM])
def test_a_batch_answers_as_its_queries_do_alone(store, made, name):
    index = Index.load(made / name)
    queries = store.vectors()[:20]
    together, rows = index.nearest_rows(queries, 5)
    alone = [index.nearest_rows(one[None], 5) for one in queries]
    assert np.mean(rows == np.concatenate([found for _, found in alone])) >= 0.95
    np.testing.assert_allclose(together, np.concatenate([d for d, _ in alone]), atol=1e-3)


def test_flat_on_disk_is_the_index_that_is_built_in_memory(store, made):
    queries = store.vectors()[::50]
    here, there = Index.build(store, config=IndexConfig(pca_dim=16)), Index.load(made / "flat")
    for one, other in zip(here.search(queries, 7), there.search(queries, 7), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", ["hnsw", "ivf_flat", "ivf_sq8", "ivf_pq"])
def test_the_card_says_what_was_built_and_its_recall_is_true(store, made, name):
    card = artefact.read_card(made / name, "index")
    assert card["index_type"] == name
    assert (card["rows"], card["pca_dim"], card["metric"]) == (ROWS, 16, "1 - cosine")
    assert "unit length" in card["vectors"]
    assert card["recall_at_10"] >= card["recall_wanted"] == 0.99
    index = Index.load(made / name)
    asked = np.arange(5, ROWS, 9)
    _, rows = index.nearest_rows(store.vectors()[asked], 11)
    _, neighbours = truth(index, store.vectors()[asked], 11)
    measured = recall_of(rows, neighbours, own=asked)
    assert measured == pytest.approx(card["recall_at_10"], abs=0.02)


def test_less_recall_is_less_effort(store, tmp_path):
    index = build_index(
        tmp_path / "i", store, IndexConfig(index_type="ivf_flat", pca_dim=16, recall=0.3)
    )
    card = index.save(tmp_path / "i")
    assert card["effort"] < 4
    assert 0.3 <= card["recall_at_10"] < 1


@pytest.mark.parametrize("name", [*TYPES, CUSTOM])
def test_a_part_is_exact_whatever_the_type(store, made, name):
    index = Index.load(made / name)
    part = np.arange(7, ROWS, 11)
    queries = store.vectors()[:40]
    distances, rows = index.restricted_to(part).nearest_rows(queries, 6)
    unit = index.reduction.apply(queries)
    # Stored in half precision, a vector is of unit length to 3e-4; no distance is negative.
    apart = np.maximum(1 - unit @ index.vectors(part).T, 0)
    np.testing.assert_allclose(distances, np.sort(apart, axis=1)[:, :6], atol=1e-5)
    assert np.isin(rows, part).all()


@pytest.mark.parametrize("name", ["hnsw", "ivf_flat", "ivf_sq8", "ivf_pq", CUSTOM])
@pytest.mark.parametrize("every", [2, 40])
def test_a_large_part_is_searched_without_a_copy(store, made, name, every, monkeypatch):
    monkeypatch.setattr(index_module, "EXACT_ROWS", 10)
    index = Index.load(made / name)
    part = np.arange(0, ROWS, every)
    searched = index.restricted_to(part)
    _, rows = searched.nearest_rows(store.vectors()[:60], 10)
    _, exact = index.nearest_rows(store.vectors()[:60], ROWS)
    true = np.array([row[np.isin(row, part)][:10] for row in exact])
    assert len(searched) == len(part)
    assert np.isin(rows[rows >= 0], part).all()
    assert recall_of(rows, true) >= 0.9


def test_it_searches_beside_libraries_that_replace_the_search_of_faiss(store, made):
    expected = Index.load(made / "ivf_sq8").nearest_rows(store.vectors()[:9], 5)
    importlib.import_module("faiss.contrib.torch_utils")  # as pytorch_metric_learning does
    index = Index.load(made / "ivf_sq8")
    for before, after in zip(expected, index.nearest_rows(store.vectors()[:9], 5), strict=True):
        np.testing.assert_array_equal(before, after)


def test_all_rows_come_back_when_all_are_asked_for(store, made):
    for name in ("ivf_flat", "ivf_sq8", "ivf_pq"):
        _, rows = Index.load(made / name).nearest_rows(store.vectors()[:2], ROWS + 3)
        assert rows.shape == (2, ROWS + 3)
        for found in rows:
            np.testing.assert_array_equal(np.sort(found[:ROWS]), np.arange(ROWS))
        assert np.all(rows[:, ROWS:] == -1)


@pytest.mark.parametrize("name", TYPES)
def test_a_killed_build_goes_on_to_the_same_answers(store, made, tmp_path, name, monkeypatch):
    whole = Index.load(made / name)
    calls = []
    target = {
        "flat": faiss.IndexFlatIP,
        "hnsw": faiss.IndexHNSWFlat,
        "ivf_flat": faiss.IndexIVFFlat,
        "ivf_sq8": faiss.IndexIVFScalarQuantizer,
        "ivf_pq": faiss.IndexIVFPQ,
    }[name]
    adds = "add_with_ids" if name.startswith("ivf") else "add"
    add = getattr(target, adds)

    def dies_at_the_third(self, vectors, *ids):
        if type(self) is target and len(vectors) in (1500, 1000):
            calls.append(len(vectors))
            if len(calls) == 3:
                raise KeyboardInterrupt
        return add(self, vectors, *ids)

    monkeypatch.setattr(target, adds, dies_at_the_third)
    build = {"config": IndexConfig(index_type=name, pca_dim=16, rows_per_shard=1500)}
    with pytest.raises(KeyboardInterrupt):
        build_index(tmp_path / "i", store, **build)
    with pytest.raises(ArtefactError, match=r"no card\.json"):
        Index.load(tmp_path / "i")
    calls[:] = [0] * 3
    build_index(tmp_path / "i", store, **build).save(tmp_path / "i")
    assert calls[3:] == [1000], "only the last shard was left to do"
    resumed = Index.load(tmp_path / "i")
    names = {path.name.split("-")[0] for path in (tmp_path / "i").iterdir()}
    assert not {"part", "plan.json"} & names
    same = (
        whole.nearest_rows(store.vectors()[:100], 5)[1]
        == resumed.nearest_rows(store.vectors()[:100], 5)[1]
    )
    assert same.mean() >= (0.97 if name == "hnsw" else 1)


def test_other_work_in_the_folder_is_not_gone_on_with(store, made, tmp_path):
    """What another build of other settings left is cleared away."""
    folder = tmp_path / "i"
    build_index(folder, store, IndexConfig(index_type="ivf_sq8", pca_dim=8, rows_per_shard=1500))
    index = build_index(
        folder, store, IndexConfig(index_type="ivf_flat", pca_dim=16, rows_per_shard=2500)
    )
    index.save(folder)
    loaded = Index.load(folder)
    assert loaded.reduction.dim == 16
    np.testing.assert_array_equal(
        loaded.nearest_rows(store.vectors()[:50], 3)[1],
        Index.load(made / "ivf_flat").nearest_rows(store.vectors()[:50], 3)[1],
    )


def test_whitened_components_have_unit_variance(store, tmp_path):
    index = build_index(
        tmp_path / "i", store, IndexConfig(index_type="flat", pca_dim=13, whiten=True)
    )
    plain = build_index(tmp_path / "p", store, IndexConfig(index_type="flat", pca_dim=13))
    reduced = (store.vectors() - index.reduction.mean) @ index.reduction.projection.T
    np.testing.assert_allclose(reduced.std(axis=0), 1, atol=0.01)
    raw = (store.vectors() - plain.reduction.mean) @ plain.reduction.projection.T
    assert np.ptp(raw.std(axis=0)) > 0.1
    np.testing.assert_allclose(np.corrcoef(reduced.T), np.eye(12), atol=0.01)
    # Twelve components, and the constant: as long as they together are on average.
    assert index.reduction.lift == pytest.approx(np.sqrt(12), rel=1e-6)
    said = index.save(tmp_path / "i")["vectors"]
    assert "unit variance" in said
    assert "lifted by a constant" in said


def test_whitening_leaves_out_what_does_not_vary(tmp_path, make_store):
    def flatten(columns, vectors):
        vectors[:, 3:] = vectors[:, :1]

    store = make_store(change=flatten)
    index = build_index(tmp_path / "i", store, IndexConfig(whiten=True))
    distances, rows = index.nearest_rows(store.vectors()[:5], 3)
    assert np.isfinite(distances).all()
    np.testing.assert_array_equal(rows[:, 0], np.arange(5))


def test_an_approximate_index_is_not_saved_elsewhere(made, tmp_path):
    with pytest.raises(ConfigError, match="copy that folder"):
        Index.load(made / "ivf_sq8").save(tmp_path / "elsewhere")


@pytest.mark.parametrize(
    ("asked", "complaint"),
    [
        ({"index_type": "nonsense"}, "index_type is 'nonsense'; expected auto, flat"),
        ({"index_type": "IVF9999,Flat"}, "cannot train this index_type on 4000 vectors"),
        ({"recall": 0.0}, "recall is 0.0"),
        ({"recall": 1.5}, "recall is 1.5"),
        ({"pca_dim": 0}, "pca_dim is 0"),
    ],
)
def test_impossible_indexes_are_refused(store, tmp_path, asked, complaint):
    with pytest.raises(ConfigError, match=complaint):
        build_index(tmp_path / "i", store, IndexConfig(**asked))


def test_embeddings_that_are_not_finite_are_refused(make_store, tmp_path):
    def poison(columns, vectors):
        vectors[[3, 8], 0] = np.inf

    store = make_store(change=poison)
    with pytest.raises(DataError, match="2 of 300 embeddings hold NaN or infinity"):
        build_index(tmp_path / "i", store, IndexConfig(index_type="ivf_flat"))


def test_near_ties_are_judged_by_the_vectors_that_are_stored(tmp_path):
    """Of neighbours closer than half precision tells apart, lists and the truth find the same."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(40, 16))
    vectors = (np.repeat(centres, 50, axis=0) + 1e-4 * rng.normal(size=(2000, 16))).astype("f4")
    store = write_embeddings(
        tmp_path / "store",
        {"id": np.arange(2000), "ra": rng.uniform(0, 9, 2000), "dec": rng.uniform(0, 9, 2000)}
        | {"z": np.full(2000, np.nan, "f4"), "split": np.full(2000, "train")},
        vectors,
    )
    config = IndexConfig(index_type="ivf_flat", pca_dim=16, recall=1.0)
    built = build_index(tmp_path / "index", store, config)
    assert built.card.recall_at_10 == 1.0
