import io
import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from ssl_photoz.core.errors import ArtefactError, ShapeError
from ssl_photoz.embeddings.store import (
    Embeddings,
    Reject,
    finish,
    finish_shards,
    read_account,
    shard_table,
    write_accounted,
    write_embeddings,
    write_shard,
)


def columns(n, rng):
    return {
        "id": rng.integers(2**60, 2**62, n),
        "ra": rng.uniform(0, 360, n),
        "dec": rng.uniform(-90, 90, n),
        "z": np.where(rng.random(n) < 0.5, np.nan, 0.1).astype("f4"),
        "split": rng.choice(["train", "val", "test"], n),
        "psfsize": rng.random((n, 3)).astype("f4"),
    }


def picture(value):
    buffer = io.BytesIO()
    Image.fromarray(np.full((8, 8, 3), value, np.uint8)).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


def test_columns_and_vectors_survive_a_round_trip(tmp_path):
    rng = np.random.default_rng(0)
    given = columns(50, rng)
    vectors = rng.normal(size=(50, 7)).astype(np.float16)
    stored = write_embeddings(tmp_path / "e", given, vectors, encoder="abc")
    assert len(stored) == 50
    assert stored.dim == 7
    assert stored.card["encoder"] == "abc"
    np.testing.assert_array_equal(stored.vectors(), vectors.astype(np.float32))
    np.testing.assert_array_equal(np.vstack(list(stored.batches(8))), stored.vectors())
    for name, values in given.items():
        np.testing.assert_array_equal(stored.column(name), values)


def test_pandas_style_readers_see_plain_columns(tmp_path):
    write_embeddings(
        tmp_path / "e", columns(5, np.random.default_rng(0)), np.ones((5, 2), np.float16)
    )
    table = pq.read_table(tmp_path / "e" / "part-00000.parquet").to_pylist()
    assert table[0]["embedding"] == [1.0, 1.0]
    assert isinstance(table[0]["id"], int)


def test_every_row_is_accounted_for(tmp_path):
    folder = tmp_path / "e"
    two = {"row": np.arange(2), "embedding": np.ones((2, 3), np.float16)}
    write_shard(folder, 0, two, rejects=[Reject(2, "77", "nan or inf pixels")])
    assert read_account(folder / "part-00000.parquet") == (
        3,
        [Reject(2, "77", "nan or inf pixels")],
    )
    with pytest.raises(ArtefactError, match="accounts for 3 rows, the cutout file has 4"):
        finish(folder, rows_in=4, config={}, parents={})
    assert not (folder / "card.json").exists()
    card = finish(folder, rows_in=3, config={}, parents={})
    assert (card["rows_in"], card["rows_written"], card["rows_rejected"]) == (3, 2, 1)
    assert pq.read_table(folder / "rejects.parquet").to_pylist() == [
        {"row": 2, "id": "77", "reason": "nan or inf pixels"}
    ]


def test_thumbnails_come_in_the_order_asked_across_shards(tmp_path):
    folder = tmp_path / "e"
    for number in range(2):
        values = [picture(100 * number + 10 * i) for i in range(3)]
        write_shard(
            folder,
            number,
            {
                "row": np.arange(3),
                "embedding": np.ones((3, 2), np.float16),
                "thumbnail": values,
            },
        )
    finish(folder, rows_in=6, config={}, parents={})
    seen = [int(t.mean()) for t in Embeddings.open(folder).thumbnails([5, 0, 4, 5])]
    assert seen == pytest.approx([120, 0, 110, 120], abs=2)


def test_unequal_columns_are_refused(tmp_path):
    with pytest.raises(ShapeError, match="equally long"):
        write_shard(tmp_path, 0, {"row": np.arange(2), "embedding": np.ones((3, 2))})
    assert not list(tmp_path.glob("*"))


def test_damage_is_named(tmp_path):
    folder = tmp_path / "e"
    write_embeddings(folder, columns(5, np.random.default_rng(0)), np.ones((5, 2), np.float16))
    stored = Embeddings.open(folder)
    with pytest.raises(ArtefactError, match=r"no column 'mass'; it has row, id"):
        stored.column("mass")
    shard = folder / "part-00000.parquet"
    shard.write_bytes(shard.read_bytes()[:100])
    with pytest.raises(ArtefactError, match="cannot read 'ra'"):
        stored.column("ra")
    with pytest.raises(ArtefactError, match="not a readable embeddings shard"):
        read_account(shard)
    shard.unlink()
    with pytest.raises(ArtefactError, match="lacks its shard"):
        Embeddings.open(folder)
    (folder / "card.json").unlink()
    with pytest.raises(ArtefactError, match=r"no card\.json"):
        Embeddings.open(folder)


def test_shards_in_folders_below_are_read_in_order_and_one_at_a_time(tmp_path):
    rng = np.random.default_rng(5)
    names = ["dataset/Norder=1/Dir=0/Npix=11.parquet", "dataset/Norder=0/Dir=0/Npix=3.parquet"]
    parts = {name: columns(n, rng) for name, n in zip(names, (5, 3), strict=True)}
    for name, part in parts.items():
        vectors = rng.normal(size=(len(part["id"]), 4)).astype("f2")
        part["embedding"] = vectors
        write_accounted(tmp_path / name, shard_table(part))
    shards = [tmp_path / name for name in names]
    finish_shards(tmp_path, shards, {"encoder": "e"}, rows_in=8, config={}, parents={})
    stored = Embeddings.open(tmp_path)
    assert len(stored) == 8
    assert [shard.name for shard in stored.shards] == sorted(names)
    assert [len(shard) for shard in stored.shards] == [3, 5]
    np.testing.assert_array_equal(
        stored.column("id"), np.concatenate([parts[name]["id"] for name in sorted(names)])
    )
    for shard in stored.shards:
        assert Embeddings.open(shard) is shard
        assert shard.path == tmp_path / shard.name
        np.testing.assert_array_equal(shard.column("dec"), parts[shard.name]["dec"])
        np.testing.assert_array_equal(shard.vectors(), parts[shard.name]["embedding"])


@pytest.mark.parametrize("name", ["../stolen.parquet", "/etc/stolen.parquet", "a/../../b", ""])
def test_a_card_that_names_a_shard_elsewhere_is_refused(tmp_path, name):
    folder = tmp_path / "e"
    write_embeddings(folder, columns(5, np.random.default_rng(0)), np.ones((5, 2), np.float16))
    (folder / "part-00000.parquet").rename(tmp_path / "stolen.parquet")
    card = json.loads((folder / "card.json").read_text())
    (folder / "card.json").write_text(json.dumps({**card, "shards": {name: "0"}}))
    with pytest.raises(ArtefactError, match="expected a path below"):
        Embeddings.open(folder)
