"""From an encoder and cutouts to embeddings, shard by shard, every row accounted for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from ssl_photoz.core.errors import DataError
from ssl_photoz.core.memory import keep_freed_memory
from ssl_photoz.core.types import Array, Floats, Ints, PathLike
from ssl_photoz.cutouts.batches import read_batch
from ssl_photoz.cutouts.colour import to_rgb
from ssl_photoz.cutouts.examined import Examined, central_crop, examined
from ssl_photoz.cutouts.extinction import corrected, correction_note, typical_ebv
from ssl_photoz.cutouts.quality import reject_reasons
from ssl_photoz.cutouts.reader import Cutouts
from ssl_photoz.cutouts.split import SplitConfig, sky_split
from ssl_photoz.embeddings.store import EmbeddingsCard, Reject, finish, is_whole, write_shard
from ssl_photoz.encoders.artefact import load_encoder
from ssl_photoz.encoders.encoder import Encoder
from ssl_photoz.encoders.readout import embed_crops
from ssl_photoz.encoders.settings import ReadOutConfig

OWN_COLUMNS = ("row", "split", "embedding", "aperture", "thumbnail")


def embed_cutouts(
    cutouts: Cutouts,
    encoder: Encoder,
    folder: Path,
    readout: ReadOutConfig = ReadOutConfig(),
    *,
    shard_rows: int,
    batch_size: int,
    thumbnails: bool,
    masked: Mapping[int, str],
    config: object,
    parents: Mapping[str, str],
) -> EmbeddingsCard:
    """Write the embeddings of cutouts; call again after an interruption to go on.

    Shards that are there and whole are kept; the others are written. The card, written last,
    says how many rows came in, were embedded, and were rejected.

    Args:
        cutouts: The cutouts.
        encoder: The encoder, in evaluation mode, on the device where it is to run.
        folder: Folder for the embeddings.
        readout: What is read from the network.
        shard_rows: Rows of the cutout file per shard.
        batch_size: Cutouts per pass through the encoder.
        thumbnails: Whether to keep a small colour picture of each galaxy.
        masked: Rows to reject, and why.
        config: Settings, for the card.
        parents: Checksums of encoder, cutouts and mask.

    Raises:
        MismatchError: If the encoder was trained for other cutouts.
        DataError: If no row can be embedded.
    """
    keep_freed_memory()
    source, card = cutouts.source, encoder.card
    taken = as_encoder_takes(encoder, cutouts)
    if note := correction_note(taken, wanted=encoder.extinction_corrected):
        print(note)
    split = sky_split(cutouts, SplitConfig.of(card.split)).names
    missing = _missing(folder, source.rows, shard_rows)
    runs_of = {n: _runs(rows, batch_size) for n, rows in missing.items()}
    # One stream for all shards: what is read ahead does not stop where a shard ends.
    stream = examined(
        taken,
        (rows for shard in runs_of.values() for rows in shard),
        crop_px=encoder.input_shape[-1],
        thumbnails=thumbnails,
        masked=masked,
    )
    done = source.rows - sum(map(len, missing.values()))
    with tqdm(total=source.rows, initial=done, unit="cutout", desc="embed") as bar:
        for number, runs_of_shard in runs_of.items():
            some = islice(stream, len(runs_of_shard))
            columns, rejects = embed_stream(
                encoder, cutouts, some, split, readout, progress=bar.update
            )
            write_shard(folder, number, columns, rejects=rejects)
    return finish(
        folder,
        rows_in=source.rows,
        config=config,
        parents=parents,
        **card_facts(encoder, taken, readout),
    )


def card_facts(encoder: Encoder, taken: Cutouts, readout: ReadOutConfig) -> dict[str, Any]:
    """What a card says of embeddings, besides their number.

    Args:
        encoder: The encoder.
        taken: Result of `as_encoder_takes`.
        readout: What is read from the network.
    """
    source, card = taken.source, encoder.card
    return {
        "encoder": encoder.sha256,
        "simulated": source.simulated,
        "calibrated": source.calibrated,
        "bands": list(source.bands),
        "pixscale_arcsec": source.pixscale_arcsec,
        "crop_px": encoder.input_shape[-1],
        "split": card.split,
        "stages": encoder.read_out_of(readout.stages),
        "blocks": encoder.blocks(readout.stages),
        "orientations": readout.orientations,
        "trained_steps": card.steps,
        "extinction_corrected": encoder.extinction_corrected,
        **({"ebv_typical_mag": ebv_mag} if (ebv_mag := typical_ebv(taken)) is not None else {}),
        **({"labels_seen": card.labels_seen} if "labels_seen" in card else {}),
    }


def embed_cutout(
    encoder: PathLike | Encoder, data: PathLike, row: int, *, like: EmbeddingsCard
) -> tuple[Floats, Array]:
    """Embed one row of a cutout file, as the embeddings it will be compared with were made.

    Args:
        encoder: The encoder, or its folder.
        data: A cutout file.
        row: Number of the row.
        like: Card of those embeddings, whose read-out is used; and whose typical E(B-V), if the
            encoder takes flux corrected for extinction and the file states none.

    Returns:
        The embedding, (D,), and a colour picture of the cutout, (H, W, 3) uint8.

    Raises:
        DataError: If there is no such row, or its pixels are bad.
        MismatchError: If the encoder was trained for other cutouts.
    """
    encoder = load_encoder(encoder)
    with Cutouts.open(data) as cutouts:
        taken = as_encoder_takes(encoder, cutouts, otherwise_mag=like.ebv_typical_mag)
        if not 0 <= row < len(cutouts):
            raise DataError(f"{data} has rows 0 to {len(cutouts) - 1}, asked for row {row}")
        if taken.source.extinction_corrected:
            print(correction_note(taken, wanted=True))
        batch, seen = (read_batch(one, np.array([row])) for one in (taken, cutouts))
    reason = reject_reasons(batch.flux.numpy())[0]
    if reason:
        raise DataError(f"row {row} of {data} cannot be embedded: {reason}")
    crops = central_crop(batch.flux, encoder.input_shape[-1])
    found = embed_crops(encoder, crops, like.readout, batch.conditions)
    source = cutouts.source
    rgb = to_rgb(seen.flux.numpy(), bands=source.bands, calibrated=source.calibrated)
    return np.asarray(found[0], dtype=np.float32), rgb[0]


def as_encoder_takes(
    encoder: Encoder, cutouts: Cutouts, *, otherwise_mag: float | None = None
) -> Cutouts:
    """Cutouts corrected for extinction if the encoder was trained so.

    Args:
        encoder: The encoder.
        cutouts: Cutouts as they are seen.
        otherwise_mag: E(B-V) of all, mag, if they state none.

    Raises:
        MismatchError: If they are of other bands, pixel scale, calibration or size than the
            encoder's, or it wants them corrected and they state no E(B-V).
    """
    taken = corrected(cutouts, wanted=encoder.extinction_corrected, otherwise_mag=otherwise_mag)
    encoder.require(size_px=taken.source.size_px, **taken.source.kind)
    return taken


def embed_stream(
    encoder: Encoder,
    cutouts: Cutouts,
    stream: Iterable[Examined],
    split: Array,
    readout: ReadOutConfig,
    *,
    progress: Callable[[int], object] = lambda _: None,
) -> tuple[dict[str, Any], list[Reject]]:
    """Embed what is streamed.

    Args:
        encoder: The encoder.
        cutouts: The cutouts as they are seen, for their columns.
        stream: Some of their rows, as the encoder takes them.
        split: Split of every row of the cutouts.
        readout: What is read from the network.
        progress: Called with the number of rows that are done, after each batch.

    Returns:
        Columns of a shard, only ``row`` and that empty if nothing could be embedded; and rejects.
    """
    ids = cutouts.column("id")
    kept: list[Examined] = []
    vectors: list[Array] = []
    rejects: list[Reject] = []
    for some in stream:
        rejects += [Reject(row, str(ids[row]), reason) for row, reason in some.rejects.items()]
        if len(some.rows):
            vectors.append(embed_crops(encoder, some.crops, readout, some.conditions))
            kept.append(replace(some, crops=some.crops[:0]))
        progress(len(some.rows) + len(some.rejects))
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
    """Number and rows of each shard that is still to be written."""
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
