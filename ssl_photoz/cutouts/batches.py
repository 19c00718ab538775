"""Batches of cutouts as tensors, read ahead by a thread."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from ssl_photoz.core.types import Ints
from ssl_photoz.cutouts.quality import reject_reasons, row_reasons
from ssl_photoz.cutouts.reader import Cutouts
from ssl_photoz.encoders.readout import Conditions

Item = TypeVar("Item")

PREFETCH = 2
SCAN_ROWS = 512


@dataclass(frozen=True)
class Batch:
    """Some cutouts and what is known of how they were taken.

    Attributes:
        rows: Row numbers in the cutout file, shape (B,).
        flux: Nanomaggies/px, or display units from 0 to 1, float32, shape (B, C, H, W). On its way
            to a GPU as it was read, see `ssl_photoz.cutouts.device`.
        ebv_mag: Galactic E(B-V), mag, shape (B,); NaN where unknown.
        psf_fwhm_arcsec: Width of the PSF, shape (B, C); NaN where unknown.
        noise: Standard deviation per pixel, in the unit of flux, shape (B, C); NaN where unknown.
        z: Redshifts that may be learnt from, shape (B,), NaN elsewhere; None: there are none.
    """

    rows: Ints
    flux: Tensor
    ebv_mag: Tensor
    psf_fwhm_arcsec: Tensor
    noise: Tensor
    z: Tensor | None = None

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def conditions(self) -> Conditions:
        """What is known of how they were taken."""
        return Conditions(self.ebv_mag, self.psf_fwhm_arcsec, self.noise)

    def to(self, device: torch.device | str) -> Batch:
        """Batch with its tensors on a device, flux as float32."""
        return replace(
            self,
            flux=_as_flux(self.flux.to(device, non_blocking=True)),
            ebv_mag=self.ebv_mag.to(device),
            psf_fwhm_arcsec=self.psf_fwhm_arcsec.to(device),
            noise=self.noise.to(device),
            z=None if self.z is None else self.z.to(device),
        )

    def pinned(self) -> Batch:
        """Batch with its flux where a GPU can fetch it, unless it is there already."""
        return self if self.flux.is_cuda else replace(self, flux=self.flux.pin_memory())


class Batches:
    """Shuffled batches for training; iterating gives one epoch, and the next time the next.

    The order depends on (seed, epoch) alone, so a run resumes by saying where it was. Files too
    large for reading here and there are shuffled by blocks, see `epoch_order`: windows of the order
    are read from one end of each block to the other, and at most three of them are in memory.

    Args:
        cutouts: Cutouts to read.
        rows: The rows to draw, increasing, such as `good_rows` returns, shape (M,).
        batch_size: Cutouts per batch; what is left over at the end of an epoch is dropped.
        size_px: Side of the central crop; the whole cutout by default.
        seed: Seed of the order.
        epoch: The epoch that the next iteration gives.
        start: Batches to skip at the beginning of that epoch.
        block_rows: Rows that stay together on disk; 1 shuffles freely.
        window_rows: Rows that blocks are mixed within, rounded to whole batches.
        part: Slice of each batch, for one of several processes; by default all of it.
    """

    def __init__(
        self,
        cutouts: Cutouts,
        rows: Ints,
        *,
        batch_size: int,
        size_px: int | None = None,
        seed: int = 0,
        epoch: int = 0,
        start: int = 0,
        block_rows: int = 1,
        window_rows: int = 8192,
        part: slice = slice(None),
    ) -> None:
        self.cutouts = cutouts
        self.rows = rows
        self.batch_size = batch_size
        self.size_px = size_px
        self.seed = seed
        self.epoch = epoch
        self.start = start
        self.block_rows = block_rows
        self.window = max(window_rows // batch_size, 1)  # in batches
        self.part = part

    def __len__(self) -> int:
        """Batches in a whole epoch."""
        return len(self.rows) // self.batch_size

    def __iter__(self) -> Iterator[Batch]:
        order = epoch_order(
            self.rows,
            self.seed,
            self.epoch,
            block_rows=self.block_rows,
            window_rows=self.window * self.batch_size,
        )
        order = order[: len(self) * self.batch_size].reshape(-1, self.batch_size)[:, self.part]
        start, self.epoch, self.start = self.start, self.epoch + 1, 0
        if self.block_rows > 1:
            passed, skip = divmod(start, self.window)
            windows = np.split(order, range(self.window, len(order), self.window))[passed:]
            read = read_windows(self.cutouts, windows, size_px=self.size_px)
            return prefetched(islice(read, skip, None))
        return prefetched(
            read_batch(self.cutouts, rows, size_px=self.size_px) for rows in order[start:]
        )


def epoch_order(
    rows: Ints, seed: int, epoch: int, *, block_rows: int = 1, window_rows: int = 1
) -> Ints:
    """Shuffle rows; a pure function of its arguments.

    By blocks: runs of ``block_rows`` rows are shuffled as they are, and then the rows within each
    window of the order, which so mixes ``window_rows / block_rows`` places of the file.

    Args:
        rows: The rows, shape (M,).
        seed: Seed of the order.
        epoch: Which shuffle of it.
        block_rows: Rows that stay together; 1 shuffles freely.
        window_rows: Rows that are mixed.
    """
    draws = np.random.default_rng([seed, epoch])
    if block_rows == 1:
        return draws.permutation(rows)
    blocks = np.split(rows, range(block_rows, len(rows), block_rows))
    order = np.concatenate([blocks[which] for which in draws.permutation(len(blocks))])
    for start in range(0, len(order), window_rows):
        draws.shuffle(order[start : start + window_rows])
    return order


def read_windows(
    cutouts: Cutouts, windows: Iterable[Ints], *, size_px: int | None = None
) -> Iterator[Batch]:
    """Read batches window by window, the next one while this one is used.

    Args:
        cutouts: Cutouts to read.
        windows: Rows of the batches of each window, shape (n, B) each.
        size_px: Side of the central crop; the whole cutout by default.

    Yields:
        The batches, in the order given.

    Raises:
        DataError: If the file cannot be read.
    """

    def read(batches: Ints) -> tuple[Ints, Ints, Tensor]:
        rows = np.sort(batches, axis=None)
        return batches, rows, cutouts.tensor(rows, size_px=size_px)

    for batches, rows, pixels in prefetched(map(read, windows), depth=1):
        for some in batches:
            places = torch.from_numpy(np.searchsorted(rows, some))
            yield make_batch(cutouts, some, pixels[places])


def read_batch(cutouts: Cutouts, rows: Ints, *, size_px: int | None = None) -> Batch:
    """Read one batch.

    Raises:
        DataError: If the file cannot be read.
    """
    return make_batch(cutouts, rows, cutouts.tensor(rows, size_px=size_px))


def make_batch(cutouts: Cutouts, rows: Ints, pixels: Tensor) -> Batch:
    """Pixels of rows, (B, C, H, W) as stored, beside what else is known of them.

    Pixels on their way to a GPU are left as they are until they are there.
    """
    flux = pixels if cutouts.feeds_gpu else _as_flux(pixels)
    return Batch(rows, flux, *cutouts.conditions(rows))


def good_rows(
    cutouts: Cutouts, *, size_px: int | None = None, masked: Mapping[int, str] | None = None
) -> tuple[Ints, dict[int, str]]:
    """Look at every cutout once, with a progress bar.

    Args:
        cutouts: Cutouts to read.
        size_px: Side of the central crop that has to be good; the whole cutout by default.
        masked: Rows that a mask rejects, and why; see `ssl_photoz.cutouts.mask.masked_rows`.

    Returns:
        The usable rows, increasing, and the reason for each other row.
    """
    from tqdm import tqdm

    reasons = row_reasons(cutouts.column("ra"), cutouts.column("dec")).astype(object)
    for start in tqdm(range(0, len(cutouts), SCAN_ROWS), desc="checking cutouts", leave=False):
        rows = np.arange(start, min(start + SCAN_ROWS, len(cutouts)))
        found = reject_reasons(cutouts.read(rows, size_px=size_px))
        reasons[rows] = np.where(reasons[rows] == "", found, reasons[rows])
        for row, fault in cutouts.faults(rows).items():
            reasons[row] = fault
    for row, reason in (masked or {}).items():
        reasons[row] = reasons[row] or reason
    bad = np.flatnonzero(reasons != "")
    return np.flatnonzero(reasons == ""), {int(row): str(reasons[row]) for row in bad}


def prefetched(batches: Iterator[Item], *, depth: int = PREFETCH) -> Iterator[Item]:
    """Run an iterator in a thread, at most ``depth`` items ahead.

    What it raises is raised here; the thread ends when the consumer stops early.
    """
    ready: queue.Queue[Item | BaseException | None] = queue.Queue(maxsize=depth)
    stopped = threading.Event()

    def offer(item: Item | BaseException | None) -> None:
        while not stopped.is_set():
            try:
                return ready.put(item, timeout=0.1)
            except queue.Full:
                continue

    def work() -> None:
        try:
            for batch in batches:
                offer(batch)
                if stopped.is_set():
                    return
            offer(None)
        except BaseException as error:
            offer(error)

    thread = threading.Thread(target=work, name="cutouts-prefetch", daemon=True)
    thread.start()
    try:
        while (item := ready.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        stopped.set()
        thread.join()


def _as_flux(pixels: Tensor) -> Tensor:
    return pixels.float().div_(255) if pixels.dtype == torch.uint8 else pixels.float()
