"""Tiles made here: the same as by one process over one file, and a valid catalogue."""

import numpy as np
import pyarrow.parquet as pq
import pytest

pytest.importorskip("hats", reason="hats is not installed")

from hats.io.validation import is_valid_catalog

from ssl_photoz import distribute, embed
from ssl_photoz.encoders.settings import ReadOutConfig
from ssl_photoz.scaleout.settings import TilesConfig
from tests.scaleout.conftest import ROWS

READOUT = ReadOutConfig(orientations=1)
SMALL = TilesConfig(most_rows=30)


def embed_tiles(cutouts, encoder, out, **changes):
    given = {"readout": READOUT, "batch_size": 16, "tiles": SMALL, **changes}
    return distribute("embed", cutouts, encoder, out, **given)


@pytest.fixture(scope="module")
def plain(cutouts, encoder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("plain")
    return embed(cutouts, encoder, folder, readout=READOUT, batch_size=16)


@pytest.fixture(scope="module")
def tiled(cutouts, encoder, tmp_path_factory):
    return embed_tiles(cutouts, encoder, tmp_path_factory.mktemp("tiled"))


def require_equal(made, plain):
    """Refuse embeddings that differ from those of one process in anything but their order."""
    order, expected = np.argsort(made.column("row")), np.argsort(plain.column("row"))
    assert set(made.columns) == {"_healpix_29", *plain.columns}
    for name in plain.columns:
        np.testing.assert_array_equal(made.column(name)[order], plain.column(name)[expected], name)
    rejects = [pq.read_table(one.folder / "rejects.parquet") for one in (made, plain)]
    assert made.card.rows_in == plain.card.rows_in == ROWS
    return [{row["row"]: row["reason"] for row in one.to_pylist()} for one in rejects]


def test_tiles_hold_what_one_process_makes_of_the_file(tiled, plain):
    bad, expected = require_equal_but_unplaced(tiled, plain)
    assert bad == expected | {ROWS - 1: "no position"}


def require_equal_but_unplaced(made, plain):
    keep = plain.column("row") != ROWS - 1  # a row without a position has no place on the sky
    order = np.argsort(made.column("row"))
    assert set(made.columns) == {"_healpix_29", *plain.columns}
    for name in plain.columns:
        mine, theirs = made.column(name)[order], plain.column(name)[keep]
        if name in ("embedding", "aperture"):  # batches of other rows
            np.testing.assert_allclose(mine, theirs, rtol=2e-3, atol=2e-3, err_msg=name)
        else:
            np.testing.assert_array_equal(mine, theirs, name)
    assert made.card.rows_in == plain.card.rows_in == ROWS
    assert made.card.rows_written == plain.card.rows_written - 1
    for name in ("encoder", "bands", "stages", "split", "extinction_corrected", "crop_px"):
        assert made.card[name] == plain.card[name]
    rejects = [pq.read_table(one.folder / "rejects.parquet") for one in (made, plain)]
    return [{row["row"]: row["reason"] for row in one.to_pylist()} for one in rejects]


def test_the_output_is_a_valid_catalogue(tiled):
    assert is_valid_catalog(tiled.folder, strict=True)
    assert len(tiled.shards) > 8
    assert max(len(tile) for tile in tiled.shards) <= 30
    said = (tiled.folder / "hats.properties").read_text()
    assert f"ssl_photoz_encoder={tiled.card.encoder}" in said


def test_again_nothing_is_done(tiled, cutouts, encoder, capsys):
    embed_tiles(cutouts, encoder, tiled.folder)
    assert "already made" in capsys.readouterr().out
