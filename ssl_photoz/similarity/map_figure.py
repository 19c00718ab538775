"""Figures of a map: coloured by what is known of galaxies, and drawn with their pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ssl_photoz.core.artefact import atomic_path
from ssl_photoz.core.types import Array, Floats, Ints
from ssl_photoz.embeddings.store import Embeddings

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ATLAS_CELLS = 24
PANEL_INCHES, ATLAS_INCHES = 4.6, 9.2
PANELS_ABREAST = 2


class Colour(NamedTuple):
    """What a panel is coloured by.

    Attributes:
        label: Beside the colour bar.
        values: Shape (N,); galaxies without one (NaN) are grey.
        signed: Whether zero is the middle.
    """

    label: str
    values: Array
    signed: bool = False


def draw_map(path: Path, places: Floats, colours: Sequence[Colour], *, title: str) -> None:
    """Draw the map once for each colour that any galaxy has.

    Args:
        path: Ends in .png.
        places: Coordinates, shape (N, 2).
        colours: What to colour by; grey points alone if there is nothing.
        title: Above all.
    """
    from matplotlib.figure import Figure

    shown = [one for one in colours if np.isfinite(one.values).any()]
    shown = shown or [Colour("nothing known", np.full(len(places), np.nan))]
    across = min(PANELS_ABREAST, len(shown))
    down = -(-len(shown) // across)
    height = PANEL_INCHES * float(np.clip(_shape(places), 0.4, 1.6)) + 0.3
    size = ((PANEL_INCHES + 0.9) * across, height * down + 0.3)
    figure = Figure(figsize=size, dpi=130, layout="constrained")
    panels = figure.subplots(down, across, squeeze=False).ravel()
    for axes, colour in zip(panels, shown, strict=False):
        _draw_panel(axes, places, colour)
    for axes in panels[len(shown) :]:
        axes.remove()
    figure.suptitle(title, fontsize=10)
    with atomic_path(path) as scratch:
        figure.savefig(scratch, metadata={"Software": None})


def draw_atlas(path: Path, places: Floats, embeddings: Embeddings, *, title: str) -> None:
    """Draw the map with the picture of one galaxy in each of its cells.

    Args:
        path: Ends in .png.
        places: Coordinates, shape (N, 2).
        embeddings: For the pictures.
        title: Above.
    """
    from matplotlib.figure import Figure

    height = ATLAS_INCHES * float(np.clip(_shape(places), 0.4, 1.6)) + 0.5
    figure = Figure(figsize=(ATLAS_INCHES, height), dpi=130, layout="constrained")
    axes = figure.subplots()
    rows, cell, (x, y, width) = one_per_cell(places, cells=ATLAS_CELLS)
    for picture, (i, j) in zip(embeddings.thumbnails(rows), cell, strict=True):
        left, bottom = x + i * width, y + j * width
        extent = (left, left + width, bottom, bottom + width)
        axes.imshow(picture, extent=extent, interpolation="bicubic")
    _frame(axes, places)
    figure.suptitle(title, fontsize=10)
    with atomic_path(path) as scratch:
        figure.savefig(scratch, metadata={"Software": None})


def one_per_cell(places: Floats, *, cells: int) -> tuple[Ints, Ints, Array]:
    """Choose the galaxy nearest to the centre of each occupied cell of a square grid.

    Args:
        places: Coordinates, shape (N, 2).
        cells: Cells along the longer side.

    Returns:
        Rows (m,), cell numbers (m, 2), and low corner and width of the grid (x, y, width).
    """
    low, high = places.min(axis=0), places.max(axis=0)
    width = max(float((high - low).max()), 1e-9) / cells
    cell = np.minimum((places - low) // width, cells - 1).astype(np.int64)
    away = np.linalg.norm(places - (low + (cell + 0.5) * width), axis=1)
    order = np.lexsort((away, cell[:, 1], cell[:, 0]))
    new = np.any(np.diff(cell[order], axis=0, prepend=-1) != 0, axis=1)
    rows = order[new]
    return rows, cell[rows], np.array([*low, width])


def _draw_panel(axes: Axes, places: Floats, colour: Colour) -> None:
    values, known = colour.values, np.isfinite(colour.values)
    x, y = places.T
    size = _point_size(len(places))
    axes.scatter(x[~known], y[~known], s=size, c="0.8", linewidths=0, label="not known")
    if known.any():
        # In random order, so that no part of the range hides another.
        order = np.flatnonzero(known)[np.random.default_rng(0).permutation(int(known.sum()))]
        low, high = np.percentile(values[known], [1, 99])
        if colour.signed:
            low, high = -max(-low, high), max(-low, high)
        points = axes.scatter(
            x[order],
            y[order],
            s=_point_size(len(order)),
            c=values[order],
            cmap="coolwarm" if colour.signed else "turbo",
            vmin=low,
            vmax=high,
            linewidths=0,
        )
        axes.figure.colorbar(points, ax=axes, label=colour.label, fraction=0.04, pad=0.01)
        if not known.all():
            axes.legend(
                framealpha=0.8, edgecolor="none", fontsize=8, markerscale=3, loc="upper left"
            )
    _frame(axes, places)


def _point_size(points: int) -> float:
    return float(np.clip(8000 / points, 0.5, 12))


def _shape(places: Floats) -> float:
    """Return how many times as high as wide a map is."""
    wide, high = np.maximum(np.ptp(places, axis=0), 1e-9)
    return float(high / wide)


def _frame(axes: Axes, places: Floats) -> None:
    """Show the whole map, one unit as long across as up."""
    low, high = places.min(axis=0), places.max(axis=0)
    (left, bottom), (right, top) = low - 0.03 * (high - low), high + 0.03 * (high - low)
    axes.set(xlim=(left, right), ylim=(bottom, top), aspect="equal", xticks=[], yticks=[])
    axes.set(xlabel="UMAP 1", ylabel="UMAP 2")
