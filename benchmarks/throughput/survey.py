"""Cutout files to read: plain SIMULATED galaxies in the challenge's layout, made in seconds.

Exponential discs on noise. They are for timing: nothing about redshifts can be learnt from them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch

from ssl_photoz.core.artefact import atomic_path
from ssl_photoz.cutouts.packing import pack
from ssl_photoz.cutouts.reader import Cutouts

SIZE_PX, BLOCK = 128, 64
NOISE_NMGY = (0.0031, 0.0044, 0.0117)
STORAGE: dict[str, dict[str, Any]] = {
    "contiguous": {},
    "chunk per cutout": {"chunks": (1, 3, SIZE_PX, SIZE_PX)},
    "chunks of 64 cutouts": {"chunks": (BLOCK, 3, SIZE_PX, SIZE_PX)},
    "gzip, chunk per cutout": {"chunks": (1, 3, SIZE_PX, SIZE_PX), "compression": "gzip"},
}


def make_file(folder: Path, rows: int, storage: str = "chunk per cutout") -> Path:
    """File of 3 x 128 x 128 float32 cutouts, made if it is not there."""
    path = folder / f"{storage.replace(' ', '-').replace(',', '')}-{rows}.h5"
    if path.exists():
        return path
    draws = torch.Generator().manual_seed(0)
    with atomic_path(path) as scratch, h5py.File(scratch, "w") as file:
        shape = (rows, 3, SIZE_PX, SIZE_PX)
        images = file.create_dataset("images", shape, "f4", **STORAGE[storage])
        for start in range(0, rows, 512):
            some = draw_galaxies(min(512, rows - start), SIZE_PX, generator=draws)
            images[start : start + 512] = some.numpy()
        write_columns(file, rows)
    return path


def make_packed(folder: Path, rows: int, *, size_px: int) -> Path:
    """Packed copy of a file, made if it is not there."""
    path = folder / f"packed-{size_px}-{rows}.h5"
    with Cutouts.open(make_file(folder, rows)) as cutouts:
        pack(cutouts, path, size_px=size_px, dtype="float16")
    return path


def draw_galaxies(count: int, size_px: int, *, generator: torch.Generator) -> torch.Tensor:
    """Draw exponential discs on noise, nanomaggies/px, shape (count, 3, size_px, size_px)."""
    axis = torch.arange(size_px) - (size_px - 1) / 2
    radius = (axis[:, None] ** 2 + axis**2).sqrt()
    scale_px = 2 + 6 * torch.rand(count, 1, 1, 1, generator=generator)
    peak_nmgy = 10 ** (2 * torch.rand(count, 3, 1, 1, generator=generator) - 1.5)
    noise = torch.tensor(NOISE_NMGY).view(3, 1, 1)
    white = torch.randn(count, 3, size_px, size_px, generator=generator)
    return torch.addcmul(peak_nmgy * torch.exp(-radius / scale_px), noise, white)


def write_columns(file: h5py.File, rows: int) -> None:
    """Write a catalogue beside the images."""
    draws = np.random.default_rng(0)
    file["TARGETID"] = np.arange(rows)
    file["RA"] = np.linspace(0, 359, rows)
    file["DEC"] = draws.uniform(-30, 30, rows)
    file["Z"] = draws.uniform(0.01, 0.5, rows).astype("f4")
    file["EBV"] = draws.uniform(0.01, 0.1, rows).astype("f4")
    file.attrs["simulated"] = True
