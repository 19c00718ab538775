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
from ssl_photoz.core.errors import ConfigError, MismatchError, ShapeError
from ssl_photoz.core.types import Array, Floats, Ints
from ssl_photoz.embeddings.store import Embeddings
from ssl_photoz.similarity.index import Index
from ssl_photoz.similarity.index_faiss import (
    Approximate,
    Exact,
    Faiss,
    FlatVectors,
    MemoryVectors,
    core_of,
    exact_neighbours,
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
    StoredVectors,
    delete_strays,
    facts_of,
    index_file,
    lists_file,
    vectors_file,
    write_vectors,
)
from ssl_photoz.similarity.index_types import NAMES, IndexType, available_bytes, choose_type
from ssl_photoz.similarity.reduction import (
    BATCH,
    ArraySource,
    Reduction,
    VectorSource,
    take_batches,
)
from ssl_photoz.similarity.settings import IndexConfig

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


SHARD_ROWS = 1 << 19
POINTS_PER_LIST = 64  # vectors that each list's centroid is trained on
LEAST_POINTS = 20_000  # enough for codes of one byte
EF_CONSTRUCTION = 100  # candidates kept while a graph is built
K = 10
QUERIES = 500
BATCH_ROWS = 1 << 16


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
    card = _card_of(embeddings, reduction, kind, config)
    return _opened(folder, card, ids=_ids_of(embeddings), seed=config.seed)


def build_in_memory(
    vectors: ArrayLike | Embeddings, ids: ArrayLike | None, config: IndexConfig
) -> Index:
    """See `Index.build`."""
    source = vectors if isinstance(vectors, Embeddings) else ArraySource(vectors)
    names = _ids_of(source) if ids is None else _as_ids(np.asarray(ids))
    if names is not None and names.shape != (len(source),):
        raise ShapeError(f"ids have shape {names.shape}, expected ({len(source)},)")
    reduction = Reduction.fit_to(
        source, pca_dim=config.pca_dim, whiten=config.whiten, seed=config.seed
    )
    kind = _type_for(config, rows=len(source), dim=reduction.dim)
    index, units = new_index(kind.factory, dim=reduction.dim), []
    train_on_sample(index, source, reduction, seed=config.seed)
    with tqdm(total=len(source), desc="indexing", unit="galaxy") as progress:
        for batch in source.batches(BATCH):
            unit = reduction.apply(batch)
            index.add(unit)
            units.append(unit.astype(np.float16))
            progress.update(len(batch))
    card = _card_of(source, reduction, kind, config)
    if kind.name == "flat":
        return Index(reduction, FlatVectors(index), Exact(index), card, ids=names)
    stored = MemoryVectors(np.concatenate(units))
    searcher = Approximate(index, stored, effort=1, shortlist=kind.shortlist)
    return _tuned(Index(reduction, stored, searcher, card, ids=names), seed=config.seed)


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
    grown = _opened(folder, IndexCard(facts), ids=_ids_of(embeddings), seed=seed)
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
    kind = _type_for(config, rows=rows, dim=dim)
    artefact.write_json(folder / PLAN, {**plan, "chosen": kind})
    return kind


def _type_for(config: IndexConfig, *, rows: int, dim: int) -> IndexType:
    memory_bytes = available_bytes() if config.memory_gb is None else config.memory_gb * 1e9
    return choose_type(config.index_type, rows=rows, dim=dim, memory_bytes=memory_bytes)


def _card_of(
    source: VectorSource, reduction: Reduction, kind: IndexType, config: IndexConfig
) -> IndexCard:
    facts = facts_of(source, reduction, whiten=config.whiten)
    how = {"index_type": kind.name, "factory": kind.factory, "shortlist": kind.shortlist}
    return IndexCard({**facts, **how, "recall_wanted": config.recall})


def _ids_of(source: VectorSource) -> Array | None:
    """Ids of an embeddings folder; an array has none."""
    return _as_ids(source.column("id")) if isinstance(source, Embeddings) else None


def _as_ids(ids: Array) -> Array:
    return ids if ids.dtype.kind in "iu" else ids.astype(str)


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
    return _tuned(index, seed=seed)


def _tuned(index: Index, *, seed: int) -> Index:
    """Set how hard an approximate index looks, and note what it then finds."""
    stored, searcher, card = index.stored, index.searcher, index.card
    if not isinstance(searcher, Approximate) or not isinstance(
        stored, StoredVectors | MemoryVectors
    ):
        return index
    effort, recall = tune(searcher, stored, wanted=card.recall_wanted, seed=seed)
    index.searcher = searcher.with_effort(effort)
    index.card = IndexCard({**card, "effort": effort, "recall_at_10": round(recall, 4)})
    return index


def empty_index(folder: Path, factory: str, *, dim: int) -> Faiss:
    """Index without vectors: the trained one of the folder, or else an untrained one.

    Raises:
        ConfigError: If FAISS does not know the factory string.
    """
    if (folder / TRAINED).exists():
        return read_faiss(folder / TRAINED, mapped=False)
    return new_index(factory, dim=dim)


def new_index(factory: str, *, dim: int) -> Faiss:
    """Untrained index without vectors.

    Raises:
        ConfigError: If FAISS does not know the factory string.
    """
    if factory == "Flat":  # read from a file it would be of another class, and not merge
        return faiss.IndexFlatIP(dim)
    try:
        index = faiss.index_factory(dim, factory, faiss.METRIC_INNER_PRODUCT)
    except RuntimeError as error:
        raise ConfigError(
            f"index_type is {factory!r}; expected auto, {', '.join(NAMES)} or a FAISS factory "
            f"string for vectors of {dim} dimensions ({_first_line(error)})"
        ) from None
    if isinstance(core_of(index), faiss.IndexHNSW):
        core_of(index).hnsw.efConstruction = EF_CONSTRUCTION
    return index


def train(
    folder: Path, empty: Faiss, embeddings: Embeddings, reduction: Reduction, *, seed: int
) -> None:
    """Train an index on a sample, and keep it as ``trained.faiss``; see `train_on_sample`."""
    if train_on_sample(empty, embeddings, reduction, seed=seed):
        write_faiss(empty, folder / TRAINED)


def train_on_sample(empty: Faiss, source: VectorSource, reduction: Reduction, *, seed: int) -> bool:
    """Train an index on a sample, drawn with ``seed``; False if it needs no training.

    Raises:
        ConfigError: If FAISS cannot train it on so many vectors.
    """
    if empty.is_trained:
        return False
    lists = int(getattr(core_of(empty), "nlist", 0))
    count = min(len(source), max(POINTS_PER_LIST * lists, LEAST_POINTS))
    rows = np.random.default_rng(seed).choice(len(source), count, replace=False)
    batches = take_batches(source, np.sort(rows))
    progress = tqdm(batches, desc="reading a sample", unit="batch")
    sample = np.concatenate([reduction.apply(batch) for batch in progress])
    try:
        with tqdm(total=1, desc=f"training on {count} vectors") as done:
            empty.train(sample)
            done.update()
    except RuntimeError as error:
        raise ConfigError(
            f"FAISS cannot train this index_type on {count} vectors ({_first_line(error)}); take "
            f"index_type=flat, or one with fewer lists and codes"
        ) from None
    return True


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


def _first_line(error: RuntimeError) -> str:
    return " ".join(str(error).split())[:200]


def tune(
    searcher: Approximate, stored: StoredVectors | MemoryVectors, *, wanted: float, seed: int
) -> tuple[int, float]:
    """Find the least effort that finds enough of the ten nearest neighbours.

    Asks for the neighbours of catalogue rows, drawn with ``seed``, and does not count a row's
    finding itself.

    Args:
        searcher: Over all rows.
        stored: The vectors of all rows.
        wanted: The recall to reach.
        seed: Seed of the draw.

    Returns:
        The effort and the recall measured with it; the most effort where none is enough.
    """
    rng = np.random.default_rng(seed)
    own = np.sort(rng.choice(len(stored), min(QUERIES, len(stored)), replace=False))
    unit = stored.take(own)
    true = exact_rows(stored, unit, K + 1)
    effort, recall = 0, 0.0
    for effort in searcher.efforts():
        _, found = searcher.with_effort(effort).search(unit, K + 1)
        recall = recall_of(found, true, own=own)
        if recall >= wanted:
            break
    return effort, recall


def exact_rows(stored: StoredVectors | MemoryVectors, unit: Floats, k: int) -> Ints:
    """Rows of the k nearest stored vectors of each query, shape (B, K)."""
    distances = np.full((len(unit), k), np.inf, np.float32)
    rows = np.full((len(unit), k), -1, np.int64)
    with tqdm(total=len(stored), desc="searching exactly", unit="galaxy") as progress:
        for first, batch in stored.batches(BATCH_ROWS):
            near, found = exact_neighbours(unit, batch, min(k, len(batch)))
            distances = np.concatenate([distances, near], axis=1)
            rows = np.concatenate([rows, first + found], axis=1)
            best = np.argsort(distances, axis=1, kind="stable")[:, :k]
            distances = np.take_along_axis(distances, best, axis=1)
            rows = np.take_along_axis(rows, best, axis=1)
            progress.update(len(batch))
    return rows


def recall_of(found: Ints, true: Ints, *, own: Ints | None = None) -> float:
    """Fraction of true neighbours that were found.

    Args:
        found: Rows, shape (B, K); -1 for none.
        true: Rows, shape (B, K'); -1 for none.
        own: Each query's own row, shape (B,), which does not count.
    """
    counted = true >= 0
    if own is not None:
        counted &= true != own[:, None]
    hit = (true[:, :, None] == found[:, None, :]).any(axis=2)
    return float(hit[counted].mean()) if counted.any() else 1.0
