"""A map of the embedding: UMAP coordinates, the same each time, and how far to trust them."""

from __future__ import annotations

import warnings
from contextlib import redirect_stdout
from io import StringIO
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from ssl_photoz.core.errors import DataError
from ssl_photoz.core.types import Bools, Floats, Ints
from ssl_photoz.embeddings.store import Embeddings
from ssl_photoz.similarity.index import exact_neighbours
from ssl_photoz.similarity.reduction import BATCH, Reduction
from ssl_photoz.similarity.settings import MapConfig

REFERENCES = 4096
NEIGHBOUR = 10
DISTANCES_HELD = 1 << 24


class Layout(NamedTuple):
    """Where galaxies lie on a map.

    Attributes:
        places: Coordinates, in no unit, shape (N, 2).
        fitted: Mask of those that UMAP laid out; the others were placed among these. Shape (N,).
    """

    places: Floats
    fitted: Bools


def lay_out(vectors: Floats, config: MapConfig = MapConfig()) -> Layout:
    """Lay galaxies out in two dimensions with UMAP [1], alike ones near each other.

    One thread and a fixed seed, so that the same vectors give the same map.

    Args:
        vectors: Unit vectors, shape (N, P).
        config: How they are laid out.

    Raises:
        DataError: If there are not more galaxies than neighbours.

    References:
        [1] McInnes, Healy & Melville 2018, arXiv:1802.03426.
    """
    fitting = min(len(vectors), config.fit_limit)
    if fitting <= config.n_neighbors + 1:
        raise DataError(
            f"{fitting} galaxies are too few for a map with n_neighbors = {config.n_neighbors}"
        )
    rows = spread_sample(vectors, config.fit_limit, seed=config.seed)
    fitted = np.zeros(len(vectors), bool)
    fitted[rows] = True
    places = np.empty((len(vectors), 2), np.float32)
    places[rows] = _fit(vectors[rows], config)
    others = np.flatnonzero(~fitted)
    for start in tqdm(range(0, len(others), BATCH), desc="placing", disable=not len(others)):
        some = others[start : start + BATCH]
        places[some] = place_among(vectors[some], vectors[rows], places[rows], k=config.n_neighbors)
    return Layout(places, fitted)


def place_among(vectors: Floats, fitted: Floats, places: Floats, *, k: int) -> Floats:
    """Place galaxies on a finished map, at the distance-weighted mean of their neighbours on it.

    Args:
        vectors: Unit vectors of those to place, shape (B, P).
        fitted: Unit vectors of those on the map, shape (n, P).
        places: Their coordinates, shape (n, 2).
        k: Neighbours to place by.

    Returns:
        Coordinates, shape (B, 2).
    """
    distances, near = exact_neighbours(vectors, fitted, k)
    weight = 1 / np.maximum(distances, 1e-6)[..., None]
    placed: Floats = (weight * places[near]).sum(axis=1) / weight.sum(axis=1)
    return placed


def _fit(vectors: Floats, config: MapConfig) -> Floats:
    """Run UMAP on exact neighbours; it would spend most of its time on approximate ones."""
    with warnings.catch_warnings(), redirect_stdout(StringIO()):
        warnings.simplefilter("ignore")
        from umap import UMAP

        distances, near = exact_neighbours(vectors, vectors, config.n_neighbors)
        placed: Floats = UMAP(
            n_neighbors=config.n_neighbors,
            min_dist=config.min_dist,
            n_epochs=config.epochs,
            precomputed_knn=(near, np.sqrt(2 * distances)),
            random_state=config.seed,
            n_jobs=1,
            verbose=True,
            tqdm_kwds={"desc": "laying out"},
        ).fit_transform(vectors)
    return placed


def reduce_all(embeddings: Embeddings, *, pca_dim: int, seed: int) -> Floats:
    """Reduced unit vectors of a whole store, shape (N, P)."""
    reduction = Reduction.fit_to(embeddings, pca_dim=pca_dim, seed=seed)
    return np.concatenate([reduction.apply(batch) for batch in embeddings.batches(BATCH)])


def spread_sample(vectors: Floats, size: int, *, seed: int = 0) -> Ints:
    """Draw galaxies more evenly than they lie, so that sparse regions do not vanish.

    A galaxy's chance grows as the square of its distance r to the tenth-nearest of 4,096 galaxies
    drawn at random: 1 / r^2 estimates the density [1] on something two-dimensional, which the map
    will be. Since embeddings have more dimensions than that, dense regions still give most of the
    sample, as biased sampling with an exponent between 0 and 1 does [2]. Drawn without
    replacement [3].

    Args:
        vectors: Unit vectors, shape (N, P).
        size: Number to draw; all, if there are no more.
        seed: Seed of the draw; one seed draws the same galaxies again.

    Returns:
        Increasing rows, shape (min(size, N),).

    References:
        [1] Loftsgaarden & Quesenberry 1965, Ann. Math. Statist. 36, 1049.
        [2] Palmer & Faloutsos 2000, Proc. ACM SIGMOD, 82.
        [3] Efraimidis & Spirakis 2006, Inf. Process. Lett. 97, 181.
    """
    if size >= len(vectors):
        return np.arange(len(vectors))
    rng = np.random.default_rng(seed)
    wait = rng.exponential(size=len(vectors)) / np.maximum(_sparseness(vectors, rng), 1e-12)
    return np.sort(np.argsort(wait, kind="stable")[:size])


def _sparseness(vectors: Floats, rng: np.random.Generator) -> Floats:
    """Half the squared distance of each galaxy to its tenth neighbour, shape (N,)."""
    references = np.sort(rng.choice(len(vectors), min(REFERENCES, len(vectors)), replace=False))
    k = min(NEIGHBOUR, len(references) - 1)
    distances, _ = exact_neighbours(vectors, vectors[references], k + 1)
    tenth = distances[:, k - 1].copy()
    tenth[references] = distances[references, k]  # a reference is its own nearest
    return tenth


class Trust(NamedTuple):
    """Trustworthiness and continuity of a map, each at most 1.

    Attributes:
        trustworthiness: Low where neighbours on the map are strangers in the embedding.
        trustworthiness_error: Standard error of the mean over the galaxies asked; 0 if all were.
        continuity: Low where neighbours in the embedding are torn apart on the map.
        continuity_error: Standard error of the mean over the galaxies asked.
        neighbours: How many of each galaxy's neighbours were looked at.
        asked: Galaxies whose neighbours were looked at, among all on the map.
    """

    trustworthiness: float
    trustworthiness_error: float
    continuity: float
    continuity_error: float
    neighbours: int
    asked: int

    def __str__(self) -> str:
        return (
            f"trustworthiness {self.trustworthiness:.3f} \N{PLUS-MINUS SIGN} "
            f"{self.trustworthiness_error:.3f}, continuity {self.continuity:.3f} at "
            f"{self.neighbours} neighbours"
        )


def measure_trust(
    vectors: Floats, places: Floats, *, neighbours: int = 15, asked: int = 500, seed: int = 0
) -> Trust:
    """Compare neighbourhoods on the map with those in the embedding [1].

    Neighbours and ranks are taken among all galaxies; only the mean is over a random sample.

    Args:
        vectors: Unit vectors that were laid out, shape (N, P).
        places: Coordinates on the map, shape (N, 2).
        neighbours: K; fewer if there are not more than twice as many galaxies.
        asked: Galaxies that the mean is taken over, drawn with ``seed``; all if there are fewer.
        seed: Seed of the draw.

    Raises:
        DataError: If there are fewer than four galaxies.

    References:
        [1] Venna & Kaski 2001, Proc. ICANN, LNCS 2130, 485.
    """
    count = len(vectors)
    if count < 4:
        raise DataError(f"{count} galaxies are too few to measure a map by; at least 4")
    k = min(neighbours, (count - 1) // 2)
    rows = np.random.default_rng(seed).choice(count, min(asked, count), replace=False)
    step = max(1, DISTANCES_HELD // count)
    strayed, (x, y) = np.empty((2, len(rows))), np.ascontiguousarray(places.T)
    for start in tqdm(range(0, len(rows), step), desc="measuring the map", leave=False):
        some = rows[start : start + step]
        for place, (row, cosines) in enumerate(
            zip(some, vectors[some] @ vectors.T, strict=True), start
        ):
            alike, close = -cosines, (x - x[row]) ** 2 + (y - y[row]) ** 2
            alike[row] = close[row] = np.inf
            strayed[:, place] = _ranks_off(alike, close, k), _ranks_off(close, alike, k)
    scores = 1 - 2 / (k * (2 * count - 3 * k - 1)) * strayed
    mean = scores.mean(axis=1)
    error = scores.std(axis=1, ddof=1) * np.sqrt((1 - len(rows) / count) / len(rows))
    return Trust(float(mean[0]), float(error[0]), float(mean[1]), float(error[1]), k, len(rows))


def _ranks_off(truth: Floats, shown: Floats, k: int) -> int:
    """By how many ranks, in sum, the k nearest as shown miss the k nearest in truth.

    Args:
        truth: Distance of every galaxy from one of them, whose own is infinity, shape (N,).
        shown: Distances of the same galaxies as shown, shape (N,).
        k: Neighbours.
    """
    near = truth[np.argpartition(shown, k - 1)[:k]]
    ranks = [1 + int(np.count_nonzero(truth < distance)) for distance in near]
    return sum(rank - k for rank in ranks if rank > k)
