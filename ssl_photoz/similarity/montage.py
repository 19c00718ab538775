"""Answers on disk: rows of galaxy pictures with captions, and tables."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ssl_photoz.catalog.tables import require_writable, write_table
from ssl_photoz.core.artefact import atomic_path
from ssl_photoz.core.errors import ConfigError
from ssl_photoz.core.types import Array, Ints
from ssl_photoz.embeddings.store import Embeddings
from ssl_photoz.similarity.catalogue import Catalogue
from ssl_photoz.similarity.query import LookAlikes

PANEL_INCHES = 1.25
FRAME = "#d9480f"
COLUMNS = 7
LIKES, UNLIKES = 5, 2  # examples shown


class Panel(NamedTuple):
    """One picture.

    Attributes:
        picture: Shape (S, S, 3), uint8; None draws an empty panel.
        caption: Text below it.
        framed: Whether it is the query.
    """

    picture: Array | None
    caption: str
    framed: bool = False


def draw_montage(path: Path, panels: Sequence[Sequence[Panel]], *, title: str) -> None:
    """Draw rows of panels and write them as a picture, .png."""
    from matplotlib.figure import Figure

    n_rows, n_columns = len(panels), max(map(len, panels))
    height = n_rows * (PANEL_INCHES + 0.34) + 0.4
    width = max(n_columns * (PANEL_INCHES + 0.08), 0.085 * len(title))
    figure = Figure(figsize=(width, height), dpi=130)
    grid = figure.add_gridspec(
        n_rows, n_columns, left=0.01, right=0.99, bottom=0.3 / height, top=1 - 0.4 / height,
        hspace=0.3, wspace=0.06,
    )  # fmt: skip
    for i, row in enumerate(panels):
        for j, panel in enumerate(row):
            axes = figure.add_subplot(grid[i, j], xticks=[], yticks=[])
            blank = np.full((2, 2, 3), 225, np.uint8)
            axes.imshow(blank if panel.picture is None else panel.picture, interpolation="bicubic")
            axes.set_xlabel(panel.caption, fontsize=6.5, labelpad=4, linespacing=1.15)
            axes.spines[:].set(
                visible=panel.framed, color=FRAME, linewidth=2.5 if panel.framed else 0
            )
    figure.suptitle(title, fontsize=9, y=1 - 0.08 / height, va="top")
    with atomic_path(path) as scratch:
        figure.savefig(scratch, metadata={"Software": None})


def look_alike_row(embeddings: Embeddings, answer: LookAlikes) -> list[Panel]:
    """Panels of one query: itself first, framed, then its look-alikes."""
    catalogue = answer.catalogue
    rows = answer.rows.tolist() if answer.query is None else [answer.query, *answer.rows.tolist()]
    pictures = iter(pictures_of(embeddings, rows))
    if answer.query is None:
        panels = [Panel(answer.picture, "query: cutout file\n", framed=True)]
    else:
        z = _redshift(catalogue, answer.query)
        panels = [Panel(next(pictures), f"query\n{z}", framed=True)]
    for row, distance in zip(answer.rows.tolist(), answer.distances, strict=True):
        panels.append(Panel(next(pictures), f"{_redshift(catalogue, row)}\nd = {distance:.3f}"))
    return panels


def pictures_of(embeddings: Embeddings, rows: Sequence[int] | Ints) -> Sequence[Array | None]:
    """Thumbnails of some rows, or as many None if the store has none."""
    return embeddings.thumbnails(rows) if embeddings.has_thumbnails else [None] * len(rows)


def wrap(panels: Sequence[Panel], *, columns: int) -> list[list[Panel]]:
    """Break one long row into rows of ``columns`` panels."""
    return [list(panels[start : start + columns]) for start in range(0, len(panels), columns)]


def title_of(text: str, *, simulated: bool) -> str:
    """Title that says so if the galaxies are simulated."""
    return f"SIMULATED · {text}" if simulated else text


def _redshift(catalogue: Catalogue, row: int) -> str:
    """Measured redshift; without one, the predicted one with a name of its own."""
    if np.isfinite(z := catalogue.z[row]):
        return f"z = {z:.3f}"
    if "z_phot" in catalogue.photoz and np.isfinite(z := catalogue.photoz["z_phot"][row]):
        return f"z_phot = {z:.3f}"
    return "no redshift"


def save_answer(out: Path, embeddings: Embeddings, answer: LookAlikes) -> Path:
    """Write one answer: the table at ``out`` and the montage beside it.

    Args:
        out: Ends in .parquet, .csv, .fits or .vot.
        embeddings: Store that holds the pictures.
        answer: An answer of `ssl_photoz.similarity.search.Search`.

    Returns:
        Path of the montage.

    Raises:
        ConfigError: If out has another suffix.
        DataError: If its format cannot hold the ids.
    """
    table = answer.table()
    require_writable(out, table)
    simulated = embeddings.card.simulated
    picture = out.with_suffix(".png")
    panels = wrap(answer_panels(embeddings, answer), columns=COLUMNS)
    title = title_of(f"Look-alikes of {_name(answer)}", simulated=simulated)
    draw_montage(picture, panels, title=title)
    write_table(out, table, simulated=simulated)
    return picture


def answer_panels(embeddings: Embeddings, answer: LookAlikes) -> list[Panel]:
    """Panels of an answer: the query, or some of the examples, framed, come first."""
    panels = look_alike_row(embeddings, answer)
    if not len(answer.likes):
        return panels
    shown = [("like this", row) for row in answer.likes[:LIKES].tolist()]
    shown += [("not like this", row) for row in answer.unlikes[:UNLIKES].tolist()]
    pictures = pictures_of(embeddings, [row for _, row in shown])
    framed = [
        Panel(picture, f"{word}\n{answer.catalogue.id[row]}", framed=True)
        for picture, (word, row) in zip(pictures, shown, strict=True)
    ]
    return [*framed, *panels[1:]]


def _name(answer: LookAlikes) -> str:
    if answer.query is not None:
        return f"{answer.catalogue.id[answer.query]}"
    if not len(answer.likes):
        return "a cutout file"
    unlike = f", unlike {len(answer.unlikes)}" if len(answer.unlikes) else ""
    return f"a list of {len(answer.likes)}{unlike}"


def make_gallery(
    folder: Path, embeddings: Embeddings, answers: Sequence[LookAlikes]
) -> dict[str, Any]:
    """Write ``lookalikes.png``, one query a row, and ``lookalikes.parquet``.

    Returns:
        Facts for the card: ``simulated``, ``queries``, ``repeats_passed_over``.

    Raises:
        ConfigError: If the folder's name is that of a table.
    """
    if folder.suffix:
        raise ConfigError(f"out is {folder}, expected a folder: examples= writes several files")
    simulated = embeddings.card.simulated
    panels = [look_alike_row(embeddings, answer) for answer in answers]
    title = title_of(
        "Look-alikes: the framed galaxy, then its neighbours, nearest first", simulated=simulated
    )
    draw_montage(folder / "lookalikes.png", panels, title=title)
    queries = [answer.catalogue.id[answer.query] for answer in answers if answer.query is not None]
    tables = [
        {"query_id": np.full(len(answer.rows), query)} | answer.table()
        for answer, query in zip(answers, queries, strict=True)
    ]
    joined = {name: np.concatenate([table[name] for table in tables]) for name in tables[0]}
    write_table(folder / "lookalikes.parquet", joined, simulated=simulated)
    return {
        "simulated": simulated,
        "queries": [str(query) for query in queries],
        "repeats_passed_over": [answer.repeats for answer in answers],
    }
