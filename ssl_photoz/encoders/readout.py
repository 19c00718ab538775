"""Embeddings from an encoder: every stage of the network, its mean and its centre."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple, Protocol, Self, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ssl_photoz.core.errors import ConfigError, DataError, MismatchError, ShapeError
from ssl_photoz.core.extinction import MOST_EBV_MAG, transmission, usable_ebv
from ssl_photoz.core.types import Array, Floats, Ints
from ssl_photoz.encoders.settings import ReadOutConfig

if TYPE_CHECKING:
    from ssl_photoz.encoders.encoder import Encoder


class Conditions(NamedTuple):
    """What is known of how some cutouts were taken; NaN where it is not.

    Attributes:
        ebv_mag: Galactic E(B-V), mag, shape (B,).
        psf_fwhm_arcsec: Width of the PSF, shape (B, C).
        noise: Standard deviation per pixel, in the unit of the pixels, shape (B, C).
    """

    ebv_mag: Tensor
    psf_fwhm_arcsec: Tensor
    noise: Tensor

    @classmethod
    def unknown(cls, count: int, bands: int) -> Self:
        """Conditions of cutouts of which nothing is known."""
        per_band = torch.full((count, bands), torch.nan)
        return cls(per_band[:, 0], per_band, per_band)

    def take(self, rows: Ints | slice) -> Self:
        """Conditions of some of the cutouts, by their places."""
        return type(self)(*(known[rows] for known in self))


# In this order the first 1, 2, 4 or 8 are as unlike each other as can be.
SYMMETRIES = (
    (0, False),
    (2, False),
    (0, True),
    (2, True),
    (1, False),
    (3, False),
    (1, True),
    (3, True),
)


def orient_exactly(flux: Tensor, symmetry: int) -> Tensor:
    """Apply one of the square's eight symmetries, exactly.

    Args:
        flux: Shape (B, C, H, H).
        symmetry: 0 to 7; 0 is the identity.
    """
    quarters, flip = SYMMETRIES[symmetry]
    turned = torch.rot90(flux, quarters, dims=(2, 3))
    return turned.flip(3) if flip else turned


def pool(maps: list[Tensor]) -> Tensor:
    """Pool stage maps into one vector per object.

    Each map gives its mean, and the mean of its central half in each direction where it has
    at least four pixels a side: there the object stands apart from its surroundings.

    Args:
        maps: Shapes (B, width, h, w).

    Returns:
        Shape (B, D), float32.
    """
    pooled = []
    for features in maps:
        features = features.float()
        pooled.append(features.mean(dim=(2, 3)))
        height, width = features.shape[2:]
        if min(height, width) >= 4:
            top, left = height // 4, width // 4
            centre = features[:, :, top : height - top, left : width - left]
            pooled.append(centre.mean(dim=(2, 3)))
    return torch.cat(pooled, dim=1)


def read_out(
    encoder: Encoder,
    flux: Tensor,
    config: ReadOutConfig = ReadOutConfig(),
    conditions: Conditions | None = None,
) -> Tensor:
    """Embed cutouts.

    Args:
        encoder: An encoder in evaluation mode.
        flux: Shape (B, C, crop, crop).
        config: What is read from the network.
        conditions: What is known of how they were taken; None: nothing.

    Returns:
        Embeddings (B, D), float32.

    Raises:
        ConfigError: If the encoder has no such part.
    """
    stages, blocks = encoder.read_out_of(config.stages), []
    if stages in ("blocks", "measurements") and encoder.measurements is not None:
        known = conditions or Conditions.unknown(*flux.shape[:2])
        blocks.append(
            encoder.measurements(flux, psf_fwhm_arcsec=known.psf_fwhm_arcsec, noise=known.noise)
        )
    if stages in ("all", "last") or (stages != "measurements" and encoder.config.learnt_dim):
        blocks.append(_over_orientations(encoder, flux, stages, config.orientations))
    return torch.cat(blocks, dim=1)


def _over_orientations(encoder: Encoder, flux: Tensor, stages: str, orientations: int) -> Tensor:
    total: Tensor | None = None
    for symmetry in range(orientations):
        maps = encoder.maps(orient_exactly(flux, symmetry))
        features = pool(maps) if stages == "all" else maps[-1].float().mean(dim=(2, 3))
        if stages not in ("all", "last"):
            with torch.autocast(flux.device.type, enabled=False):
                features = encoder.bottleneck(features)
        total = features if total is None else total + features
    assert total is not None
    return total / orientations


@runtime_checkable
class CutoutReader(Protocol):
    """Anything that cutouts are read from, such as `ssl_photoz.cutouts.reader.Cutouts`."""

    def __len__(self) -> int:
        """Number of cutouts."""
        ...

    def read(self, rows: Ints) -> Array:
        """Pixels of some rows, (B, C, H, W)."""
        ...


def embed_crops(
    encoder: Encoder, crops: Tensor, config: ReadOutConfig, conditions: Conditions
) -> NDArray[np.float16]:
    """Embeddings of crops as they are stored: made in bfloat16 where that is exact enough.

    Args:
        encoder: An encoder in evaluation mode; its memory layout becomes ``channels_last``.
        crops: Shape (B, C, crop, crop), float32.
        config: What is read from the network.
        conditions: What is known of how they were taken.

    Returns:
        Shape (B, D), float16.
    """
    encoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    device = next(encoder.parameters()).device
    crops = crops.to(device, memory_format=torch.channels_last, non_blocking=True)
    with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16):
        vectors = read_out(encoder, crops, config, conditions)
    return np.asarray(vectors.cpu().numpy(), np.float16)


def embed_array(
    encoder: Encoder,
    cutouts: Array | CutoutReader,
    config: ReadOutConfig,
    *,
    known: Mapping[str, Array | None],
    batch_size: int,
    progress: bool,
) -> Floats:
    """Embeddings of cutouts in memory or in a file; see `Encoder.embed`."""
    from tqdm import tqdm

    if batch_size < 1:
        raise ConfigError(f"batch_size is {batch_size}, expected 1 or more")
    given = {name: values for name, values in known.items() if values is not None}
    if isinstance(cutouts, CutoutReader):
        if given:
            raise ConfigError(
                f"{', '.join(given)}: open cutouts state their own; leave it out, or give an array"
            )
        reader = _fitting(encoder, cutouts)
    else:
        reader = _ArrayReader(encoder, np.asarray(cutouts), given)
    # Whoever reads cutouts in another way may know nothing of how they were taken.
    conditions_of = getattr(reader, "conditions", None)
    starts = range(0, len(reader), batch_size)
    found, training = [], encoder.training
    encoder.eval()
    try:
        for start in tqdm(starts, desc="embed", unit="batch", disable=not progress):
            rows = np.arange(start, min(start + batch_size, len(reader)))
            crops = _crops(encoder, reader.read(rows), rows)
            conditions = Conditions.unknown(*crops.shape[:2])
            if conditions_of is not None:
                conditions = conditions_of(rows)
            found.append(embed_crops(encoder, crops, config, conditions).astype(np.float32))
        if not found:
            nothing = torch.zeros(1, *encoder.input_shape)
            conditions = Conditions.unknown(*nothing.shape[:2])
            return embed_crops(encoder, nothing, config, conditions).astype(np.float32)[:0]
    finally:
        encoder.train(training)
    return np.concatenate(found)


def _fitting(encoder: Encoder, cutouts: CutoutReader) -> CutoutReader:
    """Cutouts of a file as the encoder takes them.

    Raises:
        MismatchError: If they are not what it was made for.
    """
    if encoder.extinction_corrected and hasattr(cutouts, "dereddened"):
        with suppress(DataError):  # require says what they have to be
            cutouts = cutouts.dereddened()
    if (source := getattr(cutouts, "source", None)) is not None:
        encoder.require(size_px=source.size_px, **source.kind)
    return cutouts


class _ArrayReader:
    """Cutouts in memory, corrected for extinction as they are read if E(B-V) is given.

    Args:
        encoder: The encoder that they are for.
        pixels: Shape (N, C, H, W).
        known: ``ebv_mag``, ``psf_fwhm_arcsec`` and ``noise``, those that are known.

    Raises:
        ShapeError: If a shape is another.
        DataError: If an E(B-V) is not usable.
    """

    def __init__(self, encoder: Encoder, pixels: Array, known: Mapping[str, Array]) -> None:
        if pixels.ndim != 4:
            raise ShapeError(f"cutouts have shape {pixels.shape}, expected (N, C, H, W)")
        encoder.require_pixels(pixels.shape[1:])
        self.pixels, self.passed = pixels, None
        unknown = Conditions.unknown(*pixels.shape[:2])
        given = {name: torch.as_tensor(np.asarray(one, "f4")) for name, one in known.items()}
        for name, values in given.items():
            expected = tuple(getattr(unknown, name).shape)
            if tuple(values.shape) != expected:
                raise ShapeError(f"{name} has shape {tuple(values.shape)}, expected {expected}")
        self._conditions = unknown._replace(**given)
        if encoder.extinction_corrected and "ebv_mag" in known:
            bad = np.flatnonzero(~usable_ebv(np.asarray(known["ebv_mag"])))
            if len(bad):
                raise DataError(
                    f"ebv_mag of {len(bad)} cutouts is not within 0 to {MOST_EBV_MAG:g} mag, rows "
                    f"{', '.join(map(str, bad[:10]))}{' ...' if len(bad) > 10 else ''}; give the "
                    f"median of the others where it is unknown"
                )
            bands = encoder.description["bands"]
            self.passed = transmission(known["ebv_mag"], bands).astype(np.float32)
            noise = self._conditions.noise / torch.from_numpy(self.passed)
            self._conditions = self._conditions._replace(noise=noise)

    def __len__(self) -> int:
        return len(self.pixels)

    def read(self, rows: Ints) -> Array:
        pixels: Array = self.pixels[rows]
        if self.passed is None or pixels.dtype == np.uint8:  # which is refused
            return pixels
        return np.asarray(pixels / self.passed[rows][:, :, None, None], np.float32)

    def conditions(self, rows: Ints) -> Conditions:
        return self._conditions.take(rows)


def _crops(encoder: Encoder, pixels: Array, rows: Ints) -> Tensor:
    """Central crops, float32, of cutouts that are all good.

    Raises:
        DataError: If a cutout has bad pixels.
        MismatchError: If the cutouts are not what the encoder was made for.
    """
    encoder.require_pixels(pixels.shape[1:])
    if pixels.dtype == np.uint8 and encoder.description["calibrated"]:
        raise MismatchError(
            "the encoder was trained with calibrated = True, these cutouts are 8-bit pictures; use "
            "cutouts like the encoder's, or another encoder"
        )
    flux = torch.from_numpy(np.ascontiguousarray(pixels, pixels.dtype.newbyteorder("=")))
    flux = flux.float().div_(255) if flux.dtype == torch.uint8 else flux.float()
    bad = rows[~torch.isfinite(flux).flatten(1).all(dim=1).numpy()]
    if len(bad):
        raise DataError(
            f"nan or inf pixels in {len(bad)} cutouts, rows {', '.join(map(str, bad[:10]))}"
            f"{' ...' if len(bad) > 10 else ''}; leave them out"
        )
    side = encoder.input_shape[-1]
    top, left = ((full - side) // 2 for full in flux.shape[2:])
    crops = flux[..., top : top + side, left : left + side]
    return crops.contiguous(memory_format=torch.channels_last)
