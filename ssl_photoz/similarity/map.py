"""A map of the embedding: UMAP coordinates, the same each time, and a figure."""

from __future__ import annotations

import warnings
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from ssl_photoz.embeddings.store import Embeddings
from ssl_photoz.errors import DataError
from ssl_photoz.runs import atomic_path
from ssl_photoz.similarity.catalogue import Catalogue
from ssl_photoz.similarity.index import exact_neighbours
from ssl_photoz.similarity.reduction import BATCH, Reduction
from ssl_photoz.types import Array, Floats, Ints

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ATLAS_CELLS = 14


def lay_out(
    vectors: Floats,
    *,
    n_neighbors: int = 15,
    min_dist: float = 0.1,
    fit_limit: int = 10_000,
    seed: int = 0,
) -> Floats:
    """Lay galaxies out in two dimensions with UMAP [1], alike ones near each other.

    One thread and a fixed seed, so that the same vectors give the same map.

    Args:
        vectors: Unit vectors, shape (N, P).
        n_neighbors: Neighbours that shape the map; more keeps more of the large scale.
        min_dist: Least distance between points on the map.
        fit_limit: Lay out at most this many, drawn with ``seed``; each of the others is placed
            at the distance-weighted mean of its neighbours among them.
        seed: Of the draw and of UMAP.

    Returns:
        Coordinates, shape (N, 2), in no unit.

    Raises:
        DataError: If there are not more galaxies than neighbours.

    References:
        [1] McInnes, Healy & Melville 2018, arXiv:1802.03426.
    """
    if len(vectors) <= n_neighbors + 1:
        raise DataError(
            f"{len(vectors)} galaxies are too few for a map with n_neighbors = {n_neighbors}"
        )
    rng = np.random.default_rng(seed)
    fitted = np.sort(rng.choice(len(vectors), min(fit_limit, len(vectors)), replace=False))
    placed = _fit(vectors[fitted], n_neighbors, min_dist, seed)
    places = np.empty((len(vectors), 2), np.float32)
    places[fitted] = placed
    others = np.setdiff1d(np.arange(len(vectors)), fitted)
    for start in tqdm(range(0, len(others), BATCH), desc="placing", disable=not len(others)):
        some = others[start : start + BATCH]
        distances, near = exact_neighbours(vectors[some], vectors[fitted], n_neighbors)
        weight = 1 / np.maximum(distances, 1e-6)[..., None]
        places[some] = (weight * placed[near]).sum(axis=1) / weight.sum(axis=1)
    return places


def _fit(vectors: Floats, n_neighbors: int, min_dist: float, seed: int) -> Floats:
    """Run UMAP on exact neighbours; it would spend most of its time on approximate ones."""
    with warnings.catch_warnings(), redirect_stdout(StringIO()):
        warnings.simplefilter("ignore")
        from umap import UMAP

        distances, near = exact_neighbours(vectors, vectors, n_neighbors)
        placed: Floats = UMAP(
            n_neighbors=n_neighbors,
            min_dist=min_dist,
            precomputed_knn=(near, np.sqrt(2 * distances)),
            random_state=seed,
            n_jobs=1,
            verbose=True,
            tqdm_kwds={"desc": "laying out"},
        ).fit_transform(vectors)
    return placed


def reduce_all(embeddings: Embeddings, *, pca_dim: int, seed: int) -> Floats:
    """Return the reduced unit vectors of a whole store, shape (N, P)."""
    reduction = Reduction.fit_to(embeddings, pca_dim=pca_dim, seed=seed)
    return np.concatenate([reduction.apply(batch) for batch in embeddings.batches(BATCH)])


def draw_map(
    path: Path, places: Floats, embeddings: Embeddings, catalogue: Catalogue, *, title: str
) -> None:
    """Draw the map coloured by redshift, beside an atlas of pictures where the store has them.

    Args:
        path: Ends in .png.
        places: Coordinates, shape (N, 2).
        embeddings: For the pictures.
        catalogue: For the redshifts.
        title: Above both.
    """
    from matplotlib.figure import Figure

    panels = 2 if embeddings.has_thumbnails else 1
    figure = Figure(figsize=(5.0 * panels + 0.6, 4.9), dpi=130, layout="constrained")
    axes = figure.subplots(1, panels, squeeze=False)[0]
    z, known = catalogue.z, np.isfinite(catalogue.z)
    size = float(np.clip(8000 / len(places), 0.5, 12))
    axes[0].scatter(*places[~known].T, s=size, c="0.8", linewidths=0, label="no redshift")
    if 0 < known.sum() < len(z):
        axes[0].legend(frameon=False, fontsize=8, markerscale=4, loc="upper left")
    if known.any():
        order = np.flatnonzero(known)[np.random.default_rng(0).permutation(int(known.sum()))]
        low, high = np.percentile(z[known], [1, 99])
        points = axes[0].scatter(
            *places[order].T, s=size, c=z[order], cmap="turbo", vmin=low, vmax=high, linewidths=0
        )
        figure.colorbar(points, ax=axes[0], label="redshift", fraction=0.04, pad=0.01)
    if panels == 2:
        _draw_atlas(axes[1], places, embeddings)
    middle, half = (
        (places.max(axis=0) + places.min(axis=0)) / 2,
        0.53 * np.ptp(places, axis=0).max(),
    )
    (left, bottom), (right, top) = middle - half, middle + half
    for one in axes:
        one.set(xlim=(left, right), ylim=(bottom, top), aspect="equal", xticks=[], yticks=[])
    axes[0].set(xlabel="UMAP 1", ylabel="UMAP 2")
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


def _draw_atlas(axes: Axes, places: Floats, embeddings: Embeddings) -> None:
    rows, cell, (x, y, width) = one_per_cell(places, cells=ATLAS_CELLS)
    for picture, (i, j) in zip(embeddings.thumbnails(rows), cell, strict=True):
        left, bottom = x + i * width, y + j * width
        extent = (left, left + width, bottom, bottom + width)
        axes.imshow(picture, extent=extent, interpolation="bicubic")
