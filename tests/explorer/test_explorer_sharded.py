"""The page of a run whose index is in shards."""

import shutil

import numpy as np
import pytest

from ssl_photoz import cli
from ssl_photoz.catalog.tables import read_table
from ssl_photoz.embeddings.store import Embeddings
from ssl_photoz.explorer.galaxies import Galaxies, Journal, search
from ssl_photoz.explorer.run import Rows, open_run
from ssl_photoz.similarity.index_building import build_index
from ssl_photoz.similarity.settings import IndexConfig


@pytest.fixture(scope="module")
def folders(run_folder, tmp_path_factory):
    """The run with an index in shards, and with one in a single shard."""
    made = []
    for rows_per_shard in (20, 1000):
        folder = tmp_path_factory.mktemp("run") / "run"
        shutil.copytree(run_folder, folder)
        shutil.rmtree(folder / "index")
        config = IndexConfig(index_type="ivf_flat", pca_dim=16, rows_per_shard=rows_per_shard)
        build_index(folder / "index", Embeddings.open(folder / "embeddings"), config).save(
            folder / "index"
        )
        made.append(folder)
    return made


def galaxies_of(folder, tmp_path):
    run = open_run(folder)
    rows = Rows(run.embeddings, memory_bytes=1)  # one file of embeddings in memory at a time
    return Galaxies(run, rows, Journal(tmp_path / "verdicts.csv", run.catalogue), k=6)


def test_the_page_says_of_a_galaxy_what_it_says_without_shards(folders, tmp_path):
    sharded, single = (galaxies_of(folder, tmp_path) for folder in folders)
    assert len(sharded.run.index.card.index_shards) > 2
    assert len(single.run.index.card.index_shards) == 1
    for row in (0, 31, len(sharded.rows) - 1):
        assert sharded.about(row) == single.about(row)
    for asked in (str(sharded.run.catalogue.id[7]), "10 10"):
        assert search(sharded.run.catalogue, asked) == search(single.run.catalogue, asked)
    rows = np.array([3, 1, 40])
    assert sharded.table(rows, "csv") == single.table(rows, "csv")
    assert isinstance(sharded.run.catalogue.ra.base, np.memmap)


def test_query_writes_what_it_writes_without_shards(folders, tmp_path):
    answers = []
    for number, folder in enumerate(folders):
        out = tmp_path / f"{number}.csv"
        store = Embeddings.open(folder / "embeddings")
        where = f"cone({store.column('ra')[5]}, {store.column('dec')[5]}, 60)"
        given = [f"index={folder}/index", f"embeddings={store.folder}", f"out={out}"]
        cli.run("query", [*given, f"id={store.column('id')[5]}", "k=5", f"where={where}"])
        answers.append(read_table(out))
        assert out.with_suffix(".png").stat().st_size > 1000
    for name, values in answers[0].items():
        np.testing.assert_array_equal(values, answers[1][name], name)
