"""Which galaxies a map is laid out from: few of the crowd, most of what is rare."""

from __future__ import annotations

import numpy as np

from ssl_photoz.core.types import Floats, Ints
from ssl_photoz.similarity.index import exact_neighbours

REFERENCES = 4096
NEIGHBOUR = 10


def spread_sample(vectors: Floats, size: int, *, seed: int = 0) -> Ints:
    """Draw galaxies more evenly than they lie, so that sparse regions do not vanish.

    A galaxy's chance grows as the square of its distance r to the tenth-nearest of 4,096 galaxies
    drawn at random: 1 / r^2 estimates the density [1] on something two-dimensional, which the map
    will be. Since embeddings have more dimensions than that, dense regions still give most of the
    sample, as biased sampling with an exponent between 0 and 1 does [2]. Drawn without
    replacement [3].

    Args:
        vectors: Unit vectors, shape (N, P).
        size: How many to draw; all, if there are no more.
        seed: The same seed draws the same galaxies.

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
    """Return half the squared distance of each galaxy to its tenth neighbour, shape (N,)."""
    references = np.sort(rng.choice(len(vectors), min(REFERENCES, len(vectors)), replace=False))
    k = min(NEIGHBOUR, len(references) - 1)
    distances, _ = exact_neighbours(vectors, vectors[references], k + 1)
    tenth = distances[:, k - 1].copy()
    tenth[references] = distances[references, k]  # a reference is its own nearest
    return tenth
