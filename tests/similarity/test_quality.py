import numpy as np
import pytest

from ssl_photoz.core.errors import ConfigError
from ssl_photoz.similarity.index import Index
from ssl_photoz.similarity.quality import measure_quality, quality_line
from ssl_photoz.similarity.settings import QualityConfig


def by_hand(store, k, width):
    """Precision at 1 and k and chance, by loops over a full distance matrix."""
    z, split = store.column("z"), store.column("split")
    queries = np.flatnonzero((split == "test") & np.isfinite(z))
    references = np.flatnonzero((split == "train") & np.isfinite(z))
    bins = np.floor(np.log1p(z) / width)
    unit = Index.build(store).vectors(np.arange(len(z)))
    hits, chances = [], []
    for query in queries:
        same = bins[references] == bins[query]
        if same.any():
            order = np.argsort(-unit[references] @ unit[query])[:k]
            hits.append(same[order])
            chances.append(same.mean())
    return np.mean(hits, axis=0)[0], np.mean(hits), np.mean(chances)


def test_scores_agree_with_a_slow_loop(make_store):
    store = make_store(n=400)
    scores = measure_quality(Index.build(store), store, QualityConfig(k=7, bin_width=0.02))
    at_1, at_k, chance = by_hand(store, 7, 0.02)
    assert scores["precision_at_1"] == pytest.approx(at_1, abs=1e-6)
    assert scores["precision_at_k"] == pytest.approx(at_k, abs=1e-6)
    assert scores["chance"] == pytest.approx(chance)
    assert at_k > 3 * chance


def test_noise_scores_as_chance(make_store):
    def forget(columns, vectors):
        vectors[:] = np.random.default_rng(5).normal(size=vectors.shape)

    store = make_store(n=2000, labelled=1.0, change=forget)
    scores = measure_quality(Index.build(store), store, QualityConfig(k=10, bin_width=0.05))
    error = np.sqrt(scores["chance"] / (10 * scores["queries"]))
    assert scores["precision_at_k"] == pytest.approx(scores["chance"], abs=5 * error)


def test_no_redshifts_no_score(make_store):
    store = make_store(labelled=0.0)
    assert measure_quality(Index.build(store), store) is None


def test_queries_are_limited(make_store):
    store = make_store()
    scores = measure_quality(Index.build(store), store, QualityConfig(k=3, max_queries=20))
    assert scores["queries"] == 20


def test_wrong_settings_are_refused(make_store):
    store = make_store()
    with pytest.raises(ConfigError, match="bin_width 0"):
        measure_quality(Index.build(store), store, QualityConfig(bin_width=0.0))


def ranked_by_hand(store, classes, wanted):
    """R-precision and MAP@R of the queries of a class, by loops over a full ranking."""
    z, split = store.column("z"), store.column("split")
    references = np.flatnonzero((split == "train") & np.isfinite(z))
    unit = Index.build(store).vectors(np.arange(len(z)))
    found = []
    for query in np.flatnonzero((split == "test") & np.isfinite(z) & wanted):
        same = classes[references] == classes[query]
        r = int(same.sum())
        if r:
            hits = same[np.argsort(-unit[references] @ unit[query])][:r]
            at = [hits[: i + 1].mean() for i in range(r) if hits[i]]
            found.append((hits.mean(), sum(at) / r))
    return np.mean(found, axis=0)


def test_scores_at_r_agree_with_a_slow_loop(make_store):
    store = make_store(n=400)
    z = store.column("z")
    scores = measure_quality(Index.build(store), store, QualityConfig(bin_width=0.05, z_max=0.12))
    bins, near = np.floor(np.log1p(z) / 0.05), z < 0.12
    at_r = [scores["r_precision"], scores["map_at_r"]]
    assert at_r == pytest.approx(ranked_by_hand(store, bins, np.full(400, True)), abs=1e-5)
    for side, name in ((True, "nearby"), (False, "not_nearby")):
        at_r = [scores[name]["r_precision"], scores[name]["map_at_r"]]
        assert at_r == pytest.approx(ranked_by_hand(store, near, near == side), abs=1e-5)
    assert scores["nearby"]["map_at_r"] > 2 * scores["nearby"]["chance"]
    assert scores["nearby"]["queries"] + scores["not_nearby"]["queries"] == scores["queries"]


def test_one_line_per_encoder_marks_what_has_seen_the_answers(make_store):
    def forget(columns, vectors):
        vectors[:] = np.random.default_rng(5).normal(size=vectors.shape)

    good, bad = make_store("good"), make_store("bad", change=forget)
    lines = []
    for store in (good, bad):
        lines.append(quality_line(store.folder.name, measure_quality(Index.build(store), store)))
    assert lines[0].startswith("good: by redshift bin P@1 0.")
    assert "CONTAMINATED" not in "".join(lines)
    ids = good.column("id")[good.column("split") != "train"]
    good.card["labels_seen"] = ids.tolist()
    scores = measure_quality(Index.build(good), good)
    assert scores["contaminated"] == scores["queries"]
    assert quality_line("good", scores).startswith("CONTAMINATED: good:")
    none = measure_quality(Index.build(good), good, QualityConfig(z_max=1e-06))
    assert none["nearby"] is None
    assert "P@1     -" in quality_line("good", none)
