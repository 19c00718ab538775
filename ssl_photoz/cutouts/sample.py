"""Figures that stand for a whole file, measured on a sample of it."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from ssl_photoz.cutouts.apertures import ApertureFluxes, border
from ssl_photoz.cutouts.batches import read_batch
from ssl_photoz.cutouts.reader import Cutouts
from ssl_photoz.types import Floats, Ints

SAMPLE = 2048
SIGMA_PER_MAD = 1.4826


def spread_sample(rows: Ints, size: int = SAMPLE) -> Ints:
    """Return at most ``size`` of the rows, evenly spaced."""
    return rows[np.linspace(0, len(rows) - 1, min(size, len(rows))).astype(np.int64)]


def typical_noise(cutouts: Cutouts, rows: Ints) -> Floats:
    """Return the median noise per pixel of each band, (C,), in the unit of the pixels.

    Taken from the file's own ``noise`` where it has one, else from the scatter of the border pixels.

    Args:
        cutouts: The file.
        rows: Its usable rows.
    """
    some = spread_sample(rows)
    known = cutouts.column_or_nan("noise", (len(cutouts), len(cutouts.source.bands)))[some]
    if not np.isfinite(known).any(axis=0).all():
        edge = border(read_batch(cutouts, some[:512]).flux)
        away = (edge - edge.median(dim=-1, keepdim=True).values).abs()
        known = (SIGMA_PER_MAD * away.median(dim=-1).values).numpy()
    return np.asarray(np.nanmedian(known, axis=0), dtype=np.float32)


def target_statistics(
    measure: ApertureFluxes, cutouts: Cutouts, rows: Ints
) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation of aperture features over a sample of rows, (F,) each."""
    values = measure(read_batch(cutouts, spread_sample(rows)).flux)
    return values.mean(dim=0), values.std(dim=0)
