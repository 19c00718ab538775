"""Answers on disk: a table and a montage for one query or for several."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ssl_photoz.catalog.tables import require_suffix, write_table
from ssl_photoz.core.errors import ConfigError
from ssl_photoz.embeddings.store import Embeddings
from ssl_photoz.similarity.catalogue import Catalogue
from ssl_photoz.similarity.montage import (
    Panel,
    draw_montage,
    look_alike_row,
    pictures_of,
    title_of,
    wrap,
)
from ssl_photoz.similarity.query import LookAlikes

COLUMNS = 7
LIKES, UNLIKES = 5, 2  # examples shown


def save_answer(
    out: Path, embeddings: Embeddings, catalogue: Catalogue, answer: LookAlikes
) -> Path:
    """Write one answer: the table at ``out`` and the montage beside it.

    Args:
        out: Ends in .parquet, .csv, .fits or .vot.
        embeddings: For the pictures.
        catalogue: Who the rows are.
        answer: From `ssl_photoz.similarity.search.Search`.

    Returns:
        Path of the montage.

    Raises:
        ConfigError: If out has another suffix.
    """
    require_suffix(out)
    simulated = bool(embeddings.card["simulated"])
    picture = out.with_suffix(".png")
    panels = wrap(answer_panels(embeddings, catalogue, answer), columns=COLUMNS)
    title = title_of(f"Look-alikes of {_name(catalogue, answer)}", simulated=simulated)
    draw_montage(picture, panels, title=title)
    write_table(out, answer.table(catalogue), simulated=simulated)
    return picture


def answer_panels(embeddings: Embeddings, catalogue: Catalogue, answer: LookAlikes) -> list[Panel]:
    """Return the panels of an answer: the query, or some of the examples, framed, come first."""
    panels = look_alike_row(embeddings, catalogue, answer)
    if not len(answer.likes):
        return panels
    shown = [("like this", row) for row in answer.likes[:LIKES].tolist()]
    shown += [("not like this", row) for row in answer.unlikes[:UNLIKES].tolist()]
    pictures = pictures_of(embeddings, [row for _, row in shown])
    framed = [
        Panel(picture, f"{word}\n{catalogue.id[row]}", framed=True)
        for picture, (word, row) in zip(pictures, shown, strict=True)
    ]
    return [*framed, *panels[1:]]


def _name(catalogue: Catalogue, answer: LookAlikes) -> str:
    if answer.query is not None:
        return f"{catalogue.id[answer.query]}"
    if not len(answer.likes):
        return "a cutout file"
    unlike = f", unlike {len(answer.unlikes)}" if len(answer.unlikes) else ""
    return f"a list of {len(answer.likes)}{unlike}"


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
