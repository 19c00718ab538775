"""Draw the embedding as a map: UMAP coordinates and a figure coloured by redshift."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ssl_photoz import runs


@dataclass(frozen=True)
class Settings:
    """Draw a map of the embedding.

    Attributes:
        embeddings: Embeddings folder.
        out: Folder to write.
        pca_dim: Principal components that are laid out.
        n_neighbors: Neighbours that shape the map; more keeps more of the large scale.
        min_dist: Least distance between points on the map.
        fit_limit: Lay out at most this many galaxies and place the others among them.
        seed: Of the draw and of UMAP; the same seed gives the same map.
    """

    embeddings: Path
    out: Path
    pca_dim: int = 50
    n_neighbors: int = 15
    min_dist: float = 0.1
    fit_limit: int = 10_000
    seed: int = 0


def main(settings: Settings) -> None:
    """Lay out, write ``map.parquet`` and ``map.png``, card last."""
    import numpy as np

    from ssl_photoz.embeddings.store import Embeddings
    from ssl_photoz.embeddings.tables import write_table
    from ssl_photoz.similarity.catalogue import Catalogue
    from ssl_photoz.similarity.map import draw_map, lay_out, reduce_all
    from ssl_photoz.similarity.montage import title_of

    embeddings = Embeddings.open(settings.embeddings)
    parents = {"embeddings": embeddings.sha256}
    if runs.already_made(
        settings.out, "map", config=settings, parents=parents, ignore=("out", "embeddings")
    ):
        print(f"{settings.out} is already made")
        return
    simulated = bool(embeddings.card["simulated"])
    catalogue = Catalogue.read(embeddings)
    places = lay_out(
        reduce_all(embeddings, pca_dim=settings.pca_dim, seed=settings.seed),
        n_neighbors=settings.n_neighbors,
        min_dist=settings.min_dist,
        fit_limit=settings.fit_limit,
        seed=settings.seed,
    )
    table = {
        "row": np.arange(len(places)),
        "id": catalogue.id,
        "x": places[:, 0],
        "y": places[:, 1],
    }
    write_table(settings.out / "map.parquet", table, simulated=simulated)
    title = title_of(f"Map of {len(places)} galaxies by appearance", simulated=simulated)
    draw_map(settings.out / "map.png", places, embeddings, catalogue, title=title)
    runs.write_card(
        settings.out,
        "map",
        config=settings,
        parents=parents,
        simulated=simulated,
        rows=len(places),
    )
    print(f"map of {len(places)} galaxies in {settings.out}/map.png")
