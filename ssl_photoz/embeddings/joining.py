"""Several embeddings folders as one, so that a catalogue grows as cutouts arrive."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
from tqdm import tqdm

from ssl_photoz.core import artefact
from ssl_photoz.core.errors import ConfigError, MismatchError
from ssl_photoz.embeddings.store import (
    HOW_MADE,
    Embeddings,
    EmbeddingsCard,
    finish,
    is_whole,
    read_account,
    write_arrow_shard,
)

# What must agree for vectors to be comparable, and for one card to speak of all.
ALIKE = (*HOW_MADE, "split", "simulated", "harmonized")
HANDED_ON = (*ALIKE, "blocks", "ebv_typical_mag", "trained_steps", "labels_seen")


def join_embeddings(
    folder: Path, parts: Sequence[Embeddings], *, config: object = None
) -> EmbeddingsCard:
    """Write an embeddings folder that holds the galaxies of several, in the order given.

    The shards of the first are taken as they are, so that an index of it can grow to the whole;
    in the others ``row`` counts as if the cutout files had been put one behind the other. Call
    again after an interruption to go on.

    Args:
        folder: Folder to write.
        parts: At least two folders, made alike.
        config: Settings, for the card.

    Returns:
        The card.

    Raises:
        ConfigError: If there are fewer than two folders, or one is given twice.
        MismatchError: If they were not made alike; names the first difference.
    """
    if len(parts) < 2 or len({part.sha256 for part in parts}) < len(parts):
        raise ConfigError(f"got {len(parts)} embeddings folders, expected at least 2, each once")
    for part in parts[1:]:
        require_alike(parts[0], part)
    first_rows = accumulate((part.card.rows_in for part in parts), initial=0)
    shards = [
        (shard, first_row)
        for part, first_row in zip(parts, first_rows, strict=False)
        for shard in part.account_files()
    ]
    for number, (shard, first_row) in enumerate(tqdm(shards, desc="joining", unit="shard")):
        if not is_whole(folder / f"part-{number:05d}.parquet", read_account(shard)[0]):
            _put(shard, folder, number, first_row)
    return finish(
        folder,
        rows_in=sum(part.card.rows_in for part in parts),
        config=config,
        parents={f"embeddings {n}": part.sha256 for n, part in enumerate(parts)},
        **{name: parts[0].card[name] for name in HANDED_ON if name in parts[0].card},
    )


def require_alike(one: Embeddings, other: Embeddings) -> None:
    """Refuse embeddings that were not made as these were.

    Raises:
        MismatchError: Naming both sides.
    """
    for name in ALIKE:
        mine, theirs = one.card.how_made(name), other.card.how_made(name)
        if mine != theirs:
            raise MismatchError(
                f"{one.folder} has {name} {mine!r}, {other.folder} has {theirs!r}; only "
                f"embeddings made alike can be joined"
            )
    types, others = one.column_types(), other.column_types()
    for name in sorted(types.keys() | others.keys()):
        here, there = types.get(name, "missing"), others.get(name, "missing")
        if here != there:
            raise MismatchError(
                f"column {name!r} is {here} in {one.folder} and {there} in {other.folder}; give "
                f"both cutout files the same columns, and embed again"
            )


def repeated_ids(joined: Embeddings) -> int:
    """Number of rows that have the id of an earlier row."""
    ids = joined.column("id")
    return len(ids) - len(np.unique(ids))


def _put(shard: Path, folder: Path, number: int, first_row: int) -> None:
    if not first_row:
        _link_or_copy(shard, folder / f"part-{number:05d}.parquet")
        return
    table, (_, rejects) = pq.read_table(shard), read_account(shard)
    column = table.schema.get_field_index("row")
    table = table.set_column(column, "row", pc.add(table["row"], first_row))
    moved = [reject._replace(row=reject.row + first_row) for reject in rejects]
    write_arrow_shard(folder, number, table, rejects=moved)


def _link_or_copy(shard: Path, target: Path) -> None:
    """Share the bytes where the disk can: shards are never changed, only replaced."""
    target.unlink(missing_ok=True)
    try:
        os.link(shard, target)
    except OSError:  # another disk, or one without links
        with artefact.atomic_path(target) as scratch:
            shutil.copyfile(shard, scratch)
