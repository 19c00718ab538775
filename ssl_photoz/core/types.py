"""Names for paths and shapes that every room uses.

Shape letters: B batch, C band, H and W pixels, D embedding, N catalogue, K neighbours.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Array = NDArray[Any]
PathLike = str | Path


class Neighbours(Protocol):
    """Anything that finds nearest neighbours; redshift and similarity both ask through this."""

    def search(self, queries: Floats, k: int) -> tuple[Floats, Ints]:
        """Find the k nearest catalogue vectors of each query.

        Args:
            queries: Shape (B, D).
            k: Neighbours per query.

        Returns:
            Distances (B, K), increasing along K, and row numbers (B, K); -1 where there are
            fewer than k vectors.
        """
        ...
