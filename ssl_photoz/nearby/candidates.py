"""The ranked list, each object once with evidence, and which galaxies to look at next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ssl_photoz.catalog.identity import same_galaxy
from ssl_photoz.catalog.sky import chord_of, sphere_points
from ssl_photoz.catalog.tables import read_table, write_table
from ssl_photoz.core import artefact
from ssl_photoz.core.artefact import Fact, Finished
from ssl_photoz.core.errors import ConfigError, DataError, MismatchError
from ssl_photoz.core.types import Array, Bools, Doubles, Floats, Ints
from ssl_photoz.embeddings.store import Embeddings
from ssl_photoz.nearby.search import DwarfSearch, Scores
from ssl_photoz.nearby.settings import SKY
from ssl_photoz.nearby.truth import words_of
from ssl_photoz.nearby.verdicts import Verdict
from ssl_photoz.similarity.catalogue import SAME_OBJECT_ARCSEC, Catalogue
from ssl_photoz.similarity.index import Index, exact_neighbours
from ssl_photoz.similarity.montage import Panel, draw_montage, pictures_of, title_of, wrap

VIEWER = "https://www.legacysurvey.org/viewer?ra={:.6f}&dec={:.6f}&layer=ls-dr9&zoom=16"
EVIDENCE = 3
COLUMNS = 7
PICTURED = 28
POOL = 20


class DwarfsCard(artefact.Card):
    """What the card of a list of candidates says.

    Attributes:
        candidates: Galaxies ranked.
        ranked: What they are: unlabelled galaxies, or those of the test split.
        metrics: How good the list is, see `ssl_photoz.nearby.scores.measure_search`.
    """

    candidates = Fact(int)
    ranked = Fact(str)
    metrics = Fact(dict[str, Any])

    @property
    def embeddings(self) -> str:
        """Checksum of the embeddings that were searched."""
        return self.parents["embeddings"]


class DwarfCandidates(Finished[DwarfsCard]):
    """A finished list of candidates."""

    KIND, CARD = "dwarfs", DwarfsCard

    def table(self) -> dict[str, Array]:
        """Columns of the list, best first: see `candidate_table`."""
        return read_table(self.folder / "candidates.parquet")

    def probabilities(self) -> dict[str, Array]:
        """Scores and probabilities of every galaxy that was ranked, in the order of the store."""
        return read_table(self.folder / "probabilities.parquet")


def first_of_each(catalogue: Catalogue, ordered: Ints, *, known: Ints) -> Ints:
    """Rows of a ranked list without repeats, best first.

    Rows of one galaxy (`same_galaxy`), or within 2 arcsec, are one object, as are rows joined by
    such a row.
    An object that is also among ``known`` galaxies is left out altogether.

    Args:
        catalogue: Catalogue of the rows.
        ordered: Catalogue rows, best first, shape (n,).
        known: Catalogue rows of galaxies that are no candidates, shape (m,).
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    rows = np.concatenate([known, ordered])
    some = catalogue.take(rows)
    pairs = np.concatenate([_chained(same_galaxy(*some.identity)), _close(some)])
    links = coo_array((np.ones(len(pairs), bool), pairs.T), shape=(len(rows), len(rows)))
    _, group = connected_components(links, directed=False)
    _, first = np.unique(group, return_index=True)
    kept = np.sort(first[first >= len(known)])
    return np.asarray(rows[kept], np.int64)


def nearest_confirmed(index: Index, rows: Ints, confirmed: Ints) -> tuple[Ints, Floats]:
    """Find the confirmed dwarfs that look most like each candidate.

    Args:
        index: Index of the catalogue.
        rows: Catalogue rows of the candidates, shape (n,).
        confirmed: Catalogue rows of the confirmed dwarfs, shape (m,), at least one.

    Returns:
        Rows of up to three of them, nearest first, shape (n, 3 or m), and their distances,
        1 - cosine, of the same shape.
    """
    count = min(EVIDENCE, len(confirmed))
    distances, found = exact_neighbours(index.vectors(rows), index.vectors(confirmed), count)
    return confirmed[found], distances


def sky_columns(ra: Doubles, dec: Doubles) -> dict[str, Array]:
    """Positions as people copy them, and a link to the Legacy Surveys' sky viewer.

    Args:
        ra: Right ascension, degrees, shape (n,).
        dec: Declination, degrees, shape (n,).

    Returns:
        ``ra_hms`` as 12:34:56.78, ``dec_dms`` as +01:23:45.6, ``viewer``: an address of the
        viewer [1], Data Release 9, centred there; empty text where a position is not finite.

    References:
        [1] https://www.legacysurvey.org/viewer (parameters ra, dec, layer, zoom).
    """
    from astropy.coordinates import Angle

    on_sky = np.isfinite(ra) & np.isfinite(dec)
    hours = Angle(np.where(on_sky, ra, 0), "deg").to_string("hour", sep=":", precision=2, pad=True)
    degrees = Angle(np.where(on_sky, dec, 0), "deg").to_string(
        "deg", sep=":", precision=1, pad=True, alwayssign=True
    )
    links = [VIEWER.format(*place) for place in zip(ra, dec, strict=True)]
    columns = {"ra_hms": hours, "dec_dms": degrees, "viewer": links}
    return {name: np.where(on_sky, np.array(text, str), "") for name, text in columns.items()}


def candidate_table(
    catalogue: Catalogue,
    rows: Ints,
    figures: Mapping[str, Array],
    evidence: tuple[Ints, Floats],
    words: Array,
) -> dict[str, Array]:
    """Columns of a list, best first; each of shape (n,).

    Args:
        catalogue: Catalogue of the rows.
        rows: Catalogue rows of the candidates, best first, shape (n,).
        figures: ``score`` and probabilities of those rows.
        evidence: Result of `nearest_confirmed` for those rows.
        words: Verdicts on those rows, empty text where there are none.

    Returns:
        ``rank, id, ra, dec``, those of `sky_columns`, ``z``, the figures,
        ``nearest_dwarf_ids`` (up to three in one text), ``nearest_dwarf_z``,
        ``nearest_dwarf_distance``, ``verdict``, and ``row`` in the embeddings.
    """
    best = catalogue.take(rows)
    near, distances = evidence
    named = [" ".join(map(str, some)) for some in catalogue.id[near].tolist()]
    return {
        "rank": np.arange(1, len(rows) + 1),
        "id": best.id,
        "ra": best.ra,
        "dec": best.dec,
        **sky_columns(best.ra, best.dec),
        "z": best.z,
        **figures,
        "nearest_dwarf_ids": np.array(named, dtype=str),
        "nearest_dwarf_z": catalogue.z[near[:, 0]],
        "nearest_dwarf_distance": distances[:, 0],
        "verdict": words,
        "row": rows,
    }


def write_list(
    folder: Path,
    embeddings: Embeddings,
    catalogue: Catalogue,
    index: Index,
    search: DwarfSearch,
    scores: Scores,
    *,
    rows: Ints,
    confirmed: Ints,
    words: Array,
    among: str,
    top: int = 1000,
    base_rate: float = SKY,
) -> int:
    """Rank galaxies; write ``probabilities.parquet`` and ``candidates.parquet, .csv, .png``.

    The first holds every galaxy; the others are the list: each object once, without junk, and
    without what is the same object as a galaxy of known redshift.

    Args:
        folder: Folder to write to.
        embeddings: The store.
        catalogue: Catalogue of the embeddings.
        index: Index of the embeddings.
        search: Fitted methods, which rank.
        scores: Scores of the rows.
        rows: Catalogue rows to rank, increasing, shape (n,).
        confirmed: Catalogue rows of confirmed dwarfs, for evidence.
        words: Verdicts on every catalogue row, empty text where there are none, shape (N,).
        among: Description of the rows, for the title.
        top: Length of the list, at most.
        base_rate: Fraction of wanted galaxies on the sky.

    Returns:
        Length of the list.
    """
    simulated = embeddings.card.simulated
    figures = {"score": scores[search.ranked_by][:, 0]}
    figures |= search.probabilities(scores, base_rate=base_rate)
    small = {name: values.astype(np.float32) for name, values in figures.items()}
    some = catalogue.take(rows)
    place = {"row": rows, "id": some.id, "ra": some.ra, "dec": some.dec, "split": some.split}
    write_table(folder / "probabilities.parquet", {**place, **small}, simulated=simulated)
    ordered = rows[search.order(scores)]
    labelled = np.setdiff1d(np.flatnonzero(np.isfinite(catalogue.z)), rows)
    listed = first_of_each(catalogue, ordered[words[ordered] != "junk"], known=labelled)[:top]
    at = np.searchsorted(rows, listed)
    evidence = nearest_confirmed(index, listed, confirmed)
    best = {name: values[at] for name, values in small.items()}
    table = candidate_table(catalogue, listed, best, evidence, words[listed])
    for suffix in ("parquet", "csv"):
        write_table(folder / f"candidates.{suffix}", table, simulated=simulated)
    _draw(folder / "candidates.png", embeddings, table, among=among)
    return len(listed)


def _draw(path: Path, embeddings: Embeddings, table: Mapping[str, Array], *, among: str) -> None:
    probability = next(name for name in table if name.startswith("p_"))
    known = bool(np.isfinite(table[probability]).all())
    values, word = (table[probability], "P") if known else (table["score"], "score")
    panels = [
        Panel(picture, f"{name}\n{word} {value:.2f}")
        for picture, name, value in zip(
            pictures_of(embeddings, table["row"][:PICTURED]), table["id"], values, strict=False
        )
    ]
    title = title_of(
        f"Nearby candidates, best first, of {among}", simulated=embeddings.card.simulated
    )
    draw_montage(path, wrap(panels, columns=COLUMNS), title=title)


def _chained(galaxy: Ints) -> Ints:
    """Pairs of places that chain each galaxy's rows, shape (p, 2)."""
    order = np.argsort(galaxy, kind="stable")
    same: Bools = galaxy[order][1:] == galaxy[order][:-1]
    return np.stack([order[:-1][same], order[1:][same]], axis=1)


def _close(catalogue: Catalogue) -> Ints:
    """Pairs of places within 2 arcsec on the sky, shape (p, 2)."""
    from scipy.spatial import cKDTree

    on_sky = np.flatnonzero(np.isfinite(catalogue.ra) & np.isfinite(catalogue.dec))
    tree = cKDTree(sphere_points(catalogue.ra[on_sky], catalogue.dec[on_sky]))
    pairs = tree.query_pairs(chord_of(SAME_OBJECT_ARCSEC), output_type="ndarray")
    return np.asarray(on_sky[pairs], np.int64)


def propose_table(
    candidates: DwarfCandidates,
    index: Index,
    embeddings: Embeddings,
    out: Path,
    *,
    n: int,
    verdicts: Sequence[Verdict],
) -> Path:
    """Choose which galaxies of a list to look at next, and write the table to fill in.

    Args:
        candidates: The list.
        index: Index of the same embeddings.
        embeddings: The store.
        out: File to write, .csv.
        n: Galaxies to look at, at most.
        verdicts: Those there are; these galaxies are not proposed again.

    Returns:
        Path of the table.

    Raises:
        MismatchError: If the list was made from other embeddings.
        DataError: If none is left to look at.
        ConfigError: If out does not end in .csv.
    """
    folder, card = candidates.folder, candidates.card
    if card.embeddings != embeddings.sha256:
        raise MismatchError(
            f"{folder} was made from embeddings {card.embeddings[:12]}, but "
            f"{embeddings.folder} is {embeddings.sha256[:12]}; run dwarfs on these embeddings"
        )
    catalogue, table = Catalogue.read(embeddings), candidates.probabilities()
    words = words_of(catalogue, verdicts).words
    rows = np.asarray(table["row"], np.int64)
    asked = np.isnan(catalogue.z[rows]) & (catalogue.split[rows] == "train") & (words[rows] == "")
    if not asked.any():
        raise DataError(
            f"none of the {len(rows)} galaxies of {folder} can be looked at: expected some of the "
            f"train split that have neither a redshift nor a verdict"
        )
    score = np.asarray(table["score"], np.float64)
    looks = propose_looks(index, rows[asked], score[asked], n=n)
    places = np.searchsorted(rows, looks)
    figures = {name: values[places] for name, values in table.items() if name.startswith("p_")}
    write_looks(out, catalogue, looks, figures, simulated=card.simulated)
    print(
        f"{len(looks)} of {int(asked.sum())} galaxies proposed in {out}; fill in the column "
        f"verdict, then run dwarfs with verdicts={out}"
    )
    return out


def propose_looks(index: Index, rows: Ints, score: Doubles, *, n: int) -> Ints:
    """Propose galaxies that are likely dwarfs, and least like each other.

    The 20 n likeliest make a pool; from it n are taken one by one, first the likeliest, then
    always the one least like any taken before, so that no two labels teach the same
    (farthest-first traversal [1]). Asking about those the search is least sure of taught less:
    ``benchmarks/dwarfs``.

    Args:
        index: Index whose unit vectors say what is alike.
        rows: Catalogue rows to choose from, shape (m,).
        score: Their scores by the ranking method, shape (m,); NaN is never proposed.
        n: Galaxies wanted; fewer come back only if there are no more.

    Returns:
        Catalogue rows in the order they were taken.

    Raises:
        ConfigError: If n is less than 1.

    References:
        [1] Gonzalez 1985, Theoretical Computer Science 38, 293.
    """
    if n < 1:
        raise ConfigError(f"n is {n}, expected at least 1 galaxy to look at")
    likely = np.argsort(-score, kind="stable")
    pool = likely[np.isfinite(score[likely])][: POOL * n]
    places = farthest_first(index.vectors(rows[pool]), n)
    return np.asarray(rows[pool[places]], np.int64)


def farthest_first(units: Floats, n: int) -> Ints:
    """Places of up to n vectors: the first, then always the one farthest from those taken.

    Args:
        units: Unit vectors, shape (m, P).
        n: Number of vectors; farthest means the lowest highest cosine.
    """
    likeness = np.full(len(units), -np.inf, np.float32)
    taken: list[int] = []
    for _ in range(min(n, len(units))):
        place = int(np.argmin(likeness)) if taken else 0
        taken.append(place)
        likeness = np.maximum(likeness, units @ units[place])
        likeness[taken] = np.inf
    return np.array(taken, np.int64)


def write_looks(
    out: Path, catalogue: Catalogue, rows: Ints, columns: dict[str, Doubles], *, simulated: bool
) -> None:
    """Write a CSV to fill in: a verdict per line, read back by `verdicts.read_verdicts`.

    Args:
        out: File to write, .csv.
        catalogue: Catalogue of the rows.
        rows: Catalogue rows, in the order to look at them, shape (n,).
        columns: More of those rows, such as ``p_dwarf``, each (n,).
        simulated: Value of the column ``simulated``.

    Raises:
        ConfigError: If out does not end in .csv.
    """
    if out.suffix != ".csv":
        raise ConfigError(f"out is {out}, expected a .csv: it is filled in and read back")
    some = catalogue.take(rows)
    blank = np.full(len(rows), "", dtype=str)
    sky = sky_columns(some.ra, some.dec)
    place = {"id": some.id, "ra": some.ra, "dec": some.dec}
    table = {**place, "verdict": blank, "when": blank, **columns, **sky}
    write_table(out, table, simulated=simulated)
