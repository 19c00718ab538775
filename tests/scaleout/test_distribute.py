"""Tiles made here: the same as by one process over one file, and a valid catalogue."""

import json
import multiprocessing
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest

pytest.importorskip("hats", reason="hats is not installed")

from hats.io.validation import is_valid_catalog

from ssl_photoz import distribute, embed, harmonize, join
from ssl_photoz.core import artefact
from ssl_photoz.core.errors import ArtefactError, ConfigError, DataError, MismatchError
from ssl_photoz.cutouts.reader import Cutouts
from ssl_photoz.embeddings.store import read_account
from ssl_photoz.scaleout import runners
from ssl_photoz.scaleout.settings import RunnerConfig, TilesConfig
from ssl_photoz.scaleout.work import EmbedTiles
from tests.scaleout.conftest import ROWS, require_identical, write_encoder
from tests.scaleout.faulty import READOUT, SMALL
from tests.scaleout.faulty import run as embed_tiles


@pytest.fixture(scope="module")
def plain(cutouts, encoder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("plain")
    return embed(cutouts, encoder, folder, readout=READOUT, batch_size=16)


def test_tiles_hold_what_one_process_makes_of_the_file(tiled, plain):
    bad, expected = require_same_rows(tiled, plain)
    assert bad == expected | {ROWS - 1: "no position"}


def require_same_rows(made, plain):
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
    accounts = {path.name: read_account(path)[0] for path in tiled.folder.glob("empty/*")}
    assert accounts.pop("unplaced.parquet") == 2
    assert list(accounts.values()) == [8]  # a tile of which nothing is left
    said = (tiled.folder / "hats.properties").read_text()
    assert f"ssl_photoz_encoder={tiled.card.encoder}" in said


def test_tiles_are_joined_and_harmonized_like_any_embeddings(tiled, cutouts, encoder, tmp_path):
    other = embed_tiles(cutouts, encoder, tmp_path / "other", tiles=TilesConfig(most_rows=60))
    both = join([tiled, other], tmp_path / "both")
    assert (both.card.rows_in, len(both)) == (2 * ROWS, 2 * len(tiled))
    np.testing.assert_array_equal(
        both.column("id"), np.concatenate([tiled.column("id"), other.column("id")])
    )
    assert both.column("row").max() == other.column("row").max() + ROWS
    moved = harmonize(tiled, other, tmp_path / "moved", method="shift")
    assert moved.card.rows_in == ROWS
    np.testing.assert_array_equal(moved.column("id"), tiled.column("id"))


def test_again_nothing_is_done(tiled, cutouts, encoder, capsys):
    embed_tiles(cutouts, encoder, tiled.folder)
    assert "already made" in capsys.readouterr().out


def test_other_settings_another_encoder_and_other_data_are_refused(
    tiled, cutouts, encoder, tmp_path, make_file
):
    other = write_encoder(tmp_path / "other", seed=1)
    with pytest.raises(MismatchError, match="encoder"):
        embed_tiles(cutouts, other, tiled.folder)
    with pytest.raises(MismatchError, match=r"tiles\.most_rows"):
        embed_tiles(cutouts, encoder, tiled.folder, tiles=TilesConfig(most_rows=40))
    with pytest.raises(MismatchError, match="cutouts"):
        embed_tiles(make_file(), encoder, tiled.folder)


def test_an_encoder_that_changes_between_runs_is_refused_before_any_work(
    cutouts, tmp_path, monkeypatch
):
    encoder = write_encoder(tmp_path / "encoder")
    with pytest.raises(DataError):
        _fail(cutouts, encoder, tmp_path / "out", monkeypatch, lambda tile: tile.cell.pixel % 2)
    write_encoder(encoder, seed=1)
    with pytest.raises(MismatchError, match="encoder"):
        embed_tiles(cutouts, encoder, tmp_path / "out")


def _fail(cutouts, encoder, out, monkeypatch, which, error=None, **changes):
    """Embed with an error in some of the tiles."""
    real = EmbedTiles.__call__

    def call(self, tile, *, place=0):
        if which(tile):
            raise error or DataError("this tile is bad")
        return real(self, tile, place=place)

    with monkeypatch.context() as patched:
        patched.setattr(EmbedTiles, "__call__", call)
        return embed_tiles(cutouts, encoder, out, **changes)


def test_a_tile_that_fails_is_named_and_the_others_are_made(
    tiled, cutouts, encoder, tmp_path, monkeypatch
):
    out, bad = tmp_path / "out", _name(tiled.shards[2])
    with pytest.raises(DataError, match=rf"1 of \d+ tiles failed: {bad} \(DataError"):
        _fail(cutouts, encoder, out, monkeypatch, lambda tile: tile.name == bad)
    assert not (out / "card.json").exists()
    record_path = out / "failed" / f"{bad.replace('/Dir=0/', '_')}.json"
    record = json.loads(record_path.read_text())
    assert (record["name"], record["message"]) == (bad, "this tile is bad")
    made = sorted(path.relative_to(out).as_posix() for path in out.glob("dataset/*/*/*"))
    assert made == sorted(tile.name for tile in tiled.shards if _name(tile) != bad)
    times = {path: (out / path).stat().st_mtime_ns for path in made}
    again = embed_tiles(cutouts, encoder, out)
    assert times == {path: (out / path).stat().st_mtime_ns for path in made}
    assert not record_path.exists()
    require_identical(again, tiled)


def _name(tile):
    return tile.name.removeprefix("dataset/").removesuffix(".parquet")


def test_holes_are_left_only_when_told_and_filled_later(
    tiled, cutouts, encoder, tmp_path, monkeypatch
):
    out, bad = tmp_path / "out", tiled.shards[2]
    with_hole = _fail(
        *(cutouts, encoder, out, monkeypatch, lambda tile: tile.name == _name(bad)), holes="leave"
    )
    card = with_hole.card
    assert card["tiles_missing"] == [_name(bad)]
    assert card["rows_missing"] + card.rows_in == ROWS
    assert card.rows_written + card.rows_rejected == card.rows_in
    assert is_valid_catalog(out, strict=True)
    with pytest.raises(ArtefactError, match=rf"lacks 1 tiles .*{_name(bad)}"):
        embed_tiles(cutouts, encoder, out, runner=RunnerConfig(kind="none"))
    require_identical(embed_tiles(cutouts, encoder, out), tiled)


def test_an_error_that_passes_is_tried_again(tiled, cutouts, encoder, tmp_path, monkeypatch):
    tries = []

    def which(tile):
        tries.append(tile.name)
        return len(tries) < 3

    made = _fail(cutouts, encoder, tmp_path, monkeypatch, which, RuntimeError("a bug"))
    assert tries[0] == tries[1] == tries[2]
    require_identical(made, tiled)


def test_a_full_disk_ends_the_run_and_names_the_tile(
    tiled, cutouts, encoder, tmp_path, monkeypatch
):
    writer, written = pq.ParquetWriter, []

    class Full(writer):
        def write_table(self, *args, **keywords):
            written.append(1)
            if len(written) > 3:
                raise OSError(28, "No space left on device")
            super().write_table(*args, **keywords)

    with monkeypatch.context() as patched:
        patched.setattr(pq, "ParquetWriter", Full)
        with pytest.raises(OSError, match=r"tile Norder=\d+/Dir=0/Npix=\d+: .*No space") as caught:
            embed_tiles(cutouts, encoder, tmp_path)
    assert caught.value.errno == 28
    assert len(written) == 4  # the tiles after it are not even tried
    assert len(list(tmp_path.rglob("*Npix=*.parquet"))) == 3
    assert not list(tmp_path.rglob("*.partial*"))
    require_identical(embed_tiles(cutouts, encoder, tmp_path), tiled)


def test_a_truncated_tile_is_made_again(tiled, cutouts, encoder, tmp_path, monkeypatch, capsys):
    with pytest.raises(DataError):
        _fail(
            *(cutouts, encoder, tmp_path, monkeypatch),
            lambda tile: tile.name == _name(tiled.shards[0]),
        )
    damaged = tmp_path / tiled.shards[1].name
    damaged.write_bytes(damaged.read_bytes()[:-100])
    require_identical(embed_tiles(cutouts, encoder, tmp_path), tiled)
    assert f"redoing a damaged shard: {damaged}" in capsys.readouterr().out


def test_ranks_share_the_tiles_and_one_process_finishes(
    tiled, cutouts, encoder, tmp_path, monkeypatch
):
    runner = RunnerConfig(kind="ranks")
    with pytest.raises(ConfigError, match="torchrun, srun or a job array"):
        embed_tiles(cutouts, encoder, tmp_path, runner=runner)
    counts = []
    for rank in range(3):
        for name, value in {"RANK": rank, "WORLD_SIZE": 3, "LOCAL_RANK": rank}.items():
            monkeypatch.setenv(name, str(value))
        assert embed_tiles(cutouts, encoder, tmp_path, runner=runner) == tmp_path
        counts.append(len(list(tmp_path.glob("dataset/**/*.parquet"))))
        if rank < 2:
            with pytest.raises(ArtefactError, match="lacks"):
                embed_tiles(cutouts, encoder, tmp_path, runner=RunnerConfig(kind="none"))
    assert 0 < counts[0] < counts[1] < counts[2]
    made = embed_tiles(cutouts, encoder, tmp_path, runner=RunnerConfig(kind="none"))
    require_identical(made, tiled)


@pytest.mark.parametrize(
    ("given", "share"),
    [
        ({"RANK": "1", "WORLD_SIZE": "4", "LOCAL_RANK": "1"}, [1, 5]),
        (
            {"SLURM_STEP_NUM_TASKS": "3", "SLURM_PROCID": "2", "SLURM_LOCALID": "0"},
            [2, 5],
        ),
        (
            {
                "SLURM_ARRAY_TASK_ID": "12",
                "SLURM_ARRAY_TASK_MIN": "10",
                "SLURM_ARRAY_TASK_COUNT": "4",
            },
            [2, 6],
        ),
        ({"SLURM_STEP_NUM_TASKS": "1", "SLURM_PROCID": "0", "SLURM_LOCALID": "0"}, list(range(8))),
    ],
)
def test_a_process_finds_its_share_in_what_launched_it(given, share):
    assert list(range(8))[runners.share_of_rank(given)[0]] == share


@pytest.mark.parametrize("shared", [False, True])
def test_two_runs_into_one_folder_are_refused(cutouts, encoder, tmp_path, shared):
    context = multiprocessing.get_context("fork")
    held, done = context.Event(), context.Event()

    def hold():
        with artefact.claimed(tmp_path, shared=shared):
            held.set()
            done.wait(60)

    other = context.Process(target=hold)
    other.start()
    assert held.wait(60)
    try:
        with pytest.raises(ArtefactError, match="another process is at work"):
            embed_tiles(cutouts, encoder, tmp_path)
        if shared:  # another process of the same run
            with artefact.claimed(tmp_path, shared=True):
                pass
    finally:
        done.set()
        other.join()


@pytest.fixture(scope="module")
def converted(cutouts, tmp_path_factory):
    return distribute("convert", cutouts, tmp_path_factory.mktemp("hats"), tiles=SMALL)


def test_cutouts_in_tiles_are_read_as_any_cutouts(converted, cutouts):
    assert is_valid_catalog(converted, strict=True)
    card = artefact.read_card(converted, "cutouts")
    assert (card["rows_in"], card["rows_rejected"]) == (ROWS, 2)
    before, after = Cutouts.open(cutouts), Cutouts.open(converted)
    assert after.source.recognised.endswith("tiles with `image`")
    placed = before.id[:-2]
    order = np.argsort(after.id)
    np.testing.assert_array_equal(after.id[order], placed)
    np.testing.assert_array_equal(after[:][order], before[:-2])
    for name in ("ra", "dec", "z", "psfsize", "survey"):
        np.testing.assert_array_equal(after.column(name)[order], before.column(name)[:-2], name)
    assert after.source.bands == before.source.bands


def test_tiles_of_a_catalogue_are_embedded_as_they_are(converted, tiled, encoder, tmp_path):
    made = embed_tiles(converted, encoder, tmp_path)
    assert made.card["shards"].keys() == tiled.card["shards"].keys()
    for name in ("id", "ra", "dec", "z", "split", "embedding", "aperture", "thumbnail"):
        np.testing.assert_array_equal(made.column(name), tiled.column(name), name)
    cutouts = Cutouts.open(converted)
    np.testing.assert_array_equal(made.column("id"), cutouts.id[made.column("row")])
    assert made.card.rows_in == len(cutouts)
    divided = embed_tiles(
        *(converted, encoder, tmp_path / "divided"),
        tiles=TilesConfig(most_rows=50, as_they_are=False),
    )
    assert len(divided.shards) < len(made.shards)
    np.testing.assert_array_equal(np.sort(divided.column("row")), np.sort(made.column("row")))


def test_a_truncated_tile_of_the_input_is_named_before_any_work(converted, encoder, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(converted, data)
    bad = sorted(data.glob("dataset/*/*/*.parquet"))[3]
    bad.write_bytes(bad.read_bytes()[:-50])
    with pytest.raises(DataError, match=rf"{bad.stem}.parquet cannot be read: damaged"):
        embed_tiles(data, encoder, tmp_path / "out")


def test_a_tile_of_the_input_with_damaged_pixels_is_named_and_costs_nothing_else(
    converted, encoder, tmp_path
):
    data, out = tmp_path / "data", tmp_path / "out"
    shutil.copytree(converted, data)
    bad = sorted(data.glob("dataset/*/*/*.parquet"))[3]
    content = bytearray(bad.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 1000] = bytes(1000)
    bad.write_bytes(content)
    with pytest.raises(DataError, match=rf"1 of \d+ tiles failed: \S+{bad.stem} \(DataError"):
        embed_tiles(data, encoder, out)
    assert not (out / bad.relative_to(data)).exists()
    assert len(list(out.glob("failed/*.json"))) == 1
