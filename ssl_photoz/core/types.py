"""Names for paths and shapes that every room uses.

Shape letters: B batch, C band, H and W pixels, D embedding, N catalogue, K neighbours.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Array = NDArray[Any]
PathLike = str | Path
