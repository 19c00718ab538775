"""Find look-alikes: of one galaxy, of a list, of these but not those, among those that pass.

The same answers come from Python, through `ssl_photoz.similarity.search.Search`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ssl_photoz.core import artefact
from ssl_photoz.core.errors import ConfigError

if TYPE_CHECKING:
    from ssl_photoz.similarity.query import LookAlikes
    from ssl_photoz.similarity.search import Search


@dataclass(frozen=True)
class Settings:
    """Find look-alikes. Give one of: id; ra and dec; cutout and encoder; like; examples.

    Attributes:
        index: Index folder.
        embeddings: The embeddings folder it was built from.
        out: Table to write (.parquet, .csv, .fits or .vot), its montage beside it (.png); with
            examples, a folder.
        id: Id of a galaxy in the embeddings.
        ra: Right ascension, degrees.
        dec: Declination, degrees.
        radius_arcsec: How far from ra, dec, or from a listed position, a galaxy may be.
        match: Which galaxy within the radius of ra, dec: 1 the nearest, 2 the next.
        cutout: A cutout file that holds the query: HDF5, FITS or NPY.
        encoder: The encoder folder that the embeddings were made with, to embed the cutout.
        row: Row of the cutout file.
        like: A table of galaxies (.csv, .fits, .vot, .parquet) by id or targetid, or by ra, dec.
        mode: Like the centroid of the list, or like any of its galaxies.
        unlike: A table of galaxies to keep away from.
        unlike_weight: How much they count: score = cosine to like - unlike_weight cosine to unlike.
        missing: Refuse or skip listed galaxies that are not among the embeddings.
        where: Search only galaxies that pass, such as "mag_r < 20 and 0.01 < z < 0.05 and
            cone(150.1, 2.2, 1.5)", or box(ra_min, ra_max, dec_min, dec_max), in degrees.
        photoz: A table that predict wrote, for z_phot in the answer and in where.
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
    match: int = 1
    cutout: Path | None = None
    encoder: Path | None = None
    row: int = 0
    like: Path | None = None
    mode: Literal["centroid", "any"] = "centroid"
    unlike: Path | None = None
    unlike_weight: float = 1.0
    missing: Literal["refuse", "skip"] = "refuse"
    where: str | None = None
    photoz: Path | None = None
    k: int = 12
    examples: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        asked = {
            "id": self.id is not None,
            "ra and dec": self.ra is not None and self.dec is not None,
            "cutout and encoder": self.cutout is not None and self.encoder is not None,
            "like": self.like is not None,
            "examples": self.examples > 0,
        }
        if sum(asked.values()) != 1:
            given = " and ".join(name for name, is_given in asked.items() if is_given)
            raise ConfigError(f"got {given or 'no query'}, expected one of: {'; '.join(asked)}")
        if self.unlike is not None and self.like is None:
            raise ConfigError("got unlike without like, expected both")


def main(settings: Settings) -> None:
    """Answer one query with a table and a montage, or several examples with a folder."""
    from ssl_photoz.catalog.tables import require_suffix
    from ssl_photoz.similarity.search import Search

    if not settings.examples:
        require_suffix(settings.out)
    search = Search.open(
        index=settings.index, embeddings=settings.embeddings, photoz=settings.photoz
    )
    if settings.examples:
        _show_examples(search, settings)
        return
    answer = _ask(search, settings)
    montage = search.save(answer, settings.out)
    print(f"{answer.describe(search.catalogue)}\n{settings.out} and {montage} written")


def _ask(search: Search, settings: Settings) -> LookAlikes:
    k, where, radius_arcsec = settings.k, settings.where, settings.radius_arcsec
    if settings.id is not None:
        return search.like_id(settings.id, k=k, where=where)
    if settings.ra is not None and settings.dec is not None:
        place, match = (settings.ra, settings.dec), settings.match
        return search.like_position(
            *place, radius_arcsec=radius_arcsec, match=match, k=k, where=where
        )
    if settings.like is not None:
        return search.like_these(
            settings.like,
            mode=settings.mode,
            unlike=settings.unlike,
            unlike_weight=settings.unlike_weight,
            radius_arcsec=radius_arcsec,
            missing=settings.missing,
            k=k,
            where=where,
        )
    if settings.cutout is None or settings.encoder is None:
        raise ConfigError("no query")
    from ssl_photoz.embeddings.single import embed_file

    search.index.check_encoder(settings.encoder)
    like = search.embeddings.card
    vector, picture = embed_file(settings.encoder, settings.cutout, settings.row, like=like)
    return search.like_vector(vector, picture=picture, k=k, where=where)


def _show_examples(search: Search, settings: Settings) -> None:
    from ssl_photoz.similarity.montage import make_gallery
    from ssl_photoz.similarity.query import spread_in_redshift

    parents = {"embeddings": search.embeddings.sha256, "index": artefact.sha256_of(settings.index)}
    if settings.photoz is not None:
        parents["photoz"] = artefact.sha256_of(settings.photoz)
    paths = ("out", "embeddings", "index", "photoz")
    if artefact.already_made(settings.out, "query", config=settings, parents=parents, ignore=paths):
        print(f"{settings.out} is already made")
        return
    rows = spread_in_redshift(search.catalogue, settings.examples, seed=settings.seed)
    answers = search.like_rows(rows, k=settings.k, where=settings.where)
    facts = make_gallery(settings.out, search.embeddings, search.catalogue, answers)
    artefact.write_card(settings.out, "query", config=settings, parents=parents, **facts)
    print(f"look-alikes of {len(rows)} galaxies in {settings.out}/lookalikes.png")
