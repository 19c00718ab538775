"""Redshifts from the labelled galaxies nearest in the embedding."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple, Self

import faiss
import numpy as np
from tqdm import tqdm

from ssl_photoz.core.types import Array, Doubles, Floats, Ints
from ssl_photoz.photoz.features import Standardise, principal_axes
from ssl_photoz.photoz.intervals import Interval
from ssl_photoz.photoz.protocol import Prediction, to_redshift, to_target, tuning_score

PCA_ROWS = 50_000
TUNING_ROWS = 4_000
QUERIES_AT_ONCE = 4_096


class Recipe(NamedTuple):
    """How neighbours make a redshift.

    Attributes:
        k: Neighbours.
        dim: Principal components that distances are taken in.
        cosine: Whether vectors are brought to length one first.
        median: Weighted median of the neighbours, not their weighted mean.
    """

    k: int
    dim: int
    cosine: bool
    median: bool


@dataclass(frozen=True)
class KNN:
    """Exact nearest neighbours, weighted by inverse distance.

    Attributes:
        standardise: What features go through first.
        axes: Principal axes of the standardised features, shape (D, P).
        catalogue: Labelled galaxies on those axes, shape (N, P).
        target: Their ln(1+z), shape (N,).
        ids: Their identifiers, shape (N,).
        recipe: What was chosen on validation.
        floor: Least spread of neighbours taken at its word, in ln(1+z).
        interval: Calibrated half-widths, in units of the neighbours' spread.
    """

    standardise: Standardise
    axes: Floats
    catalogue: Floats
    target: Doubles
    ids: Array
    recipe: Recipe
    floor: float
    interval: Interval

    @property
    def chosen(self) -> dict[str, float]:
        """The recipe."""
        return {name: float(value) for name, value in self.recipe._asdict().items()}

    @classmethod
    def fit(
        cls,
        features: Floats,
        z: Array,
        *,
        val_features: Floats,
        val_z: Array,
        ids: Array | None = None,
        seed: int = 0,
        ks: tuple[int, ...] = (4, 8, 16, 32, 64),
        dims: tuple[int, ...] = (16, 32, 64),
    ) -> Self:
        """Remember the labelled galaxies and choose a recipe on validation; see `Probe.fit`.

        Args:
            features: Shape (N, D).
            z: Redshifts, shape (N,).
            val_features: Validation features.
            val_z: Validation redshifts.
            ids: Identifiers of the N galaxies.
            seed: Of the samples taken from very large catalogues for PCA and choosing.
            ks: Neighbours to try.
            dims: Principal components to try.
        """
        rng = np.random.default_rng(seed)
        standardise = Standardise.fit(features)
        most = min(max(dims), *features.shape)
        some = _sample(rng, len(z), PCA_ROWS)
        axes = principal_axes(standardise.apply(features[some]), most)
        probe = cls(
            standardise=standardise,
            axes=axes,
            catalogue=standardise.apply(features) @ axes,
            target=to_target(z),
            ids=np.arange(len(z)) if ids is None else np.asarray(ids),
            recipe=Recipe(k=1, dim=most, cosine=False, median=False),
            floor=0.0,
            interval=Interval(np.empty(0), np.ones(1)),
        )
        rows = _sample(rng, len(val_z), TUNING_ROWS)
        return probe._tuned(
            standardise.apply(val_features[rows]) @ axes,
            to_target(val_z[rows]),
            ks=sorted({min(k, max(1, len(z) // 2)) for k in ks}),
            dims=sorted({min(dim, most) for dim in dims}),
        )

    def predict(self, features: Floats, *, ids: Array | None = None) -> Prediction:
        """Weigh the neighbours of each galaxy; see `Probe.predict`."""
        queries = self.standardise.apply(features) @ self.axes
        distance, rows = self.search(queries, self.recipe, ids)
        predicted, spread = weigh(distance, self.target[rows], median=self.recipe.median)
        interval = self.interval.around(predicted, spread=np.maximum(spread, self.floor))
        return Prediction(to_redshift(predicted), *interval, self.ids[rows])

    def arrays(self) -> dict[str, Array]:
        """See `Probe.arrays`."""
        return {
            "mean": self.standardise.mean,
            "scale": self.standardise.scale,
            "axes": self.axes,
            "catalogue": self.catalogue,
            "target": self.target,
            "ids": _packed(self.ids),
            "recipe": np.array(self.recipe, dtype=np.int64),
            "floor": np.array([self.floor]),
            "half_widths": self.interval.half_widths,
            "edges": self.interval.edges,
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Array]) -> Self:
        """See `Probe.from_arrays`."""
        k, dim, cosine, median = (int(value) for value in arrays["recipe"])
        return cls(
            standardise=Standardise(arrays["mean"], arrays["scale"]),
            axes=arrays["axes"],
            catalogue=arrays["catalogue"],
            target=arrays["target"],
            ids=_unpacked(arrays["ids"]),
            recipe=Recipe(k, dim, bool(cosine), bool(median)),
            floor=float(arrays["floor"][0]),
            interval=Interval(arrays["edges"], arrays["half_widths"]),
        )

    def _tuned(self, queries: Floats, truth: Doubles, *, ks: list[int], dims: list[int]) -> Self:
        """Return this probe with the recipe that suits projected queries of known ln(1+z)."""
        trials = []
        for dim, cosine in itertools.product(dims, (False, True)):
            space = Recipe(max(ks), dim, cosine, median=False)
            distance, rows = self.search(queries, space, None)
            for k, median in itertools.product(ks, (False, True)):
                answer, spread = weigh(distance[:, :k], self.target[rows[:, :k]], median=median)
                recipe = Recipe(k, dim, cosine, median)
                trials.append((tuning_score(answer, truth), recipe, answer, spread))
        _, recipe, answer, spread = min(trials, key=lambda trial: trial[0])
        floor = 0.5 * float(np.median(spread)) + 1e-6
        interval = Interval.fit(answer, truth, spread=np.maximum(spread, floor))
        return replace(self, recipe=recipe, floor=floor, interval=interval)

    def search(self, queries: Floats, recipe: Recipe, ids: Array | None) -> tuple[Floats, Ints]:
        """Find the nearest labelled galaxies.

        Args:
            queries: Places on the axes, shape (M, P).
            recipe: Says how many neighbours, and in which space.
            ids: Identifiers of the queries, shape (M,): a galaxy itself is moved last, infinitely
                far. None if no query is in the catalogue.

        Returns:
            Distances and rows of the catalogue, nearest first, shape (M, K) each.
        """
        index = faiss.IndexFlatL2(recipe.dim)
        index.add(_space(self.catalogue, recipe))
        repeats = 0 if ids is None else np.unique(self.ids, return_counts=True)[1].max()
        wanted = min(recipe.k + int(repeats), len(self.catalogue))
        parts = [
            index.search(_space(queries[start : start + QUERIES_AT_ONCE], recipe), wanted)
            for start in tqdm(
                range(0, len(queries), QUERIES_AT_ONCE),
                desc="nearest neighbours",
                disable=len(queries) * len(self.catalogue) < 10**9,
            )
        ]
        squared, rows = (np.concatenate(part) for part in zip(*parts, strict=True))
        distance = np.sqrt(np.maximum(squared, 0))
        if ids is not None:
            itself = self.ids[rows] == np.asarray(ids)[:, None]
            order = np.argsort(itself, axis=1, kind="stable")[:, : recipe.k]
            distance = np.take_along_axis(np.where(itself, np.inf, distance), order, axis=1)
            rows = np.take_along_axis(rows, order, axis=1)
        return distance, rows


def weigh(distance: Floats, target: Doubles, *, median: bool = False) -> tuple[Doubles, Doubles]:
    """Average neighbours with weights 1 / distance.

    Args:
        distance: Shape (M, K); infinite for a neighbour that must not count.
        target: ln(1+z) of the neighbours, shape (M, K).
        median: Return the weighted median, not the mean.

    Returns:
        The average and the weighted standard deviation about it, shape (M,) each.
    """
    # A neighbour at no distance at all outweighs every other, but divides by no zero.
    weights = 1 / np.maximum(distance.astype(np.float64), 1e-9)
    weights /= weights.sum(axis=1, keepdims=True)
    centre = np.sum(weights * target, axis=1)
    if median:
        order = np.argsort(target, axis=1)
        below = np.cumsum(np.take_along_axis(weights, order, axis=1), axis=1)
        middle = np.argmax(below >= 0.5 - 1e-12, axis=1)[:, None]
        centre = np.take_along_axis(np.take_along_axis(target, order, axis=1), middle, axis=1)[:, 0]
    variance = np.sum(weights * (target - centre[:, None]) ** 2, axis=1)
    return centre, np.sqrt(variance)


def _space(vectors: Floats, recipe: Recipe) -> Floats:
    """Return contiguous vectors (N, dim) in which to take Euclidean distances."""
    cut = np.array(vectors[:, : recipe.dim], dtype=np.float32, order="C")
    if recipe.cosine:
        faiss.normalize_L2(cut)
    return cut


def _sample(rng: np.random.Generator, n: int, most: int) -> Ints:
    return np.arange(n) if n <= most else np.sort(rng.choice(n, most, replace=False))


def _packed(ids: Array) -> Array:
    """Return ids as an array that safetensors can hold: text becomes bytes, (N, width)."""
    if ids.dtype.kind in "iu":
        return ids
    text = np.char.encode(ids.astype(str), "utf-8")
    return np.frombuffer(text.tobytes(), dtype=np.uint8).reshape(len(ids), -1)


def _unpacked(packed: Array) -> Array:
    if packed.ndim == 1:
        return packed
    text = np.frombuffer(packed.tobytes(), dtype=f"S{packed.shape[1]}")
    return np.char.decode(text, "utf-8").astype(object)
