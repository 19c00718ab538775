"""How long the checks of `inspect` take: neighbours of millions, and pixels.

    python benchmarks/qa/speed.py

Positions: uniform over 14,000 square degrees, a tenth of them within 30 arcsec of another. Pixels:
made-up galaxies with noise, 128 px, three bands.
"""

from __future__ import annotations

import time

import numpy as np

from ssl_photoz.core.types import Array, Doubles
from ssl_photoz.qa.pixels import blank_lines, brighter_peak, plateau_px
from ssl_photoz.qa.positions import find_neighbours

ROWS = (250_000, 5_000_000)
SIDE_PX, PIXSCALE_ARCSEC = 128, 0.262
CUTOUTS = 512


def draw_positions(n: int, rng: np.random.Generator) -> tuple[Doubles, Doubles]:
    """Right ascension and declination, degrees, shape (n,)."""
    ra, dec = rng.uniform(0, 360, n), np.rad2deg(np.arcsin(rng.uniform(-0.3, 0.38, n)))
    close = rng.permutation(n)[: n // 10]
    beside = rng.integers(0, n, len(close))
    ra[close], dec[close] = ra[beside], dec[beside] + rng.uniform(-30, 30, len(close)) / 3600
    return ra, dec


def draw_cutouts(n: int, rng: np.random.Generator) -> Array:
    """Cutouts, nanomaggies per pixel, shape (n, 3, 128, 128)."""
    y, x = np.mgrid[:SIDE_PX, :SIDE_PX] - (SIDE_PX - 1) / 2
    width = rng.uniform(3, 9, n)[:, None, None, None]
    light = 0.2 * np.exp(-np.hypot(y, x) / width)
    return (light + rng.normal(0, 0.005, (n, 3, SIDE_PX, SIDE_PX))).astype(np.float32)


def main() -> None:
    """Time each check, once."""
    rng = np.random.default_rng(0)
    for rows in ROWS:
        ra, dec = draw_positions(rows, rng)
        started = time.perf_counter()
        near = find_neighbours(ra, dec, SIDE_PX * PIXSCALE_ARCSEC)
        spent = time.perf_counter() - started
        print(f"neighbours of {rows:>9,} rows: {spent:6.1f} s, {near.pairs:,} pairs", flush=True)
    images = draw_cutouts(CUTOUTS, rng)
    checks = {
        "blank": lambda: blank_lines(images, calibrated=True),
        "saturated": lambda: plateau_px(images, least=1.0),
        "shred_peak": lambda: brighter_peak(
            images, calibrated=True, pixscale_arcsec=PIXSCALE_ARCSEC, least_arcsec=2.0
        ),
    }
    for name, check in checks.items():
        started = time.perf_counter()
        check()
        spent = time.perf_counter() - started
        print(f"{name:<12} {CUTOUTS / spent:8.0f} cutouts of {SIDE_PX} px per second", flush=True)


if __name__ == "__main__":
    main()
