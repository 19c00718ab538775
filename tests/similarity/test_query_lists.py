import numpy as np
import pytest
from astropy.table import Table

from ssl_photoz.catalog.tables import write_table
from ssl_photoz.core.errors import ConfigError, DataError, MismatchError
from ssl_photoz.similarity.index import Index
from ssl_photoz.similarity.index_building import build_index
from ssl_photoz.similarity.lists import read_list
from ssl_photoz.similarity.search import Search
from ssl_photoz.similarity.settings import FeedbackConfig, IndexConfig, MatchConfig

ARCSEC = 1 / 3600
LIKES, UNLIKES = [3, 50, 71, 200], [9, 120]


@pytest.fixture
def search(make_store):
    store = make_store()
    return Search(Index.build(store), store)


def unit(rows):
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def expected_order(search, score, *, without):
    order = np.argsort(-score)
    return [row for row in order.tolist() if row not in without]


def test_the_centroid_of_a_list_is_the_mean_direction(search):
    units = search.index.vectors(np.arange(300)).astype("f8")
    score = units @ unit(units[LIKES].mean(axis=0))
    found = search.like_these(search.catalogue.id[LIKES].tolist(), k=20)
    assert found.rows.tolist() == expected_order(search, score, without=LIKES)[:20]
    np.testing.assert_allclose(found.distances, 1 - score[found.rows], atol=1e-6)
    assert found.likes.tolist() == LIKES


@pytest.mark.parametrize("k", [5, 100, 296])
def test_any_of_a_list_means_the_best_of_them(search, k):
    units = search.index.vectors(np.arange(300)).astype("f8")
    score = (units @ units[LIKES].T).max(axis=1)
    found = search.like_these(
        search.catalogue.id[LIKES].tolist(), feedback=FeedbackConfig("any"), k=k
    )
    assert found.rows.tolist() == expected_order(search, score, without=LIKES)[:k]
    np.testing.assert_allclose(found.distances, 1 - score[found.rows], atol=1e-6)


@pytest.mark.parametrize("mode", ["centroid", "any"])
@pytest.mark.parametrize("weight", [0.0, 0.5, 2.0])
def test_these_but_not_those(search, mode, weight):
    units = search.index.vectors(np.arange(300)).astype("f8")
    likes = units[LIKES] if mode == "any" else unit(units[LIKES].mean(axis=0))[None]
    score = (units @ likes.T).max(axis=1) - weight * (units @ unit(units[UNLIKES].mean(axis=0)))
    ids = search.catalogue.id
    found = search.like_these(
        ids[LIKES].tolist(),
        unlike=ids[UNLIKES].tolist(),
        feedback=FeedbackConfig(mode, weight),
        k=30,
    )
    assert found.rows.tolist() == expected_order(search, score, without=LIKES + UNLIKES)[:30]
    np.testing.assert_allclose(found.distances, 1 - score[found.rows], atol=1e-6)


def test_a_filter_is_applied_before_ranking(search):
    everything = search.like_id(search.catalogue.id[7], k=299)
    passing = np.flatnonzero(search.catalogue.z < 0.1)
    expected = [row for row in everything.rows.tolist() if row in set(passing.tolist())]
    found = search.like_id(search.catalogue.id[7], k=len(expected), where="z < 0.1")
    assert found.rows.tolist() == expected
    assert f"among the {len(passing)} of 300 with z < 0.1" in found.notes
    assert len(search.like_id(search.catalogue.id[7], k=300, where="z<0.1").rows) == len(expected)


def test_shreds_of_the_examples_are_no_answers(make_store):
    def shred(columns, vectors):
        vectors[1], vectors[2] = vectors[0], vectors[50]
        columns["ra"][1], columns["dec"][1] = columns["ra"][0], columns["dec"][0] + 1.9 * ARCSEC
        for name in ("id", "ra", "dec"):
            columns[name][2] = columns[name][50]

    store = make_store(change=shred)
    search = Search(Index.build(store), store)
    found = search.like_these(
        search.catalogue.id[[0, 50]].tolist(), feedback=FeedbackConfig("any"), k=10
    )
    assert not {0, 1, 2, 50} & set(found.rows.tolist())
    assert found.likes.tolist() == [0, 2]  # the first of that id
    assert found.repeats == 2
    assert "2 passed over: the same object again" in found.describe()


def test_a_position_with_several_galaxies_names_them(make_store):
    def crowd(columns, vectors):
        columns["ra"][:2], columns["dec"][:2] = 40.0, [5.0, 5.0 + 4 * ARCSEC]

    store = make_store(change=crowd)
    search = Search(Index.build(store), store)
    ids = search.catalogue.id
    first = search.like_position(40.0, 5.0 + 1 * ARCSEC, matching=MatchConfig(10))
    assert first.query == 0
    assert first.notes == (
        f'2 galaxies within 10", nearest first: {ids[0]} (1.00"), {ids[1]} (3.00"); number 1 was '
        f"taken, match= takes another",
    )
    second = search.like_position(40.0, 5.0 + 1 * ARCSEC, matching=MatchConfig(10, match=2))
    np.testing.assert_array_equal(second.rows, search.like_id(ids[1]).rows)
    with pytest.raises(ConfigError, match="match is 3, expected 1 to 2"):
        search.like_position(40.0, 5.0, matching=MatchConfig(10, match=3))


def list_file(tmp_path, suffix, columns):
    path = tmp_path / f"list{suffix}"
    table = Table(columns)
    if suffix == ".parquet":
        write_table(path, columns, simulated=False)
    else:
        table.write(path, format={".vot": "votable"}.get(suffix, suffix[1:]))
    return path


@pytest.mark.parametrize("suffix", [".csv", ".fits", ".vot", ".parquet"])
def test_lists_by_id_or_by_position_in_any_format_are_the_same(search, tmp_path, suffix):
    catalogue = search.catalogue
    by_id = list_file(tmp_path, suffix, {"TARGETID": catalogue.id[LIKES], "note": np.arange(4.0)})
    assert read_list(by_id, catalogue).rows.tolist() == LIKES
    by_id.unlink()
    near = {"RA": catalogue.ra[LIKES], "Dec": catalogue.dec[LIKES] + 1 * ARCSEC}
    by_place = list_file(tmp_path, suffix, near)
    assert read_list(by_place, catalogue).rows.tolist() == LIKES
    given = search.like_these(by_place)
    np.testing.assert_array_equal(given.rows, search.like_these(catalogue.id[LIKES].tolist()).rows)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "cannot be read as a .csv table"),
        ("id\n", "is empty: it has columns but no rows"),
        ("name,mag\nx,3\n", r"has the columns name, mag; expected id or targetid, or ra and dec"),
        ("id\n1\n2\n{0}\n", r"2 of 3 listed galaxies are not in the catalogue .*: 1, 2; mend the"),
        ("id\n1\n2\n", r"2 of 2 listed galaxies are not in the catalogue .*: 1, 2$"),
        ("id\n5\n3.5\n", "1 of 2 rows have an id stored as a floating-point number"),
        ("id,x\n{0},1\n,2\n,3\n", r"2 of 3 rows have no id \(row 2, 3\)"),
        ("ra,dec\n10,20\nnan,3\n5,95\n", r"2 of 3 rows have no position on the sky \(row 2, 3\)"),
        ("ra,dec\n10h,20d\n", "column ra holds .* expected degrees"),
        (
            "ra,dec\n10,20\n",
            'have no galaxy within 2" of their position .* \\(10.000000, 20.000000',
        ),
        ("id\n1,2\n", "cannot be read as a .csv table"),
    ],
)
def test_malformed_lists_are_refused_clearly(search, tmp_path, text, says):
    path = tmp_path / "list.csv"
    path.write_text(text.format(search.catalogue.id[0]))
    with pytest.raises(DataError, match=says):
        search.like_these(path)


def test_unknown_galaxies_can_be_skipped_and_are_named(search, tmp_path):
    path = tmp_path / "list.csv"
    path.write_text("id\n1\n{}\n{}\n".format(*search.catalogue.id[LIKES[:2]]))
    found = search.like_these(path, matching=MatchConfig(missing="skip"))
    assert found.likes.tolist() == LIKES[:2]
    assert "1 listed galaxies are not here: 1" in found.describe()


def test_lists_that_ask_for_nothing_are_refused(search, monkeypatch):
    ids = search.catalogue.id[LIKES].tolist()
    with pytest.raises(DataError, match="point the same way"):
        search.like_these(ids, unlike=ids)
    with pytest.raises(DataError, match="the list of galaxies is empty"):
        search.like_these([])
    with pytest.raises(ConfigError, match="unlike_weight is -1"):
        FeedbackConfig(unlike_weight=-1)
    monkeypatch.setattr("ssl_photoz.similarity.search.MAX_ANY", 3)
    with pytest.raises(ConfigError, match="the list has 4 galaxies, expected at most 3"):
        search.like_these(ids, feedback=FeedbackConfig("any"))


def test_predicted_redshifts_come_with_the_answer(search, tmp_path):
    path, catalogue = tmp_path / "photoz.parquet", search.catalogue
    some = np.arange(0, 300, 2)
    z_phot = (0.001 * some).astype("f4")
    write_table(path, {"id": catalogue.id[some], "z_phot": z_phot}, simulated=True)
    told = Search(search.index, search.embeddings, photoz=path)
    answer = told.like_id(catalogue.id[0], where="z_phot < 0.2", k=20)
    assert (answer.rows < 200).all()
    assert (answer.rows % 2 == 0).all()
    table = answer.table()
    np.testing.assert_allclose(table["z_phot"], 0.001 * answer.rows, rtol=1e-6)
    np.testing.assert_array_equal(table["z_spec"], catalogue.z[answer.rows])
    unknown = told.like_id(catalogue.id[0], where="id > 0", k=299).table()
    assert np.isnan(unknown["z_phot"]).sum() == 150
    write_table(path, {"id": np.array([1]), "z_phot": z_phot[:1]}, simulated=True)
    with pytest.raises(MismatchError, match="none of them among these 300"):
        Search(search.index, search.embeddings, photoz=path)
    write_table(path, {"id": catalogue.id}, simulated=True)
    with pytest.raises(DataError, match="expected id and z_phot"):
        Search(search.index, search.embeddings, photoz=path)


def test_an_approximate_index_answers_nearly_the_same_and_filters_exactly(make_store, tmp_path):
    store = make_store(n=3000)
    built = build_index(tmp_path / "i", store, IndexConfig(index_type="ivf_flat", pca_dim=12))
    exact, quick = (
        Search(Index.build(store, config=IndexConfig(pca_dim=12)), store),
        Search(built, store),
    )
    ids = exact.catalogue.id[LIKES].tolist()
    for asked in (
        {"feedback": FeedbackConfig("any")},
        {"unlike": exact.catalogue.id[UNLIKES].tolist()},
    ):
        answers = [one.like_these(ids, k=50, **asked) for one in (exact, quick)]
        assert len(np.intersect1d(*(answer.rows for answer in answers))) >= 45
        assert (np.diff(answers[1].distances) >= 0).all()
        assert not set(answers[1].rows.tolist()) & set(LIKES)
        exactly, quickly = (
            one.like_these(ids, k=50, where="z < 0.1", **asked) for one in (exact, quick)
        )
        np.testing.assert_allclose(quickly.distances, exactly.distances, atol=2e-3)
