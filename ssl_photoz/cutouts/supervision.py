"""Labelled cutouts for a network that is trained on redshifts: rows, batches, plain crops."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from ssl_photoz.catalog.identity import Identity, find_galaxies
from ssl_photoz.core.errors import MismatchError
from ssl_photoz.core.types import Ints
from ssl_photoz.cutouts.batches import Batch, prefetched, read_batch
from ssl_photoz.cutouts.quality import usable_labels
from ssl_photoz.cutouts.reader import Cutouts
from ssl_photoz.cutouts.split import SPLITS, SplitConfig, sky_split
from ssl_photoz.cutouts.stream import TrainingStream, label_column

CROPS_AT_ONCE = 256


def labelled_rows(cutouts: Cutouts, rows: Ints, split: SplitConfig) -> dict[str, Ints]:
    """Rows of each split that have a usable redshift, in the order of the file.

    They are the labelled galaxies that a probe reads from embeddings of the same file and split,
    in its order, where ``rows`` are all good rows of the file.
    """
    side = sky_split(cutouts, split).names[rows]
    labelled = usable_labels(cutouts.column("z")[rows])
    return {name: rows[labelled & (side == name)] for name in SPLITS}


def supervised_batches(
    cutouts: Cutouts,
    rows: Ints,
    split: SplitConfig,
    *,
    batch_size: int,
    seed: int,
    start: int,
    stop: int,
    part: slice = slice(None),
) -> Iterator[Batch]:
    """Yield a `TrainingStream` of labelled rows, with their redshifts as the batches' ``z``.

    Raises:
        ContaminatedError: If a row is not on the training sky.
    """
    z = torch.from_numpy(label_column(cutouts, rows, split))
    for batch in TrainingStream(
        cutouts, rows, batch_size=batch_size, seed=seed, start=start, stop=stop, part=part
    ):
        yield replace(batch, z=z[torch.from_numpy(batch.rows)])


def central_crops(cutouts: Cutouts, rows: Ints, *, size_px: int) -> Iterator[Tensor]:
    """Yield plain central crops (B, C, size_px, size_px) of rows, in the order given."""
    parts = np.split(rows, range(CROPS_AT_ONCE, len(rows), CROPS_AT_ONCE))
    batches = prefetched(read_batch(cutouts, part, size_px=size_px) for part in parts)
    return (batch.flux for batch in batches)


def rows_of_galaxies(cutouts: Cutouts, galaxies: Identity) -> Ints:
    """First row of each galaxy, in the order given.

    Raises:
        MismatchError: If a galaxy is not in the file.
    """
    rows = find_galaxies((cutouts.id, cutouts.ra, cutouts.dec), galaxies)
    if (missing := rows < 0).any():
        raise MismatchError(
            f"{int(missing.sum())} of {len(rows)} galaxies are not in {cutouts.source.path} "
            f"(first: id {galaxies[0][missing][0]}); give the file that the network was trained on"
        )
    return rows
