"""Ways to lay a map out: ours with one thing changed at a time, and other libraries."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from ssl_photoz.core.types import Floats, Ints
from ssl_photoz.similarity.index import exact_neighbours
from ssl_photoz.similarity.map import lay_out, place_among, spread_sample
from ssl_photoz.similarity.settings import MapConfig

K = 15


class Way(NamedTuple):
    """How to lay out.

    Attributes:
        says: What it is called in the table.
        run: Function from unit vectors (N, P), and how many may be laid out, to places (N, 2).
        needs: The module it imports.
    """

    says: str
    run: Callable[[Floats, int], Floats]
    needs: str = "umap"


def _ours(says: str, *, share: float = 1.0, epochs: int = 200) -> Way:
    def run(vectors: Floats, limit: int) -> Floats:
        return lay_out(vectors, MapConfig(fit_limit=round(share * limit), epochs=epochs)).places

    return Way(says, run)


def _fitted_by(
    fit: Callable[[Floats], Floats], says: str, *, needs: str = "umap", spread: bool = True
) -> Way:
    """Let a library lay out a sample; place the others as we do."""

    def run(vectors: Floats, limit: int) -> Floats:
        rows = spread_sample(vectors, limit) if spread else _uniform(len(vectors), limit)
        places = np.empty((len(vectors), 2), np.float32)
        places[rows] = fit(vectors[rows])
        others = np.setdiff1d(np.arange(len(vectors)), rows)
        if len(others):
            places[others] = place_among(vectors[others], vectors[rows], places[rows], k=K)
        return places

    return Way(says, run, needs)


def _uniform(count: int, limit: int) -> Ints:
    return np.sort(np.random.default_rng(0).choice(count, min(limit, count), replace=False))


def _umap(vectors: Floats, **changed: Any) -> Floats:  # noqa: ANN401
    from umap import UMAP

    distances, near = exact_neighbours(vectors, vectors, K)
    given = {"n_neighbors": K, "n_epochs": 200, "random_state": 0, "n_jobs": 1, **changed}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        umap = UMAP(precomputed_knn=(near, np.sqrt(2 * distances)), **given)
        places: Floats = umap.fit_transform(vectors)
    return places


def _transformed(vectors: Floats, limit: int) -> Floats:
    """Let UMAP find its own neighbours and place the others itself."""
    from umap import UMAP

    rows = spread_sample(vectors, limit)
    others = np.setdiff1d(np.arange(len(vectors)), rows)
    places = np.empty((len(vectors), 2), np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        umap = UMAP(n_neighbors=K, n_epochs=200, random_state=0, n_jobs=1).fit(vectors[rows])
        places[rows] = umap.embedding_
        if len(others):
            places[others] = umap.transform(vectors[others])
    return places


def _pacmap(vectors: Floats) -> Floats:
    from pacmap import PaCMAP

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        places: Floats = PaCMAP(random_state=0, apply_pca=False).fit_transform(vectors, init="pca")
    return places


def _pacmap_all(vectors: Floats, limit: int) -> Floats:
    return _pacmap(vectors)


def _tsne(vectors: Floats) -> Floats:
    from openTSNE import TSNE

    return np.asarray(
        TSNE(random_state=0, n_jobs=2, negative_gradient_method="fft").fit(vectors), np.float32
    )


def _first_two(vectors: Floats, limit: int) -> Floats:
    return np.ascontiguousarray(vectors[:, :2])


WAYS: dict[str, Way] = {
    "ours": _ours("ours"),
    "fewer": _ours("two fifths as many laid out", share=0.4),
    "more": _ours("twice as many laid out", share=2),
    "epochs-100": _ours("100 epochs", epochs=100),
    "epochs-500": _ours("500 epochs", epochs=500),
    "uniform": _fitted_by(_umap, "a uniform sample", spread=False),
    "pca-start": _fitted_by(partial(_umap, init="pca"), "started from two principal components"),
    "threads": _fitted_by(
        partial(_umap, random_state=None, n_jobs=-1), "all threads: another map each time"
    ),
    "transform": Way("UMAP's own neighbours and transform", _transformed),
    "pacmap": _fitted_by(_pacmap, "PaCMAP", needs="pacmap"),
    "pacmap-all": Way("PaCMAP, all galaxies laid out", _pacmap_all, "pacmap"),
    "tsne": _fitted_by(_tsne, "t-SNE (openTSNE)", needs="openTSNE"),
    "pca": Way("two principal components", _first_two, "numpy"),
}
