"""Cutouts on their way to an encoder: checked, measured and pictured, a little ahead of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ssl_photoz.core.extinction import transmission
from ssl_photoz.core.types import Array, Floats, Ints
from ssl_photoz.cutouts.apertures import ApertureFluxes
from ssl_photoz.cutouts.batches import prefetched, read_batch
from ssl_photoz.cutouts.colour import encode_jpegs, to_rgb
from ssl_photoz.cutouts.quality import reject_reasons, row_reasons
from ssl_photoz.cutouts.reader import Cutouts
from ssl_photoz.encoders.readout import Conditions

THUMBNAIL_PX = 48  # a multiple of 16, see `encode_jpegs`


@dataclass(frozen=True)
class Examined:
    """What is known of some rows before an encoder sees them.

    Attributes:
        rows: The rows that can be used, shape (n,).
        crops: Their central crops, float32, channels last, shape (n, C, crop, crop).
        conditions: What is known of how they were taken.
        apertures: Their aperture photometry, shape (n, F).
        thumbnails: Their pictures, as JPEG bytes; empty if none were asked for.
        rejects: The other rows, and why.
    """

    rows: Ints
    crops: Tensor
    conditions: Conditions
    apertures: Floats
    thumbnails: list[bytes]
    rejects: dict[int, str]


def examined(
    cutouts: Cutouts,
    runs: Iterable[Ints],
    *,
    crop_px: int,
    thumbnails: bool = True,
    masked: Mapping[int, str] | None = None,
) -> Iterator[Examined]:
    """Examine runs of rows one after the other, in a thread that stays a little ahead.

    Args:
        cutouts: Cutouts to read.
        runs: Row numbers, shape (B,) each.
        crop_px: Side of the crops.
        thumbnails: Whether to draw pictures.
        masked: Rows that a mask rejects, and why; see `ssl_photoz.cutouts.mask.masked_rows`.

    Returns:
        One item per run.
    """
    source = cutouts.source
    measure = ApertureFluxes(size_px=source.size_px, **source.about)
    return prefetched(
        _examine(cutouts, rows, measure, masked or {}, crop_px=crop_px, thumbnails=thumbnails)
        for rows in runs
    )


def central_crop(flux: Tensor, size_px: int) -> Tensor:
    """Cut out the centre of flux (B, C, H, H) as an encoder takes it: channels last."""
    low = (flux.shape[-1] - size_px) // 2
    crop = flux[..., low : low + size_px, low : low + size_px]
    return crop.contiguous(memory_format=torch.channels_last)


def draw_thumbnails(
    flux: Tensor, *, bands: tuple[str, ...], calibrated: bool, passed: Tensor | None = None
) -> list[bytes]:
    """Draw small pictures, as JPEG bytes.

    Flux is averaged to the size of a thumbnail before it is stretched: that makes an eighth of the
    pixels to stretch, and less noise in them.

    Args:
        flux: Shape (B, C, H, W), float32.
        bands: Band names, length C.
        calibrated: Whether the pixels are flux.
        passed: Fraction of the light that dust lets pass, shape (B, C), of flux that is corrected
            for it; the pictures show galaxies as they are seen.
    """
    if not len(flux):
        return []
    rows, columns = (_shrinking(side, THUMBNAIL_PX) for side in flux.shape[2:])
    small = rows @ flux @ columns.T
    if passed is not None:
        small = small * passed[:, :, None, None]
    rgb = to_rgb(small.numpy(), bands=bands, calibrated=calibrated)
    return encode_jpegs(rgb)


def _shrinking(side_px: int, size_px: int) -> Tensor:
    """Weights of a line's pixels in those of a smaller one, (size_px, side_px).

    Two products with them take half the time of interpolating, with the same result.
    """
    lines = torch.eye(side_px)[None, None]
    size = (size_px, side_px)
    weights = F.interpolate(lines, size, mode="bilinear", antialias=True, align_corners=False)
    return weights[0, 0]


def _examine(
    cutouts: Cutouts,
    rows: Ints,
    measure: ApertureFluxes,
    masked: Mapping[int, str],
    *,
    crop_px: int,
    thumbnails: bool,
) -> Examined:
    source, batch = cutouts.source, read_batch(cutouts, rows)
    flux = batch.flux
    reasons = _reasons(flux.numpy(), cutouts, rows, masked)
    fine = np.flatnonzero(reasons == "")
    bad = np.flatnonzero(reasons != "")
    if len(bad):
        flux = flux[fine]
    conditions, passed = batch.conditions.take(fine), None
    if source.extinction_corrected:
        passed = torch.from_numpy(transmission(conditions.ebv_mag.numpy(), source.bands)).float()
    about: dict[str, Any] = {"bands": source.bands, "calibrated": source.calibrated}
    return Examined(
        rows=rows[fine],
        crops=central_crop(flux, crop_px),
        conditions=conditions,
        apertures=measure(flux).numpy(),
        thumbnails=draw_thumbnails(flux, **about, passed=passed) if thumbnails else [],
        rejects={int(rows[which]): str(reasons[which]) for which in bad},
    )


def _reasons(flux: Array, cutouts: Cutouts, rows: Ints, masked: Mapping[int, str]) -> Array:
    pixels = reject_reasons(flux)
    coordinates = row_reasons(cutouts.column("ra")[rows], cutouts.column("dec")[rows])
    reasons = np.where(pixels != "", pixels, coordinates).astype(object)
    for row, fault in cutouts.faults(rows).items():
        reasons[rows == row] = fault
    said = np.array([masked.get(int(row), "") for row in rows], object)
    return np.where(reasons != "", reasons, said)
