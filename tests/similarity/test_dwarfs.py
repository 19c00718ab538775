import csv
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import average_precision_score
from sklearn.neighbors import KNeighborsClassifier
from ssl_photoz.recipes.probe import dwarfs as program

from ssl_photoz import runs
from ssl_photoz.errors import ArtefactError, ConfigError, DataError, MismatchError
from ssl_photoz.similarity.catalogue import Catalogue
from ssl_photoz.similarity.dwarfs import (
    DwarfSearch,
    candidate_rows,
    count_votes,
    nearby_dwarfs,
)
from ssl_photoz.similarity.index import Index


def fit(store, z_max=0.08, ks=(5, 20)):
    dwarf = nearby_dwarfs(store, z_max=z_max)
    return DwarfSearch.fit(Index.build(store), store, dwarf, ks=ks), dwarf


def rows_of(store, split):
    return Catalogue.read(store).rows_where(split, labelled=True)


def test_scores_agree_with_a_distance_weighted_classifier(make_store):
    store = make_store(n=600)
    search, dwarf = fit(store, ks=(10,))
    train, test = rows_of(store, "train"), rows_of(store, "test")
    unit = Index.build(store).vectors(np.arange(600))
    rival = KNeighborsClassifier(10, weights="distance", metric="cosine", algorithm="brute")
    expected = rival.fit(unit[train], dwarf[train]).predict_proba(unit[test])[:, 1]
    votes = search.rank(store, test)
    np.testing.assert_allclose(votes.score, expected, atol=1e-4)
    assert set(np.unique(votes.dwarfs)) <= set(range(11))


def test_votes_by_hand():
    dwarf = np.array([True, False, True, False, True])
    distances = np.array([[0.1, 0.2, 0.4], [0.5, np.inf, np.inf]], np.float32)
    rows = np.array([[1, 2, 4], [3, -1, -1]])
    votes = count_votes(distances, rows, dwarf)
    np.testing.assert_allclose(votes.score, [(5 + 2.5) / (10 + 5 + 2.5), 0])
    np.testing.assert_array_equal(votes.dwarfs, [2, 0])
    np.testing.assert_array_equal(votes.nearest, [[2, 4, -1], [-1, -1, -1]])
    np.testing.assert_array_equal(votes.distance, np.array([0.2, np.inf], np.float32))


def test_k_is_the_best_on_the_validation_split(make_store):
    store = make_store(n=800)
    search, dwarf = fit(store, ks=(1, 5, 40, 300))
    val = rows_of(store, "val")
    expected = {}
    for k in (1, 5, 40, 300):
        alone, _ = fit(store, ks=(k,))
        expected[alone.k] = average_precision_score(dwarf[val], alone.rank(store, val).score)
    assert search.validation == pytest.approx(expected)
    assert search.k == max(expected, key=expected.get)


def test_no_label_outside_train_reaches_a_score(make_store):
    def lie(columns, vectors):
        outside = (columns["split"] != "train") & np.isfinite(columns["z"])
        columns["z"][outside] = np.random.default_rng(9).permutation(columns["z"][outside])

    honest, lying = make_store("honest"), make_store("lying", change=lie)
    assert not np.array_equal(honest.column("z"), lying.column("z"), equal_nan=True)
    everyone = np.arange(300)
    scores = [fit(store, ks=(7,))[0].rank(store, everyone).score for store in (honest, lying)]
    np.testing.assert_array_equal(*scores)


def test_train_labels_do_reach_the_scores(make_store):
    def lie(columns, vectors):
        train = (columns["split"] == "train") & np.isfinite(columns["z"])
        columns["z"][train] = np.random.default_rng(9).permutation(columns["z"][train])

    test = rows_of(make_store("honest"), "test")
    found = []
    for name, change in (("a", None), ("b", lie)):
        store = make_store(name, change=change)
        search, dwarf = fit(store, ks=(7,))
        found.append(average_precision_score(dwarf[test], search.rank(store, test).score))
    assert found[0] > 2 * found[1]


def test_dwarfs_can_be_asked_for_by_flag_and_mass(make_store):
    def add(columns, vectors):
        columns["is_dwarf"] = (np.arange(300) % 2).astype(bool)
        columns["stellar_mass"] = np.where(
            np.arange(300) % 3 == 0, np.nan, 8.0 + np.arange(300) / 100
        )

    store = make_store(change=add)
    z, number = store.column("z"), np.arange(300)
    near = np.nan_to_num(z, nan=9) < 0.2
    np.testing.assert_array_equal(nearby_dwarfs(store, z_max=0.2), near)
    np.testing.assert_array_equal(
        nearby_dwarfs(store, z_max=0.2, flag="is_dwarf"), near & (number % 2 == 1)
    )
    np.testing.assert_array_equal(
        nearby_dwarfs(store, z_max=0.2, stellar_mass_max=9.0),
        near & (number % 3 != 0) & (number < 100),
    )
    with pytest.raises(ArtefactError, match="no column 'is_faint'"):
        nearby_dwarfs(store, z_max=0.2, flag="is_faint")


def test_nothing_to_learn_from_is_said(make_store):
    store = make_store()
    with pytest.raises(DataError, match=r"none of \d+ labelled train .* lowest redshift is 0\.\d"):
        fit(store, z_max=0.0001)
    with pytest.raises(DataError, match="none has a redshift"):
        fit(make_store("bare", labelled=0.0))
    with pytest.raises(ConfigError, match=r"ks is \[\]"):
        fit(store, ks=())


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


@pytest.fixture
def settings(make_store, tmp_path):
    store = make_store(n=500, pictures=True)
    Index.build(store).save(tmp_path / "index")
    return program.Settings(tmp_path / "index", store.folder, tmp_path / "d", z_max=0.08, top=10)


def test_the_program_writes_every_file_once(settings, capsys):
    program.main(settings)
    out = settings.out
    table = pq.read_table(out / "candidates.parquet").to_pydict()
    assert table["rank"] == list(range(1, len(table["rank"]) + 1))
    order = [(-s, d) for s, d in zip(table["score"], table["nearest_dwarf_distance"], strict=True)]
    assert order == sorted(order)
    assert all(np.isnan(table["z"]))
    assert all(table["simulated"])
    named = [len(text.split()) for text in table["nearest_dwarf_ids"]]
    assert named == [min(3, n) for n in table["n_dwarf_neighbours"]]
    top = list(csv.DictReader((out / "candidates.csv").open()))
    assert [int(row["id"]) for row in top] == table["id"][:10]
    metrics = runs.read_json(out / "metrics.json")
    assert metrics["average_precision"] > 2 * metrics["base_rate"]
    assert runs.read_card(out, "dwarfs")["metrics"] == metrics
    assert (out / "candidates.png").stat().st_size > 10_000
    assert (out / "purity_completeness.png").stat().st_size > 10_000
    program.main(settings)
    assert "already made" in capsys.readouterr().out
    with pytest.raises(MismatchError, match=r"z_max = 0\.08, asked for 0\.05"):
        program.main(replace(settings, z_max=0.05))


def test_no_test_dwarf_gives_candidates_without_purity(make_store, tmp_path, capsys):
    def hide(columns, vectors):
        columns["z"][columns["split"] == "test"] = 0.5

    store = make_store(change=hide)
    Index.build(store).save(tmp_path / "index")
    program.main(program.Settings(tmp_path / "index", store.folder, tmp_path / "d", z_max=0.08))
    assert "purity is not known" in capsys.readouterr().out
    assert runs.read_json(tmp_path / "d" / "metrics.json")["average_precision"] is None
    assert not (tmp_path / "d" / "purity_completeness.png").exists()
    assert (tmp_path / "d" / "candidates.parquet").exists()
