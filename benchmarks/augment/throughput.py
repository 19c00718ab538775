"""How fast the chain makes views: ``python benchmarks/augment/throughput.py [--device cuda]``.

Times each step, and the chain for flux and for display values, on a batch of 256 x 3 x 128 x
128 float32 cutouts cropped to 64 px. Best of several repeats, and processor time beside wall
time, since a machine may be shared.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch

from ssl_photoz.augment.draws import generator
from ssl_photoz.augment.noise import add_noise
from ssl_photoz.augment.orient import draw_orientation, orient, plain_crop
from ssl_photoz.augment.psf import widen
from ssl_photoz.augment.redden import redden
from ssl_photoz.augment.views import Views

BATCH, BANDS, SIZE, CROP = 256, 3, 128, 64


def steps(device: str) -> dict[str, Callable[[], object]]:
    """What is timed, by name."""
    draws = generator(0, device=device)
    flux = torch.randn(BATCH, BANDS, SIZE, SIZE, generator=draws, device=device)
    crop = plain_crop(flux, CROP).contiguous()
    placed = draw_orientation(BATCH, max_shift_px=4.0, generator=draws)._asdict()
    sigma = torch.rand(BATCH, BANDS, generator=draws, device=device)
    ebv_mag, r_band = sigma[:, 0], torch.tensor([3.214, 2.165, 1.211], device=device)
    chains = {
        f"chain, {word}": Views(calibrated=calibrated, crop_px=CROP)
        for word, calibrated in (("flux", True), ("display", False))
    }
    return {
        "orient": lambda: orient(flux, crop_px=CROP, **placed),
        "widen": lambda: widen(crop, extra_sigma_px=sigma),
        "redden": lambda: redden(crop, ebv_mag, r_band=r_band),
        "add_noise": lambda: add_noise(crop, sigma=sigma, generator=draws),
        **{
            name: lambda views=views: views(flux, generator=draws)  # type: ignore[misc]
            for name, views in chains.items()
        },
    }


def best_ms(step: Callable[[], object], *, repeats: int, device: str) -> tuple[float, float]:
    """Shortest wall time and the least processor time of one call, milliseconds."""
    wall = processor = float("inf")
    for _ in range(repeats):
        began, worked = time.perf_counter(), time.process_time()
        step()
        if device != "cpu":
            torch.cuda.synchronize()
        processor = min(processor, time.process_time() - worked)
        wall = min(wall, time.perf_counter() - began)
    return 1e3 * wall, 1e3 * processor


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repeats", type=int, default=10)
    given = parser.parse_args()
    for threads in (1, 2) if given.device == "cpu" else (1,):
        torch.set_num_threads(threads)
        for name, step in steps(given.device).items():
            wall_ms, processor_ms = best_ms(step, repeats=given.repeats, device=given.device)
            print(
                f"{given.device} threads={threads} {name:<15} {wall_ms:7.2f} ms "
                f"(processor {processor_ms:7.2f}) {1e3 * BATCH / wall_ms:9.0f} cutouts/s"
            )


if __name__ == "__main__":
    main()
