"""The training run as one stream of batches, resumable at any step, with labels or without."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from ssl_photoz.core.errors import ContaminatedError, DataError
from ssl_photoz.core.types import Floats, Ints
from ssl_photoz.cutouts.batches import Batch, Batches, prefetched, read_batch
from ssl_photoz.cutouts.quality import usable_labels
from ssl_photoz.cutouts.reader import Cutouts
from ssl_photoz.cutouts.split import SplitConfig, sky_split


class TrainingStream:
    """Batches number ``start`` to ``stop`` of a run.

    Which galaxies make up batch i depends on (seed, i) alone: a run resumed at any step sees
    what the uninterrupted one would have seen.

    Args:
        cutouts: Cutouts to read.
        rows: The usable rows, (M,).
        batch_size: Cutouts per batch.
        seed: Seed of the order.
        start: First batch, counted from the beginning of the run.
        stop: One past the last.
        block_rows: Rows that stay together on disk; 1 shuffles freely. See `Batches`.
        window_rows: Rows that blocks are mixed within.
        part: Slice of each batch, for one of several processes; by default all of it.
    """

    def __init__(
        self,
        cutouts: Cutouts,
        rows: Ints,
        *,
        batch_size: int,
        seed: int,
        start: int,
        stop: int,
        block_rows: int = 1,
        window_rows: int = 8192,
        part: slice = slice(None),
    ) -> None:
        self.cutouts, self.rows = cutouts, rows
        self.batch_size, self.seed = batch_size, seed
        self.start, self.stop, self.part = start, stop, part
        self.block_rows, self.window_rows = block_rows, window_rows

    def __iter__(self) -> Iterator[Batch]:
        per_epoch = len(self.rows) // self.batch_size
        epochs = Batches(
            self.cutouts,
            self.rows,
            batch_size=self.batch_size,
            seed=self.seed,
            epoch=self.start // per_epoch,
            start=self.start % per_epoch,
            block_rows=self.block_rows,
            window_rows=self.window_rows,
            part=self.part,
        )
        step = self.start
        while step < self.stop:
            for batch in epochs:
                yield batch
                step += 1
                if step == self.stop:
                    return


class LabelledStream:
    """A training stream with a share of labelled galaxies in every batch, and their redshifts.

    Each batch is dealt from two endless decks, all rows and the labelled rows, shuffled anew
    whenever they run out; batch i depends on (seed, i) alone. A batch's ``z`` is finite for
    labelled rows and NaN for all others, whatever the file says of them.

    Args:
        cutouts: Cutouts to read.
        rows: The usable rows, (M,).
        labelled: The rows whose redshift may be learnt from, (L,), all on the training sky.
        split: The sky split.
        share: Share of the labelled deck in a batch; at least one galaxy comes from each deck.
        batch_size: Cutouts per batch.
        seed: Seed of the order.
        start: First batch, counted from the beginning of the run.
        stop: One past the last.
        part: Slice of each batch, for one of several processes; by default all of it.

    Raises:
        ContaminatedError: If a labelled row is not on the training sky.
        DataError: If there are no rows or no labelled rows.
    """

    def __init__(
        self,
        cutouts: Cutouts,
        rows: Ints,
        labelled: Ints,
        *,
        split: SplitConfig,
        share: float,
        batch_size: int,
        seed: int,
        start: int,
        stop: int,
        part: slice = slice(None),
    ) -> None:
        if not len(rows) or not len(labelled):
            raise DataError(f"{len(labelled)} of {len(rows)} rows are labelled, expected some")
        self.cutouts, self.rows, self.labelled = cutouts, rows, labelled
        self.z = label_column(cutouts, labelled, split)
        self.from_labelled = labelled_per_batch(batch_size, share)
        self.from_all = batch_size - self.from_labelled
        self.seed, self.start, self.stop, self.part = seed, start, stop, part

    def __iter__(self) -> Iterator[Batch]:
        return prefetched(self._batch(step) for step in range(self.start, self.stop))

    def _batch(self, step: int) -> Batch:
        parts = [
            deal(self.rows, [self.seed, 0], step * self.from_all, self.from_all),
            deal(self.labelled, [self.seed, 1], step * self.from_labelled, self.from_labelled),
        ]
        rows = np.concatenate(parts)[self.part]
        return replace(read_batch(self.cutouts, rows), z=torch.from_numpy(self.z[rows]))


def labelled_per_batch(batch_size: int, share: float) -> int:
    """Number of labelled galaxies in a batch: the share rounded, neither 0 nor all."""
    return min(max(round(share * batch_size), 1), batch_size - 1)


def deal(rows: Ints, seed: list[int], first: int, count: int) -> Ints:
    """Cards ``first`` to ``first + count`` of the rows, shuffled again and again."""
    rounds = range(first // len(rows), (first + count - 1) // len(rows) + 1)
    shuffled = [np.random.default_rng([*seed, one]).permutation(rows) for one in rounds]
    low = first - rounds[0] * len(rows)
    return np.concatenate(shuffled)[low : low + count]


def training_labels(cutouts: Cutouts, rows: Ints, split: SplitConfig) -> Ints:
    """Those of the rows that lie on the training sky and have a usable redshift, in order.

    They are the labelled training galaxies of `ssl_photoz.photoz.labels.read_labelled`, in its
    order, where ``rows`` are all good rows of the file.
    """
    on_training_sky = (_sides(cutouts, split) == "train")[rows]
    found: Ints = rows[on_training_sky & usable_labels(cutouts.column("z")[rows])]
    return found


def label_column(cutouts: Cutouts, labelled: Ints, split: SplitConfig) -> Floats:
    """Redshifts of labelled rows, (N,), and NaN everywhere else.

    Whatever trains an encoder reads redshifts from here.

    Raises:
        ContaminatedError: If a labelled row is not on the training sky.
    """
    held_out = labelled[_sides(cutouts, split)[labelled] != "train"]
    if len(held_out):
        raise ContaminatedError(
            f"{len(held_out)} of {len(labelled)} rows to learn redshifts from are not of the "
            f"training split (first: row {held_out[0]}); an encoder must never see validation or "
            f"test redshifts: choose rows with training_labels"
        )
    z = np.full(len(cutouts), np.nan, np.float32)
    z[labelled] = cutouts.column("z")[labelled]
    return z


def _sides(cutouts: Cutouts, split: SplitConfig) -> NDArray[np.str_]:
    return sky_split(cutouts, split).names
