"""Single precision where training asks for less."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def exact_products(device_type: str) -> Iterator[None]:
    """Keep mixed precision and TF32 out of matrix products.

    With ten bits of mantissa or fewer, sampling positions would be wrong by a tenth of a
    pixel, and a bright core would leave rounding errors in the sky around it.

    Args:
        device_type: ``cpu`` or ``cuda``.

    Yields:
        Nothing; the precision that was set is restored afterwards.
    """
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with torch.autocast(device_type, enabled=False):
            yield
    finally:
        torch.set_float32_matmul_precision(before)
