import faiss
import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import StandardScaler

from ssl_photoz.core import artefact
from ssl_photoz.core.errors import ArtefactError, ConfigError, DataError, MismatchError, ShapeError
from ssl_photoz.embeddings.store import write_embeddings
from ssl_photoz.similarity.index import Index, exact_neighbours
from ssl_photoz.similarity.reduction import ArraySource, Reduction
from ssl_photoz.similarity.settings import IndexConfig
from tests.conftest import survey


def reference(vectors, dim, queries, k):
    """Cosine neighbours by scikit-learn, from standardising to searching.

    One of the components is constant: the rms length of the others.
    """
    scaler = StandardScaler().fit(vectors.astype(np.float64))
    pca = PCA(dim - 1, svd_solver="full").fit(scaler.transform(vectors))
    reduced = pca.transform(scaler.transform(vectors))
    lift = np.sqrt((reduced**2).sum() / (len(reduced) - 1))
    known, asked = (
        np.pad(pca.transform(scaler.transform(x)), ((0, 0), (0, 1)), constant_values=lift)
        for x in (vectors, queries)
    )
    search = NearestNeighbors(n_neighbors=k, metric="cosine", algorithm="brute").fit(known)
    return search.kneighbors(asked)


@pytest.mark.parametrize("dim", [5, 12])
def test_search_agrees_with_scikit_learn(make_store, dim):
    store = make_store()
    index = Index.build(store, config=IndexConfig(pca_dim=dim))
    queries = np.random.default_rng(1).normal(size=(20, 12)).astype(np.float32)
    distances, rows = index.nearest_rows(queries, 15)
    expected, neighbours = reference(store.vectors(), dim, queries, 15)
    np.testing.assert_array_equal(rows, neighbours)
    np.testing.assert_allclose(distances, expected, atol=2e-6)
    assert np.all(np.diff(distances, axis=1) >= 0)


def test_a_saved_index_answers_as_before(make_store, tmp_path):
    store = make_store()
    index = Index.build(store, config=IndexConfig(pca_dim=6))
    card = index.save(tmp_path / "index", config={"pca_dim": 6})
    loaded = Index.load(tmp_path / "index")
    loaded.check_belongs(store)
    queries = store.vectors()[:9]
    for before, after in zip(
        index.nearest_rows(queries, 4), loaded.nearest_rows(queries, 4), strict=True
    ):
        np.testing.assert_array_equal(before, after)
    assert (card["rows"], card["pca_dim"], card["simulated"]) == (300, 6, True)
    assert card["parents"] == {"embeddings": store.sha256}


def test_every_row_finds_itself_first(make_store):
    store = make_store()
    distances, rows = Index.build(store).nearest_rows(store.vectors(), 1)
    np.testing.assert_array_equal(rows[:, 0], np.arange(300))
    np.testing.assert_allclose(distances, 0, atol=1e-6)


def test_a_part_of_the_catalogue_answers_with_catalogue_rows(make_store):
    store = make_store()
    index = Index.build(store)
    part = np.arange(3, 300, 7)
    distances, rows = index.restricted_to(part).nearest_rows(store.vectors()[:30], 5)
    all_distances, all_rows = index.nearest_rows(store.vectors()[:30], 300)
    for i in range(30):
        inside = np.isin(all_rows[i], part)
        np.testing.assert_array_equal(rows[i], all_rows[i][inside][:5])
        np.testing.assert_allclose(distances[i], all_distances[i][inside][:5], atol=1e-6)


def test_exact_neighbours_agree_with_scikit_learn():
    unit = np.random.default_rng(0).normal(size=(200, 5)).astype(np.float32)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    distances, found = exact_neighbours(unit[:40], unit, 6)
    reference = NearestNeighbors(n_neighbors=6, metric="cosine", algorithm="brute").fit(unit)
    expected, neighbours = reference.kneighbors(unit[:40])
    np.testing.assert_array_equal(found, neighbours)
    np.testing.assert_allclose(distances, expected, atol=1e-6)


def test_missing_neighbours_are_minus_one_at_infinity(make_store):
    store = make_store()
    index = Index.build(store)
    for count in (2, 0):
        distances, rows = index.restricted_to(np.arange(count)).nearest_rows(store.vectors()[:3], 4)
        assert np.all(rows[:, count:] == -1)
        assert np.all(np.isinf(distances[:, count:]))
        assert np.all(rows[:, :count] >= 0)


def test_a_constant_dimension_does_no_harm(make_store):
    def flatten(columns, vectors):
        vectors[:, 3] = 7.0

    store = make_store(change=flatten)
    distances, rows = Index.build(store).nearest_rows(store.vectors()[:5], 3)
    assert np.isfinite(distances).all()
    np.testing.assert_array_equal(rows[:, 0], np.arange(5))


def test_other_embeddings_are_refused(make_store):
    first, second = make_store("first"), make_store("second", seed=1)
    with pytest.raises(MismatchError) as error:
        Index.build(first).check_belongs(second)
    assert first.sha256[:12] in str(error.value)
    assert second.sha256[:12] in str(error.value)


def test_another_encoder_is_refused(make_store, tmp_path):
    (tmp_path / "encoder").mkdir()
    (tmp_path / "encoder" / "card.json").write_text("{}")
    with pytest.raises(MismatchError, match="made by encoder e"):
        Index.build(make_store()).check_encoder(tmp_path / "encoder")


@pytest.mark.parametrize("name", ["index-000000000300.faiss", "reduction.safetensors"])
def test_a_damaged_file_is_refused_before_it_is_parsed(make_store, tmp_path, name):
    Index.build(make_store()).save(tmp_path / "index")
    path = tmp_path / "index" / name
    content = bytearray(path.read_bytes())
    content[40] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(ArtefactError, match=f"{name} is not the file its card describes"):
        Index.load(tmp_path / "index")
    path.unlink()
    with pytest.raises(ArtefactError, match=f"{name} is missing"):
        Index.load(tmp_path / "index")


def test_an_unfinished_index_is_refused(make_store, tmp_path):
    Index.build(make_store()).save(tmp_path / "index")
    (tmp_path / "index" / "card.json").unlink()
    with pytest.raises(ArtefactError, match=r"no card\.json"):
        Index.load(tmp_path / "index")


def test_an_index_of_version_0_1_still_opens(make_store, tmp_path):
    """It had one exact type, ``index.faiss``, and said less on its card."""
    store, folder = make_store(), tmp_path / "index"
    index = Index.build(store)
    index.save(folder)
    card = artefact.read_json(folder / "card.json")
    (folder / "index-000000000300.faiss").rename(folder / "index.faiss")
    card["files"]["index.faiss"] = card["files"].pop("index-000000000300.faiss")
    for name in ("index_type", "shards", "whiten", "vectors", "hidden"):
        del card[name]
    artefact.write_json(folder / "card.json", card)
    for before, after in zip(
        index.nearest_rows(store.vectors()[:9], 4),
        Index.load(folder).nearest_rows(store.vectors()[:9], 4),
        strict=True,
    ):
        np.testing.assert_array_equal(before, after)


def test_an_index_from_before_there_was_a_lift_has_none(tmp_path):
    """Version 0.1 wrote mean and projection alone, and compared directions alone."""
    from safetensors.numpy import save_file

    rng = np.random.default_rng(2)
    mean, projection = rng.normal(size=4).astype("f4"), rng.normal(size=(3, 4)).astype("f4")
    save_file({"mean": mean, "projection": projection}, tmp_path / "old.safetensors")
    old = Reduction.load(tmp_path / "old.safetensors")
    assert (old.lift, old.dim) == (0, 3)
    vectors = rng.normal(size=(6, 4)).astype("f4")
    expected = (vectors - mean) @ projection.T
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(old.apply(vectors), expected, atol=1e-6)
    twice = mean + 2 * (vectors - mean)
    np.testing.assert_allclose(old.apply(twice), expected, atol=1e-6)


@pytest.mark.parametrize("whiten", [False, True])
def test_a_lift_tells_a_galaxy_twice_as_far_from_the_mean_and_is_kept(tmp_path, whiten):
    vectors = np.random.default_rng(3).normal(size=(500, 6)).astype("f4") * [5, 4, 3, 2, 1, 1]
    reduction = Reduction.fit_to(ArraySource(vectors), pca_dim=5, whiten=whiten, seed=0)
    assert reduction.dim == 5
    reduction.save(tmp_path / "r.safetensors")
    again = Reduction.load(tmp_path / "r.safetensors")
    assert again.lift == pytest.approx(reduction.lift, rel=1e-6)
    reduced = again.apply(vectors.astype("f4"))
    np.testing.assert_array_equal(reduced, reduction.apply(vectors.astype("f4")))
    np.testing.assert_allclose(np.linalg.norm(reduced, axis=1), 1, atol=1e-6)
    # Over its constant component, a vector is its four principal components over the lift: there,
    # lengths are 1 in the mean square, and twice as far is twice as far.
    components = reduced[:, :-1] / reduced[:, -1:]
    assert np.square(components).sum(axis=1).mean() == pytest.approx(1, rel=0.01)
    farther = (again.mean + 2 * (vectors[:1] - again.mean)).astype("f4")
    far = again.apply(farther)
    np.testing.assert_allclose(far[:, :-1] / far[:, -1:], 2 * components[:1], rtol=1e-4)
    assert float(far[0] @ reduced[0]) < 0.999


def test_galaxies_that_differ_in_psf_and_noise_alone_are_at_no_distance(make_store, tmp_path):
    columns, vectors = survey()
    vectors[7, 8:10] = vectors[3, 8:10] + [5.0, -4.0]
    vectors[7, :8], vectors[7, 10:] = vectors[3, :8], vectors[3, 10:]
    blocks = {"magnitudes": 6, "textures": 2, "conditions": 2, "learnt": 2}
    store = write_embeddings(tmp_path / "e", columns, vectors, encoder="e", blocks=blocks)
    expected = [1.0] * 6 + [0.5] * 2 + [0.0] * 2 + [1.0] * 2
    np.testing.assert_array_equal(store.weights, expected)
    distances, rows = Index.build(store).nearest_rows(store.vectors()[3:4], 2)
    assert sorted(rows[0].tolist()) == [3, 7]
    np.testing.assert_allclose(distances, 0, atol=1e-6)
    # Standardised first: a weight of 0.5 is a quarter of the variance.
    reduction = Reduction.fit(store.vectors(), pca_dim=13, weights=store.weights)
    scaled = (store.vectors() - vectors.mean(axis=0)) / vectors.std(axis=0) * expected
    assert reduction.lift == pytest.approx(np.sqrt(scaled.var(axis=0, ddof=1).sum()), rel=1e-3)
    unblocked = write_embeddings(tmp_path / "plain", columns, vectors, encoder="e")
    assert unblocked.weights is None
    plain = Index.build(unblocked).nearest_rows(unblocked.vectors()[3:4], 300)
    assert plain[0][0, plain[1][0].tolist().index(7)] > 0.01


def test_wrong_queries_are_refused(make_store):
    store = make_store()
    index = Index.build(store)
    with pytest.raises(ShapeError, match=r"expected \(B, 12\)"):
        index.nearest_rows(np.zeros((2, 11), np.float32), 3)
    with pytest.raises(DataError, match="1 of 2 embeddings hold NaN"):
        index.nearest_rows(np.array([[0.0] * 12, [np.nan] * 12], np.float32), 3)
    with pytest.raises(ConfigError, match="k is 0"):
        index.nearest_rows(store.vectors()[:1], 0)


def test_embeddings_that_cannot_be_indexed_are_refused(make_store):
    def poison(columns, vectors):
        vectors[[3, 8], 0] = np.inf

    with pytest.raises(DataError, match="2 of 300 embeddings hold NaN or infinity"):
        Index.build(make_store(change=poison))
    with pytest.raises(DataError, match="too few"):
        Reduction.fit(np.ones((1, 4), np.float32), pca_dim=2)
    with pytest.raises(ConfigError, match="pca_dim is 1, expected at least 2"):
        Reduction.fit(np.ones((5, 4), np.float32), pca_dim=1)


def test_a_gpu_is_asked_where_there_is_one_unless_k_is_too_large_for_it(make_store, monkeypatch):
    store = make_store()
    index, asked = Index.build(store), []

    class Device:
        def __init__(self, flat):
            self.flat = flat

        def search(self, queries, k):
            asked.append(k)
            return self.flat.search(queries, k)

    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 1)
    monkeypatch.setattr(faiss, "index_cpu_to_all_gpus", Device, raising=False)
    for k in (3, 5000):
        _, rows = index.nearest_rows(store.vectors()[:2], k)
        assert rows[:, 0].tolist() == [0, 1]
    assert asked == [3]
