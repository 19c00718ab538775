"""Index embeddings for similarity search, and score the index by redshift.

The same command again goes on with an interrupted index, adds the shards that the embeddings
have gained, or changes what is hidden; what is indexed already is not indexed again.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ssl_photoz.core import artefact
from ssl_photoz.core.errors import ConfigError

if TYPE_CHECKING:
    from ssl_photoz.embeddings.store import Embeddings
    from ssl_photoz.similarity.index import Index

CHANGEABLE = ("out", "embeddings", "hide", "hide_listed", "memory_gb")


@dataclass(frozen=True)
class Settings:
    """Build a similarity index.

    Attributes:
        embeddings: Embeddings folder.
        out: Index folder to write.
        pca_dim: Principal components that the index compares.
        whiten: Scale every component to unit variance first.
        index_type: auto, flat (exact), hnsw, ivf_flat, ivf_sq8, ivf_pq, or a FAISS factory
            string such as OPQ32,IVF4096,PQ32np; auto goes by catalogue size and memory.
        recall: Of the 10 nearest, what fraction a search should find; sets how hard it looks.
        memory_gb: What auto may take when searching, 10^9 bytes; null: half of what is free.
        hide: Columns of the embeddings, such as is_shred or is_star: no search returns a galaxy
            for which one is true.
        hide_listed: A table (.csv, .fits, .vot, .parquet) of more galaxies to hide, by id, or by
            ra and dec.
        quality_k: Neighbours looked at when the index is scored by redshift.
        quality_bin_width: Width in ln(1+z) of a redshift bin; a hit is a neighbour in the bin.
        seed: Of the samples drawn.
    """

    embeddings: Path
    out: Path
    pca_dim: int = 128
    whiten: bool = False
    index_type: str = "auto"
    recall: float = 0.99
    memory_gb: float | None = None
    hide: tuple[str, ...] = ()
    hide_listed: Path | None = None
    quality_k: int = 10
    quality_bin_width: float = 0.02
    seed: int = 0

    def __post_init__(self) -> None:
        if self.memory_gb is not None and not self.memory_gb > 0:
            raise ConfigError(f"memory_gb is {self.memory_gb}, expected more than 0, or null")


def main(settings: Settings) -> None:
    """Build, go on with, or grow the index; hide, score and save."""
    from ssl_photoz.embeddings.store import Embeddings
    from ssl_photoz.similarity.lists import rows_to_hide
    from ssl_photoz.similarity.quality import measure_quality, quality_line

    out, embeddings = settings.out, Embeddings.open(settings.embeddings)
    hidden = rows_to_hide(embeddings, columns=settings.hide, listed=settings.hide_listed)
    made = (out / "card.json").exists()
    index = _made_before(settings, embeddings) if made else _build(settings, embeddings)
    if made and index.facts["embeddings"] == embeddings.sha256 and index.hides(hidden):
        print(f"{out} is already made")
        return
    if index.facts["embeddings"] != embeddings.sha256:
        index = _grow(settings, embeddings)
    index = index.hiding(hidden)
    width, seed = settings.quality_bin_width, settings.seed
    quality = measure_quality(index, embeddings, k=settings.quality_k, bin_width=width, seed=seed)
    index.save(out, config=settings, quality=quality)
    print(f"{len(index)} of {len(embeddings)} galaxies searchable in {out}; {index.describe()}")
    if quality is not None:
        print(quality_line(str(out), quality))


def _made_before(settings: Settings, embeddings: Embeddings) -> Index:
    """Open a finished index; refuse one made with other settings."""
    from ssl_photoz.similarity.index import Index

    index = Index.load(settings.out)
    parents = {"embeddings": str(index.facts["embeddings"])}
    artefact.already_made(
        settings.out, "index", config=settings, parents=parents, ignore=CHANGEABLE
    )
    return index


def _build(settings: Settings, embeddings: Embeddings) -> Index:
    from ssl_photoz.similarity.index_building import build_index

    parents = {"embeddings": embeddings.sha256}
    artefact.begin(settings.out, "index", config=settings, parents=parents, ignore=CHANGEABLE)
    print(f"making {settings.out}")
    return build_index(
        settings.out,
        embeddings,
        index_type=settings.index_type,
        pca_dim=settings.pca_dim,
        whiten=settings.whiten,
        recall=settings.recall,
        memory_bytes=None if settings.memory_gb is None else settings.memory_gb * 1e9,
        seed=settings.seed,
    )


def _grow(settings: Settings, embeddings: Embeddings) -> Index:
    from ssl_photoz.similarity.index_building import grow_index

    print(f"adding to {settings.out}")
    return grow_index(settings.out, embeddings, seed=settings.seed)
