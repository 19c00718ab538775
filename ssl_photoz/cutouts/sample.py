"""Figures that stand for a whole file, measured on a sample of it."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ssl_photoz.core.types import Floats, Ints
from ssl_photoz.cutouts.apertures import ApertureFluxes
from ssl_photoz.cutouts.batches import read_batch
from ssl_photoz.cutouts.quality import border_noise, usable_labels
from ssl_photoz.cutouts.reader import Cutouts
from ssl_photoz.cutouts.split import SplitConfig, sky_split
from ssl_photoz.encoders.measurements import Measurements

SAMPLE = 2048
FEWEST_LABELS = 20


def spread_sample(rows: Ints, size: int = SAMPLE) -> Ints:
    """At most ``size`` of the rows, evenly spaced."""
    return rows[np.linspace(0, max(len(rows) - 1, 0), min(size, len(rows))).astype(np.int64)]


def typical_noise(cutouts: Cutouts, rows: Ints) -> Floats:
    """Median noise per pixel of each band, (C,), in the unit of the pixels.

    Taken from the file's own ``noise`` where it has one, else from the scatter of the border.

    Args:
        cutouts: The file.
        rows: Its usable rows.
    """
    some = spread_sample(rows)
    known = cutouts.column_or_nan("noise", (len(cutouts), len(cutouts.source.bands)))[some]
    if not np.isfinite(known).any(axis=0).all():
        known = border_noise(read_batch(cutouts, some[:512]).flux.numpy())
    return np.asarray(np.nanmedian(known, axis=0), dtype=np.float32)


def measured_sample(measurements: Measurements, cutouts: Cutouts, rows: Ints) -> Tensor:
    """Measurements of a sample of rows as they are, (N, M); see `Measurements.measure`."""
    batch = read_batch(cutouts, spread_sample(rows), size_px=measurements.size_px)
    return measurements.measure(
        batch.flux, psf_fwhm_arcsec=batch.psf_fwhm_arcsec, noise=batch.noise
    )


def target_statistics(
    measure: ApertureFluxes, cutouts: Cutouts, rows: Ints
) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of aperture features over a sample of rows, (F,) each."""
    values = measure(read_batch(cutouts, spread_sample(rows)).flux)
    return values.mean(dim=0), values.std(dim=0)


def labelled_crops(
    cutouts: Cutouts, rows: Ints, split: SplitConfig, *, size_px: int
) -> dict[str, Tensor]:
    """Read a standing sample on which an encoder in training can be scored.

    Args:
        cutouts: The file.
        rows: Its usable rows.
        split: The sky split.
        size_px: Side of the central crops.

    Returns:
        ``known`` (N, C, H, W) and ``known_z`` (N,) from the training sky, ``asked`` (M, C, H, W)
        and ``asked_z`` (M,) from the validation sky. Where labels are too few, ``known`` is any
        galaxies, and ``asked`` is empty. The test sky is never looked at.
    """
    side = sky_split(cutouts, split).names[rows]
    z = cutouts.column("z")
    labelled = usable_labels(z[rows])
    known = spread_sample(rows[labelled & (side == "train")])
    asked = spread_sample(rows[labelled & (side == "val")])
    if min(len(known), len(asked)) < FEWEST_LABELS:
        known, asked = spread_sample(rows[side != "test"]), rows[:0]
    return {
        "known": read_batch(cutouts, known, size_px=size_px).flux,
        "known_z": torch.from_numpy(z[known]),
        "asked": read_batch(cutouts, asked, size_px=size_px).flux,
        "asked_z": torch.from_numpy(z[asked]),
    }
