"""Make an embeddings folder from vectors of another project, row by row those of a cutout file.

    ssl-photoz adopt_vectors configs/adopt_vectors.yaml data=images.h5 vectors=representations.npy \
        out=runs/adopted/embeddings

`index`, `query`, `map` and `probe` then take it as their own. One file of vectors at a time; `join`
puts several together.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ssl_photoz.core import artefact
from ssl_photoz.core.errors import ConfigError
from ssl_photoz.cutouts.split import SplitConfig


@dataclass(frozen=True)
class Settings:
    """Settings of adopt_vectors.

    Attributes:
        data: The cutout file that the vectors were made from; of it only the catalogue is read.
        vectors: Array (N, D) in a .npy file, its rows those of ``data``.
        out: Embeddings folder to write.
        encoder: The encoder that made them, where it has been adopted too; new cutouts can then
            be compared with them.
        network: Else a name for what made them: vectors of one name belong together, and vectors
            without one to no others.
        split: The sky split; the encoder's, where there is one.
        shard_rows: Rows per shard.
    """

    data: Path
    vectors: Path
    out: Path
    encoder: Path | None = None
    network: str | None = None
    split: SplitConfig = field(default_factory=SplitConfig)
    shard_rows: int = 8192

    def __post_init__(self) -> None:
        if self.shard_rows < 1:
            raise ConfigError("shard_rows must be at least 1")
        if self.encoder is not None and self.network is not None:
            raise ConfigError("network is a name for what made the vectors: give it, or encoder")


def main(settings: Settings) -> None:
    """Adopt, or say that it has been done."""
    from ssl_photoz.cutouts.reader import Cutouts
    from ssl_photoz.cutouts.split import assign_splits
    from ssl_photoz.embeddings.adopting import adopt_vectors, open_vectors

    parents = {name: artefact.fingerprint(getattr(settings, name)) for name in ("data", "vectors")}
    facts, split = _encoder(settings, parents)
    ignore = ("data", "vectors", "out", "encoder")
    if not artefact.begin(
        settings.out, "embeddings", config=settings, parents=parents, ignore=ignore
    ):
        return print(f"{settings.out} is already made")
    with Cutouts.open(settings.data) as cutouts:
        columns = {name: cutouts.column(name) for name in cutouts.columns}
        source = cutouts.source
    columns["split"] = assign_splits(columns["ra"], columns["dec"], columns["id"], split)
    card = adopt_vectors(
        settings.out,
        open_vectors(settings.vectors),
        columns,
        shard_rows=settings.shard_rows,
        config=settings,
        parents=parents,
        **{**source.about, "bands": list(source.bands)},
        simulated=source.simulated,
        split=asdict(split),
        **facts,
    )
    rejected = card["rows_rejected"]
    print(f"{card['rows_written']} vectors of {card['dim']}, {rejected} rejected -> {settings.out}")


def _encoder(settings: Settings, parents: dict[str, str]) -> tuple[dict[str, Any], SplitConfig]:
    facts: dict[str, Any] = {"encoder": settings.network or parents["vectors"]}
    facts |= {"stages": "last", "orientations": 1, "crop_px": None}
    if settings.encoder is None:
        return facts, settings.split
    card = artefact.read_card(settings.encoder, "encoder")
    parents["encoder"] = artefact.sha256_of(settings.encoder)
    facts |= {"encoder": parents["encoder"], "crop_px": card["encoder"]["crop_px"]}
    return facts, SplitConfig.of(card["split"])
