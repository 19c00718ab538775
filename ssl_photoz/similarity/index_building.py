"""Build an index of any type on disk, and grow it; killed half way, the same call goes on.

Trained on a sample; then, shard by shard, vectors are reduced, kept and indexed; the shards
are merged; last, how much of the index a search looks through is set so that its recall,
measured against exact search of this very catalogue, is what was asked.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ssl_photoz.core import artefact
from ssl_photoz.core.errors import ConfigError, MismatchError
from ssl_photoz.embeddings.store import Embeddings
from ssl_photoz.similarity.index import Index
from ssl_photoz.similarity.index_faiss import Faiss, read_faiss
from ssl_photoz.similarity.index_files import (
    GROWING,
    PLAN,
    REDUCTION,
    TRAINED,
    delete_strays,
    facts_of,
    index_file,
)
from ssl_photoz.similarity.index_recall import tune
from ssl_photoz.similarity.index_search import Approximate
from ssl_photoz.similarity.index_shards import empty_index, merge_shards, train, write_shards
from ssl_photoz.similarity.index_types import IndexType, available_bytes, choose_type
from ssl_photoz.similarity.index_vectors import StoredVectors
from ssl_photoz.similarity.reduction import Reduction, take_vectors

SHARD_ROWS = 1 << 19
PCA_SAMPLE = 20_000


def build_index(
    folder: Path,
    embeddings: Embeddings,
    *,
    index_type: str = "auto",
    pca_dim: int = 128,
    whiten: bool = False,
    recall: float = 0.99,
    memory_bytes: float | None = None,
    shard_rows: int = SHARD_ROWS,
    seed: int = 0,
) -> Index:
    """Write the files of an index of every row of a store; `Index.save` finishes it.

    Args:
        folder: The index folder; what an interrupted call left there is gone on with.
        embeddings: What to index.
        index_type: ``auto``, ``flat``, ``hnsw``, ``ivf_flat``, ``ivf_sq8``, ``ivf_pq``, or a
            FAISS factory string.
        pca_dim: Principal components to keep.
        whiten: Scale every component to unit variance before vectors are scaled to unit length.
        recall: Of the 10 nearest, what fraction a search should find; sets its effort.
        memory_bytes: What ``auto`` may take; None: half of what is free.
        shard_rows: Rows indexed between two points that an interrupted call can go on from.
        seed: Of the samples.

    Raises:
        ConfigError: If the type is unknown to FAISS or unsuited, or recall not in (0, 1].
        DataError: If there are fewer than two embeddings or some are not finite.
    """
    if not 0 < recall <= 1:
        raise ConfigError(f"recall is {recall}, expected more than 0 and at most 1")
    asked = {
        "embeddings": embeddings.sha256,
        "index_type": index_type,
        "pca_dim": pca_dim,
        "whiten": whiten,
        "seed": seed,
    }
    _clear_other_work(folder, asked)
    reduction = _reduction(folder, embeddings, pca_dim=pca_dim, whiten=whiten, seed=seed)
    kind = _chosen_type(
        folder, index_type, rows=len(embeddings), dim=reduction.dim, memory_bytes=memory_bytes
    )
    if not (folder / index_file(len(embeddings))).exists():
        empty = empty_index(folder, kind.factory, dim=reduction.dim)
        train(folder, empty, embeddings, reduction, seed=seed)
        whole = empty_index(folder, kind.factory, dim=reduction.dim)
        _fill(folder, embeddings, reduction, empty, whole, kind.name, shard_rows=shard_rows)
    facts = {
        **facts_of(embeddings, reduction, whiten=whiten),
        "index_type": kind.name,
        "factory": kind.factory,
        "shortlist": kind.shortlist,
        "recall_wanted": recall,
    }
    return _opened(folder, facts, seed=seed)


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
        seed: Of the sample that the recall is measured with.

    Raises:
        MismatchError: If the embeddings do not begin with the indexed shards, or another encoder
            made them.
    """
    index = Index.load(folder)
    check_continues(index, embeddings)
    facts, reduction = index.facts, index.reduction
    growing = {"embeddings": embeddings.sha256}
    if not (folder / GROWING).exists() or artefact.read_json(folder / GROWING) != growing:
        delete_strays(folder, facts["files"])
        artefact.write_json(folder / GROWING, growing)
    if not (folder / index_file(len(embeddings))).exists():
        (old,) = (one for one in facts["files"] if one.startswith("index"))
        whole = read_faiss(folder / old, mapped=False)
        empty = empty_index(folder, facts["factory"], dim=reduction.dim)
        kind = facts["index_type"]
        _fill(folder, embeddings, reduction, empty, whole, kind, shard_rows=shard_rows)
    facts |= facts_of(embeddings, reduction, whiten=facts["whiten"])
    grown = _opened(folder, facts, seed=seed)
    if index.hidden is None:
        return grown
    gained = np.zeros(len(embeddings) - len(index.hidden), bool)
    return grown.hiding(np.concatenate([index.hidden, gained]))


def check_continues(index: Index, embeddings: Embeddings) -> None:
    """Refuse embeddings that are not those of an index and more behind them.

    Raises:
        MismatchError: Saying what differs.
    """
    facts = index.facts
    old = list(facts.get("shards", {}).values())
    new = [sha256 for _, sha256 in sorted(embeddings.card["shards"].items())]
    made, given = str(facts["encoder"]), str(embeddings.card["encoder"])
    if not old or new[: len(old)] != old or made != given:
        raise MismatchError(
            f"the index holds embeddings {facts['embeddings'][:12]}, {len(old)} shards by encoder "
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


def _chosen_type(
    folder: Path, index_type: str, *, rows: int, dim: int, memory_bytes: float | None
) -> IndexType:
    """Choose once, since an interrupted build may go on when less memory is free."""
    plan = artefact.read_json(folder / PLAN)
    if "chosen" in plan:
        return IndexType(**plan["chosen"])
    memory_bytes = available_bytes() if memory_bytes is None else memory_bytes
    kind = choose_type(index_type, rows=rows, dim=dim, memory_bytes=memory_bytes)
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


def _reduction(
    folder: Path, embeddings: Embeddings, *, pca_dim: int, whiten: bool, seed: int
) -> Reduction:
    if (folder / REDUCTION).exists():
        return Reduction.load(folder / REDUCTION)
    count = len(embeddings)
    rows = np.random.default_rng(seed).choice(count, min(PCA_SAMPLE, count), replace=False)
    sample = take_vectors(embeddings, np.sort(rows))
    reduction = Reduction.fit(sample, pca_dim=pca_dim)
    if whiten:
        spread = ((sample - reduction.mean) @ reduction.projection.T).std(axis=0)
        spread[spread < 1e-6 * spread.max()] = np.inf  # a component without variance stays out
        reduction = Reduction(
            reduction.mean, (reduction.projection / spread[:, None]).astype(np.float32)
        )
    reduction.save(folder / REDUCTION)
    return reduction


def _opened(folder: Path, facts: dict[str, Any], *, seed: int) -> Index:
    """Open a merged index, checksums taken, effort set."""
    known = facts.get("files", {})
    vectors = sorted(path.name for path in folder.glob("vectors-*.npy"))
    names = [index_file(facts["rows"]), REDUCTION, *vectors]
    names += [TRAINED] if (folder / TRAINED).exists() else []
    files = {one: known.get(one) or artefact.sha256_of(folder / one) for one in names}
    facts = {**facts, "files": files}
    if facts["index_type"] != "flat":
        facts["effort"] = 1
    index = Index.open(folder, facts)
    if not isinstance(index.searcher, Approximate) or not isinstance(index.stored, StoredVectors):
        return index
    effort, recall = tune(index.searcher, index.stored, wanted=facts["recall_wanted"], seed=seed)
    index.searcher = index.searcher.with_effort(effort)
    index.facts |= {"effort": effort, "recall_at_10": round(recall, 4)}
    return index
