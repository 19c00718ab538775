"""An index in shards that workers of Dask search, each some of them."""

import os
import signal
import time

import numpy as np
import pytest

from ssl_photoz.core.errors import ArtefactError, ConfigError, MismatchError
from ssl_photoz.scaleout import index_workers
from ssl_photoz.scaleout.index_workers import merge, on_workers
from ssl_photoz.similarity import index as index_module
from ssl_photoz.similarity.index import Index
from ssl_photoz.similarity.search import Search
from tests.similarity.sharded import write_index, write_store

distributed = pytest.importorskip("distributed")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return write_store(tmp_path_factory.mktemp("workers") / "embeddings")


@pytest.fixture(scope="module")
def index(store):
    return write_index(store.folder.parent / "index", store)


@pytest.fixture(scope="module")
def client():
    cluster = distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None
    )
    with cluster, distributed.Client(cluster) as made:
        yield made


def test_workers_answer_as_the_index_does_alone(store, index, client, monkeypatch):
    monkeypatch.setattr(index_module, "EXACT_ROWS", 10)
    there = on_workers(index, store.folder.parent / "index", client)
    star = store.column("is_star")
    queries = store.vectors()[::50]
    for mine, theirs in (
        (index, there),
        (index.hiding(star), there.hiding(star)),
        (index.restricted_to(np.arange(400, 900)), there.restricted_to(np.arange(400, 900))),
    ):
        for one, other in zip(
            mine.nearest_rows(queries, 6), theirs.nearest_rows(queries, 6), strict=True
        ):
            np.testing.assert_array_equal(one, other)
    here, far = Search(index, store), Search(there, store)
    asked = {"k": 5, "where": "cone(3, 2, 8)"}
    assert far.like_rows([3], **asked)[0].rows.tolist() == (
        here.like_rows([3], **asked)[0].rows.tolist()
    )


@pytest.mark.dist
def test_a_worker_that_dies_is_replaced_by_another(store, index):
    cluster = distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
    )
    with cluster, distributed.Client(cluster) as client:
        there = on_workers(index, store.folder.parent / "index", client)
        queries = store.vectors()[:5]
        expected = index.nearest_rows(queries, 4)
        np.testing.assert_array_equal(there.nearest_rows(queries, 4)[1], expected[1])
        os.kill(min(client.run(os.getpid).values()), signal.SIGKILL)
        np.testing.assert_array_equal(there.nearest_rows(queries, 4)[1], expected[1])


def test_workers_that_do_not_answer_are_not_waited_for_without_end(
    store, index, client, monkeypatch
):
    there = on_workers(index, store.folder.parent / "index", client)
    monkeypatch.setattr(index_workers, "PATIENCE_S", 0.2)
    monkeypatch.setattr(index_workers, "_candidates", lambda *_: time.sleep(1))
    with pytest.raises(ArtefactError, match=r"did not search .* within 0\.2 s"):
        there.nearest_rows(store.vectors()[:1], 3)


def test_what_workers_cannot_search_is_refused(store, index, client, tmp_path):
    flat = Index.build(store)
    flat.save(tmp_path / "flat")
    with pytest.raises(ConfigError, match="expected one in shards"):
        on_workers(flat, tmp_path / "flat", client)
    write_index(tmp_path / "other", store, rows_per_shard=700)
    with pytest.raises(MismatchError, match="another index"):
        on_workers(index, tmp_path / "other", client)


def test_merged_candidates_are_the_best_of_all():
    one = np.array([[0.9, 0.5]], np.float32), np.array([[3, 1]])
    other = np.array([[0.7, -9.0]], np.float32), np.array([[8, -1]])
    cosines, rows = merge([one, other], 3)
    assert rows.tolist() == [[3, 8, 1]]
    np.testing.assert_array_equal(cosines, np.array([[0.9, 0.7, 0.5]], np.float32))
    assert merge([other], 5)[1].tolist() == [[8, -1]]
