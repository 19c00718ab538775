"""What: augment. Views per second of one core, beside three other ways to make the same views.

Seconds are those of the processor, not of the clock on the wall.
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from benchmarks.throughput.measure import in_turn, rate_of, write_table
from benchmarks.throughput.survey import NOISE_NMGY, draw_galaxies
from ssl_photoz.augment import survey
from ssl_photoz.augment.draws import generator
from ssl_photoz.augment.views import Views

OURS = "this package"
EBV_MAG = 0.03


def measure(work: Path, results: Path, *, seconds: float, rounds: int, batch_size: int) -> None:
    """Measure with one thread and write a table per crop; ratios are to this package."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for size_px, crop_px in ((152, 96), (128, 64)):
            draws = torch.Generator().manual_seed(0)
            flux = draw_galaxies(batch_size, size_px, generator=draws)
            turns = contenders(flux, crop_px, seconds=seconds / (8 * rounds))
            note = (
                f"{size_px} to {crop_px} px, flux in three bands, batch {batch_size}, one thread, "
                f"seconds of the processor. The ratio is to this package."
            )
            rates = in_turn(turns, rounds=rounds)
            write_table(results, f"augment-{crop_px}", rates, ceiling=OURS, note=note)
    finally:
        torch.set_num_threads(threads)


def contenders(
    flux: torch.Tensor, crop_px: int, *, seconds: float
) -> dict[str, Callable[[], float]]:
    """What is timed; what is not installed is left out, aloud."""
    steps = {OURS: ours(flux, crop_px)}
    if _is_there("skimage"):
        steps["numpy, scikit-image and scipy, per image"] = per_image(flux, crop_px)
    if _is_there("torchvision"):
        steps["torchvision v2, per image"] = baseline("by_torchvision", flux, crop_px)
    if _is_there("kornia"):
        steps["kornia, on the batch"] = baseline("by_kornia", flux, crop_px)
    return {
        name: lambda step=step: rate_of(step, seconds=seconds, clock=time.process_time)  # type: ignore[misc]
        for name, step in steps.items()
    }


def ours(flux: torch.Tensor, crop_px: int) -> Callable[[], int]:
    """Step that makes a batch of views."""
    views, draws = Views(crop_px=crop_px), generator(0)
    ebv_mag = torch.full((len(flux),), EBV_MAG)

    def step() -> int:
        return len(views(flux, ebv_mag=ebv_mag, generator=draws))

    return step


def per_image(flux: torch.Tensor, crop_px: int, count: int = 16) -> Callable[[], int]:
    """Step that makes some views one by one."""
    from benchmarks.throughput import per_image as chain

    images = flux[:count].permute(0, 2, 3, 1).numpy().copy()
    draws = np.random.default_rng(0)
    psf_px = np.array([survey.PSF_SIGMA_PX[band].median for band in chain.BANDS])

    def step() -> int:
        for image in images:
            chain.make_view(
                image,
                crop_px=crop_px,
                jitter_px=4.0,
                ebv_mag=EBV_MAG,
                psf_sigma_px=psf_px,
                noise_nmgy=np.array(NOISE_NMGY),
                draws=draws,
            )
        return len(images)

    return step


def baseline(name: str, flux: torch.Tensor, crop_px: int) -> Callable[[], int]:
    """Step that makes a batch of views with another library, the draws included."""
    from benchmarks.throughput import baselines

    make, draws = getattr(baselines, name), generator(0)
    ebv_mag = torch.full((len(flux),), EBV_MAG)

    def step() -> int:
        did = baselines.draw_augmentations(ebv_mag, generator=draws)
        return len(make(flux, did, crop_px=crop_px))

    return step


def _is_there(library: str) -> bool:
    there = importlib.util.find_spec(library) is not None
    if not there:
        print(f"LEFT OUT: {library} is not installed", flush=True)
    return there
