"""An index in shards: the same answers, of the shards that are asked, and clear words on faults."""

import os
import shutil

import faiss
import numpy as np
import pytest

from ssl_photoz.catalog.sky import cells_of
from ssl_photoz.catalog.where import cells_where
from ssl_photoz.core import artefact
from ssl_photoz.core.errors import ArtefactError, DataError, MismatchError
from ssl_photoz.embeddings.store import Embeddings
from ssl_photoz.similarity import index as index_module
from ssl_photoz.similarity import index_building, index_files
from ssl_photoz.similarity.index import Index
from ssl_photoz.similarity.index_building import build_index, grow_index
from ssl_photoz.similarity.index_types import choose_type
from ssl_photoz.similarity.search import Search
from ssl_photoz.similarity.settings import IndexConfig
from tests.similarity.sharded import FILE_ROWS, ROWS, write_index, write_store

WHERE = "mag_r < 20 and cone(3, 2, 6)"


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return write_store(tmp_path_factory.mktemp("sharded") / "embeddings")


@pytest.fixture(scope="module")
def sharded(store):
    """Of five shards."""
    return write_index(store.folder.parent / "sharded", store)


@pytest.fixture(scope="module")
def single(store):
    return write_index(store.folder.parent / "single", store, rows_per_shard=ROWS)


@pytest.fixture
def copied(sharded, tmp_path):
    """A copy of its folder, to be damaged."""
    shutil.copytree(sharded_folder(sharded), tmp_path / "copied")
    return tmp_path / "copied"


def sharded_folder(index):
    return index.searcher._source._paths[0].parent


def shards_opened(index):
    return index.searcher._source.opened


def require_equal(one, other, queries, *, k=7):
    answers = zip(one.nearest_rows(queries, k), other.nearest_rows(queries, k), strict=True)
    for ours, theirs in answers:
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("effort", [1, 3, 1000])
@pytest.mark.parametrize("among", ["all", "not hidden", "a part"])
def test_answers_are_those_of_the_single_index(store, sharded, single, effort, among, monkeypatch):
    monkeypatch.setattr(index_module, "EXACT_ROWS", 10)
    found = []
    for index in (sharded, single):
        one = index.searched_by(index.searcher.with_effort(effort))
        one = one.hiding(store.column("is_star")) if among == "not hidden" else one
        found.append(one.restricted_to(np.arange(300, ROWS, 3)) if among == "a part" else one)
    assert [len(one.card.index_shards) for one in found] == [5, 1]
    require_equal(*found, store.vectors()[::9])


@pytest.mark.parametrize("index_type", ["ivf_flat", "ivf_pq", "OPQ4,IVF16_HNSW8,PQ4np"])
def test_answers_of_other_types_are_those_of_the_single_index(store, tmp_path, index_type):
    one, other = (
        write_index(tmp_path / str(rows), store, rows_per_shard=rows, index_type=index_type)
        for rows in (600, ROWS)
    )
    assert (len(one.card.index_shards), one.card.effort) == (4, other.card.effort)
    require_equal(one, other, store.vectors()[::9])


def test_the_card_lists_shards_and_the_cells_they_touch(store, sharded):
    assert [(one.first_row, one.rows) for one in sharded.card.index_shards] == [
        *((start, 450) for start in (0, 450, 900, 1350)),
        (1800, 200),
    ]
    cells = cells_of(store.column("ra"), store.column("dec"))
    for one in sharded.card.index_shards:
        touched = {cell for first, last in one.cells for cell in range(first, last + 1)}
        assert touched == set(cells[one.first_row : one.first_row + one.rows].tolist())
        assert one.lists in sharded.card.files
    assert sharded.card.sizes.keys() == sharded.card.files.keys()


def test_auto_divides_what_is_more_than_a_shard(store, tmp_path):
    assert choose_type("auto", rows=100, dim=8, memory_bytes=1e9).name == "flat"
    assert choose_type("auto", rows=100, dim=8, memory_bytes=1e9, shared=True).name == "ivf_flat"
    index = build_index(tmp_path / "i", store, IndexConfig(rows_per_shard=999))
    assert (index.card.index_type, len(index.card.index_shards)) == ("ivf_flat", 3)


@pytest.mark.parametrize("most_exact", [10, 1_000_000])
def test_a_region_opens_only_the_shards_that_touch_it(store, single, most_exact, monkeypatch):
    monkeypatch.setattr(index_module, "EXACT_ROWS", most_exact)
    index = Index.load(store.folder.parent / "sharded")
    assert shards_opened(index) == []
    ra, dec = store.column("ra"), store.column("dec")
    apart = np.hypot((ra - 3 + 180) % 360 - 180, dec - 2)  # within 1 % of the truth, so near
    answer = Search(index, store).like_rows([40], k=9, where=WHERE)[0]
    assert len(answer.rows) == 9
    assert (apart[answer.rows] < 6.1).all()
    assert (store.column("mag_r")[answer.rows] < 20).all()
    expected = Search(single, store).like_rows([40], k=9, where=WHERE)[0]
    np.testing.assert_array_equal(answer.rows, expected.rows)
    np.testing.assert_array_equal(answer.distances, expected.distances)
    cells = cells_where(WHERE)
    touched = [n for n, one in enumerate(index.card.index_shards) if one.touches(cells)]
    assert touched == [0, 1]
    assert shards_opened(index) == ([] if most_exact > 10 else touched)


def test_a_region_without_galaxies_is_named(store, sharded):
    for where in ("cone(180, 0, 1)", "mag_r < 20 and box(100, 200, -5, 5)"):
        with pytest.raises(DataError, match="no galaxy of 0 passes"):
            Search(sharded, store).like_rows([0], where=where)


def test_a_search_reads_no_column_of_the_whole_store(store, sharded, single, tmp_path, monkeypatch):
    ids, ra, dec = (store.column(name) for name in ("id", "ra", "dec"))
    (tmp_path / "like.csv").write_text(f"id\n{ids[4]}\n{ids[700]}\n")
    (tmp_path / "there.csv").write_text(f"ra,dec\n{ra[4]:.9f},{dec[4]:.9f}\n")

    def ask(search):
        return [
            search.like_id(ids[33], k=5),
            search.like_position(float(ra[33]), float(dec[33]), k=5),
            search.like_these([ids[4], ids[1800]], unlike=tmp_path / "like.csv", k=5),
            search.like_these(tmp_path / "there.csv", k=5, where=WHERE),
            search.like_rows([7], k=5, where="split == train and z_spec < 0.3")[0],
        ]

    plain = single.searched_by(single.searcher)
    plain.columns = {}  # as an index of an earlier version: the catalogue is in memory
    expected = ask(Search(plain, store))
    whole = Embeddings.column

    def guarded(self, name):
        assert self is not store, f"all of {name} was read"
        return whole(self, name)

    monkeypatch.setattr(Embeddings, "column", guarded)
    for one, other in zip(ask(Search(sharded, store)), expected, strict=True):
        np.testing.assert_array_equal(one.rows, other.rows)
        for name, values in other.table().items():
            np.testing.assert_array_equal(one.table()[name], values, name)


@pytest.mark.parametrize("kind", ["cut short", "missing", "replaced"])
def test_a_shard_that_is_not_the_one_written_is_named(copied, kind):
    path = copied / "shard-000000000900.faiss"
    content = path.read_bytes()
    if kind == "missing":
        path.unlink()
    else:
        path.write_bytes(content[:-10] if kind == "cut short" else content[:-1] + b"x")
    said = {"cut short": "cut short or replaced", "missing": "is missing", "replaced": "damaged"}
    with pytest.raises(ArtefactError, match=rf"{path.name} .*{said[kind]}"):
        Index.load(copied)


def test_shards_that_do_not_follow_each_other_are_refused(copied):
    card = artefact.read_json(copied / "card.json")
    del card["index_shards"][2]
    artefact.write_json(copied / "card.json", card)
    with pytest.raises(ArtefactError, match="do not follow each other"):
        Index.load(copied)


def test_large_files_that_did_not_change_are_read_once_for_their_checksum(copied, monkeypatch):
    monkeypatch.setattr(index_files, "LARGE_BYTES", 1)
    read = []

    def counted(path, *, true=artefact.sha256_of):
        read.append(path.name)
        return true(path)

    Index.load(copied)
    monkeypatch.setattr(artefact, "sha256_of", counted)
    Index.load(copied)
    assert read == [copied.name]
    path = copied / "shard-000000000900.faiss"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    os.utime(path, ns=(1, 1))
    with pytest.raises(ArtefactError, match=f"{path.name} is not the file its card describes"):
        Index.load(copied)
    assert path.name in read


def test_other_embeddings_are_refused(sharded, tmp_path):
    with pytest.raises(MismatchError, match="run index on these embeddings"):
        Search(sharded, write_store(tmp_path / "other", files=1))


def test_a_build_goes_on_with_the_first_shard_that_is_missing(
    store, sharded, tmp_path, monkeypatch
):
    folder, config = (
        tmp_path / "i",
        IndexConfig(index_type="ivf_sq8", pca_dim=8, rows_per_shard=450),
    )
    with monkeypatch.context() as patch:
        patch.setattr(index_building, "_opened", None)
        with pytest.raises(TypeError):
            build_index(folder, store, config)
    (folder / "shard-000000000450.faiss").unlink()
    (folder / "vectors-000000001350.npy").unlink()
    filled = []

    def noted(*given, true=index_building.fill_shard):
        filled.append(given[-2])
        true(*given)

    monkeypatch.setattr(index_building, "fill_shard", noted)
    monkeypatch.setattr(index_building.Reduction, "fit_to", None)
    build_index(folder, store, config).save(folder)
    assert filled == [450, 1350]
    require_equal(Index.load(folder), sharded, store.vectors()[::9])


def test_an_index_that_is_grown_while_it_is_asked_answers_as_before(tmp_path):
    few, more = (write_store(tmp_path / str(files), files=files) for files in (2, 3))
    folder = tmp_path / "index"
    expected = write_index(folder, few).nearest_rows(few.vectors()[::20], 5)
    opened = Index.load(folder)  # and has mapped no shard yet
    search = Search(opened, few)
    grow_index(folder, more, IndexConfig(rows_per_shard=450)).save(folder)
    for before, now in zip(expected, opened.nearest_rows(few.vectors()[::20], 5), strict=True):
        np.testing.assert_array_equal(before, now)
    assert search.like_id(int(few.column("id")[3]), k=4).table()["ra"].shape == (4,)
    with pytest.raises(MismatchError, match="run index on these embeddings"):
        Search(Index.load(folder), few)
    grown = Search.open(index=folder, embeddings=more)
    assert [one.first_row for one in grown.index.card.index_shards] == [0, 450, 900, 1000, 1450]
    assert grown.like_rows([1200], where="ra > 0")[0].query == 1200


def test_an_index_of_one_file_of_an_earlier_version_opens_and_grows(tmp_path):
    few, more = (write_store(tmp_path / str(files), files=files) for files in (2, 3))
    folder = tmp_path / "index"
    made = write_index(folder, few, rows_per_shard=2 * FILE_ROWS)
    expected = made.nearest_rows(few.vectors()[::9], 7)
    whole = faiss.read_index(str(folder / "trained.faiss"))
    whole.add(made.reduction.apply(few.vectors()))
    faiss.write_index(whole, str(folder / "index-000000001000.faiss"))
    card = artefact.read_json(folder / "card.json")
    del card["index_shards"], card["sizes"]
    for name in [one for one in card["files"] if one.split("-")[0] not in ("vectors", "ids")]:
        if name not in ("reduction.safetensors", "trained.faiss"):
            del card["files"][name]
            (folder / name).unlink()
    card["files"]["index-000000001000.faiss"] = artefact.sha256_of(
        folder / "index-000000001000.faiss"
    )
    artefact.write_json(folder / "card.json", card)
    found = Index.load(folder).nearest_rows(few.vectors()[::9], 7)
    for before, now in zip(expected, found, strict=True):
        np.testing.assert_array_equal(before, now)
    grow_index(folder, more, IndexConfig(rows_per_shard=300)).save(folder)
    grown = Index.load(folder)
    assert [one.lists for one in grown.card.index_shards] == [
        "index-000000001000.faiss",
        "shard-000000001000.faiss",
        "shard-000000001300.faiss",
    ]
    assert (grown.nearest_rows(more.vectors(), 1)[1][:, 0] == np.arange(1500)).mean() > 0.98
