"""A sharded index searched by the workers of a Dask cluster, behind the same `Index` and `Search`.

    from distributed import Client

    client = Client("tcp://scheduler:8786")
    search = Search(on_workers(Index.load("index"), "index", client), embeddings)

Each worker maps some of the shards, from a disk that all of them see, and returns its best
candidates; here they are merged and re-ranked by the stored vectors, as those of a single index.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np

from ssl_photoz.core import artefact
from ssl_photoz.core.errors import ArtefactError, ConfigError, MismatchError
from ssl_photoz.core.types import Array, Floats, Ints, PathLike
from ssl_photoz.similarity.index import Index
from ssl_photoz.similarity.index_faiss import Approximate, ListShards, Visible
from ssl_photoz.similarity.index_files import IndexCard, open_shards

if TYPE_CHECKING:
    from distributed import Client

PATIENCE_S = 120


def on_workers(index: Index, folder: PathLike, client: Client) -> Index:
    """Index that is searched by the workers of a cluster; its answers are the same.

    Rows that are hidden stay hidden. A filter that leaves up to a million galaxies is answered
    here, exactly, as by any index.

    Args:
        index: An index in shards, opened here.
        folder: Its folder, at a path that the workers see too.
        client: Client of the cluster.

    Raises:
        ConfigError: If the index is not in shards, or there is no worker.
        MismatchError: If the folder holds another index.
    """
    folder = Path(folder).absolute()
    if not index.card.index_shards or not isinstance(index.searcher, Approximate):
        raise ConfigError(
            f"{folder} is one {index.card.index_type} index, expected one in shards; build it with "
            f"index_type=ivf_sq8 or a smaller rows_per_shard"
        )
    if artefact.sha256_of(folder) != index.sha256:
        raise MismatchError(f"{folder} holds another index than the one given; load it again")
    return index.searched_by(index.searcher.searching(WorkerShards(folder, index, client)))


class WorkerShards:
    """The shards of an index, dealt out to workers; implements `Shards`.

    Attributes:
        trained: The index without vectors that all of them were filled from.
        first_rows: First catalogue row of each shard, increasing, shape (S,).
    """

    def __init__(self, folder: Path, index: Index, client: Client) -> None:
        here = open_shards(folder, index.card)
        self.trained, self.first_rows = here.trained, here.first_rows
        self._folder, self._sha256 = str(folder), index.sha256
        self._client = client
        self._bits: WeakKeyDictionary[Visible, Any] = WeakKeyDictionary()
        self._workers()

    def _workers(self) -> list[str]:
        workers = sorted(self._client.scheduler_info(n_workers=-1)["workers"])
        if not workers:
            raise ConfigError("the cluster has no worker; start one, then search")
        return workers

    def candidates(
        self, numbers: Ints, unit: Floats, count: int, *, probes: int, visible: Visible | None
    ) -> tuple[Floats, Ints]:
        """Cosines (B, count) by the codes, and rows, of the nearest in some shards; -1 for none.

        Raises:
            ArtefactError: If a worker cannot read its shards, or none answers in two minutes.
            MismatchError: If it sees another index in the folder.
        """
        workers = self._workers()
        asked = (self._folder, self._sha256)
        tasks = []
        for place, worker in enumerate(workers):
            mine = numbers[numbers % len(workers) == place]  # the same shards, query after query
            if len(mine):
                tasks.append(
                    self._client.submit(
                        *(_candidates, *asked, mine, unit, count, probes, self._bits_of(visible)),
                        workers=[worker],
                        allow_other_workers=True,  # where the one that mapped them has died
                        pure=False,
                        retries=1,
                    )
                )
        return merge(self._gathered(tasks), count)

    def _gathered(self, tasks: list[Any]) -> list[tuple[Floats, Ints]]:
        from distributed import wait

        try:
            wait(tasks, timeout=PATIENCE_S)
        except TimeoutError:
            self._client.cancel(tasks)
            raise ArtefactError(
                f"the workers did not search {self._folder} within {PATIENCE_S:g} s; look whether "
                f"the cluster has workers, and whether they see that folder"
            ) from None
        found: list[tuple[Floats, Ints]] = self._client.gather(tasks)
        return found

    def _bits_of(self, visible: Visible | None) -> Any:  # noqa: ANN401 - a future
        if visible is None:
            return None
        if visible not in self._bits:
            self._bits[visible] = self._client.scatter(visible.packed, broadcast=True)
        return self._bits[visible]


def merge(found: list[tuple[Floats, Ints]], count: int) -> tuple[Floats, Ints]:
    """Merge candidates of several searches.

    Args:
        found: Cosines and rows of each, shape (B, n), decreasing along n; -1 for none.
        count: Candidates to keep of each query.

    Returns:
        Cosines (B, count) and rows.
    """
    cosines = np.concatenate([one for one, _ in found], axis=1)
    rows = np.concatenate([one for _, one in found], axis=1)
    cosines = np.where(rows < 0, -np.inf, cosines)
    best = np.argsort(-cosines, axis=1, kind="stable")[:, :count]
    return np.take_along_axis(cosines, best, axis=1), np.take_along_axis(rows, best, axis=1)


def _candidates(
    folder: str,
    sha256: str,
    numbers: Ints,
    unit: Floats,
    count: int,
    probes: int,
    bits: Array | None,
) -> tuple[Floats, Ints]:
    """What a worker does: search some shards of an index that it sees in a folder."""
    shards = _opened(folder, sha256)
    visible = None if bits is None else Visible(np.unpackbits(bits, bitorder="little").view(bool))
    return shards.candidates(numbers, unit, count, probes=probes, visible=visible)


@lru_cache(2)
def _opened(folder: str, sha256: str) -> ListShards:
    path = Path(folder)
    if artefact.sha256_of(path) != sha256:
        raise MismatchError(f"a worker sees another index in {folder} than the one that is asked")
    return open_shards(path, IndexCard(artefact.read_card(path, "index")))
