"""A map of the embedding: UMAP coordinates, the same each time."""

from __future__ import annotations

import warnings
from contextlib import redirect_stdout
from io import StringIO
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from ssl_photoz.core.errors import DataError
from ssl_photoz.core.types import Bools, Floats
from ssl_photoz.embeddings.store import Embeddings
from ssl_photoz.similarity.index import exact_neighbours
from ssl_photoz.similarity.map_sample import spread_sample
from ssl_photoz.similarity.reduction import BATCH, Reduction


class Layout(NamedTuple):
    """Where galaxies lie on a map.

    Attributes:
        places: Coordinates, in no unit, shape (N, 2).
        fitted: Which of them UMAP laid out; the others were placed among these. Shape (N,).
    """

    places: Floats
    fitted: Bools


def lay_out(
    vectors: Floats,
    *,
    n_neighbors: int = 15,
    min_dist: float = 0.1,
    epochs: int = 200,
    fit_limit: int = 25_000,
    seed: int = 0,
) -> Layout:
    """Lay galaxies out in two dimensions with UMAP [1], alike ones near each other.

    One thread and a fixed seed, so that the same vectors give the same map.

    Args:
        vectors: Unit vectors, shape (N, P).
        n_neighbors: Neighbours that shape the map; more keeps more of the large scale.
        min_dist: Least distance between points on the map.
        epochs: How often UMAP goes through all pairs of neighbours.
        fit_limit: Lay out at most this many, drawn so that sparse regions do not vanish; each of
            the others is placed at the distance-weighted mean of its neighbours among them.
        seed: Of the draw and of UMAP.

    Raises:
        DataError: If there are not more galaxies than neighbours.

    References:
        [1] McInnes, Healy & Melville 2018, arXiv:1802.03426.
    """
    if min(len(vectors), fit_limit) <= n_neighbors + 1:
        raise DataError(
            f"{min(len(vectors), fit_limit)} galaxies are too few for a map with n_neighbors = "
            f"{n_neighbors}"
        )
    rows = spread_sample(vectors, fit_limit, seed=seed)
    fitted = np.zeros(len(vectors), bool)
    fitted[rows] = True
    places = np.empty((len(vectors), 2), np.float32)
    places[rows] = _fit(vectors[rows], n_neighbors, min_dist, epochs, seed)
    others = np.flatnonzero(~fitted)
    for start in tqdm(range(0, len(others), BATCH), desc="placing", disable=not len(others)):
        some = others[start : start + BATCH]
        places[some] = place_among(vectors[some], vectors[rows], places[rows], k=n_neighbors)
    return Layout(places, fitted)


def place_among(vectors: Floats, fitted: Floats, places: Floats, *, k: int) -> Floats:
    """Place galaxies on a finished map, at the distance-weighted mean of their neighbours on it.

    Args:
        vectors: Unit vectors of those to place, shape (B, P).
        fitted: Unit vectors of those on the map, shape (n, P).
        places: Where these lie, shape (n, 2).
        k: Neighbours to place by.

    Returns:
        Coordinates, shape (B, 2).
    """
    distances, near = exact_neighbours(vectors, fitted, k)
    weight = 1 / np.maximum(distances, 1e-6)[..., None]
    placed: Floats = (weight * places[near]).sum(axis=1) / weight.sum(axis=1)
    return placed


def _fit(vectors: Floats, n_neighbors: int, min_dist: float, epochs: int, seed: int) -> Floats:
    """Run UMAP on exact neighbours; it would spend most of its time on approximate ones."""
    with warnings.catch_warnings(), redirect_stdout(StringIO()):
        warnings.simplefilter("ignore")
        from umap import UMAP

        distances, near = exact_neighbours(vectors, vectors, n_neighbors)
        placed: Floats = UMAP(
            n_neighbors=n_neighbors,
            min_dist=min_dist,
            n_epochs=epochs,
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
