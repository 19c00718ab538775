"""Encoder x cutouts -> embeddings, shard by shard, every row accounted for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from ssl_photoz.core import artefact
from ssl_photoz.core.errors import DataError
from ssl_photoz.core.memory import keep_freed_memory
from ssl_photoz.core.types import Array, Floats, Ints
from ssl_photoz.cutouts.batches import read_batch
from ssl_photoz.cutouts.colour import to_rgb
from ssl_photoz.cutouts.examined import Examined, central_crop, examined
from ssl_photoz.cutouts.mask import cutout_parents, masked_rows
from ssl_photoz.cutouts.quality import reject_reasons
from ssl_photoz.cutouts.reader import Cutouts
from ssl_photoz.cutouts.split import SplitConfig, sky_split
from ssl_photoz.embeddings.store import Reject, finish, is_whole, write_shard
from ssl_photoz.encoders.artefact import load_encoder
from ssl_photoz.encoders.encoder import Encoder
from ssl_photoz.encoders.readout import read_out
from ssl_photoz.encoders.settings import ReadOutConfig

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
    mask: Path | None = None,
    config: object = None,
) -> artefact.Card:
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
        mask: A mask of the cutouts, whose rows are rejected.
        config: The resolved settings, for the card.

    Returns:
        The card.

    Raises:
        MismatchError: If the encoder was trained for other cutouts, or the mask is not of these.
        DataError: If no row can be embedded.
    """
    keep_freed_memory()
    encoder = load_encoder(encoder_folder, device=device)
    card = encoder.card
    encoder = encoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    with Cutouts.open(data) as cutouts:
        source = cutouts.source
        require_fit(encoder, cutouts)
        split = sky_split(cutouts, SplitConfig.of(card["split"])).names
        missing = _missing(folder, source.rows, shard_rows)
        runs_of = {n: _runs(rows, batch_size) for n, rows in missing.items()}
        # One stream for all shards: what is read ahead does not stop where a shard ends.
        stream = examined(
            cutouts,
            (rows for artefact in runs_of.values() for rows in artefact),
            crop_px=encoder.input_shape[-1],
            thumbnails=thumbnails,
            masked=masked_rows(mask),
        )
        done = source.rows - sum(map(len, missing.values()))
        with tqdm(total=source.rows, initial=done, unit="cutout", desc="embed") as bar:
            for number, runs_of_shard in runs_of.items():
                columns, rejects = _shard(
                    encoder,
                    cutouts,
                    islice(stream, len(runs_of_shard)),
                    split,
                    stages=stages,
                    orientations=orientations,
                    bar=bar,
                )
                write_shard(folder, number, columns, rejects=rejects)
        return finish(
            folder,
            rows_in=source.rows,
            config=config,
            parents={
                "encoder": artefact.sha256_of(encoder_folder),
                **cutout_parents(data, mask),
            },
            encoder=artefact.sha256_of(encoder_folder),
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
    encoder_folder: Path, data: Path, row: int, *, like: artefact.Card
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
    encoder = load_encoder(encoder_folder)
    with Cutouts.open(data) as cutouts:
        require_fit(encoder, cutouts)
        if not 0 <= row < len(cutouts):
            raise DataError(f"{data} has rows 0 to {len(cutouts) - 1}, asked for row {row}")
        batch = read_batch(cutouts, np.array([row]))
    reason = reject_reasons(batch.flux.numpy())[0]
    if reason:
        raise DataError(f"row {row} of {data} cannot be embedded: {reason}")
    crops = central_crop(batch.flux, encoder.input_shape[-1])
    found = _vectors(encoder, crops, stages=like["stages"], orientations=int(like["orientations"]))
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
    stream: Iterable[Examined],
    split: Array,
    *,
    stages: str,
    orientations: int,
    bar: Any,  # noqa: ANN401 (tqdm has no types)
) -> tuple[dict[str, Any], list[Reject]]:
    ids = cutouts.column("id")
    kept: list[Examined] = []
    vectors: list[Array] = []
    rejects: list[Reject] = []
    for some in stream:
        rejects += [Reject(row, str(ids[row]), reason) for row, reason in some.rejects.items()]
        if len(some.rows):
            vectors.append(_vectors(encoder, some.crops, stages=stages, orientations=orientations))
            kept.append(replace(some, crops=some.crops[:0]))
        bar.update(len(some.rows) + len(some.rejects))
    if not kept:
        return {"row": np.empty(0, np.int64)}, rejects
    row = np.concatenate([some.rows for some in kept])
    columns: dict[str, Any] = {"row": row, "split": split[row]}
    columns |= {_free(name): cutouts.column(name)[row] for name in cutouts.columns}
    columns["embedding"] = np.concatenate(vectors)
    columns["aperture"] = np.concatenate([some.apertures for some in kept])
    if kept[0].thumbnails:
        columns["thumbnail"] = [picture for some in kept for picture in some.thumbnails]
    return columns, rejects


def _missing(folder: Path, rows: int, shard_rows: int) -> dict[int, range]:
    """Return the number and rows of each shard that is still to be written."""
    starts = range(0, rows, shard_rows)
    shards = {n: range(start, min(start + shard_rows, rows)) for n, start in enumerate(starts)}
    return {
        number: within
        for number, within in shards.items()
        if not is_whole(folder / f"part-{number:05d}.parquet", len(within))
    }


def _runs(rows: range, batch_size: int) -> list[Ints]:
    edges = range(rows.start, rows.stop, batch_size)
    return [np.arange(edge, min(edge + batch_size, rows.stop)) for edge in edges]


def _free(name: str) -> str:
    return f"catalogue_{name}" if name in OWN_COLUMNS else name


def _vectors(encoder: Encoder, crops: Tensor, *, stages: str, orientations: int) -> Array:
    device = next(encoder.parameters()).device
    crops = crops.to(device, memory_format=torch.channels_last, non_blocking=True)
    with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16):
        vectors = read_out(encoder, crops, ReadOutConfig(stages, orientations))
    half: Array = vectors.cpu().numpy().astype(np.float16)
    return half
