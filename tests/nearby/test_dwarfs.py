from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from ssl_photoz.core.errors import ConfigError, DataError
from ssl_photoz.nearby.fitting import fit_dwarf_search
from ssl_photoz.nearby.purity import magnitude_strata, measure_strata
from ssl_photoz.nearby.scores import gain_over_cuts
from ssl_photoz.nearby.search import METHODS, candidate_rows
from ssl_photoz.nearby.settings import ClassifierConfig, DwarfConfig
from ssl_photoz.nearby.truth import read_truth
from ssl_photoz.similarity.catalogue import Catalogue
from ssl_photoz.similarity.index import Index


def fit(store, z_max=0.08, also=(0.2,), **options):
    catalogue = Catalogue.read(store)
    truth, config = read_truth(store, DwarfConfig(z_max, also)), ClassifierConfig(**options)
    return fit_dwarf_search(store, catalogue, Index.build(store), truth, config), truth


def score(search, store, rows, **options):
    return search.score(store, Index.build(store), rows, **options)


def rows_of(store, split):
    return Catalogue.read(store).rows_where(split, labelled=True)


def precisions(search, truth, store):
    test = rows_of(store, "test")
    return {
        method: average_precision_score(truth.labels[test, 0] == 1, by[:, 0])
        for method, by in score(search, store, test).items()
    }


def test_every_method_finds_them(make_store):
    store = make_store(n=1200)
    search, truth = fit(store, methods=METHODS)
    found = precisions(search, truth, store)
    rate = (truth.labels[rows_of(store, "test"), 0] == 1).mean()
    assert set(found) == set(METHODS)
    assert min(found.values()) > 3 * rate
    assert search.ranked_by == max(search.precision, key=search.precision.get)
    assert found[search.ranked_by] > 0.9 * max(found.values())


def test_no_label_of_the_test_split_reaches_a_score(make_store):
    def lie(columns, vectors):
        there = (columns["split"] == "test") & np.isfinite(columns["z"])
        columns["z"][there] = np.random.default_rng(9).permutation(columns["z"][there])

    honest, lying = make_store("honest"), make_store("lying", change=lie)
    assert not np.array_equal(honest.column("z"), lying.column("z"), equal_nan=True)
    everyone = np.arange(300)
    said = []
    for store in (honest, lying):
        search = fit(store)[0]
        scores = score(search, store, everyone)
        said.append({**scores, **search.probabilities(scores), "t": search.threshold})
    for name in said[0]:
        np.testing.assert_array_equal(said[0][name], said[1][name])


def test_train_labels_do_reach_the_scores(make_store):
    def lie(columns, vectors):
        train = (columns["split"] == "train") & np.isfinite(columns["z"])
        columns["z"][train] = np.random.default_rng(9).permutation(columns["z"][train])

    found = []
    for name, change in (("a", None), ("b", lie)):
        store = make_store(name, n=800, change=change)
        found.append(precisions(*fit(store), store))
    truth = fit(make_store("c", n=800))[1]
    assert truth.labels.shape == (800, 2)
    for method in found[0]:
        assert found[0][method] > 2 * found[1][method], method


def test_probabilities_are_as_often_right_as_they_say(make_store):
    store = make_store(n=6000, labelled=1.0)
    search, truth = fit(store)
    test = rows_of(store, "test")
    columns = search.probabilities(score(search, store, test), base_rate=0.01)
    for t, name in enumerate(search.names):
        truly = float(truth.labels[test, t].mean())
        for method in search.heads:
            said = columns[f"p_{name}_{method}"].mean()
            error = np.sqrt(truly * (1 - truly) * (1 / len(test) + 1 / 900))
            assert said == pytest.approx(truly, abs=4 * error), (name, method)
    assert np.all(columns["p_z0p08_sky"] <= columns["p_z0p08"])
    np.testing.assert_array_equal(columns["p_z0p08"], columns[f"p_z0p08_{search.ranked_by}"])


def test_thinning_keeps_the_wanted_and_does_not_bias(make_store):
    store = make_store(n=3000, labelled=1.0)
    full, truth = fit(store)
    thin, _ = fit(store, max_train=500)
    wanted = int((truth.labels[rows_of(store, "train"), 0] == 1).sum())
    assert len(thin.heads["vote"].voters) == 500
    assert int((thin.heads["vote"].labels[:, 0] == 1).sum()) == min(wanted, 250)
    test = rows_of(store, "test")
    said = [s.probabilities(score(s, store, test))["p_z0p08"].mean() for s in (full, thin)]
    assert said[0] == pytest.approx(said[1], abs=0.02)


def test_votes_are_taken_where_they_matter(make_store):
    store = make_store(n=800)
    search, _ = fit(store)
    everyone = np.arange(800)
    full, some = score(search, store, everyone), score(search, store, everyone, voted=100)
    voted = np.isfinite(some["vote"][:, 0])
    assert voted.sum() == 100
    np.testing.assert_array_equal(some["vote"][voted], full["vote"][voted])
    quick = full[search.quickest][:, 0]
    assert quick[voted].min() >= quick[~voted].max()
    columns = search.probabilities(some)
    assert np.isnan(columns["p_z0p08_vote"][~voted]).all()
    assert np.isfinite(columns["p_z0p08"]).all()
    by_vote = replace(search, precision={**search.precision, "vote": 1.0})
    order = by_vote.order(some)
    assert voted[order[:100]].all()
    assert np.all(np.diff(some["vote"][order[:100], 0]) <= 0)
    assert np.all(np.diff(quick[order[100:]]) <= 0)


def test_positives_alone_are_enough_for_one_class(make_store):
    def forget(columns, vectors):
        columns["z"][~(columns["z"] < 0.08)] = np.nan

    store = make_store(n=800, change=forget)
    search, _ = fit(store)
    assert list(search.heads) == ["one_class"]
    assert search.calibrations["one_class"] == [None]
    assert search.sample_rate is None
    scores = score(search, store, np.arange(800))
    columns = search.probabilities(scores)
    assert set(columns) == {"p_z0p08", "p_z0p08_one_class"}
    assert np.isnan(columns["p_z0p08"]).all()
    truly = make_store("all", n=800).column("z")
    asked = np.isfinite(truly) & np.isnan(store.column("z"))
    assert not asked.any() or truly[asked].min() >= 0.08
    near = np.isfinite(store.column("z"))
    assert np.median(scores["one_class"][near]) > np.quantile(scores["one_class"][~near], 0.9)


def test_nothing_to_learn_from_is_said(make_store):
    store = make_store()
    with pytest.raises(DataError, match=r"none of \d+ labelled train .* lowest redshift is 0\.\d"):
        fit(store, z_max=0.0001)
    with pytest.raises(DataError, match="none has a redshift"):
        fit(make_store("bare", labelled=0.0))
    with pytest.raises(ConfigError, match=r"methods is \['guess'\]"):
        fit(store, methods=("guess",))
    assert fit(store, also=(0.0001,))[0].names == ("z0p08",)


def test_labelled_galaxies_are_ranked_only_where_all_are(make_store):
    store = make_store()
    rows, among = candidate_rows(Catalogue.read(store))
    assert np.isnan(store.column("z")[rows]).all()
    assert len(rows) == np.isnan(store.column("z")).sum()
    assert among == "unlabelled galaxies"
    full = make_store("full", labelled=1.0)
    rows, among = candidate_rows(Catalogue.read(full))
    np.testing.assert_array_equal(rows, np.flatnonzero(full.column("split") == "test"))
    assert among.startswith("test galaxies")


def test_parts_of_the_sample_add_up():
    rng = np.random.default_rng(0)
    truth, magnitude = rng.random(1000) < 0.2, rng.normal(19, 1, 1000)
    magnitude[:10] = np.nan
    score = rng.normal(size=1000) + 3 * truth
    names = magnitude_strata(magnitude, bins=4)
    assert set(names[:10]) == {""}
    parts = measure_strata(truth, score, names)
    assert [part["n"] for part in parts] == pytest.approx([247.5] * 4, abs=1)
    assert sum(part["n_dwarfs"] for part in parts) == truth[10:].sum()
    found = sum(part["completeness"] * part["n_dwarfs"] for part in parts)
    assert found == pytest.approx(0.9 * truth.sum(), abs=3)
    low, high = (float(end) for end in parts[0]["part"].split(" to "))
    inside = (magnitude >= low - 0.005) & (magnitude < high - 0.005)
    listed = score >= np.sort(score[truth])[::-1][int(np.ceil(0.9 * truth.sum())) - 1]
    assert parts[0]["purity"] == pytest.approx(truth[inside & listed].mean(), abs=0.02)
    codes = measure_strata(truth, score, np.arange(1000) % 3)
    assert [part["part"] for part in codes] == ["0", "1", "2"]
    with pytest.raises(DataError, match="magnitudes is finite"):
        magnitude_strata(np.full(3, np.nan))


def test_the_gain_over_cuts_by_counting():
    truth = np.arange(1000) < 100
    selected = np.arange(1000) % 2 == 0  # half of everything: purity 0.1
    gain = gain_over_cuts(truth, -np.arange(1000.0), selected, base_rate=0.01)
    assert gain["enrichment_over_cuts"] == pytest.approx(10)
    assert gain["sky_enrichment_over_cuts"] == pytest.approx(100)
    # Cuts that keep everything are compared with a list of 90: the 100th comes last of all.
    last = np.where(np.arange(1000) == 99, -1.0, truth)
    gain = gain_over_cuts(truth, last, np.ones(1000, bool), base_rate=0.01)
    assert gain["enrichment_over_cuts"] == pytest.approx(10)
    assert gain_over_cuts(truth, truth * 1.0, ~truth)["enrichment_over_cuts"] is None
