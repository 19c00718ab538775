"""Propose which candidates to look at next, so that their labels help most.

    ssl-photoz next configs/dwarfs_next.yaml n=50

The CSV it writes has a line per galaxy and an empty column ``verdict``: fill in dwarf, not_dwarf or
junk, and give the file to ``ssl-photoz dwarfs`` as ``verdicts=``. Only galaxies of the train split
are proposed, because only those may be learnt from.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ssl_photoz.core import artefact


@dataclass(frozen=True)
class Settings:
    """Propose candidates to look at.

    Attributes:
        dwarfs: Folder that dwarfs has made.
        index: The index folder it was made with.
        embeddings: The embeddings folder of both.
        out: Table to write, .csv.
        n: Galaxies to look at.
        verdicts: CSV of verdicts there are; those galaxies are not proposed again.
    """

    dwarfs: Path
    index: Path
    embeddings: Path
    out: Path
    n: int = 50
    verdicts: Path | None = None


def main(settings: Settings) -> None:
    """Choose, and write the table."""
    import numpy as np

    from ssl_photoz.catalog.tables import read_table
    from ssl_photoz.core.errors import DataError, MismatchError
    from ssl_photoz.dwarfs import candidates as next_looks
    from ssl_photoz.dwarfs.truth import words_of
    from ssl_photoz.dwarfs.verdicts import read_verdicts
    from ssl_photoz.embeddings.store import Embeddings
    from ssl_photoz.similarity.catalogue import Catalogue
    from ssl_photoz.similarity.index import Index

    embeddings, index = Embeddings.open(settings.embeddings), Index.load(settings.index)
    index.check_belongs(embeddings)
    card = artefact.read_card(settings.dwarfs, "dwarfs")
    if card["parents"]["embeddings"] != embeddings.sha256:
        raise MismatchError(
            f"{settings.dwarfs} was made from embeddings {card['parents']['embeddings'][:12]}, but "
            f"{settings.embeddings} is {embeddings.sha256[:12]}; run dwarfs on these embeddings"
        )
    catalogue = Catalogue.read(embeddings)
    table = read_table(settings.dwarfs / "probabilities.parquet")
    words = words_of(catalogue, read_verdicts(settings.verdicts) if settings.verdicts else {})
    rows = np.asarray(table["row"], np.int64)
    asked = np.isnan(catalogue.z[rows]) & (catalogue.split[rows] == "train") & (words[rows] == "")
    if not asked.any():
        raise DataError(
            f"none of the {len(rows)} galaxies of {settings.dwarfs} can be looked at: expected "
            f"some of the train split that have neither a redshift nor a verdict"
        )
    score = np.asarray(table["score"], np.float64)
    looks = next_looks.propose_looks(index, rows[asked], score[asked], n=settings.n)
    places = np.searchsorted(rows, looks)
    figures = {name: values[places] for name, values in table.items() if name.startswith("p_")}
    next_looks.write_looks(
        settings.out, catalogue, looks, figures, simulated=bool(card["simulated"])
    )
    print(
        f"{len(looks)} of {int(asked.sum())} galaxies proposed in {settings.out}; fill in the "
        f"column verdict, then run dwarfs with verdicts={settings.out}"
    )
