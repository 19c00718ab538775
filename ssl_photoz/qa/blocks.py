"""Reading many cutouts a few at a time."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ssl_photoz.core.types import Array, Ints
from ssl_photoz.cutouts.reader import Cutouts

BLOCK_BYTES = 1 << 25


def read_blocks(cutouts: Cutouts, rows: Ints, *, says: str) -> Iterator[tuple[Ints, Array]]:
    """Yield rows and their pixels (B, C, H, W), with a progress bar.

    Args:
        cutouts: The file.
        rows: Which rows, shape (M,).
        says: What is being done, for the bar.
    """
    from tqdm import tqdm

    source = cutouts.source
    cutout_bytes = len(source.bands) * source.size_px**2 * np.dtype(source.dtype).itemsize
    at_once = max(BLOCK_BYTES // cutout_bytes, 1)
    with tqdm(total=len(rows), desc=says, unit="cutout", leave=False) as bar:
        for start in range(0, len(rows), at_once):
            some = rows[start : start + at_once]
            yield some, cutouts.read(some)
            bar.update(len(some))
