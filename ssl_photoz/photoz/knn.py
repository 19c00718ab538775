"""Redshifts, and redshift densities, from the labelled galaxies nearest in the embedding."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from copy import copy
from typing import NamedTuple, Self

import faiss
import numpy as np
from scipy.special import ndtr
from tqdm import tqdm

from ssl_photoz.catalog.identity import means_none
from ssl_photoz.core.types import Array, Doubles, Floats, Ints
from ssl_photoz.photoz.base import (
    Interval,
    Prediction,
    Probe,
    Standardise,
    discriminant_axes,
    principal_axes,
    to_redshift,
    to_target,
    tuning_score,
)
from ssl_photoz.photoz.density import Density, DensityProbe, grid_for

PCA_ROWS = 50_000
DISCRIMINANTS = (3, 4, 6, 8, 12)
TUNING_ROWS = 4_000
QUERIES_AT_ONCE = 4_096
GALAXIES_AT_ONCE = 256
SAME_FEATURES = 1e-3  # of their length: what float32 leaves of a distance of zero
WIDTHS_OF_SIGMA = 1.349  # between the quartiles of a Gaussian


class Recipe(NamedTuple):
    """How neighbours make a redshift.

    Attributes:
        k: Number of neighbours.
        dim: Number of axes that distances are taken in.
        cosine: Whether vectors are brought to length one first.
        median: Weighted median of the neighbours, not their weighted mean.
        discriminant: Whether the axes are those along which redshifts differ, not the principal
            ones.
    """

    k: int
    dim: int
    cosine: bool
    median: bool
    discriminant: bool = False


class Trial(NamedTuple):
    """What a recipe made of the validation galaxies, (M,) each, and its score."""

    score: float
    recipe: Recipe
    answer: Doubles
    spread: Doubles


class KNN(Probe):
    """Exact nearest neighbours, weighted by inverse distance.

    Distances are taken on the first principal axes, or on the first axes of a linear discriminant
    analysis of redshift bins [1], which leave out what says nothing of redshift: whichever is
    better on validation.

    Args:
        ks: Numbers of neighbours to try.
        dims: Numbers of principal axes to try.
        discriminants: Numbers of discriminant axes to try; empty: principal axes alone.
        seed: Seed of the samples taken from very large catalogues for the axes and for choosing.

    Attributes:
        standardise_: Standardisation of the features.
        axes_: Axes in the space of the standardised features, shape (D, P).
        catalogue_: Labelled galaxies on those axes, shape (N, P).
        target_: Their ln(1+z), shape (N,).
        ids_: Their identifiers, shape (N,).
        weight_: How much each counts, shape (N,); None if all count the same.
        recipe_: What was chosen on validation.
        floor_: Least spread of neighbours taken at its word, in ln(1+z).
        interval_: Calibrated half-widths, in units of the neighbours' spread.

    References:
        [1] Hastie & Tibshirani 1996, IEEE PAMI 18, 607.
    """

    def __init__(
        self,
        *,
        ks: tuple[int, ...] = (4, 8, 16, 32, 64),
        dims: tuple[int, ...] = (16, 32, 64),
        discriminants: tuple[int, ...] = DISCRIMINANTS,
        seed: int = 0,
    ) -> None:
        self.ks = ks
        self.dims = dims
        self.discriminants = discriminants
        self.seed = seed

    @property
    def chosen_(self) -> dict[str, float]:  # type: ignore[override]
        """The recipe, name to number."""
        return {name: float(value) for name, value in self.recipe_._asdict().items()}

    def _fit(
        self,
        X: Floats,
        z: Doubles,
        val_X: Floats,
        val_z: Doubles,
        ids: Array | None,
        sample_weight: Doubles | None = None,
    ) -> None:
        rng = np.random.default_rng(self.seed)
        self.standardise_ = Standardise.fit(X)
        some = _sample(rng, len(z), PCA_ROWS)
        standard, most = self.standardise_.apply(X[some]), min(max(self.dims), *X.shape)
        self.target_ = to_target(z)
        self.ids_ = np.arange(len(z)) if ids is None else np.asarray(ids)
        self.weight_ = sample_weight
        rows = _sample(rng, len(val_z), TUNING_ROWS)
        asked, truth = val_X[rows], to_target(val_z[rows])
        ks = sorted({min(k, max(1, len(z) // 2)) for k in self.ks})
        spaces = {False: (principal_axes(standard, most), self.dims)}
        if self.discriminants and (found := discriminant_axes(standard, self.target_[some])).size:
            spaces[True] = (found, self.discriminants)
        trials = []
        for discriminant, (axes, dims) in spaces.items():
            self.axes_ = axes
            self.catalogue_ = self.project(X)
            dims = tuple(sorted({min(dim, axes.shape[1]) for dim in dims}))
            trial = self._tune(self.project(asked), truth, ks=ks, dims=dims)
            recipe = trial.recipe._replace(discriminant=discriminant)
            trials.append((trial._replace(recipe=recipe), axes, self.catalogue_))
        best, self.axes_, self.catalogue_ = min(trials, key=lambda one: one[0].score)
        self.recipe_ = best.recipe
        self.floor_ = 0.5 * float(np.median(best.spread)) + 1e-6
        spread = np.maximum(best.spread, self.floor_)
        self.interval_ = Interval.fit(best.answer, truth, spread=spread)

    def project(self, X: Floats) -> Floats:
        """Places of galaxies on the axes, (M, D) to (M, P)."""
        places: Floats = self.standardise_.apply(X) @ self.axes_
        return places

    def _estimate(self, X: Floats, ids: Array | None) -> Prediction:
        distance, rows = self.search(self.project(X), self.recipe_, ids)
        predicted, spread = weigh(
            distance, self.target_[rows], median=self.recipe_.median, count=self.counts(rows)
        )
        interval = self.interval_.around(predicted, spread=np.maximum(spread, self.floor_))
        return Prediction(to_redshift(predicted), *interval, self.ids_[rows])

    def _stored(self) -> dict[str, Array]:
        return {
            **self.standardise_.arrays(),
            "axes": self.axes_,
            "catalogue": self.catalogue_,
            "target": self.target_,
            "ids": _packed(self.ids_),
            "recipe": np.array(self.recipe_, dtype=np.int64),
            "floor": np.array([self.floor_]),
            **({} if self.weight_ is None else {"weight": self.weight_}),
            **self.interval_.arrays(),
        }

    def _restore(self, arrays: Mapping[str, Array]) -> None:
        k, dim, cosine, median, *discriminant = (int(value) for value in arrays["recipe"])
        self.standardise_ = Standardise.from_arrays(arrays)
        self.axes_, self.catalogue_ = arrays["axes"], arrays["catalogue"]
        self.target_, self.ids_ = arrays["target"], _unpacked(arrays["ids"])
        self.recipe_ = Recipe(k, dim, bool(cosine), bool(median), bool(sum(discriminant)))
        self.floor_, self.weight_ = float(arrays["floor"][0]), arrays.get("weight")
        self.interval_ = Interval.from_arrays(arrays)
        self.n_features_in_ = len(self.standardise_.mean)

    def subset(self, rows: Ints) -> Self:
        """The same probe with some of its labelled galaxies alone."""
        part = copy(self)
        part.catalogue_, part.target_ = self.catalogue_[rows], self.target_[rows]
        part.ids_, part.weight_ = self.ids_[rows], self.counts(rows)
        return part

    def counts(self, rows: Ints) -> Doubles | None:
        """How much labelled galaxies count, in the shape of the rows; None if all the same."""
        return None if self.weight_ is None else self.weight_[rows]

    def _tune(
        self, queries: Floats, truth: Doubles, *, ks: list[int], dims: tuple[int, ...]
    ) -> Trial:
        """The recipe that suits projected queries of known ln(1+z), on the axes as they are."""
        trials = []
        for dim, cosine in itertools.product(dims, (False, True)):
            space = Recipe(max(ks), dim, cosine, median=False)
            distance, rows = self.search(queries, space, None)
            for k, median in itertools.product(ks, (False, True)):
                near = rows[:, :k]
                answer, spread = weigh(
                    distance[:, :k], self.target_[near], median=median, count=self.counts(near)
                )
                recipe = Recipe(k, dim, cosine, median)
                trials.append(Trial(tuning_score(answer, truth), recipe, answer, spread))
        return min(trials, key=lambda trial: trial.score)

    def search(self, queries: Floats, recipe: Recipe, ids: Array | None) -> tuple[Floats, Ints]:
        """Nearest labelled galaxies.

        Args:
            queries: Places on the axes, shape (M, P).
            recipe: Number of neighbours, and the space to look in.
            ids: Identifiers of the queries, shape (M,): a galaxy itself is moved last, infinitely
                far; an id that means none tells it only beside equal features. None if no query
                is in the catalogue.

        Returns:
            Distances and rows of the catalogue, nearest first, shape (M, K) each.
        """
        index = faiss.IndexFlatL2(recipe.dim)
        index.add(_space(self.catalogue_, recipe))
        nobody = means_none(self.ids_)
        _, count = np.unique(self.ids_[~nobody], return_counts=True)
        repeats = 0 if ids is None else max(int(count.max(initial=0)), 1)
        wanted = min(recipe.k + repeats, len(self.catalogue_))
        parts = [
            index.search(_space(queries[start : start + QUERIES_AT_ONCE], recipe), wanted)
            for start in tqdm(
                range(0, len(queries), QUERIES_AT_ONCE),
                desc="nearest neighbours",
                disable=len(queries) * len(self.catalogue_) < 10**9,
            )
        ]
        squared, rows = (np.concatenate(part) for part in zip(*parts, strict=True))
        distance = np.sqrt(np.maximum(squared, 0))
        if ids is not None:
            itself = self.ids_[rows] == np.asarray(ids)[:, None]
            length = np.linalg.norm(_space(queries, recipe), axis=1)[:, None]
            itself &= ~nobody[rows] | (distance <= SAME_FEATURES * length)
            order = np.argsort(itself, axis=1, kind="stable")[:, : recipe.k]
            distance = np.take_along_axis(np.where(itself, np.inf, distance), order, axis=1)
            rows = np.take_along_axis(rows, order, axis=1)
        return distance, rows


class NeighbourDensity(DensityProbe):
    """Gaussian kernels in ln(1+z) on the k nearest labelled galaxies, weighted by 1 / distance.

    k is chosen for each galaxy: its k nearest labelled galaxies are each given a density by their
    own k neighbours, themselves left out, and k is the one for which the probability integral
    transform (PIT) of their redshifts is flattest [1]. Chance roughens the PIT of few galaxies, so
    k grows until the neighbours are no longer of one kind.

    Args:
        ks: Numbers of neighbours to choose from, increasing; those beyond the catalogue are left
            out.
        most: Greatest number of labelled galaxies that PIT is found for; more are sampled.
        discriminants: Numbers of discriminant axes to try, see `KNN`.
        grid: Redshifts of the densities, shape (G,); from 0 to beyond the greatest labelled one
            by default.
        seed: Seed of that sample, and of the nearest neighbours' fit.

    Attributes:
        knn_: The fitted probe whose axes, metric and catalogue are used.
        rows_: Labelled galaxies whose PIT is known, rows of the catalogue, shape (R,).
        reference_: Probe of the same kind over those galaxies alone.
        pit_: Their PIT with each k, themselves left out, shape (R, len(ks_)).
        ks_: Numbers of neighbours to choose from.
        floor_: Least spread of neighbours taken at its word, in ln(1+z).
        error_: Error of ln(1+z) of the labelled galaxies, shape (N,); None if there is none.
        grid_: Redshifts of the densities, shape (G,).

    References:
        [1] Lin et al. 2024, A&A 691, A331 (CLAP).
    """

    def __init__(
        self,
        *,
        ks: tuple[int, ...] = (8, 16, 32, 64),
        most: int = 20_000,
        discriminants: tuple[int, ...] = DISCRIMINANTS,
        grid: Doubles | None = None,
        seed: int = 0,
    ) -> None:
        self.ks = ks
        self.most = most
        self.discriminants = discriminants
        self.grid = grid
        self.seed = seed

    @property
    def chosen_(self) -> dict[str, float]:  # type: ignore[override]
        """Where distances are taken; k differs from galaxy to galaxy."""
        chosen = self.knn_.chosen_
        return {name: chosen[name] for name in ("dim", "cosine", "discriminant")}

    def _fit(
        self,
        X: Floats,
        z: Doubles,
        val_X: Floats,
        val_z: Doubles,
        ids: Array | None,
        sample_weight: Doubles | None = None,
        z_error: Doubles | None = None,
    ) -> None:
        knn = self.knn_ = KNN(discriminants=self.discriminants, seed=self.seed).fit(
            X, z, validation=(val_X, val_z), ids=ids, sample_weight=sample_weight
        )
        self.error_ = None if z_error is None else z_error / (1 + z)
        n = len(z)
        self.ks_ = sorted({min(k, max(1, n // 2)) for k in self.ks})
        self.rows_ = np.sort(np.random.default_rng(self.seed).permutation(n)[: self.most])
        self.reference_ = knn.subset(self.rows_)
        places, names = self.reference_.catalogue_, self.reference_.ids_
        distance, near = _nearest(knn, places, self.ks_[-1], names)
        near_target = knn.target_[near]
        spread = _spread(near_target[:, : self.ks_[0]])
        floor = self.floor_ = 0.5 * float(np.median(spread)) + 1e-6
        truth = self.reference_.target_
        pit = [
            _pit(truth, *self._kernels(distance[:, :k], near[:, :k], floor=floor)) for k in self.ks_
        ]
        self.pit_: Doubles = np.stack(pit, axis=1)
        self.grid_ = grid_for(np.expm1(knn.target_)) if self.grid is None else self.grid

    def choose(self, X: Array, *, ids: Array | None = None) -> Ints:
        """Number of neighbours that suits each galaxy, shape (M,).

        Args:
            X: Features, shape (M, D).
            ids: Identifiers, shape (M,); a galaxy has no say in its own k.
        """
        places = self.knn_.project(np.asarray(X, dtype=np.float32))
        return np.asarray(self.ks_)[self._choice(places, ids)]

    def _density(self, X: Floats, ids: Array | None) -> Density:
        places = self.knn_.project(X)
        choice = self._choice(places, ids)
        distance, rows = _nearest(self.knn_, places, self.ks_[-1], ids)
        target = to_target(self.grid_)
        values = np.empty((len(places), len(target)))
        for which, k in enumerate(self.ks_):
            mine = np.flatnonzero(choice == which)
            for part in np.array_split(mine, max(1, -(-len(mine) // GALAXIES_AT_ONCE))):
                near = self._kernels(distance[part, :k], rows[part, :k], floor=self.floor_)
                values[part] = _mixture(target, *near)
        return Density.of(self.grid_, values / (1 + self.grid_))

    def _stored(self) -> dict[str, Array]:
        return {
            **self.knn_.arrays(),
            "reference": self.rows_,
            "pit": self.pit_,
            "ks": np.array(self.ks_),
            "density_floor": np.array([self.floor_]),
            "grid": self.grid_,
            **({} if self.error_ is None else {"error": self.error_}),
        }

    def _restore(self, arrays: Mapping[str, Array]) -> None:
        self.knn_, self.rows_ = KNN.from_arrays(arrays), arrays["reference"]
        self.reference_ = self.knn_.subset(self.rows_)
        self.pit_, self.grid_ = arrays["pit"], arrays["grid"]
        self.ks_ = arrays["ks"].tolist()
        self.floor_, self.error_ = float(arrays["density_floor"][0]), arrays.get("error")
        self.n_features_in_ = self.knn_.n_features_in_

    def _kernels(
        self, distance: Floats, rows: Ints, *, floor: float
    ) -> tuple[Doubles, Doubles, Doubles]:
        """Gaussians on neighbours, rows of the catalogue, as wide as their labels' errors too."""
        count = self.knn_.counts(rows)
        found = kernels(distance, self.knn_.target_[rows], floor=floor, count=count)
        weights, centres, width = found
        return (
            found if self.error_ is None else (weights, centres, np.hypot(width, self.error_[rows]))
        )

    def _choice(self, places: Floats, ids: Array | None) -> Ints:
        """Which of the numbers of neighbours suits each query, shape (M,)."""
        _, near = _nearest(self.reference_, places, self.ks_[-1], ids)
        uneven = [unevenness(self.pit_[near[:, :k], which]) for which, k in enumerate(self.ks_)]
        return np.asarray(np.argmin(uneven, axis=0))


def weigh(
    distance: Floats, target: Doubles, *, median: bool = False, count: Doubles | None = None
) -> tuple[Doubles, Doubles]:
    """Average neighbours with weights 1 / distance.

    Args:
        distance: Shape (M, K); infinite for a neighbour that must not count.
        target: ln(1+z) of the neighbours, shape (M, K).
        median: Return the weighted median, not the mean.
        count: How much each counts, shape (M, K); all the same if None.

    Returns:
        The average and the weighted standard deviation about it, shape (M,) each.
    """
    weights = _weights(distance, count)
    centre = np.sum(weights * target, axis=1)
    if median:
        order = np.argsort(target, axis=1)
        below = np.cumsum(np.take_along_axis(weights, order, axis=1), axis=1)
        middle = np.argmax(below >= 0.5 - 1e-12, axis=1)[:, None]
        centre = np.take_along_axis(np.take_along_axis(target, order, axis=1), middle, axis=1)[:, 0]
    variance = np.sum(weights * (target - centre[:, None]) ** 2, axis=1)
    return centre, np.sqrt(variance)


def unevenness(pit: Doubles) -> Doubles:
    """Wasserstein distance of samples in (0, 1) to the uniform distribution.

    Args:
        pit: M sets of L values, shape (M, L).

    Returns:
        Mean distance that a value is to be moved by, shape (M,); 0 if they are evenly spaced.
    """
    even = (np.arange(pit.shape[1]) + 0.5) / pit.shape[1]
    return np.asarray(np.mean(np.abs(np.sort(pit, axis=1) - even), axis=1))


def kernels(
    distance: Floats, target: Doubles, *, floor: float, count: Doubles | None = None
) -> tuple[Doubles, Doubles, Doubles]:
    """Turn neighbours into Gaussians.

    The width is Silverman's robust rule [1] with the number of neighbours that the weights are
    worth.

    Args:
        distance: Shape (M, K); infinite for a neighbour that must not count.
        target: ln(1+z) of the neighbours, shape (M, K).
        floor: Least spread taken at its word.
        count: How much each counts, shape (M, K); all the same if None.

    Returns:
        Weights that sum to 1 (M, K), centres (M, K) and widths (M, 1).

    References:
        [1] Silverman 1986, Density Estimation, eq. 3.31.
    """
    weights = _weights(distance, count)
    worth = 1 / np.sum(weights**2, axis=1)
    width = 0.9 * np.maximum(_spread(target), floor) * worth**-0.2
    return weights, target, width[:, None]


def _weights(distance: Floats, count: Doubles | None) -> Doubles:
    """Weights that sum to 1, (M, K): 1 / distance, times how much each counts."""
    # A neighbour at no distance at all outweighs every other, but divides by no zero.
    weights = 1 / np.maximum(distance.astype(np.float64), 1e-9)
    if count is not None:
        weights *= np.maximum(count, 1e-12)
    weights /= weights.sum(axis=1, keepdims=True)
    return np.asarray(weights)


def distances_to(catalogue: Floats, queries: Floats, k: int) -> Floats:
    """Distances to the k nearest of some places, other than a place itself; (M, k), increasing.

    Args:
        catalogue: Places, shape (N, P), N above k.
        queries: Places, shape (M, P).
        k: Number of neighbours.
    """
    index = faiss.IndexFlatL2(catalogue.shape[1])
    index.add(np.ascontiguousarray(catalogue, np.float32))
    asked = np.ascontiguousarray(queries, np.float32)
    starts = range(0, len(asked), QUERIES_AT_ONCE)
    parts = [index.search(asked[start : start + QUERIES_AT_ONCE], k + 1)[0] for start in starts]
    squared = np.concatenate(parts) if parts else np.empty((0, k + 1), np.float32)
    lengths = np.einsum("np,np->n", asked, asked, dtype=np.float64)
    itself = squared[:, 0] <= SAME_FEATURES**2 * lengths
    found = np.where(itself[:, None], squared[:, 1:], squared[:, :-1])
    return np.asarray(np.sqrt(np.maximum(found, 0)), np.float32)


def _nearest(knn: KNN, queries: Floats, k: int, ids: Array | None) -> tuple[Floats, Ints]:
    return knn.search(queries, knn.recipe_._replace(k=k), ids)


def _spread(target: Doubles) -> Doubles:
    """Robust standard deviation along the neighbours, shape (M,)."""
    low, high = np.quantile(target, (0.25, 0.75), axis=1)
    return np.asarray(np.minimum(target.std(axis=1), (high - low) / WIDTHS_OF_SIGMA))


def _pit(truth: Doubles, weights: Doubles, centres: Doubles, width: Doubles) -> Doubles:
    """Probability below the truth, given that redshift is above 0; shape (M,)."""
    below = np.sum(weights * ndtr((truth[:, None] - centres) / width), axis=1)
    negative = np.sum(weights * ndtr(-centres / width), axis=1)
    return np.asarray(np.clip((below - negative) / (1 - negative), 0, 1))


def _mixture(at: Doubles, weights: Doubles, centres: Doubles, width: Doubles) -> Doubles:
    """Gaussian mixture of each galaxy at (G,), up to a factor; shape (M, G)."""
    if width.shape[1] > 1:
        weights = weights / width
    # Single precision halves the time, and is a millionth of a kernel's height.
    scaled = at.astype(np.float32) - centres.astype(np.float32)[:, :, None]
    scaled /= width.astype(np.float32)[:, :, None]
    np.square(scaled, out=scaled)
    np.exp(-0.5 * scaled, out=scaled)
    return np.asarray(weights.astype(np.float32)[:, None] @ scaled, dtype=np.float64)[:, 0]


def _space(vectors: Floats, recipe: Recipe) -> Floats:
    """Contiguous vectors (N, dim) in which to take Euclidean distances."""
    cut = np.array(vectors[:, : recipe.dim], dtype=np.float32, order="C")
    if recipe.cosine:
        faiss.normalize_L2(cut)
    return cut


def _sample(rng: np.random.Generator, n: int, most: int) -> Ints:
    return np.arange(n) if n <= most else np.sort(rng.choice(n, most, replace=False))


def _packed(ids: Array) -> Array:
    """Ids as an array that safetensors can hold: text becomes bytes, (N, width)."""
    if ids.dtype.kind in "iu":
        return ids
    text = np.char.encode(ids.astype(str), "utf-8")
    return np.frombuffer(text.tobytes(), dtype=np.uint8).reshape(len(ids), -1)


def _unpacked(packed: Array) -> Array:
    if packed.ndim == 1:
        return packed
    text = np.frombuffer(packed.tobytes(), dtype=f"S{packed.shape[1]}")
    return np.char.decode(text, "utf-8").astype(object)
