"""What a GPU is fed with: half precision, from its own memory where the cutouts fit in there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from ssl_photoz.core.errors import ConfigError
from ssl_photoz.core.types import Ints
from ssl_photoz.cutouts.batches import Batch, prefetched
from ssl_photoz.cutouts.packing import as_half
from ssl_photoz.cutouts.reader import Cutouts

HOLD_ROWS = 1024
SHARE_OF_FREE = 0.5  # the rest is for weights and activations


def for_training(
    cutouts: Cutouts, rows: Ints, *, device: torch.device, resident: bool | None
) -> Cutouts:
    """Cutouts as a device is best fed with them.

    A processor reads them from the file, which its operating system keeps in memory as far as there
    is any. A GPU gets them in half precision, which halves what has to be moved and is finer than
    their noise by far (see `ssl_photoz.cutouts.packing.pack`): all of them once, if ``resident``,
    else batch by batch. Either way it trains on the same numbers.

    Args:
        cutouts: Cutouts to read.
        rows: The rows that will be asked for, increasing, shape (M,).
        device: Device that trains.
        resident: Hold the cutouts in the device's memory; None: if they fill no more than half of
            what is free.

    Raises:
        ConfigError: If ``resident`` is asked for without a GPU.
    """
    if device.type == "cpu":
        if resident:
            raise ConfigError(
                "resident needs a GPU; for a processor, `ssl-photoz convert` the file with "
                "dtype=float16"
            )
        return cutouts
    if resident is None:
        free, _ = torch.cuda.mem_get_info(device)
        resident = bytes_of(cutouts, rows) <= SHARE_OF_FREE * free
    return GpuResident(cutouts, rows, device) if resident else HalfPrecision(cutouts)


def bytes_of(cutouts: Cutouts, rows: Ints) -> int:
    """Bytes that the pixels of rows take as a GPU holds them."""
    source = cutouts.source
    per_pixel = 1 if source.dtype == "uint8" else 2
    return len(rows) * len(source.bands) * source.size_px**2 * per_pixel


def pinned(batches: Iterable[Batch]) -> Iterator[Batch]:
    """Copy batches, a little ahead, to memory that a GPU reads while it computes."""
    return prefetched(batch.pinned() for batch in batches)


class HalfPrecision(Cutouts):
    """Cutouts whose tensors are in half precision; 8-bit ones stay as they are.

    Args:
        cutouts: Cutouts to read.
    """

    feeds_gpu = True

    def __init__(self, cutouts: Cutouts) -> None:
        super().__init__(cutouts.stored)
        self._cache = cutouts._cache

    def tensor(self, rows: Ints | Sequence[int], *, size_px: int | None = None) -> Tensor:
        """Pixels of rows (B,), float16 or uint8, shape (B, C, size_px, size_px)."""
        pixels = self.read(rows, size_px=size_px)
        return torch.from_numpy(pixels if pixels.dtype == np.uint8 else as_half(pixels)[0])


class GpuResident(HalfPrecision):
    """Cutouts whose tensors stay in a device's memory.

    Args:
        cutouts: Cutouts to read, once.
        rows: Rows to hold, increasing, shape (M,).
        device: The device.
    """

    def __init__(self, cutouts: Cutouts, rows: Ints, device: torch.device) -> None:
        super().__init__(cutouts)
        self._rows = rows
        source = cutouts.source
        shape = (len(rows), len(source.bands), source.size_px, source.size_px)
        dtype = torch.uint8 if source.dtype == "uint8" else torch.half
        self._pixels = torch.empty(shape, dtype=dtype, device=device)
        places, read = range(0, len(rows), HOLD_ROWS), super().tensor
        parts = prefetched(read(rows[at : at + HOLD_ROWS]) for at in places)
        with tqdm(total=len(rows), desc=f"to {device.type}", unit="cutout", leave=False) as bar:
            for at, part in zip(places, parts, strict=True):
                self._pixels[at : at + HOLD_ROWS] = part.to(device)
                bar.update(len(part))

    def tensor(self, rows: Ints | Sequence[int], *, size_px: int | None = None) -> Tensor:
        """Pixels of rows (B,) of those held, shape (B, C, size_px, size_px), on the device."""
        side = self._pixels.shape[-1]
        low = (side - (size_px or side)) // 2
        crop = slice(low, low + (size_px or side))
        places = torch.from_numpy(np.searchsorted(self._rows, rows)).to(self._pixels.device)
        return self._pixels[places][:, :, crop, crop]
