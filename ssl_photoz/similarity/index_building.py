"""Build an index of any type on disk, and grow it; killed half way, the same call goes on.

Trained on a sample; then, shard by shard, vectors are reduced, kept and indexed; the shards
are merged; last, how much of the index a search looks through is set so that its recall,
measured against exact search of this very catalogue, is what was asked.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from ssl_photoz.core import artefact
from ssl_photoz.core.errors import MismatchError
from ssl_photoz.core.types import Array, Floats
from ssl_photoz.embeddings.store import Embeddings
from ssl_photoz.similarity.index import Index
from ssl_photoz.similarity.index_faiss import (
    Faiss,
    core_of,
    faiss,
    read_faiss,
    write_faiss,
)
from ssl_photoz.similarity.index_files import (
    GROWING,
    PLAN,
    REDUCTION,
    TRAINED,
    IndexCard,
    delete_strays,
    facts_of,
    ids_of,
    index_file,
    lists_file,
    vectors_file,
    write_vectors,
)
from ssl_photoz.similarity.index_types import (
    IndexType,
    card_of,
    new_index,
    train_on_sample,
    type_for,
)
from ssl_photoz.similarity.reduction import (
    BATCH,
    Reduction,
)
from ssl_photoz.similarity.settings import IndexConfig

if TYPE_CHECKING:
    pass


SHARD_ROWS = 1 << 19


def build_index(
    folder: Path,
    embeddings: Embeddings,
    config: IndexConfig = IndexConfig(),
    *,
    shard_rows: int = SHARD_ROWS,
) -> Index:
    """Write the files of an index of every row of a store; `Index.save` finishes it.

    Args:
        folder: The index folder; what an interrupted call left there is gone on with.
        embeddings: Store to index.
        config: How vectors are reduced and searched.
        shard_rows: Rows indexed between two points that an interrupted call can go on from.

    Raises:
        ConfigError: If the type is unknown to FAISS or unsuited.
        DataError: If there are fewer than two embeddings or some are not finite.
    """
    asked = {
        "embeddings": embeddings.sha256,
        "index_type": config.index_type,
        "pca_dim": config.pca_dim,
        "whiten": config.whiten,
        "seed": config.seed,
    }
    _clear_other_work(folder, asked)
    reduction = _reduction(folder, embeddings, config)
    kind = _chosen_type(folder, config, rows=len(embeddings), dim=reduction.dim)
    if not (folder / index_file(len(embeddings))).exists():
        empty = empty_index(folder, kind.factory, dim=reduction.dim)
        train(folder, empty, embeddings, reduction, seed=config.seed)
        whole = empty_index(folder, kind.factory, dim=reduction.dim)
        _fill(folder, embeddings, reduction, empty, whole, kind.name, shard_rows=shard_rows)
    card = card_of(embeddings, reduction, kind, config)
    return _opened(folder, card, ids=ids_of(embeddings), seed=config.seed)


def grow_index(
    folder: Path, embeddings: Embeddings, *, shard_rows: int = SHARD_ROWS, seed: int = 0
) -> Index:
    """Add the rows that a store has gained; `Index.save` finishes it.

    Nothing is trained again and no indexed row is touched. Until the new card is written the old
    index stays as it is. Rows that were hidden stay hidden.

    Args:
        folder: A finished index.
        embeddings: Begins with the shards that were indexed, and goes on.
        shard_rows: Rows indexed between two points that an interrupted call can go on from.
        seed: Seed of the sample that the recall is measured with.

    Raises:
        MismatchError: If the embeddings do not begin with the indexed shards, or another encoder
            made them.
    """
    index = Index.load(folder)
    check_continues(index, embeddings)
    card, reduction = index.card, index.reduction
    growing = {"embeddings": embeddings.sha256}
    if not (folder / GROWING).exists() or artefact.read_json(folder / GROWING) != growing:
        delete_strays(folder, card.files)
        artefact.write_json(folder / GROWING, growing)
    if not (folder / index_file(len(embeddings))).exists():
        (old,) = (one for one in card.files if one.startswith("index"))
        whole = read_faiss(folder / old, mapped=False)
        empty = empty_index(folder, card.factory, dim=reduction.dim)
        kind = card.index_type
        _fill(folder, embeddings, reduction, empty, whole, kind, shard_rows=shard_rows)
    facts = {**card, **facts_of(embeddings, reduction, whiten=card.whiten)}
    grown = _opened(folder, IndexCard(facts), ids=ids_of(embeddings), seed=seed)
    if index.hidden is None:
        return grown
    gained = np.zeros(len(embeddings) - len(index.hidden), bool)
    return grown.hiding(np.concatenate([index.hidden, gained]))


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


def _fill(
    folder: Path,
    embeddings: Embeddings,
    reduction: Reduction,
    empty: Faiss,
    whole: Faiss,
    name: str,
    *,
    shard_rows: int,
) -> None:
    """Index the rows that come after those of ``whole``, and write both together."""
    rows_before = int(whole.ntotal)
    write_shards(
        folder,
        embeddings,
        reduction,
        empty=empty,
        whole=whole,
        keep=name != "flat",
        shard_rows=shard_rows,
    )
    path = folder / index_file(len(embeddings))
    merge_shards(folder, whole, path, rows_before=rows_before)


def _reduction(folder: Path, embeddings: Embeddings, config: IndexConfig) -> Reduction:
    if (folder / REDUCTION).exists():
        return Reduction.load(folder / REDUCTION)
    reduction = Reduction.fit_to(
        embeddings, pca_dim=config.pca_dim, whiten=config.whiten, seed=config.seed
    )
    reduction.save(folder / REDUCTION)
    return reduction


def _opened(folder: Path, card: IndexCard, *, ids: Array | None, seed: int) -> Index:
    """Open a merged index, checksums taken, effort set."""
    vectors = sorted(path.name for path in folder.glob("vectors-*.npy"))
    names = [index_file(card.rows), REDUCTION, *vectors]
    names += [TRAINED] if (folder / TRAINED).exists() else []
    known = card.files
    files = {one: known.get(one) or artefact.sha256_of(folder / one) for one in names}
    facts = {**card, "files": files}
    if card.index_type != "flat":
        facts["effort"] = 1
    index = Index.open(folder, facts)
    index.ids = ids
    return index.tuned(seed=seed)


def empty_index(folder: Path, factory: str, *, dim: int) -> Faiss:
    """Index without vectors: the trained one of the folder, or else an untrained one.

    Raises:
        ConfigError: If FAISS does not know the factory string.
    """
    if (folder / TRAINED).exists():
        return read_faiss(folder / TRAINED, mapped=False)
    return new_index(factory, dim=dim)


def train(
    folder: Path, empty: Faiss, embeddings: Embeddings, reduction: Reduction, *, seed: int
) -> None:
    """Train an index on a sample, and keep it as ``trained.faiss``; see `train_on_sample`."""
    if train_on_sample(empty, embeddings, reduction, seed=seed):
        write_faiss(empty, folder / TRAINED)


def write_shards(
    folder: Path,
    embeddings: Embeddings,
    reduction: Reduction,
    *,
    empty: Faiss,
    whole: Faiss,
    keep: bool,
    shard_rows: int,
) -> None:
    """Reduce and index the rows of a store that come after those of an index.

    Args:
        folder: Folder that the shards go to.
        embeddings: The store.
        reduction: Reduction to unit vectors.
        empty: A trained index without vectors, filled anew for every shard.
        whole: The index of the rows before, in memory; grown here if it cannot be merged.
        keep: Whether the unit vectors are written too.
        shard_rows: Rows of a shard.
    """
    merges = can_merge(whole)
    written = _written(folder, whole.ntotal)
    if written and not merges:
        whole = read_faiss(folder / lists_file(written[-1]), mapped=False)
    end = written[-1] if written else int(whole.ntotal)
    for unit in _reduced(embeddings, reduction, first_row=end, shard_rows=shard_rows):
        before, end = end, end + len(unit)
        if keep:
            write_vectors(folder / vectors_file(before), unit)
        part = empty if merges else whole
        part.add(unit)
        write_faiss(part, folder / lists_file(end))
        if merges:
            empty.reset()
        else:
            (folder / lists_file(before)).unlink(missing_ok=True)


def merge_shards(folder: Path, whole: Faiss, path: Path, *, rows_before: int) -> None:
    """Merge the written shards into an index of the rows before, and write it.

    Args:
        folder: Folder of the shards.
        whole: The index of the rows before, in memory; changed.
        path: File of the merged index.
        rows_before: How many rows were indexed before the shards.
    """
    written = _written(folder, rows_before)
    if not can_merge(whole):
        (folder / lists_file(written[-1])).replace(path)
        return
    has_ids = isinstance(core_of(whole), faiss.IndexIVF)
    for end in tqdm(written, desc="merging", unit="shard"):
        part = read_faiss(folder / lists_file(end), mapped=False)
        whole.merge_from(part, whole.ntotal if has_ids else 0)
    write_faiss(whole, path)
    for end in written:
        (folder / lists_file(end)).unlink()


def can_merge(index: Faiss) -> bool:
    """Whether FAISS can merge two indexes of this type."""
    try:
        index.check_compatible_for_merge(index)
    except RuntimeError:
        return False
    return True


def _written(folder: Path, rows: int) -> list[int]:
    """Where the finished shards after some rows end, increasing."""
    ends = [int(path.stem.removeprefix("lists-")) for path in folder.glob("lists-*.faiss")]
    return sorted(end for end in ends if end > rows)


def _reduced(
    embeddings: Embeddings, reduction: Reduction, *, first_row: int, shard_rows: int
) -> Iterator[Floats]:
    """Unit vectors of all rows from first_row on, ``shard_rows`` at a time."""
    seen, held, count = 0, [np.empty((0, reduction.dim), np.float32)], 0
    total = len(embeddings)
    with tqdm(total=total, initial=first_row, desc="indexing", unit="galaxy") as progress:
        for batch in embeddings.batches(BATCH):
            fresh = batch[max(0, first_row - seen) :]
            seen += len(batch)
            while len(fresh):
                taken, fresh = fresh[: shard_rows - count], fresh[shard_rows - count :]
                held.append(reduction.apply(taken))
                count += len(taken)
                progress.update(len(taken))
                if count == shard_rows:
                    yield np.concatenate(held)
                    held, count = held[:1], 0
        if count:
            yield np.concatenate(held)
