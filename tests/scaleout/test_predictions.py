"""Redshifts and densities of tiles: those of the plain commands, in a valid catalogue."""

import json
from functools import partial

import numpy as np
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

pytest.importorskip("hats", reason="hats is not installed")

from hats.io.validation import is_valid_catalog

from ssl_photoz import (
    ClassifierConfig,
    DensityConfig,
    DwarfConfig,
    Index,
    distribute,
    dwarfs,
    predict,
    probe,
)
from ssl_photoz.core.errors import ArtefactError, ConfigError, MismatchError
from ssl_photoz.embeddings.store import write_embeddings
from ssl_photoz.photoz.density_table import PROBE, density_parts, load_calibrated
from ssl_photoz.scaleout.hats import write_hats_embeddings
from ssl_photoz.scaleout.settings import TilesConfig
from tests.conftest import survey


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """The same galaxies as plain embeddings and as tiles."""
    folder = tmp_path_factory.mktemp("stores")
    columns, vectors = survey(600, labelled=0.6)
    facts = {"encoder": "e", "simulated": True}
    tiles = TilesConfig(most_rows=60)
    return (
        write_embeddings(folder / "plain", columns, vectors, **facts),
        write_hats_embeddings(folder / "tiles", columns, vectors, tiles=tiles, **facts),
    )


@pytest.fixture(scope="module")
def probed(stores, tmp_path_factory):
    return probe(stores[0], tmp_path_factory.mktemp("probe"), probes=("knn", "ridge"))


@pytest.fixture(scope="module")
def dense(stores, tmp_path_factory):
    folder = tmp_path_factory.mktemp("density")
    return probe(stores[0], folder, density=True, densities=DensityConfig(qp=False))


def rows_of(folder):
    table = ds.dataset(folder / "dataset", format="parquet", exclude_invalid_files=True).to_table()
    return table.sort_by("id")


def test_redshifts_of_tiles_are_those_of_the_plain_command(stores, probed, tmp_path):
    plain, tiles = stores
    expected = pq.read_table(
        predict(probed, tmp_path / "plain.parquet", embeddings=plain, which="knn", rows="all")
    ).sort_by("id")
    out = distribute("predict", tiles.folder, tmp_path / "out", using=probed.folder, which="knn")
    found = rows_of(out)
    for name in ("id", "ra", "dec", "z_phot", "z_lo", "z_hi"):
        np.testing.assert_allclose(
            found[name].to_numpy(), expected[name].to_numpy(), rtol=1e-6, err_msg=name
        )
    order = np.argsort(plain.column("id"))
    np.testing.assert_array_equal(found["z_spec"].to_numpy(), plain.column("z")[order])
    assert set(found["simulated"].to_pylist()) == {True}
    assert is_valid_catalog(out, strict=True)
    card = json.loads((out / "card.json").read_text())
    assert (card["kind"], card["work"], card["rows_written"]) == ("predictions", "predict", 600)
    assert card["simulated"] is True
    assert sorted(card["tiles"]) == sorted(tiles.card.shards)


def test_densities_of_tiles_are_those_of_the_fitted_probe(stores, dense, tmp_path):
    plain, tiles = stores
    out = distribute("density", tiles.folder, tmp_path / "out", using=dense.folder)
    found, every = rows_of(out), np.ones(len(plain), bool)
    parts = density_parts(load_calibrated(dense.folder), plain, every, features="embedding")
    columns, density = next(iter(parts))
    order = np.argsort(columns["id"])
    np.testing.assert_array_equal(found["id"].to_numpy(), columns["id"][order])
    pdf = np.stack(found["pdf"].to_numpy(zero_copy_only=False))
    np.testing.assert_allclose(pdf, density.values.astype("f4")[order], atol=1e-4)
    np.testing.assert_allclose(found["z_phot"].to_numpy(), density.median()[order], atol=1e-4)
    assert is_valid_catalog(out, strict=True)
    assert "pdf" not in (out / "hats.properties").read_text().partition("default")[2]
    grid = json.loads(pq.read_schema(out / "dataset/_common_metadata").metadata[b"ssl_photoz.grid"])
    assert len(grid) == pdf.shape[1]


def test_the_densities_of_a_folder_are_given_again_by_its_probe(stores, dense):
    table = pq.read_table(dense.folder / "pdfs.parquet").sort_by("id")
    plain = stores[0]
    wanted = np.isin(plain.column("id"), table["id"].to_numpy())
    parts = density_parts(load_calibrated(dense.folder), plain, wanted, features="embedding")
    columns, density = next(iter(parts))
    np.testing.assert_array_equal(np.sort(columns["id"]), table["id"].to_numpy())
    np.testing.assert_allclose(
        density.median()[np.argsort(columns["id"])], table["z_phot"].to_numpy(), atol=1e-6
    )


def test_what_does_not_belong_together_is_refused_before_any_work(
    stores, probed, dense, tmp_path, make_store
):
    plain, tiles = stores
    run = partial(distribute, out=tmp_path / "out")
    with pytest.raises(MismatchError, match="has no tiles"):
        run("predict", plain.folder, using=probed.folder, which="knn")
    other = write_hats_embeddings(tmp_path / "other", *survey(50), encoder="f")
    with pytest.raises(MismatchError, match="fitted to embeddings of encoder"):
        run("predict", other.folder, using=probed.folder, which="knn")
    with pytest.raises(ArtefactError, match="holds no probe 'svr'"):
        run("predict", tiles.folder, using=probed.folder, which="svr")
    with pytest.raises(ConfigError, match="a mask says which cutouts"):
        run("predict", tiles.folder, using=probed.folder, mask=tmp_path)
    with pytest.raises(ConfigError, match="needs using=: the folder of probe"):
        run("predict", tiles.folder)
    probe_file = dense.folder / PROBE
    kept = probe_file.read_bytes()
    probe_file.unlink()
    try:
        with pytest.raises(ArtefactError, match="run probe density=true again"):
            run("density", tiles.folder, using=dense.folder)
    finally:
        probe_file.write_bytes(kept)
    assert not list((tmp_path / "out").rglob("Npix*"))


def test_dwarf_scores_of_tiles_are_those_of_the_list(tmp_path):
    columns, vectors = survey(700, labelled=0.6, pictures=True)
    facts = {"encoder": "e", "simulated": True}
    plain = write_embeddings(tmp_path / "plain", columns, vectors, **facts)
    tiles = write_hats_embeddings(
        tmp_path / "tiles", columns, vectors, tiles=TilesConfig(most_rows=100), **facts
    )
    Index.build(plain).save(tmp_path / "index")
    listed = dwarfs(
        tmp_path / "index",
        plain,
        tmp_path / "dwarfs",
        dwarf=DwarfConfig(z_max=0.1, also=(0.2,)),
        classifier=ClassifierConfig(
            methods=("vote", "logistic", "kernel", "one_class", "mlp"), max_train=300
        ),
    )
    out = distribute("dwarfs", tiles.folder, tmp_path / "out", using=listed.folder)
    assert is_valid_catalog(out, strict=True)
    found, expected = rows_of(out), listed.probabilities()
    place = np.searchsorted(found["id"].to_numpy(), expected["id"])
    np.testing.assert_array_equal(found["id"].to_numpy()[place], expected["id"])
    names = [name for name in expected if name == "score" or name.startswith("p_")]
    assert {"p_z0p1_vote", "p_z0p1_kernel", "p_z0p1_mlp", "p_z0p2_logistic"} <= set(names)
    for name in names:
        mine = found[name].to_numpy()[place]
        np.testing.assert_allclose(mine, expected[name], atol=2e-3, err_msg=name)
    assert found.num_rows == 700  # those with a redshift too
    other = write_hats_embeddings(tmp_path / "other", columns, vectors, encoder="f")
    with pytest.raises(MismatchError, match="fitted to embeddings of encoder"):
        distribute("dwarfs", other.folder, tmp_path / "no", using=listed.folder)
    (listed.folder / "search.safetensors").unlink()
    with pytest.raises(ArtefactError, match="run dwarfs again"):
        distribute("dwarfs", tiles.folder, tmp_path / "no", using=listed.folder)
