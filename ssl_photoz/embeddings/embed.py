"""Encoder x cutouts -> embeddings, shard by shard, every row accounted for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from ssl_photoz import runs
from ssl_photoz.cutouts.apertures import ApertureFluxes
from ssl_photoz.cutouts.batches import in_order
from ssl_photoz.cutouts.colour import jpeg_bytes, to_rgb
from ssl_photoz.cutouts.quality import reject_reasons, row_reasons
from ssl_photoz.cutouts.reader import Cutouts
from ssl_photoz.cutouts.split import SplitSettings, sky_split
from ssl_photoz.embeddings.store import Reject, finish, is_whole, write_shard
from ssl_photoz.encoders.artefact import load_encoder
from ssl_photoz.encoders.encoder import Encoder
from ssl_photoz.encoders.readout import read_out
from ssl_photoz.errors import DataError
from ssl_photoz.types import Array, Floats

OWN_COLUMNS = ("row", "split", "embedding", "aperture", "thumbnail")


def embed(
    data: Path,
    encoder_folder: Path,
    folder: Path,
    *,
    stages: str = "all",
    orientations: int = 8,
    shard_rows: int = 8192,
    batch_size: int = 256,
    thumbnails: bool = True,
    device: str = "cpu",
    config: object = None,
) -> runs.Card:
    """Embed a cutout file; call again after an interruption to go on.

    Shards that are there and whole are kept; the others are written. The card, written last,
    says how many rows came in, were embedded, and were rejected.

    Args:
        data: The cutout file.
        encoder_folder: The encoder artefact.
        folder: Where the embeddings go.
        stages: ``all`` or ``last``: see `read_out`.
        orientations: 1, 2, 4 or 8: see `read_out`.
        shard_rows: Rows of the cutout file per shard.
        batch_size: Cutouts per pass through the encoder; does not change the result's meaning.
        thumbnails: Whether to keep a small colour picture of each galaxy.
        device: Where the encoder runs.
        config: The resolved settings, for the card.

    Returns:
        The card.

    Raises:
        MismatchError: If the encoder was trained for other cutouts.
        DataError: If no row can be embedded.
    """
    encoder, card = load_encoder(encoder_folder, device=device)
    encoder = encoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    with Cutouts.open(data) as cutouts:
        source = cutouts.source
        require_fit(encoder, cutouts)
        split = sky_split(
            cutouts.column("ra"),
            cutouts.column("dec"),
            cutouts.column("id"),
            **_split_of(card),
        )
        starts = range(0, source.rows, shard_rows)
        with tqdm(total=source.rows, unit="cutout", desc="embed") as bar:
            for number, start in enumerate(starts):
                stop = min(start + shard_rows, source.rows)
                if not is_whole(folder / f"part-{number:05d}.parquet", stop - start):
                    columns, rejects = _shard(
                        encoder,
                        cutouts,
                        range(start, stop),
                        split,
                        stages=stages,
                        orientations=orientations,
                        batch_size=batch_size,
                        thumbnails=thumbnails,
                        bar=bar,
                    )
                    write_shard(folder, number, columns, rejects=rejects)
                else:
                    bar.update(stop - start)
        return finish(
            folder,
            rows_in=source.rows,
            config=config,
            parents={
                "encoder": runs.sha256_of(encoder_folder),
                "cutouts": runs.fingerprint(data),
            },
            encoder=runs.sha256_of(encoder_folder),
            simulated=source.simulated,
            calibrated=source.calibrated,
            bands=list(source.bands),
            pixscale_arcsec=source.pixscale_arcsec,
            crop_px=encoder.input_shape[-1],
            split=card["split"],
            stages=stages,
            orientations=orientations,
            trained_steps=card.get("steps"),
            **{name: card[name] for name in ("labels_seen",) if name in card},
        )


def embed_cutout(
    encoder_folder: Path, data: Path, row: int, *, like: runs.Card
) -> tuple[Floats, Array]:
    """Embed one row of a cutout file, as the embeddings it will be compared with were made.

    Args:
        encoder_folder: The encoder artefact.
        data: A cutout file.
        row: Which row of it.
        like: The card of those embeddings; its read-out is used.

    Returns:
        The embedding, (D,), and a colour picture of the cutout, (H, W, 3) uint8.

    Raises:
        DataError: If there is no such row, or its pixels are bad.
        MismatchError: If the encoder was trained for other cutouts.
    """
    encoder, _ = load_encoder(encoder_folder)
    with Cutouts.open(data) as cutouts:
        require_fit(encoder, cutouts)
        if not 0 <= row < len(cutouts):
            raise DataError(f"{data} has rows 0 to {len(cutouts) - 1}, asked for row {row}")
        batch = next(iter(in_order(cutouts, row, row + 1, batch_size=1)))
    reason = reject_reasons(batch.flux.numpy())[0]
    if reason:
        raise DataError(f"row {row} of {data} cannot be embedded: {reason}")
    found = _vectors(
        encoder, batch.flux, stages=like["stages"], orientations=int(like["orientations"])
    )
    source = cutouts.source
    rgb = to_rgb(batch.flux.numpy(), bands=source.bands, calibrated=source.calibrated)
    return np.asarray(found[0], dtype=np.float32), rgb[0]


def require_fit(encoder: Encoder, cutouts: Cutouts) -> None:
    """Refuse cutouts of other bands, pixel scale, calibration or size than the encoder's."""
    source = cutouts.source
    encoder.require(size_px=source.size_px, **source.about)


def _shard(
    encoder: Encoder,
    cutouts: Cutouts,
    rows: range,
    split: Array,
    *,
    stages: str,
    orientations: int,
    batch_size: int,
    thumbnails: bool,
    bar: Any,  # noqa: ANN401 (tqdm has no types)
) -> tuple[dict[str, Any], list[Reject]]:
    source, ids = cutouts.source, cutouts.column("id")
    measure = ApertureFluxes(size_px=source.size_px, **source.about)
    kept: list[Array] = []
    parts: dict[str, list[Array]] = {"embedding": [], "aperture": []}
    pictures: list[bytes] = []
    rejects: list[Reject] = []
    for batch in in_order(cutouts, rows.start, rows.stop, batch_size=batch_size):
        reasons = _reasons(batch.flux.numpy(), cutouts, batch.rows)
        rejects += [
            Reject(int(row), str(ids[row]), str(reason))
            for row, reason in zip(batch.rows, reasons, strict=True)
            if reason
        ]
        bar.update(len(batch.rows))
        fine = np.flatnonzero(reasons == "")
        if not len(fine):
            continue
        flux = batch.flux[fine]
        kept.append(batch.rows[fine])
        parts["embedding"].append(_vectors(encoder, flux, stages=stages, orientations=orientations))
        parts["aperture"].append(measure(flux).numpy())
        if thumbnails:
            rgb = to_rgb(flux.numpy(), bands=source.bands, calibrated=source.calibrated)
            pictures += [jpeg_bytes(picture) for picture in rgb]
    if not kept:
        return {"row": np.empty(0, np.int64)}, rejects
    row = np.concatenate(kept)
    columns: dict[str, Any] = {"row": row, "split": split[row]}
    columns |= {_free(name): cutouts.column(name)[row] for name in cutouts.columns}
    columns |= {name: np.concatenate(some) for name, some in parts.items()}
    return columns | ({"thumbnail": pictures} if thumbnails else {}), rejects


def _free(name: str) -> str:
    return f"catalogue_{name}" if name in OWN_COLUMNS else name


def _vectors(encoder: Encoder, flux: Tensor, *, stages: str, orientations: int) -> Array:
    device = next(encoder.parameters()).device
    size_px = encoder.input_shape[-1]
    low = (flux.shape[-1] - size_px) // 2
    crop = flux[..., low : low + size_px, low : low + size_px].to(device)
    crop = crop.contiguous(memory_format=torch.channels_last)
    with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16):
        vectors = read_out(encoder, crop, stages=stages, orientations=orientations)
    half: Array = vectors.cpu().numpy().astype(np.float16)
    return half


def _reasons(flux: Array, cutouts: Cutouts, rows: Array) -> Array:
    pixels = reject_reasons(flux)
    coordinates = row_reasons(cutouts.column("ra")[rows], cutouts.column("dec")[rows])
    return np.where(pixels != "", pixels, coordinates)


def _split_of(card: runs.Card) -> dict[str, Any]:
    settings = SplitSettings(**{**card["split"], "fractions": tuple(card["split"]["fractions"])})
    return {"seed": settings.seed, "nside": settings.nside, "fractions": settings.fractions}
