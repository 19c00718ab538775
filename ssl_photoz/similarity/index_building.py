"""Build an index of any type on disk, and grow it; killed half way, the same call goes on.

Trained once on a sample of all rows; then, shard by shard, vectors are reduced, kept and sorted
into lists around the centroids that all shards share. Last, how much of the index a search looks
through is set so that its recall, measured against exact search of this very catalogue, is what
was asked.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from ssl_photoz.catalog.sky import CELLS, cells_of
from ssl_photoz.core import artefact
from ssl_photoz.core.errors import MismatchError
from ssl_photoz.core.types import Floats, Ints
from ssl_photoz.embeddings.store import Embeddings
from ssl_photoz.similarity.index import Index
from ssl_photoz.similarity.index_faiss import (
    Faiss,
    is_divided,
    read_faiss,
    write_faiss,
    write_lists,
)
from ssl_photoz.similarity.index_files import (
    GROWING,
    PLAN,
    REDUCTION,
    TRAINED,
    IndexCard,
    Shard,
    StoredVectors,
    as_stored,
    delete_strays,
    facts_of,
    ids_of,
    index_file,
    lists_file,
    part_file,
    vectors_file,
    vectors_writer,
    write_columns,
    write_vectors,
)
from ssl_photoz.similarity.index_types import (
    IndexType,
    card_of,
    new_index,
    train_on_sample,
    type_for,
)
from ssl_photoz.similarity.reduction import BATCH, Reduction
from ssl_photoz.similarity.settings import IndexConfig

PART_ROWS = 1 << 19  # rows of an index of one file between two points to go on from
LAYOUT = 2  # of the files of unfinished work


def build_index(folder: Path, embeddings: Embeddings, config: IndexConfig = IndexConfig()) -> Index:
    """Write the files of an index of every row of a store; `Index.save` finishes it.

    Args:
        folder: The index folder; what an interrupted call left there is gone on with.
        embeddings: Store to index.
        config: How vectors are reduced and searched.

    Raises:
        ConfigError: If the type is unknown to FAISS or unsuited.
        DataError: If there are fewer than two embeddings or some are not finite.
    """
    asked = {
        "layout": LAYOUT,
        "embeddings": embeddings.sha256,
        "index_type": config.index_type,
        "pca_dim": config.pca_dim,
        "whiten": config.whiten,
        "seed": config.seed,
        "rows_per_shard": config.rows_per_shard,
    }
    _clear_other_work(folder, asked)
    reduction = _reduction(folder, embeddings, config)
    kind = _chosen_type(folder, config, rows=len(embeddings), dim=reduction.dim)
    trained = _trained(folder, embeddings, reduction, kind.factory, seed=config.seed)
    if is_divided(trained):
        shards = write_shards(folder, embeddings, reduction, trained, config.rows_per_shard)
    else:
        shards = ()
        keep, each = kind.name != "flat", min(config.rows_per_shard, PART_ROWS)
        write_whole(folder, embeddings, reduction, trained, keep=keep, part_rows=each)
    card = card_of(embeddings, reduction, kind, config)
    return _opened(folder, card, shards, embeddings, seed=config.seed)


def grow_index(folder: Path, embeddings: Embeddings, config: IndexConfig = IndexConfig()) -> Index:
    """Add the rows that a store has gained; `Index.save` finishes it.

    Nothing is trained again and no indexed row is touched: what was gained becomes shards of its
    own. Until the new card is written the old index stays as it is. Rows that were hidden stay
    hidden.

    Args:
        folder: A finished index.
        embeddings: Begins with the shards that were indexed, and goes on.
        config: Rows of a shard, and seed of the sample that the recall is measured with; the rest
            is as it was.

    Raises:
        MismatchError: If the embeddings do not begin with the indexed shards, or another encoder
            made them.
    """
    index = Index.load(folder)
    check_continues(index, embeddings)
    card, reduction = index.card, index.reduction
    growing: dict[str, Any] = {"layout": LAYOUT, "embeddings": embeddings.sha256}
    growing["rows_per_shard"] = config.rows_per_shard
    if not (folder / GROWING).exists() or artefact.read_json(folder / GROWING) != growing:
        delete_strays(folder, card.files)
        artefact.write_json(folder / GROWING, growing)
    trained = _empty(folder, card.factory, dim=reduction.dim)
    old = next((one for one in card.files if one.startswith("index")), "")
    if is_divided(trained):
        before = card.index_shards or (Shard(old, 0, card.rows, None),)
        gained = write_shards(
            folder, embeddings, reduction, trained, config.rows_per_shard, first_row=card.rows
        )
        shards = (*before, *gained)
    else:
        shards = ()
        whole = read_faiss(folder / old, mapped=False)
        keep, each = card.index_type != "flat", min(config.rows_per_shard, PART_ROWS)
        write_whole(folder, embeddings, reduction, whole, keep=keep, part_rows=each)
    facts = IndexCard({**card, **facts_of(embeddings, reduction, whiten=card.whiten)})
    grown = _opened(folder, facts, shards, embeddings, seed=config.seed)
    if index.hidden is None:
        return grown
    more = np.zeros(len(embeddings) - len(index.hidden), bool)
    return grown.hiding(np.concatenate([index.hidden, more]))


def check_continues(index: Index, embeddings: Embeddings) -> None:
    """Refuse embeddings that are not those of an index and more behind them.

    Raises:
        MismatchError: Saying what differs.
    """
    card = index.card
    old = list(card.shards.values())
    new = [sha256 for _, sha256 in sorted(embeddings.card.shards.items())]
    made, given = card.encoder, embeddings.card.encoder
    if not old or new[: len(old)] != old or made != given:
        raise MismatchError(
            f"the index holds embeddings {card.embeddings[:12]}, {len(old)} shards by encoder "
            f"{made[:12]}; {embeddings.folder} by encoder {given[:12]} does not begin with them; "
            f"give another out=, or delete the index folder"
        )


def _clear_other_work(folder: Path, asked: dict[str, Any]) -> None:
    """Delete what a build of another index left; note which one is being built."""
    if (folder / PLAN).exists() and artefact.read_json(folder / PLAN).get("asked") == asked:
        return
    delete_strays(folder, ())
    for name in (REDUCTION, TRAINED):
        (folder / name).unlink(missing_ok=True)
    artefact.write_json(folder / PLAN, {"asked": asked})


def _chosen_type(folder: Path, config: IndexConfig, *, rows: int, dim: int) -> IndexType:
    """Choose once, since an interrupted build may go on when less memory is free."""
    plan = artefact.read_json(folder / PLAN)
    if "chosen" in plan:
        return IndexType(**plan["chosen"])
    kind = type_for(config, rows=rows, dim=dim)
    artefact.write_json(folder / PLAN, {**plan, "chosen": kind})
    return kind


def _reduction(folder: Path, embeddings: Embeddings, config: IndexConfig) -> Reduction:
    if (folder / REDUCTION).exists():
        return Reduction.load(folder / REDUCTION)
    reduction = Reduction.fit_to(
        embeddings, pca_dim=config.pca_dim, whiten=config.whiten, seed=config.seed
    )
    reduction.save(folder / REDUCTION)
    return reduction


def _empty(folder: Path, factory: str, *, dim: int) -> Faiss:
    """Index without vectors: the trained one of the folder, or else an untrained one.

    Raises:
        ConfigError: If FAISS does not know the factory string.
    """
    if (folder / TRAINED).exists():
        return read_faiss(folder / TRAINED, mapped=False)
    return new_index(factory, dim=dim)


def _trained(
    folder: Path, embeddings: Embeddings, reduction: Reduction, factory: str, *, seed: int
) -> Faiss:
    """Index without vectors, trained once on a sample of all rows; kept as ``trained.faiss``."""
    empty = _empty(folder, factory, dim=reduction.dim)
    if train_on_sample(empty, embeddings, reduction, seed=seed):
        write_faiss(empty, folder / TRAINED)
    return empty


def write_shards(
    folder: Path,
    embeddings: Embeddings,
    reduction: Reduction,
    trained: Faiss,
    rows_per_shard: int,
    *,
    first_row: int = 0,
) -> tuple[Shard, ...]:
    """Index the rows of a store from one on, shard by shard; those that are there are kept.

    Args:
        folder: The index folder.
        embeddings: The store.
        reduction: Reduction to unit vectors.
        trained: Index without vectors, whose centroids all shards share; filled anew for each.
        rows_per_shard: Rows of a shard; the last may have fewer.
        first_row: Row to begin with.

    Returns:
        The shards.
    """
    total = len(embeddings)
    starts = range(first_row, total, rows_per_shard)
    spans = [(start, min(start + rows_per_shard, total)) for start in starts]
    with tqdm(total=total, initial=first_row, desc="indexing", unit="galaxy") as progress:
        for start, end in spans:
            if not _is_there(folder, start, end):
                trained.reset()
                fill_shard(folder, embeddings, reduction, trained, start, end)
            progress.update(end - start)
    cells = _cells_touched(embeddings, spans)
    return tuple(
        Shard(lists_file(start), start, end - start, touched)
        for (start, end), touched in zip(spans, cells, strict=True)
    )


def fill_shard(
    folder: Path, embeddings: Embeddings, reduction: Reduction, empty: Faiss, start: int, end: int
) -> None:
    """Write the vectors, then the lists of one shard: some rows of a store, its ids their numbers.

    Args:
        folder: The index folder.
        embeddings: The store.
        reduction: Reduction to unit vectors.
        empty: Trained index without vectors; holds the shard afterwards.
        start: First row.
        end: Row behind the last.
    """
    at = start
    with vectors_writer(folder / vectors_file(start), end - start, reduction.dim) as write:
        for batch in _rows_between(embeddings, start, end):
            unit = as_stored(reduction.apply(batch))
            empty.add_with_ids(unit, np.arange(at, at + len(unit)))
            write(unit)
            at += len(unit)
    write_lists(empty, folder / lists_file(start))


def _is_there(folder: Path, start: int, end: int) -> bool:
    lists, vectors = folder / lists_file(start), folder / vectors_file(start)
    return lists.exists() and vectors.exists() and len(StoredVectors([vectors])) == end - start


def _rows_between(embeddings: Embeddings, start: int, end: int) -> Iterator[Floats]:
    """Embeddings of the rows from start to end, reading only the shards they lie in."""
    first = 0
    for shard in embeddings.shards:
        last = first + len(shard)
        if first < end and last > start:
            at = first
            for batch in shard.batches(BATCH):
                taken = batch[max(0, start - at) : max(0, end - at)]
                at += len(batch)
                if len(taken):
                    yield taken
        first = last


def _cells_touched(
    embeddings: Embeddings, spans: list[tuple[int, int]]
) -> list[tuple[tuple[int, int], ...] | None]:
    """Ranges of cells of the sky that the rows of each span lie in; None without positions."""
    if not {"ra", "dec"} <= set(embeddings.columns):
        return [None] * len(spans)
    touched = np.zeros((len(spans), CELLS), bool)
    first = 0
    for shard in embeddings.shards:
        last = first + len(shard)
        held = [number for number, (start, end) in enumerate(spans) if first < end and last > start]
        if held:
            cells = cells_of(shard.column("ra"), shard.column("dec"))
            for number in held:
                start, end = spans[number]
                some = cells[max(0, start - first) : end - first]
                touched[number, some[some >= 0]] = True
        first = last
    return [_ranges(np.flatnonzero(one)) for one in touched]


def _ranges(numbers: Ints) -> tuple[tuple[int, int], ...]:
    """First and last of each run of increasing numbers.

    >>> _ranges(np.array([3, 4, 5, 9]))
    ((3, 5), (9, 9))
    """
    runs = np.split(numbers, np.flatnonzero(np.diff(numbers) > 1) + 1)
    return tuple((int(run[0]), int(run[-1])) for run in runs if len(run))


def write_whole(
    folder: Path,
    embeddings: Embeddings,
    reduction: Reduction,
    whole: Faiss,
    *,
    keep: bool,
    part_rows: int,
) -> None:
    """Write an index of one file: a flat one, a graph, or another that has no lists to share.

    What there is so far is written anew each time, so that an interrupted call goes on from there.

    Args:
        folder: The index folder.
        embeddings: The store.
        reduction: Reduction to unit vectors.
        whole: The index of the rows before, in memory; grown here.
        keep: Whether the unit vectors are written too.
        part_rows: Rows added between two writes.
    """
    total = len(embeddings)
    if (folder / index_file(total)).exists():
        return
    parts = sorted(folder.glob("part-*.faiss"))
    if parts:
        whole = read_faiss(parts[-1], mapped=False)
    with tqdm(total=total, initial=whole.ntotal, desc="indexing", unit="galaxy") as progress:
        for start in range(int(whole.ntotal), total, part_rows):
            end = min(start + part_rows, total)
            unit = np.concatenate(
                [reduction.apply(batch) for batch in _rows_between(embeddings, start, end)]
            )
            if keep:
                unit = as_stored(unit)
                write_vectors(folder / vectors_file(start), unit)
            whole.add(unit)
            write_faiss(whole, folder / (index_file(end) if end == total else part_file(end)))
            (folder / part_file(start)).unlink(missing_ok=True)
            progress.update(end - start)


def _opened(
    folder: Path,
    card: IndexCard,
    shards: tuple[Shard, ...],
    embeddings: Embeddings,
    *,
    seed: int,
) -> Index:
    """Open a filled index, checksums taken, effort set."""
    names = [one.lists for one in shards] or [index_file(card.rows)]
    vectors = {path.name for path in folder.glob("vectors-*.npy")}
    if shards:
        vectors &= {*card.files, *(vectors_file(one.first_row) for one in shards)}
    names += [REDUCTION, *sorted(vectors)]
    names += [TRAINED] if (folder / TRAINED).exists() else []
    known = card.files
    files = {one: known.get(one) or artefact.sha256_of(folder / one) for one in names}
    facts = {**card, "files": files}
    if shards:
        facts["index_shards"] = [asdict(one) for one in shards]
        files |= write_columns(folder, embeddings)
    if card.index_type != "flat":
        facts["effort"] = 1
    index = Index.open(folder, facts)
    if not shards:
        index.ids = ids_of(embeddings)
    return index.tuned(seed=seed)
