"""Program that draws the embedding as a map: UMAP coordinates as a table, and figures.

``map.parquet`` has coordinates and catalogue, as other programs read them: docs/map.md.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from ssl_photoz.core import artefact
from ssl_photoz.core.extras import needs
from ssl_photoz.core.types import PathLike
from ssl_photoz.similarity.settings import MapConfig

if TYPE_CHECKING:
    from ssl_photoz.embeddings.store import Embeddings
    from ssl_photoz.similarity.map_files import EmbeddingMap


@needs("map")
def map(
    embeddings: PathLike | Embeddings,
    out: PathLike,
    *,
    predictions: PathLike | None = None,
    magnitude: str | None = None,
    layout: MapConfig = MapConfig(),
) -> EmbeddingMap:
    """Draw a map of the embedding, and measure how far it can be trusted.

        ssl-photoz map embeddings=E out=M predictions=photoz.parquet magnitude=mag_r

    where ``ssl-photoz predict rows=all`` wrote ``photoz.parquet``.

    Args:
        embeddings: Embeddings folder.
        out: Folder to write: map.parquet, map.png, atlas.png.
        predictions: Table of ssl-photoz predict, to colour by z_phot and, on the test sky, by
            residual.
        magnitude: Column to colour by, such as mag_r.
        layout: How galaxies are laid out.

    Returns:
        The map.

    Raises:
        ConfigError: If the magnitude is no column of numbers.
        MismatchError: If the predictions are of other galaxies, or the folder holds another map.
        DataError: If there are too few galaxies.
    """
    from ssl_photoz.catalog.tables import write_table
    from ssl_photoz.embeddings.store import Embeddings
    from ssl_photoz.similarity import map_files
    from ssl_photoz.similarity.catalogue import Catalogue
    from ssl_photoz.similarity.map import lay_out, measure_trust, reduce_all
    from ssl_photoz.similarity.montage import title_of

    store, out = Embeddings.open(embeddings), Path(out)
    parents = {"embeddings": store.sha256}
    catalogue = Catalogue.read(store)
    if predictions is not None:
        catalogue = catalogue.with_photoz(Path(predictions))
        parents["predictions"] = artefact.sha256_of(Path(predictions))
    colours = map_files.colours_of(store, catalogue, magnitude=magnitude)
    config = {"magnitude": magnitude, **asdict(layout)}
    paths = ("out", "embeddings", "predictions")  # on the cards of version 0.1
    if artefact.already_made(out, "map", config=config, parents=parents, ignore=paths):
        print(f"{out} is already made")
        return map_files.EmbeddingMap.open(out)
    simulated = store.card.simulated
    vectors = reduce_all(store, pca_dim=layout.pca_dim, seed=layout.seed)
    laid_out = lay_out(vectors, layout)
    trust = measure_trust(vectors, laid_out.places, seed=layout.seed)
    table = map_files.map_columns(store, catalogue, laid_out)
    write_table(out / "map.parquet", table, simulated=simulated)
    says = f"Map of {len(catalogue)} galaxies by appearance"
    title = title_of(f"{says}; {trust}", simulated=simulated)
    map_files.draw_map(out / "map.png", laid_out.places, colours, title=title)
    if store.has_thumbnails:
        title = title_of(says, simulated=simulated)
        map_files.draw_atlas(out / "atlas.png", laid_out.places, store, title=title)
    artefact.write_card(
        out,
        "map",
        config=config,
        parents=parents,
        simulated=simulated,
        rows=len(catalogue),
        rows_fitted=int(laid_out.fitted.sum()),
        rows_placed=int((~laid_out.fitted).sum()),
        measured=trust._asdict(),
    )
    print(f"{says} in {out}/map.png; {trust}")
    return map_files.EmbeddingMap.open(out)
