"""Redshift densities from the neighbours, with as many neighbours as suits each galaxy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from scipy.special import ndtr

from ssl_photoz.core.types import Array, Doubles, Floats, Ints
from ssl_photoz.photoz.density import Density, grid_for
from ssl_photoz.photoz.knn import KNN
from ssl_photoz.photoz.protocol import to_target

KS = (8, 16, 32, 64)
REFERENCE_ROWS = 20_000
GALAXIES_AT_ONCE = 256
WIDTHS_OF_SIGMA = 1.349  # between the quartiles of a Gaussian


@dataclass(frozen=True)
class NeighbourDensity:
    """Gaussian kernels in ln(1+z) on the k nearest labelled galaxies, weighted by 1 / distance.

    k is chosen for each galaxy: its k nearest labelled galaxies are each given a density by their
    own k neighbours, themselves left out, and k is the one for which the probability integral
    transform (PIT) of their redshifts is flattest [1]. Chance roughens the PIT of few galaxies, so
    k grows until the neighbours are no longer of one kind.

    Attributes:
        knn: The fitted probe whose axes, metric and catalogue are used.
        reference: The same over those labelled galaxies whose PIT is known.
        pit: Their PIT with each k, themselves left out, shape (R, len(ks)).
        ks: Numbers of neighbours to choose from, increasing.
        floor: Least spread of neighbours taken at its word, in ln(1+z).
        grid: Redshifts, shape (G,).

    References:
        [1] Lin et al. 2024, A&A 691, A331 (CLAP).
    """

    knn: KNN
    reference: KNN
    pit: Doubles
    ks: tuple[int, ...]
    floor: float
    grid: Doubles

    @classmethod
    def fit(
        cls,
        knn: KNN,
        *,
        ks: Sequence[int] = KS,
        grid: Doubles | None = None,
        most: int = REFERENCE_ROWS,
        seed: int = 0,
    ) -> Self:
        """Give labelled galaxies a density by all others, and remember where they fell in it.

        Args:
            knn: Fitted to galaxies whose ids are unique.
            ks: Numbers of neighbours to choose from; those beyond the catalogue are left out.
            grid: Redshifts, (G,); from 0 to beyond the greatest labelled one if None.
            most: Galaxies at most that PIT is found for; more are sampled.
            seed: Of that sample.
        """
        n = len(knn.target)
        some = sorted({min(k, max(1, n // 2)) for k in ks})
        rng = np.random.default_rng(seed)
        rows = np.sort(rng.permutation(n)[:most])
        reference = replace(
            knn, catalogue=knn.catalogue[rows], target=knn.target[rows], ids=knn.ids[rows]
        )
        distance, near = _nearest(knn, reference.catalogue, some[-1], reference.ids)
        near_target = knn.target[near]
        floor = 0.5 * float(np.median(_spread(near_target[:, : some[0]]))) + 1e-6
        pit = [
            _pit(reference.target, *kernels(distance[:, :k], near_target[:, :k], floor=floor))
            for k in some
        ]
        return cls(
            knn=knn,
            reference=reference,
            pit=np.stack(pit, axis=1),
            ks=tuple(some),
            floor=floor,
            grid=grid_for(np.expm1(knn.target)) if grid is None else grid,
        )

    @property
    def chosen(self) -> dict[str, float]:
        """Where distances are taken; k differs from galaxy to galaxy."""
        return {name: value for name, value in self.knn.chosen.items() if name in ("dim", "cosine")}

    def choose(self, features: Floats, *, ids: Array | None = None) -> Ints:
        """Return the number of neighbours that suits each galaxy, shape (M,).

        Args:
            features: Shape (M, D).
            ids: Identifiers, shape (M,); a galaxy has no say in its own k.
        """
        return np.asarray(self.ks)[self._choice(self._project(features), ids)]

    def density(self, features: Floats, *, ids: Array | None = None) -> Density:
        """Return the density of each galaxy.

        Args:
            features: Shape (M, D).
            ids: Identifiers, shape (M,); a galaxy is never its own neighbour.
        """
        queries = self._project(features)
        choice = self._choice(queries, ids)
        distance, rows = _nearest(self.knn, queries, self.ks[-1], ids)
        target = to_target(self.grid)
        values = np.empty((len(queries), len(target)))
        for which, k in enumerate(self.ks):
            mine = np.flatnonzero(choice == which)
            for part in np.array_split(mine, max(1, -(-len(mine) // GALAXIES_AT_ONCE))):
                near = self.knn.target[rows[part, :k]]
                values[part] = _mixture(
                    target, *kernels(distance[part, :k], near, floor=self.floor)
                )
        return Density.of(self.grid, values / (1 + self.grid))

    def _project(self, features: Floats) -> Floats:
        return self.knn.standardise.apply(features) @ self.knn.axes

    def _choice(self, queries: Floats, ids: Array | None) -> Ints:
        """Return which of ks suits each query, shape (M,)."""
        _, near = _nearest(self.reference, queries, self.ks[-1], ids)
        uneven = [unevenness(self.pit[near[:, :k], which]) for which, k in enumerate(self.ks)]
        return np.asarray(np.argmin(uneven, axis=0))


def unevenness(pit: Doubles) -> Doubles:
    """Return the Wasserstein distance of samples in (0, 1) to the uniform distribution.

    Args:
        pit: M sets of L values, shape (M, L).

    Returns:
        Mean distance that a value is to be moved by, shape (M,); 0 if they are evenly spaced.
    """
    even = (np.arange(pit.shape[1]) + 0.5) / pit.shape[1]
    return np.asarray(np.mean(np.abs(np.sort(pit, axis=1) - even), axis=1))


def kernels(distance: Floats, target: Doubles, *, floor: float) -> tuple[Doubles, Doubles, Doubles]:
    """Turn neighbours into Gaussians.

    The width is Silverman's robust rule [1] with the number of neighbours that the weights are
    worth.

    Args:
        distance: Shape (M, K); infinite for a neighbour that must not count.
        target: ln(1+z) of the neighbours, shape (M, K).
        floor: Least spread taken at its word.

    Returns:
        Weights that sum to 1 (M, K), centres (M, K) and widths (M, 1).

    References:
        [1] Silverman 1986, Density Estimation, eq. 3.31.
    """
    weights = 1 / np.maximum(distance.astype(np.float64), 1e-9)
    weights /= weights.sum(axis=1, keepdims=True)
    worth = 1 / np.sum(weights**2, axis=1)
    width = 0.9 * np.maximum(_spread(target), floor) * worth**-0.2
    return weights, target, width[:, None]


def _nearest(knn: KNN, queries: Floats, k: int, ids: Array | None) -> tuple[Floats, Ints]:
    return knn.search(queries, knn.recipe._replace(k=k), ids)


def _spread(target: Doubles) -> Doubles:
    """Return a robust standard deviation along the neighbours, shape (M,)."""
    low, high = np.quantile(target, (0.25, 0.75), axis=1)
    return np.asarray(np.minimum(target.std(axis=1), (high - low) / WIDTHS_OF_SIGMA))


def _pit(truth: Doubles, weights: Doubles, centres: Doubles, width: Doubles) -> Doubles:
    """Return the probability below the truth, given that redshift is above 0; shape (M,)."""
    below = np.sum(weights * ndtr((truth[:, None] - centres) / width), axis=1)
    negative = np.sum(weights * ndtr(-centres / width), axis=1)
    return np.asarray(np.clip((below - negative) / (1 - negative), 0, 1))


def _mixture(at: Doubles, weights: Doubles, centres: Doubles, width: Doubles) -> Doubles:
    """Return the Gaussian mixture of each galaxy at (G,), up to a factor; shape (M, G)."""
    # Single precision halves the time, and is a millionth of a kernel's height.
    scaled = at.astype(np.float32) - centres.astype(np.float32)[:, :, None]
    scaled /= width.astype(np.float32)[:, :, None]
    np.square(scaled, out=scaled)
    np.exp(-0.5 * scaled, out=scaled)
    return np.asarray(weights.astype(np.float32)[:, None] @ scaled, dtype=np.float64)[:, 0]
