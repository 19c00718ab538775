"""The program that runs an encoder over cutouts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ssl_photoz.core import artefact
from ssl_photoz.core.errors import ArtefactError, ConfigError
from ssl_photoz.core.types import PathLike
from ssl_photoz.encoders.settings import ReadOutConfig

if TYPE_CHECKING:
    from ssl_photoz.cutouts.reader import Cutouts
    from ssl_photoz.embeddings.store import Embeddings
    from ssl_photoz.encoders.encoder import Encoder


def embed(
    data: PathLike | Cutouts,
    encoder: PathLike | Encoder,
    out: PathLike,
    *,
    mask: PathLike | None = None,
    readout: ReadOutConfig = ReadOutConfig(),
    shard_rows: int = 8192,
    batch_size: int = 256,
    thumbnails: bool = True,
) -> Embeddings:
    """Run an encoder over cutouts.

        ssl-photoz embed data=cutouts.h5 encoder=runs/encoder out=runs/embeddings

    Writes Parquet shards of embeddings with every catalogue column, aperture photometry and a
    thumbnail. The same command again goes on with the first missing shard.

    Args:
        data: Cutouts: a file or folder of any format, or a dataset YAML.
        encoder: Encoder folder, or an encoder that was read from one.
        out: Folder for the embeddings.
        mask: Mask of these cutouts; rows that it rejects get no embedding.
        readout: What is read from the network.
        shard_rows: Rows of the cutout file per shard.
        batch_size: Cutouts per pass through the encoder.
        thumbnails: Whether to keep a small colour picture of each galaxy.

    Returns:
        The embeddings.

    Raises:
        ConfigError: If shard_rows or batch_size is not positive.
        MismatchError: If the encoder was trained for other cutouts, or the mask is not of these.
        DataError: If no row can be embedded.
    """
    if shard_rows < 1 or batch_size < 1:
        raise ConfigError("shard_rows and batch_size must be at least 1")
    import torch

    from ssl_photoz.catalog.identity import describe_shared
    from ssl_photoz.cutouts.mask import cutout_parents, masked_rows
    from ssl_photoz.cutouts.reader import Cutouts
    from ssl_photoz.embeddings.embed import as_encoder_takes, embed_cutouts
    from ssl_photoz.embeddings.store import Embeddings
    from ssl_photoz.encoders.artefact import load_encoder

    out, path = Path(out), data.source.path if isinstance(data, Cutouts) else Path(data)
    loaded = load_encoder(encoder, device="cuda" if torch.cuda.is_available() else "cpu")
    if not loaded.sha256:
        raise ArtefactError(
            "the encoder was never written, so that its embeddings could not name it; give the "
            "folder of one, or use Encoder.embed for plain arrays"
        )
    parents = {"encoder": loaded.sha256, **cutout_parents(data, mask)}
    config: dict[str, Any] = {
        **{"data": path, "mask": None if mask is None else Path(mask), "readout": readout},
        **{"shard_rows": shard_rows, "batch_size": batch_size, "thumbnails": thumbnails},
    }
    made: dict[str, Any] = {"config": config, "parents": parents}
    cutouts = Cutouts.open(data)
    try:
        as_encoder_takes(loaded, cutouts)
        if shared := describe_shared(*(cutouts.column(name) for name in ("id", "ra", "dec"))):
            print(shared)
        if not artefact.begin(out, "embeddings", ignore=("data", "mask"), **made):
            print(f"{out} is already made")
            return Embeddings.open(out)
        card = embed_cutouts(
            cutouts,
            loaded,
            out,
            readout,
            shard_rows=shard_rows,
            batch_size=batch_size,
            thumbnails=thumbnails,
            masked=masked_rows(mask),
            **made,
        )
    finally:
        if cutouts is not data:
            cutouts.close()
    print(
        f"{card.rows_in} rows in, {card.rows_written} embedded ({card.dim} numbers each), "
        f"{card.rows_rejected} rejected -> {out}"
    )
    return Embeddings.open(out)
