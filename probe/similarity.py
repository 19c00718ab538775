"""Index embeddings, and find the galaxies that look like one.

``index`` builds the index and scores it by redshift; ``query`` takes a galaxy by id, by
position or from a cutout file, or a few examples spread in redshift, and draws its look-alikes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from ssl_photoz import runs
from ssl_photoz.errors import ConfigError


@dataclass(frozen=True)
class Settings:
    """Build a similarity index.

    Attributes:
        embeddings: Embeddings folder.
        out: Index folder to write.
        pca_dim: Principal components that the index compares.
        quality_k: Neighbours looked at when the index is scored by redshift.
        quality_bin_width: Width in ln(1+z) of a redshift bin; a hit is a neighbour in the bin.
        seed: Of the samples drawn.
    """

    embeddings: Path
    out: Path
    pca_dim: int = 128
    quality_k: int = 10
    quality_bin_width: float = 0.02
    seed: int = 0


@dataclass(frozen=True)
class QuerySettings:
    """Find look-alikes. Give one of: id; ra and dec; cutout and encoder; examples.

    Attributes:
        index: Index folder.
        embeddings: The embeddings folder it was built from.
        out: Table to write (.parquet, .csv or .fits), its montage beside it (.png); with
            examples, a folder.
        id: Id of a galaxy in the embeddings.
        ra: Right ascension, degrees.
        dec: Declination, degrees.
        radius_arcsec: How far from ra, dec a galaxy may be.
        cutout: A cutout file that holds the query.
        encoder: The encoder folder that the embeddings were made with, to embed the cutout.
        row: Row of the cutout file.
        k: Look-alikes wanted.
        examples: Instead of one query, this many labelled test galaxies spread in redshift.
        seed: Of the choice of examples.
    """

    index: Path
    embeddings: Path
    out: Path
    id: str | int | None = None
    ra: float | None = None
    dec: float | None = None
    radius_arcsec: float = 2.0
    cutout: Path | None = None
    encoder: Path | None = None
    row: int = 0
    k: int = 12
    examples: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        asked = {
            "id": self.id is not None,
            "ra and dec": self.ra is not None and self.dec is not None,
            "cutout and encoder": self.cutout is not None and self.encoder is not None,
            "examples": self.examples > 0,
        }
        if sum(asked.values()) != 1:
            given = " and ".join(name for name, is_given in asked.items() if is_given)
            raise ConfigError(f"got {given or 'no query'}, expected one of: {'; '.join(asked)}")


def main(settings: Settings) -> None:
    """Build, score and save the index."""
    from ssl_photoz.embeddings.store import Embeddings
    from ssl_photoz.similarity.index import Index
    from ssl_photoz.similarity.quality import measure_quality

    embeddings = Embeddings.open(settings.embeddings)
    parents = {"embeddings": embeddings.sha256}
    if _is_made(settings, "index", parents):
        return
    index = Index.build(embeddings, pca_dim=settings.pca_dim, seed=settings.seed)
    width, seed = settings.quality_bin_width, settings.seed
    quality = measure_quality(index, embeddings, k=settings.quality_k, bin_width=width, seed=seed)
    index.save(settings.out, config=settings, quality=quality)
    print(f"{len(index)} galaxies indexed in {settings.out}")
    if quality is not None:
        print(
            f"nearest neighbour in the same bin of {width} in ln(1+z): "
            f"{quality['precision_at_1']:.3f}; by chance {quality['chance']:.3f}"
        )


def query(settings: QuerySettings) -> None:
    """Answer one query with a table and a montage, or several examples with a folder."""
    from ssl_photoz.embeddings.store import Embeddings
    from ssl_photoz.similarity.catalogue import Catalogue, find_id, find_position
    from ssl_photoz.similarity.gallery import answer_rows, make_gallery, save_answer
    from ssl_photoz.similarity.index import Index
    from ssl_photoz.similarity.query import look_alikes, spread_in_redshift

    embeddings, index = Embeddings.open(settings.embeddings), Index.load(settings.index)
    index.check_belongs(embeddings)
    catalogue = Catalogue.read(embeddings)
    if settings.examples:
        parents = {"embeddings": embeddings.sha256, "index": runs.sha256_of(settings.index)}
        if _is_made(settings, "query", parents):
            return
        rows = spread_in_redshift(catalogue, settings.examples, seed=settings.seed)
        answers = answer_rows(index, embeddings, catalogue, rows, k=settings.k)
        facts = make_gallery(settings.out, embeddings, catalogue, answers)
        runs.write_card(settings.out, "query", config=settings, parents=parents, **facts)
        print(f"look-alikes of {len(rows)} galaxies in {settings.out}/lookalikes.png")
        return
    if settings.cutout is not None and settings.encoder is not None:
        from ssl_photoz.embeddings.embed import embed_cutout

        index.check_encoder(settings.encoder)
        vector, picture = embed_cutout(
            settings.encoder, settings.cutout, settings.row, like=embeddings.card
        )
        answer = replace(look_alikes(index, catalogue, vector, k=settings.k), picture=picture)
    else:
        if settings.ra is not None and settings.dec is not None:
            radius = settings.radius_arcsec
            row = find_position(catalogue, settings.ra, settings.dec, radius_arcsec=radius)
        else:
            row = find_id(embeddings, catalogue, str(settings.id))
        answer = answer_rows(index, embeddings, catalogue, [row], k=settings.k)[0]
    montage = save_answer(settings.out, embeddings, catalogue, answer)
    print(f"{answer.describe(catalogue)}\n{settings.out} and {montage} written")


def _is_made(settings: Settings | QuerySettings, kind: str, parents: dict[str, str]) -> bool:
    paths = ("out", "embeddings", "index")
    made = runs.already_made(settings.out, kind, config=settings, parents=parents, ignore=paths)
    print(f"{settings.out} is already made" if made else f"making {settings.out}")
    return made
