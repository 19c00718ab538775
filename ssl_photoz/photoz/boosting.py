"""Gradient-boosted trees on features, kept as plain arrays."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
from sklearn.ensemble import HistGradientBoostingRegressor
from tqdm import tqdm

from ssl_photoz.core.types import Array, Doubles, Floats, Ints
from ssl_photoz.photoz.features import Standardise
from ssl_photoz.photoz.intervals import Interval
from ssl_photoz.photoz.protocol import Prediction, to_redshift, to_target, tuning_score

LEARNING_RATE = 0.05
ROWS_AT_ONCE = 4_096


@dataclass(frozen=True)
class Trees:
    """Regression trees as flat arrays, all nodes of all trees one after the other.

    Attributes:
        feature: Column that a node asks for, shape (M,).
        threshold: Up to which it goes left, shape (M,).
        children: Left and right node, shape (M, 2); a leaf is its own child.
        value: What a leaf adds, shape (M,).
        roots: First node of each tree, shape (T,).
        depths: Of each tree, shape (T,).
        baseline: What the trees add to.
    """

    feature: Ints
    threshold: Doubles
    children: Ints
    value: Doubles
    roots: Ints
    depths: Ints
    baseline: float

    @classmethod
    def of(cls, booster: HistGradientBoostingRegressor, *, count: int) -> Self:
        """Take the first trees of a fitted booster; its features must hold no NaN."""
        nodes = [stage[0].nodes for stage in booster._predictors[:count]]
        sizes = [len(tree) for tree in nodes]
        roots = np.cumsum([0, *sizes[:-1]])
        every = np.concatenate(nodes)
        itself, leaf = np.arange(len(every)), every["is_leaf"].astype(bool)
        first = np.repeat(roots, sizes)
        children = [np.where(leaf, itself, every[side] + first) for side in ("left", "right")]
        return cls(
            feature=np.where(leaf, 0, every["feature_idx"]).astype(np.int64),
            threshold=np.where(leaf, 0.0, every["num_threshold"]),
            children=np.stack(children, axis=1).astype(np.int64),
            value=np.where(leaf, every["value"], 0.0),
            roots=roots.astype(np.int64),
            depths=np.array([tree["depth"].max() for tree in nodes], dtype=np.int64),
            baseline=float(np.ravel(booster._baseline_prediction)[0]),
        )

    def __call__(self, features: Floats) -> Doubles:
        """Return the sum over all trees, (N,), for features (N, D)."""
        total = np.full(len(features), self.baseline)
        work = len(features) * len(self.roots)
        for start in tqdm(
            range(0, len(features), ROWS_AT_ONCE), desc="trees", leave=False, disable=work < 10**7
        ):
            self._add(features[start : start + ROWS_AT_ONCE], total[start : start + ROWS_AT_ONCE])
        return total

    def _add(self, features: Floats, total: Doubles) -> None:
        flat, rows = np.ravel(features), np.arange(len(features)) * features.shape[1]
        for root, depth in zip(self.roots, self.depths, strict=True):
            node = np.full(len(features), root)
            for _ in range(depth):
                right = flat[rows + self.feature[node]] > self.threshold[node]
                node = self.children[node, right.astype(np.int64)]
            total += self.value[node]


class Recipe(NamedTuple):
    """What is chosen on validation.

    Attributes:
        absolute: Whether the absolute error is minimised, not the squared one.
        leaves: Of a tree, at most.
        trees: How many.
    """

    absolute: bool
    leaves: int
    trees: int


@dataclass(frozen=True)
class Boosting:
    """Boosted trees; answers stay within the range of their training redshifts.

    Attributes:
        standardise: What features go through first; it only clips what is ten sigma off.
        trees: The fitted trees; they give ln(1+z).
        bounds: Least and greatest ln(1+z) of the training galaxies.
        recipe: What was chosen.
        interval: Calibrated half-widths.
    """

    standardise: Standardise
    trees: Trees
    bounds: tuple[float, float]
    recipe: Recipe
    interval: Interval

    @property
    def chosen(self) -> dict[str, float]:
        """Loss, leaves of a tree, and number of trees."""
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
        leaves: tuple[int, ...] = (8, 31),
        most_trees: int = 400,
    ) -> Self:
        """Boost with either loss, keep the best number of trees on validation; see `Probe.fit`.

        Args:
            features: Shape (N, D).
            z: Redshifts, shape (N,).
            val_features: Validation features.
            val_z: Validation redshifts.
            ids: Not used.
            seed: Of the sample that bin edges are taken from, if galaxies are very many.
            leaves: Greatest numbers of leaves to try.
            most_trees: To try.
        """
        standardise = Standardise.fit(features)
        target, truth = to_target(z), to_target(val_z)
        bounds = (float(target.min()), float(target.max()))
        train, val = standardise.apply(features), standardise.apply(val_features)
        trials = []
        kinds = list(itertools.product((False, True), leaves))
        for absolute, most in tqdm(kinds, desc="boosting", leave=False, mininterval=0.5):
            booster = HistGradientBoostingRegressor(
                loss="absolute_error" if absolute else "squared_error",
                learning_rate=LEARNING_RATE,
                max_iter=most_trees,
                max_leaf_nodes=most,
                early_stopping=False,
                random_state=seed,
            ).fit(train, target)
            answers = (np.clip(answer, *bounds) for answer in booster.staged_predict(val))
            scores = [tuning_score(answer, truth) for answer in answers]
            count = int(np.argmin(scores)) + 1
            trials.append((min(scores), Recipe(absolute, most, count), booster))
        _, recipe, booster = min(trials, key=lambda trial: trial[0])
        trees = Trees.of(booster, count=recipe.trees)
        answer = np.clip(trees(val), *bounds)
        return cls(standardise, trees, bounds, recipe, Interval.fit(answer, truth))

    def predict(self, features: Floats, *, ids: Array | None = None) -> Prediction:
        """Add up the trees; see `Probe.predict`."""
        predicted = np.clip(self.trees(self.standardise.apply(features)), *self.bounds)
        return Prediction(to_redshift(predicted), *self.interval.around(predicted))

    def arrays(self) -> dict[str, Array]:
        """See `Probe.arrays`."""
        return {
            "mean": self.standardise.mean,
            "scale": self.standardise.scale,
            "feature": self.trees.feature,
            "threshold": self.trees.threshold,
            "children": self.trees.children,
            "value": self.trees.value,
            "roots": self.trees.roots,
            "depths": self.trees.depths,
            "scalars": np.array([self.trees.baseline, *self.bounds]),
            "recipe": np.array(self.recipe, dtype=np.int64),
            "half_widths": self.interval.half_widths,
            "edges": self.interval.edges,
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Array]) -> Self:
        """See `Probe.from_arrays`."""
        baseline, low, high = (float(value) for value in arrays["scalars"])
        absolute, leaves, count = (int(value) for value in arrays["recipe"])
        parts = ("feature", "threshold", "children", "value", "roots", "depths")
        return cls(
            standardise=Standardise(arrays["mean"], arrays["scale"]),
            trees=Trees(**{name: arrays[name] for name in parts}, baseline=baseline),
            bounds=(low, high),
            recipe=Recipe(bool(absolute), leaves, count),
            interval=Interval(arrays["edges"], arrays["half_widths"]),
        )
