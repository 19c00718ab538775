"""Answers on disk: a table and a montage for one query or for several."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ssl_photoz.embeddings.store import Embeddings
from ssl_photoz.embeddings.tables import require_suffix, write_table
from ssl_photoz.errors import ConfigError
from ssl_photoz.similarity.catalogue import Catalogue
from ssl_photoz.similarity.dwarfs import Votes, candidate_table
from ssl_photoz.similarity.index import Index
from ssl_photoz.similarity.montage import (
    Panel,
    draw_montage,
    look_alike_row,
    pictures_of,
    title_of,
    wrap,
)
from ssl_photoz.similarity.query import LookAlikes, look_alikes
from ssl_photoz.similarity.reduction import take_vectors
from ssl_photoz.types import Ints

COLUMNS = 7
CANDIDATES = 28


def save_answer(
    out: Path, embeddings: Embeddings, catalogue: Catalogue, answer: LookAlikes
) -> Path:
    """Write one answer: the table at ``out`` and the montage beside it.

    Args:
        out: Ends in .parquet, .csv or .fits.
        embeddings: For the pictures.
        catalogue: Who the rows are.
        answer: From `look_alikes`.

    Returns:
        Path of the montage.

    Raises:
        ConfigError: If out has another suffix.
    """
    require_suffix(out)
    simulated = bool(embeddings.card["simulated"])
    picture = out.with_suffix(".png")
    panels = wrap(look_alike_row(embeddings, catalogue, answer), columns=COLUMNS)
    query = "a cutout file" if answer.query is None else f"{catalogue.id[answer.query]}"
    title = title_of(f"Look-alikes of {query}", simulated=simulated)
    draw_montage(picture, panels, title=title)
    table = answer.table(catalogue)
    write_table(out, table, simulated=simulated)
    return picture


def answer_rows(
    index: Index,
    embeddings: Embeddings,
    catalogue: Catalogue,
    rows: Sequence[int] | Ints,
    *,
    k: int,
) -> list[LookAlikes]:
    """Return the look-alikes of several rows of the store, in the order of the rows."""
    known = np.unique(rows)
    vectors = dict(zip(known.tolist(), take_vectors(embeddings, known), strict=True))
    return [look_alikes(index, catalogue, vectors[row], k=k, row=int(row)) for row in rows]


def make_gallery(
    folder: Path, embeddings: Embeddings, catalogue: Catalogue, answers: Sequence[LookAlikes]
) -> dict[str, Any]:
    """Write ``lookalikes.png``, one query a row, and ``lookalikes.parquet``.

    Returns:
        Facts for the card: ``simulated``, ``queries``, ``repeats_passed_over``.

    Raises:
        ConfigError: If the folder's name is that of a table.
    """
    if folder.suffix:
        raise ConfigError(f"out is {folder}, expected a folder: examples= writes several files")
    simulated = bool(embeddings.card["simulated"])
    panels = [look_alike_row(embeddings, catalogue, answer) for answer in answers]
    title = title_of(
        "Look-alikes: the framed galaxy, then its neighbours, nearest first", simulated=simulated
    )
    draw_montage(folder / "lookalikes.png", panels, title=title)
    queries = [catalogue.id[answer.query] for answer in answers if answer.query is not None]
    tables = [
        {"query_id": np.full(len(answer.rows), query)} | answer.table(catalogue)
        for answer, query in zip(answers, queries, strict=True)
    ]
    joined = {name: np.concatenate([table[name] for table in tables]) for name in tables[0]}
    write_table(folder / "lookalikes.parquet", joined, simulated=simulated)
    return {
        "simulated": simulated,
        "queries": [str(query) for query in queries],
        "repeats_passed_over": [answer.repeats for answer in answers],
    }


def save_candidates(
    folder: Path,
    embeddings: Embeddings,
    catalogue: Catalogue,
    rows: Ints,
    votes: Votes,
    *,
    top: int,
    among: str,
) -> None:
    """Write ``candidates.parquet``, its first rows as ``candidates.csv``, ``candidates.png``.

    Args:
        folder: Where to.
        embeddings: For the pictures.
        catalogue: Who the rows are.
        rows: Catalogue rows of the candidates.
        votes: For those rows.
        top: Rows of the CSV.
        among: What the candidates are, for the title.
    """
    simulated = bool(embeddings.card["simulated"])
    table = candidate_table(catalogue, rows, votes)
    write_table(folder / "candidates.parquet", table, simulated=simulated)
    best = {name: values[:top] for name, values in table.items()}
    write_table(folder / "candidates.csv", best, simulated=simulated)
    best = {name: values[:CANDIDATES] for name, values in table.items()}
    panels = [
        Panel(picture, f"{name}\nscore {score:.2f}")
        for picture, name, score in zip(
            pictures_of(embeddings, best["row"]), best["id"], best["score"], strict=True
        )
    ]
    title = title_of(f"Nearby candidates, best first, of {among}", simulated=simulated)
    draw_montage(folder / "candidates.png", wrap(panels, columns=COLUMNS), title=title)
