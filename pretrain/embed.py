"""Run an encoder over a cutout file.

    ssl-photoz embed configs/embed.yaml data=cutouts.h5 encoder=runs/encoder out=runs/embeddings

Writes Parquet shards of embeddings with every catalogue column, aperture photometry and a
thumbnail; killed and started again, it goes on with the first missing shard.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from ssl_photoz.core import artefact
from ssl_photoz.encoders.settings import ReadOutConfig


@dataclass(frozen=True)
class Settings:
    """Settings of embed.

    Attributes:
        data: Cutouts: a file or folder of any format, or a dataset YAML.
        encoder: Encoder artefact.
        out: Folder for the embeddings.
        mask: Mask that `clean` wrote for these cutouts; what it rejects is rejected.
        readout: What is read from the network.
        shard_rows: Rows of the cutout file per shard.
        batch_size: Cutouts per pass.
        thumbnails: Whether to keep a small colour picture of each galaxy.
    """

    data: Path
    encoder: Path
    out: Path
    mask: Path | None = None
    readout: ReadOutConfig = field(default_factory=ReadOutConfig)
    shard_rows: int = 8192
    batch_size: int = 256
    thumbnails: bool = True

    def __post_init__(self) -> None:
        if self.shard_rows < 1 or self.batch_size < 1:
            raise ValueError("shard_rows and batch_size must be at least 1")


def main(settings: Settings) -> None:
    """Embed, or say that it has been done."""
    import torch

    from ssl_photoz.cutouts.mask import cutout_parents
    from ssl_photoz.embeddings.embed import embed

    parents = {
        "encoder": artefact.sha256_of(settings.encoder),
        **cutout_parents(settings.data, settings.mask),
    }
    paths = ("data", "encoder", "mask", "out")
    if not artefact.begin(
        settings.out,
        "embeddings",
        config=settings,
        parents=parents,
        ignore=paths,
    ):
        print(f"{settings.out} is already made")
        return
    card = embed(
        settings.data,
        settings.encoder,
        settings.out,
        stages=settings.readout.stages,
        orientations=settings.readout.orientations,
        shard_rows=settings.shard_rows,
        batch_size=settings.batch_size,
        thumbnails=settings.thumbnails,
        device="cuda" if torch.cuda.is_available() else "cpu",
        mask=settings.mask,
        config=settings,
    )
    print(
        f"{card['rows_in']} rows in, {card['rows_written']} embedded ({card['dim']} numbers "
        f"each), {card['rows_rejected']} rejected -> {settings.out}"
    )
