"""The training run as one stream of batches, resumable at any step."""

from __future__ import annotations

from collections.abc import Iterator

from ssl_photoz.cutouts.batches import Batch, Batches
from ssl_photoz.cutouts.reader import Cutouts
from ssl_photoz.types import Ints


class TrainingStream:
    """Batches number ``start`` to ``stop`` of a run.

    Which galaxies make up batch i depends on (seed, i) alone: a run resumed at any step sees
    what the uninterrupted one would have seen.

    Args:
        cutouts: Where to read.
        rows: The usable rows, (M,).
        batch_size: Cutouts per batch.
        seed: Of the order.
        start: First batch, counted from the beginning of the run.
        stop: One past the last.
    """

    def __init__(
        self, cutouts: Cutouts, rows: Ints, *, batch_size: int, seed: int, start: int, stop: int
    ) -> None:
        self.cutouts, self.rows = cutouts, rows
        self.batch_size, self.seed = batch_size, seed
        self.start, self.stop = start, stop

    def __iter__(self) -> Iterator[Batch]:
        per_epoch = len(self.rows) // self.batch_size
        epochs = Batches(
            self.cutouts,
            self.rows,
            batch_size=self.batch_size,
            seed=self.seed,
            epoch=self.start // per_epoch,
            start=self.start % per_epoch,
        )
        step = self.start
        while step < self.stop:
            for batch in epochs:
                yield batch
                step += 1
                if step == self.stop:
                    return
