"""What: measurements. How many galaxies does one core measure, beside bare products?"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from benchmarks.throughput.measure import in_turn, rate_of, write_table
from ssl_photoz.encoders.measurements import Measurements
from ssl_photoz.encoders.settings import MeasurementConfig

CEILING = "ceiling: as many multiplications as one matrix product"


def measure(
    work: Path, results: Path, *, seconds: float, rounds: int, batch_size: int, crop_px: int
) -> None:
    """Measure crops of three bands in one thread, and write a table."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        module = Measurements(
            MeasurementConfig(),
            bands="grz",
            size_px=crop_px,
            pixscale_arcsec=0.262,
            calibrated=True,
            noise=(0.003, 0.004, 0.01),
        )
        steps = {
            CEILING: _product(_multiplications(module), batch_size),
            f"{len(module)} measurements": _measured(module, batch_size),
        }
        turn = seconds / (rounds * len(steps))
        # Processor time: a busy machine lengthens it less.
        timed = {
            name: partial(rate_of, step, seconds=turn, clock=time.process_time)
            for name, step in steps.items()
        }
        rates = in_turn(timed, rounds=rounds)
        note = (
            f"{crop_px} px, three bands, float32, batch {batch_size}, one thread, processor time."
        )
        write_table(results, f"measurements-{crop_px}", rates, ceiling=CEILING, note=note)
    finally:
        torch.set_num_threads(threads)


def _measured(module: Measurements, batch_size: int) -> Callable[[], int]:
    flux = 0.01 * torch.randn(batch_size, 3, module.size_px, module.size_px)

    def step() -> int:
        with torch.inference_mode():
            module(flux)
        return batch_size

    return step


def _multiplications(module: Measurements) -> int:
    """Multiplications that the sums and blurs of one galaxy take."""
    size, found = module.size_px, module.sums.numel()
    for number in range(module.scales + 1):
        blurs = module.get_buffer(f"blurs_{number}")
        count, places, _ = blurs.shape
        found += count * (size * size * places + size * places * places)
    return found * len(module.bands)


def _product(multiplications: int, batch_size: int) -> Callable[[], int]:
    """Product of square matrices, counted as the galaxies that its multiplications would do for."""
    side = 1024
    one, other = torch.randn(side, side), torch.randn(side, side)
    times = max(round(multiplications * batch_size / side**3), 1)

    def step() -> int:
        for _ in range(times):
            torch.mm(one, other)
        return round(times * side**3 / multiplications)

    return step
