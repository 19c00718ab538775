"""Draw the embedding as a map: UMAP coordinates as a table, and figures.

    ssl-photoz map configs/map.yaml
    ssl-photoz map embeddings=E out=M predictions=photoz.parquet magnitude=mag_r

where ``ssl-photoz predict rows=all`` wrote ``photoz.parquet``. ``map.parquet`` has coordinates and
catalogue, as other programs read them: docs/map.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ssl_photoz.core import artefact
from ssl_photoz.core.errors import ConfigError


@dataclass(frozen=True)
class Settings:
    """Draw a map of the embedding.

    Attributes:
        embeddings: Embeddings folder.
        out: Folder to write.
        predictions: Table of ssl-photoz predict, to colour by z_phot and, on the test sky, by
            residual.
        magnitude: Column to colour by, such as mag_r.
        pca_dim: Principal components that are laid out.
        n_neighbors: Neighbours that shape the map; more keeps more of the large scale.
        min_dist: Least distance between points on the map.
        epochs: How often UMAP goes through all pairs of neighbours.
        fit_limit: Lay out at most this many galaxies and place the others among them.
        seed: Of the draw and of UMAP; the same seed gives the same map.
    """

    embeddings: Path
    out: Path
    predictions: Path | None = None
    magnitude: str | None = None
    pca_dim: int = 50
    n_neighbors: int = 15
    min_dist: float = 0.1
    epochs: int = 200
    fit_limit: int = 25_000
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what UMAP would stumble over."""
        if self.n_neighbors < 2 or self.epochs < 1:
            raise ConfigError(
                f"n_neighbors is {self.n_neighbors} and epochs {self.epochs}, expected at least 2 "
                f"and 1"
            )


def main(settings: Settings) -> None:
    """Lay out, measure, write ``map.parquet``, ``map.png`` and ``atlas.png``, card last."""
    from ssl_photoz.catalog.tables import write_table
    from ssl_photoz.embeddings.store import Embeddings
    from ssl_photoz.similarity import map_files
    from ssl_photoz.similarity.catalogue import Catalogue
    from ssl_photoz.similarity.map import lay_out, measure_trust, reduce_all
    from ssl_photoz.similarity.montage import title_of

    embeddings = Embeddings.open(settings.embeddings)
    parents = {"embeddings": embeddings.sha256}
    catalogue = Catalogue.read(embeddings)
    if settings.predictions is not None:
        catalogue = catalogue.with_photoz(settings.predictions)
        parents["predictions"] = artefact.sha256_of(settings.predictions)
    colours = map_files.colours_of(embeddings, catalogue, magnitude=settings.magnitude)
    paths = ("out", "embeddings", "predictions")
    if artefact.already_made(settings.out, "map", config=settings, parents=parents, ignore=paths):
        print(f"{settings.out} is already made")
        return
    simulated = bool(embeddings.card["simulated"])
    vectors = reduce_all(embeddings, pca_dim=settings.pca_dim, seed=settings.seed)
    layout = lay_out(
        vectors,
        n_neighbors=settings.n_neighbors,
        min_dist=settings.min_dist,
        epochs=settings.epochs,
        fit_limit=settings.fit_limit,
        seed=settings.seed,
    )
    trust = measure_trust(vectors, layout.places, seed=settings.seed)
    table = map_files.map_columns(embeddings, catalogue, layout)
    write_table(settings.out / "map.parquet", table, simulated=simulated)
    says = f"Map of {len(catalogue)} galaxies by appearance"
    title = title_of(f"{says}; {trust}", simulated=simulated)
    map_files.draw_map(settings.out / "map.png", layout.places, colours, title=title)
    if embeddings.has_thumbnails:
        title = title_of(says, simulated=simulated)
        map_files.draw_atlas(settings.out / "atlas.png", layout.places, embeddings, title=title)
    artefact.write_card(
        settings.out,
        "map",
        config=settings,
        parents=parents,
        simulated=simulated,
        rows=len(catalogue),
        rows_fitted=int(layout.fitted.sum()),
        rows_placed=int((~layout.fitted).sum()),
        measured=trust._asdict(),
    )
    print(f"{says} in {settings.out}/map.png; {trust}")
