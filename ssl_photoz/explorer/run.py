"""Find the artefacts of a run that belong together."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ssl_photoz.core.errors import ArtefactError
from ssl_photoz.core.find import Artefact, find_artefacts
from ssl_photoz.core.types import Array
from ssl_photoz.embeddings.store import Embeddings
from ssl_photoz.explorer.stored import Densities, read_places
from ssl_photoz.similarity.catalogue import Catalogue
from ssl_photoz.similarity.index import Index


@dataclass(frozen=True)
class Run:
    """What the page is about.

    Attributes:
        name: Name of the run's folder.
        embeddings: The store that map, index and densities were made from.
        catalogue: Its galaxies.
        places: Their coordinates on the map, float32, shape (N, 2); NaN where they have none.
        index: Finds look-alikes.
        densities: Redshift densities; None if the run has none.
        encoder: The encoder folder, to embed uploads; None if it is not in the run.
    """

    name: str
    embeddings: Embeddings
    catalogue: Catalogue
    places: Array
    index: Index
    densities: Densities | None
    encoder: Path | None

    @property
    def simulated(self) -> bool:
        """Whether the galaxies are simulated."""
        return self.embeddings.card.simulated


def open_run(folder: Path) -> Run:
    """Open the map of a run and, by the checksums on their cards, what belongs to it.

    Args:
        folder: Holds the artefacts, at any depth.

    Raises:
        ArtefactError: If there is no map, or the embeddings or the index it belongs to are not
            there; says which verb makes them.
    """
    found = find_artefacts(folder)
    layout = _first(found, "map")
    if layout is None:
        raise ArtefactError(f"{folder} holds no finished map; run: ssl-photoz map out={folder}/map")
    parent = layout.card.parents["embeddings"]
    store = _first(found, "embeddings", sha256=parent)
    if store is None:
        raise ArtefactError(
            f"{layout.folder} was made from embeddings {parent[:12]}, which are not in {folder}; "
            f"run map again on the embeddings that are"
        )
    embeddings = Embeddings.open(store.folder)
    index = _first(found, "index", parent=parent)
    if index is None:
        raise ArtefactError(
            f"{folder} holds no finished index of {store.name}; run: ssl-photoz index "
            f"embeddings={store.folder} out={folder}/index"
        )
    catalogue = Catalogue.read(embeddings)
    density = _first(found, "pdf", parent=parent)
    encoder = _first(found, "encoder", sha256=embeddings.card.encoder)
    return Run(
        name=folder.resolve().name,
        embeddings=embeddings,
        catalogue=catalogue,
        places=read_places(layout.folder / "map.parquet", rows=len(embeddings)),
        index=Index.load(index.folder),
        densities=density and Densities.open(density.folder / "pdfs.parquet", catalogue),
        encoder=encoder and encoder.folder,
    )


def _first(
    found: list[Artefact], kind: str, *, sha256: str | None = None, parent: str | None = None
) -> Artefact | None:
    """Artefact of a kind with the shortest name, among those that fit."""
    fitting = [
        artefact
        for artefact in found
        if artefact.kind == kind
        and sha256 in (None, artefact.sha256)
        and parent in (None, artefact.card.parents.get("embeddings"))
    ]
    return min(fitting, key=lambda artefact: (len(artefact.name), artefact.name), default=None)
