"""The files of a map: a table for programs that know nothing of this one, and figures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ssl_photoz.catalog.tables import read_table
from ssl_photoz.core import artefact
from ssl_photoz.core.artefact import Fact, Finished, atomic_path
from ssl_photoz.core.errors import ConfigError
from ssl_photoz.core.types import Array, Floats, Ints
from ssl_photoz.embeddings.store import Embeddings
from ssl_photoz.similarity.catalogue import Catalogue
from ssl_photoz.similarity.map import Layout, Trust

if TYPE_CHECKING:
    from matplotlib.axes import Axes

OTHER_NAMES = {"row", "z", "embedding", "aperture", "thumbnail"}  # said otherwise, or left out
ATLAS_CELLS = 24
PANEL_INCHES, ATLAS_INCHES = 4.6, 9.2
PANELS_ABREAST = 2


class MapCard(artefact.Card):
    """What the card of a map says.

    Attributes:
        rows: Galaxies on the map.
        measured: How far it can be trusted.
    """

    rows = Fact(int)
    measured = Fact(lambda said: Trust(**said))

    @property
    def embeddings(self) -> str:
        """Checksum of the embeddings that were laid out."""
        return self.parents["embeddings"]


class EmbeddingMap(Finished[MapCard]):
    """A finished map."""

    KIND, CARD = "map", MapCard

    def table(self) -> dict[str, Array]:
        """Columns of ``map.parquet``: see `map_columns`."""
        return read_table(self.folder / "map.parquet")


def map_columns(embeddings: Embeddings, catalogue: Catalogue, layout: Layout) -> dict[str, Array]:
    """Columns of ``map.parquet``: numbers, truth values and text, a value a row.

    Args:
        embeddings: The store.
        catalogue: Its galaxies, with predictions if there are any.
        layout: Their places.

    Returns:
        ``row`` (position in the store), ``id``, ``ra``, ``dec``, ``x``, ``y``, ``fitted``,
        ``z_spec``; with predictions ``z_phot``, ``z_lo``, ``z_hi`` and ``residual``; then every
        plain column of the store, preceded by ``catalogue_`` where its name is taken.
    """
    columns = {
        "row": np.arange(len(catalogue)),
        "id": catalogue.id,
        "ra": catalogue.ra,
        "dec": catalogue.dec,
        "x": layout.places[:, 0],
        "y": layout.places[:, 1],
        "fitted": layout.fitted,
        "z_spec": catalogue.z,
        **catalogue.photoz,
    }
    if "z_phot" in columns:
        columns["residual"] = residuals(catalogue)
    for name in _plain(embeddings):
        if name not in OTHER_NAMES | {"id", "ra", "dec"}:
            columns[f"catalogue_{name}" if name in columns else name] = embeddings.column(name)
    return {name: _plainly(values) for name, values in columns.items()}


def residuals(catalogue: Catalogue) -> Array:
    """(z_phot - z_spec) / (1 + z_spec) of the test galaxies, NaN for the others, (N,).

    A probe is fitted to the training galaxies and tuned on the validation galaxies: what is left
    over on them says nothing of its errors.
    """
    z = catalogue.z.astype(np.float64)
    with np.errstate(invalid="ignore"):
        residual = (catalogue.photoz["z_phot"] - z) / (1 + z)
    return np.where(catalogue.split == "test", residual, np.nan).astype(np.float32)


def colours_of(
    embeddings: Embeddings, catalogue: Catalogue, *, magnitude: str | None
) -> list[Colour]:
    """What the map is coloured by: redshifts, magnitude, residual.

    Args:
        embeddings: Store of the magnitude.
        catalogue: Source of the rest, with predictions if there are any.
        magnitude: Column of the store; None: there is none.

    Raises:
        ConfigError: If the store has no such column, or it holds no numbers.
    """
    colours = [Colour("z_spec", catalogue.z)]
    if "z_phot" in catalogue.photoz:
        colours.append(Colour("z_phot", catalogue.photoz["z_phot"]))
    if magnitude is not None:
        colours.append(Colour(f"{magnitude}, mag", _numbers(embeddings, magnitude)))
    if "z_phot" in catalogue.photoz:
        label = "(z_phot \N{MINUS SIGN} z_spec) / (1 + z_spec), test split"
        colours.append(Colour(label, residuals(catalogue), signed=True))
    return colours


def _numbers(embeddings: Embeddings, name: str) -> Array:
    if name not in _plain(embeddings):
        raise ConfigError(
            f"magnitude={name} is no plain column of {embeddings.folder}; it has "
            f"{', '.join(_plain(embeddings))}"
        )
    values = embeddings.column(name)
    if values.dtype.kind not in "iuf":
        raise ConfigError(f"magnitude={name} holds {values.dtype}, expected numbers")
    values = values.astype(np.float32)
    return np.where(np.isfinite(values), values, np.nan)


def _plain(embeddings: Embeddings) -> list[str]:
    schema = pq.read_schema(embeddings.folder / min(embeddings.card.shards))
    binary = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_nested)
    return [field.name for field in schema if not any(is_it(field.type) for is_it in binary)]


def _plainly(values: Array) -> Array:
    """Values in a type that TOPCAT reads from Parquet, to the last digit."""
    if values.dtype == np.float16:
        return values.astype(np.float32)
    if values.dtype == np.uint64:
        return values.astype(np.int64 if (values < 1 << 63).all() else str)
    return values


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
        path: File to write, .png.
        places: Coordinates, shape (N, 2).
        colours: Quantities to colour by; grey points alone if there are none.
        title: Title of the figure.
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
        path: File to write, .png.
        places: Coordinates, shape (N, 2).
        embeddings: Store that holds the pictures.
        title: Title of the figure.
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
    """How many times as high as wide a map is."""
    wide, high = np.maximum(np.ptp(places, axis=0), 1e-9)
    return float(high / wide)


def _frame(axes: Axes, places: Floats) -> None:
    """Show the whole map, one unit as long across as up."""
    low, high = places.min(axis=0), places.max(axis=0)
    (left, bottom), (right, top) = low - 0.03 * (high - low), high + 0.03 * (high - low)
    axes.set(xlim=(left, right), ylim=(bottom, top), aspect="equal", xticks=[], yticks=[])
    axes.set(xlabel="UMAP 1", ylabel="UMAP 2")
