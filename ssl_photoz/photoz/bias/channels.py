"""Output channels of a head, each for a range of magnitude, overlapping with its neighbours."""

from __future__ import annotations

import numpy as np

from ssl_photoz.core.types import Array, Doubles
from ssl_photoz.photoz.bias.cells import Cells


def membership(cells: Cells, magnitude: Array, channels: int) -> Doubles:
    """Say which channels a galaxy trains, shape (N, K), 0 or 1.

    Channel k reads rows 2k - 1, 2k and 2k + 1 of magnitude, so that every second row is shared by
    two neighbouring channels.

    Args:
        cells: With `rows_for` of these channels.
        magnitude: Shape (N,).
        channels: K.
    """
    row = cells.row(magnitude)[:, None]
    return np.asarray(np.abs(row - 2 * np.arange(channels)) <= 1, dtype=np.float64)


def rows_for(channels: int) -> int:
    """Return how many rows of magnitude so many channels need."""
    return 2 * channels - 1
