"""Program that finds look-alikes: of one galaxy, of a list, of these but not those.

The same answers come from Python, through `ssl_photoz.similarity.search.Search`.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ssl_photoz.core import artefact
from ssl_photoz.core.errors import ConfigError
from ssl_photoz.core.types import PathLike
from ssl_photoz.similarity.settings import FeedbackConfig, MatchConfig, TargetConfig

if TYPE_CHECKING:
    from ssl_photoz.embeddings.store import Embeddings
    from ssl_photoz.similarity.index import Index
    from ssl_photoz.similarity.query import LookAlikes
    from ssl_photoz.similarity.search import Search


def query(
    index: PathLike | Index,
    embeddings: PathLike | Embeddings,
    out: PathLike,
    *,
    target: TargetConfig = TargetConfig(),
    matching: MatchConfig = MatchConfig(),
    feedback: FeedbackConfig = FeedbackConfig(),
    where: str | None = None,
    photoz: PathLike | None = None,
    k: int = 12,
    seed: int = 0,
) -> LookAlikes | Path:
    """Find look-alikes of a galaxy, of a list, or of several examples.

        ssl-photoz query index=I embeddings=E id=39627790123456789 out=lookalikes.csv
        ssl-photoz query index=I embeddings=E ra=150.1 dec=2.2 radius_arcsec=5 out=lookalikes.fits
        ssl-photoz query index=I embeddings=E cutout=mine.fits encoder=runs/demo/encoder out=a.csv
        ssl-photoz query index=I embeddings=E like=these.csv unlike=those.csv out=a.csv
        ssl-photoz query index=I embeddings=E examples=8 out=runs/demo/query

    Args:
        index: Index folder.
        embeddings: Embeddings folder that it was built from.
        out: Table to write (.parquet, .csv, .fits or .vot), its montage beside it (.png); with
            examples, a folder.
        target: What look-alikes are wanted of.
        matching: How positions and lists are matched to galaxies.
        feedback: How likes and dislikes are combined.
        where: Filter, only galaxies that pass are searched, such as "mag_r < 20 and
            0.01 < z < 0.05 and cone(150.1, 2.2, 1.5)", or box(ra_min, ra_max, dec_min, dec_max),
            in degrees.
        photoz: Table that predict wrote, for z_phot in the answer and in where.
        k: Look-alikes wanted.
        seed: Seed of the choice of examples.

    Returns:
        The look-alikes; with examples, the folder.

    Raises:
        ConfigError: If there is no query, or more than one, or a value cannot be meant.
        DataError: If there is no such galaxy, or a list cannot be used.
        MismatchError: If index and embeddings, or encoder, do not belong together.
    """
    from ssl_photoz.catalog.tables import require_suffix
    from ssl_photoz.similarity.search import Search

    target.require_one()
    out = Path(out)
    if not target.examples:
        require_suffix(out)
    search = Search.open(index=index, embeddings=embeddings, photoz=photoz)
    if target.examples:
        asked = {"k": k, "where": where, "seed": seed}
        config = {**asked, **asdict(target), **asdict(matching), **asdict(feedback)}
        return _show_examples(search, out, target.examples, config, photoz)
    answer = _ask(search, target, matching, feedback, k=k, where=where)
    montage = search.save(answer, out)
    print(f"{answer.describe()}\n{out} and {montage} written")
    return answer


def _ask(
    search: Search,
    target: TargetConfig,
    matching: MatchConfig,
    feedback: FeedbackConfig,
    *,
    k: int,
    where: str | None,
) -> LookAlikes:
    if target.id is not None:
        return search.like_id(target.id, k=k, where=where)
    if target.ra is not None and target.dec is not None:
        return search.like_position(target.ra, target.dec, matching=matching, k=k, where=where)
    if target.like is not None:
        return search.like_these(
            target.like,
            unlike=target.unlike,
            feedback=feedback,
            matching=matching,
            k=k,
            where=where,
        )
    if target.cutout is None or target.encoder is None:
        raise ConfigError("no query")
    from ssl_photoz.embeddings.single import embed_file

    search.index.check_encoder(target.encoder)
    like = search.embeddings.card
    vector, picture = embed_file(target.encoder, target.cutout, target.row, like=like)
    return search.like_vector(vector, picture=picture, k=k, where=where)


def _show_examples(
    search: Search, out: Path, examples: int, config: dict[str, Any], photoz: PathLike | None
) -> Path:
    from ssl_photoz.similarity.montage import make_gallery
    from ssl_photoz.similarity.query import spread_in_redshift

    parents = {"embeddings": search.embeddings.sha256, "index": search.index.sha256}
    if photoz is not None:
        parents["photoz"] = artefact.sha256_of(Path(photoz))
    paths = ("out", "embeddings", "index", "photoz")  # on the cards of version 0.1
    if artefact.already_made(out, "query", config=config, parents=parents, ignore=paths):
        print(f"{out} is already made")
        return out
    rows = spread_in_redshift(search.catalogue, examples, seed=config["seed"])
    answers = search.like_rows(rows, k=config["k"], where=config["where"])
    facts = make_gallery(out, search.embeddings, answers)
    artefact.write_card(out, "query", config=config, parents=parents, **facts)
    print(f"look-alikes of {len(rows)} galaxies in {out}/lookalikes.png")
    return out
