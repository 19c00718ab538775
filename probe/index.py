"""Program from embeddings to an index of them, which is scored by redshift.

The same command again goes on with an interrupted index, adds the shards that the embeddings have
gained, or changes what is hidden; what is indexed already is not indexed again.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ssl_photoz.core import artefact, workplace
from ssl_photoz.core.types import PathLike
from ssl_photoz.similarity.settings import IndexConfig, QualityConfig

if TYPE_CHECKING:
    from ssl_photoz.embeddings.store import Embeddings
    from ssl_photoz.similarity.index import Index

CHANGEABLE = ("out", "embeddings", "hide", "hide_listed", "memory_gb")
RENAMED = {"quality_k": "quality.k", "quality_bin_width": "quality.bin_width"}


def index(
    embeddings: PathLike | Embeddings,
    out: PathLike,
    *,
    hide: tuple[str, ...] = (),
    hide_listed: PathLike | None = None,
    search: IndexConfig = IndexConfig(),
    quality: QualityConfig = QualityConfig(),
) -> Index:
    """Build, go on with, or grow a similarity index.

        ssl-photoz index embeddings=runs/demo/embeddings out=runs/demo/index

    Neighbours are compared by cosine, after principal components; see `Index`.

    Args:
        embeddings: Embeddings folder.
        out: Index folder to write.
        hide: Columns of the embeddings, such as is_shred or is_star: no search returns a galaxy
            for which one is true.
        hide_listed: Table (.csv, .fits, .vot, .parquet) of more galaxies to hide, by id, or by
            ra and dec.
        search: How vectors are reduced and searched.
        quality: How look-alikes are scored by redshift.

    Returns:
        The index.

    Raises:
        MismatchError: If the folder holds an index made with other settings, or of embeddings
            that these do not begin with.
        ConfigError: If the type is unknown to FAISS or unsuited.
        DataError: If some embeddings are not finite, or every galaxy would be hidden.
    """
    from ssl_photoz.embeddings.store import Embeddings
    from ssl_photoz.similarity.lists import rows_to_hide
    from ssl_photoz.similarity.quality import measure_quality, quality_line

    store, out = Embeddings.open(embeddings), Path(out)
    listed = None if hide_listed is None else Path(hide_listed)
    hidden = rows_to_hide(store, columns=hide, listed=listed)
    config = {
        "embeddings": store.folder,
        "out": out,
        "hide": hide,
        "hide_listed": listed,
        **{name: value for name, value in asdict(search).items() if name != "rows_per_shard"},
        **{
            f"quality_{name}": value
            for name, value in asdict(quality).items()
            if name in ("k", "bin_width") or value != getattr(QualityConfig, name)
        },
    }  # in the shape of version 0.1, whose indexes still grow
    with workplace.claimed(out):
        made = (out / "card.json").exists()
        found = _made_before(out, config) if made else _build(out, store, search, config)
        if made and found.card.embeddings == store.sha256 and found.hides(hidden):
            print(f"{out} is already made")
            return found
        if found.card.embeddings != store.sha256:
            found = _grow(out, store, search)
        found = found.hiding(hidden)
        scores = measure_quality(found, store, quality, seed=search.seed)
        found.save(out, config=config, quality=scores)
    print(f"{len(found)} of {len(store)} galaxies searchable in {out}; {found.describe()}")
    if scores is not None:
        print(quality_line(str(out), scores))
    return found


def _made_before(out: Path, config: dict[str, Any]) -> Index:
    """Open a finished index; refuse one made with other settings."""
    from ssl_photoz.similarity.index import Index

    found = Index.load(out)
    parents = {"embeddings": found.card.embeddings}
    artefact.already_made(out, "index", config=config, parents=parents, ignore=CHANGEABLE)
    return found


def _build(out: Path, store: Embeddings, search: IndexConfig, config: dict[str, Any]) -> Index:
    from ssl_photoz.similarity.index_building import build_index

    parents = {"embeddings": store.sha256}
    artefact.begin(out, "index", config=config, parents=parents, ignore=CHANGEABLE)
    print(f"making {out}")
    return build_index(out, store, search)


def _grow(out: Path, store: Embeddings, search: IndexConfig) -> Index:
    from ssl_photoz.similarity.index_building import grow_index

    print(f"adding to {out}")
    return grow_index(out, store, search)
