"""Probes that scikit-learn solves: the mean, ridge regression, support vectors, boosted trees."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, ClassVar, Self

import numpy as np
import sklearn
from sklearn.base import clone
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import Ridge as RidgeSolver
from sklearn.svm import SVR as SVRSolver
from sklearn.utils.validation import has_fit_parameter
from tqdm import tqdm

from ssl_photoz.core.errors import ArtefactError, ConfigError
from ssl_photoz.core.types import Array, Doubles, Floats, Ints
from ssl_photoz.photoz.base import (
    Interval,
    PointProbe,
    PrincipalAxes,
    Standardise,
    refuse_not_finite,
    to_target,
    tuning_score,
)

ALPHAS_PER_GALAXY = tuple(float(alpha) for alpha in np.logspace(-8, 1, 37))
MOST_SVR_GALAXIES = 10_000
SVR_TUNING_GALAXIES = 2_000
ROWS_AT_ONCE = 4_096
TREE = "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor"


class Mean(PointProbe):
    """The baseline that knows nothing of a galaxy: the mean ln(1+z) of the training galaxies.

    Attributes:
        target_: That mean.
    """

    def __init__(self, *, seed: int = 0) -> None:
        self.seed = seed

    def _fit(
        self,
        X: Floats,
        z: Doubles,
        val_X: Floats,
        val_z: Doubles,
        ids: Array | None,
        sample_weight: Doubles | None = None,
    ) -> None:
        self.target_ = float(np.average(to_target(z), weights=sample_weight))
        truth = to_target(val_z)
        self.interval_ = Interval.fit(np.full(len(truth), self.target_), truth, most_bins=1)
        self.chosen_ = {}

    def _answer(self, X: Floats) -> Doubles:
        return np.full(len(X), self.target_)

    def _stored(self) -> dict[str, Array]:
        return {"target": np.array([self.target_])}

    def _restore(self, arrays: Mapping[str, Array]) -> None:
        self.target_, self.chosen_ = float(arrays["target"][0]), {}


class Regressor(PointProbe):
    """Any regressor of scikit-learn's kind, fitted to ln(1+z), with calibrated intervals.

    It reads features as they are, chooses nothing on validation, and cannot be stored.

    Args:
        regressor: The regressor, such as ``RandomForestRegressor()`` or a ``Pipeline``.
        seed: Seed of the galaxies held out where no validation is given.

    Attributes:
        regressor_: The fitted regressor.
    """

    def __init__(self, regressor: Any, *, seed: int = 0) -> None:  # noqa: ANN401
        self.regressor = regressor
        self.seed = seed

    def _fit(
        self,
        X: Floats,
        z: Doubles,
        val_X: Floats,
        val_z: Doubles,
        ids: Array | None,
        sample_weight: Doubles | None = None,
    ) -> None:
        for features in (X, val_X):
            refuse_not_finite(features)
        if sample_weight is None:
            self.regressor_ = clone(self.regressor).fit(X, to_target(z))
        elif has_fit_parameter(self.regressor, "sample_weight"):
            regressor = clone(self.regressor)
            self.regressor_ = regressor.fit(X, to_target(z), sample_weight=sample_weight)
        else:
            raise ConfigError(f"{type(self.regressor).__name__} takes no sample_weight")
        self.chosen_ = {}
        self.interval_ = Interval.fit(self._answer(val_X), to_target(val_z))

    def _answer(self, X: Floats) -> Doubles:
        return np.asarray(self.regressor_.predict(X), dtype=np.float64)


class Ridge(PointProbe):
    """What a straight line reads off the features; answers stay within the training redshifts.

    All penalties are solved at once, the best on validation is kept.

    Args:
        alphas: Penalties to try, per training galaxy (the sum of squares is over N).
        seed: Seed of the galaxies held out where no validation is given; the solution is exact.

    Attributes:
        standardise_: Standardisation of the features.
        weights_: Slope of ln(1+z) along each standardised feature, shape (D,).
        intercept_: ln(1+z) of a galaxy with mean features.
        bounds_: Least and greatest ln(1+z) of the training galaxies.
    """

    def __init__(self, *, alphas: tuple[float, ...] = ALPHAS_PER_GALAXY, seed: int = 0) -> None:
        self.alphas = alphas
        self.seed = seed

    def _fit(
        self,
        X: Floats,
        z: Doubles,
        val_X: Floats,
        val_z: Doubles,
        ids: Array | None,
        sample_weight: Doubles | None = None,
    ) -> None:
        self.standardise_ = Standardise.fit(X)
        target, truth = to_target(z), to_target(val_z)
        self.bounds_ = float(target.min()), float(target.max())
        # One target per penalty: the solver then forms the Gram matrix once for all of them.
        solver = RidgeSolver(alpha=np.array(self.alphas) * len(target), solver="cholesky")
        solver.fit(
            self.standardise_.apply(X).astype(np.float64),
            np.repeat(target[:, None], len(self.alphas), axis=1),
            sample_weight=None if sample_weight is None else sample_weight / sample_weight.mean(),
        )
        slopes, intercepts = np.atleast_2d(solver.coef_), np.atleast_1d(solver.intercept_)
        answers = np.clip(self.standardise_.apply(val_X) @ slopes.T + intercepts, *self.bounds_)
        best = int(np.argmin([tuning_score(answer, truth) for answer in answers.T]))
        self.weights_: Doubles = slopes[best]
        self.intercept_ = float(intercepts[best])
        self.chosen_ = {"alpha_per_galaxy": float(self.alphas[best])}
        self.interval_ = Interval.fit(answers[:, best], truth)

    def _answer(self, X: Floats) -> Doubles:
        line = self.standardise_.apply(X) @ self.weights_ + self.intercept_
        return np.clip(line, *self.bounds_)

    def _stored(self) -> dict[str, Array]:
        alpha = self.chosen_["alpha_per_galaxy"]
        return {
            **self.standardise_.arrays(),
            "weights": self.weights_,
            "scalars": np.array([self.intercept_, *self.bounds_, alpha]),
        }

    def _restore(self, arrays: Mapping[str, Array]) -> None:
        self.intercept_, low, high, alpha = (float(value) for value in arrays["scalars"])
        self.standardise_ = Standardise.from_arrays(arrays)
        self.weights_ = arrays["weights"]
        self.bounds_ = low, high
        self.chosen_ = {"alpha_per_galaxy": alpha}
        self.n_features_in_ = len(self.weights_)


class SVR(PointProbe):
    """A smooth curve through few labels: Gaussian kernels on principal components.

    Its loss is linear in large errors. The time of a fit grows with the square of the number of
    galaxies: of more than 10,000 a random 10,000 are used, and kernel and penalty are chosen on
    2,000 of them.

    Args:
        dim: Number of principal components.
        gammas: Kernel widths to try, in units of 1 / (mean squared length of a galaxy on the
            axes).
        penalties: Penalties of an error to try, C in the literature.
        epsilon: Error that is free, in standard deviations of ln(1+z), so that wrong labels weigh
            little.
        seed: Seed of the choice among very many galaxies.

    Attributes:
        axes_: Principal axes of the features.
        support_: Support vectors on the axes, shape (M, P).
        weights_: Their coefficients in ln(1+z), shape (M,).
        intercept_: ln(1+z) far from every support vector.
        bounds_: Least and greatest ln(1+z) of the training galaxies.

    References:
        Drucker et al. 1996, Advances in Neural Information Processing Systems 9, 155.
    """

    def __init__(
        self,
        *,
        dim: int = 64,
        gammas: tuple[float, ...] = (0.03, 0.1, 0.3),
        penalties: tuple[float, ...] = (0.3, 1.0, 3.0, 10.0),
        epsilon: float = 0.1,
        seed: int = 0,
    ) -> None:
        self.dim = dim
        self.gammas = gammas
        self.penalties = penalties
        self.epsilon = epsilon
        self.seed = seed

    def _fit(
        self,
        X: Floats,
        z: Doubles,
        val_X: Floats,
        val_z: Doubles,
        ids: Array | None,
        sample_weight: Doubles | None = None,
    ) -> None:
        rows = np.random.default_rng(self.seed).permutation(len(z))[:MOST_SVR_GALAXIES]
        self.axes_ = PrincipalAxes.fit(X[rows], self.dim)
        weight = None if sample_weight is None else sample_weight[rows]
        known, target, truth = self.axes_.apply(X[rows]), to_target(z[rows]), to_target(val_z)
        asked = self.axes_.apply(val_X)
        unit = 1 / float(np.mean(np.sum(known**2, axis=1)))
        some = slice(SVR_TUNING_GALAXIES)
        weights = None if weight is None else weight[some]
        trials = []
        pairs = list(itertools.product(self.gammas, self.penalties))
        for gamma, penalty in tqdm(pairs, desc="SVR settings", leave=False):
            self._solve(known[some], target[some], gamma * unit, penalty, weights)
            trials.append((tuning_score(self._line(asked), truth), gamma * unit, penalty))
        _, gamma, penalty = min(trials)
        self._solve(known, target, gamma, penalty, weight)
        self.interval_ = Interval.fit(self._line(asked), truth)

    def _solve(
        self,
        known: Floats,
        target: Doubles,
        gamma: float,
        penalty: float,
        weight: Doubles | None,
    ) -> None:
        centre, scale = float(target.mean()), float(target.std()) or 1.0
        solver = SVRSolver(gamma=gamma, C=penalty, epsilon=self.epsilon)
        solver.fit(known, (target - centre) / scale, sample_weight=weight)
        self.support_: Floats = np.asarray(solver.support_vectors_, dtype=np.float32)
        self.weights_: Doubles = solver.dual_coef_[0] * scale
        self.intercept_ = float(solver.intercept_[0]) * scale + centre
        self.bounds_ = float(target.min()), float(target.max())
        self.chosen_ = {"gamma": gamma, "penalty": penalty}

    def _answer(self, X: Floats) -> Doubles:
        return self._line(self.axes_.apply(X))

    def _stored(self) -> dict[str, Array]:
        return {
            **self.axes_.arrays(),
            "support": self.support_,
            "weights": self.weights_,
            "scalars": np.array([self.intercept_, *self.chosen_.values(), *self.bounds_]),
        }

    def _restore(self, arrays: Mapping[str, Array]) -> None:
        values = (float(value) for value in arrays["scalars"])
        self.intercept_, gamma, penalty, low, high = values
        self.axes_ = PrincipalAxes.from_arrays(arrays)
        self.support_, self.weights_ = arrays["support"], arrays["weights"]
        self.bounds_, self.chosen_ = (low, high), {"gamma": gamma, "penalty": penalty}
        self.n_features_in_ = len(self.axes_.standardise.mean)

    def _line(self, places: Floats) -> Doubles:
        """Predicted ln(1+z) of galaxies on the axes, (M, P) to (M,)."""
        gamma = self.chosen_["gamma"]
        parts = [
            np.exp(-gamma * _squared_distances(places[start : start + ROWS_AT_ONCE], self.support_))
            @ self.weights_
            for start in range(0, len(places), ROWS_AT_ONCE)
        ]
        line = np.concatenate(parts) if parts else np.empty(0)
        return np.clip(line + self.intercept_, *self.bounds_)


class Boosting(PointProbe):
    """Gradient-boosted trees; answers stay within the training redshifts.

    Either loss and every size of tree are boosted; the best number of trees on validation is kept.

    Args:
        leaves: Greatest numbers of leaves to try.
        most_trees: Greatest number of trees.
        learning_rate: Share of each tree's answer that is added.
        seed: Seed of the sample that bin edges are taken from, where galaxies are very many.

    Attributes:
        standardise_: Standardisation of the features; it only clips what is ten sigma off.
        booster_: The fitted trees, of which the first ``chosen_["trees"]`` are asked.
        bounds_: Least and greatest ln(1+z) of the training galaxies.
    """

    def __init__(
        self,
        *,
        leaves: tuple[int, ...] = (8, 31),
        most_trees: int = 400,
        learning_rate: float = 0.05,
        seed: int = 0,
    ) -> None:
        self.leaves = leaves
        self.most_trees = most_trees
        self.learning_rate = learning_rate
        self.seed = seed

    def _fit(
        self,
        X: Floats,
        z: Doubles,
        val_X: Floats,
        val_z: Doubles,
        ids: Array | None,
        sample_weight: Doubles | None = None,
    ) -> None:
        self.standardise_ = Standardise.fit(X)
        target, truth = to_target(z), to_target(val_z)
        self.bounds_ = float(target.min()), float(target.max())
        train, val = self.standardise_.apply(X), self.standardise_.apply(val_X)
        trials = []
        kinds = list(itertools.product((False, True), self.leaves))
        for absolute, most in tqdm(kinds, desc="boosting", leave=False, mininterval=0.5):
            booster = HistGradientBoostingRegressor(
                loss="absolute_error" if absolute else "squared_error",
                learning_rate=self.learning_rate,
                max_iter=self.most_trees,
                max_leaf_nodes=most,
                early_stopping=False,
                random_state=self.seed,
            ).fit(train, target, sample_weight=sample_weight)
            answers = (np.clip(answer, *self.bounds_) for answer in booster.staged_predict(val))
            scores = [tuning_score(answer, truth) for answer in answers]
            chosen = {"absolute": absolute, "leaves": most, "trees": int(np.argmin(scores)) + 1}
            trials.append((min(scores), chosen, booster))
        _, chosen, self.booster_ = min(trials, key=lambda trial: trial[0])
        self.chosen_ = {name: float(value) for name, value in chosen.items()}
        self.interval_ = Interval.fit(self._boosted(val), truth)

    def _answer(self, X: Floats) -> Doubles:
        return self._boosted(self.standardise_.apply(X))

    def _boosted(self, standardised: Floats) -> Doubles:
        """Predicted ln(1+z) of standardised features, (M, D) to (M,)."""
        if not len(standardised):
            return np.empty(0)
        last = int(self.chosen_["trees"]) - 1
        (answer,) = islice(self.booster_.staged_predict(standardised), last, last + 1)
        return np.asarray(np.clip(answer, *self.bounds_))

    def _stored(self) -> dict[str, Array]:
        return {
            **self.standardise_.arrays(),
            **_booster_arrays(self.booster_, self.bounds_),
            "recipe": np.array([*self.chosen_.values()], dtype=np.int64),
        }

    def _restore(self, arrays: Mapping[str, Array]) -> None:
        self.standardise_ = Standardise.from_arrays(arrays)
        names = ("absolute", "leaves", "trees")
        self.chosen_ = dict(zip(names, map(float, arrays["recipe"]), strict=True))
        if "booster" in arrays:
            self.booster_ = _read_booster(arrays["booster"])
            low, high = (float(value) for value in arrays["bounds"])
        else:
            self.booster_ = FormerTrees.from_arrays(arrays)
            low, high = (float(value) for value in arrays["scalars"][1:])
        self.bounds_ = low, high
        self.n_features_in_ = len(self.standardise_.mean)


@dataclass(frozen=True)
class FormerTrees:
    """Boosted trees as version 0.1 stored them: all nodes of all trees one after the other.

    Attributes:
        feature: Column that a node asks for, shape (M,).
        threshold: Greatest value that goes left, shape (M,).
        children: Left and right node, shape (M, 2); a leaf is its own child.
        value: What a leaf adds, shape (M,).
        roots: First node of each tree, shape (T,).
        depths: Depth of each tree, shape (T,).
        baseline: What the trees add to.
    """

    feature: Ints
    threshold: Doubles
    children: Ints
    value: Doubles
    roots: Ints
    depths: Ints
    baseline: float

    NODES: ClassVar = ("feature", "threshold", "children", "value", "roots", "depths")

    def staged_predict(self, X: Floats) -> Iterator[Doubles]:
        """Sums over the first 1, 2, 3 ... trees, (N,), for features (N, D)."""
        total = np.full(len(X), self.baseline)
        flat, rows = np.ravel(X), np.arange(len(X)) * X.shape[1]
        for root, depth in zip(self.roots, self.depths, strict=True):
            node = np.full(len(X), root)
            for _ in range(depth):
                right = flat[rows + self.feature[node]] > self.threshold[node]
                node = self.children[node, right.astype(np.int64)]
            total = total + self.value[node]
            yield total

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Array]) -> Self:
        """The trees of a stored probe."""
        nodes = {name: arrays[name] for name in cls.NODES}
        return cls(**nodes, baseline=float(arrays["scalars"][0]))


def _booster_arrays(booster: Any, bounds: tuple[float, float]) -> dict[str, Array]:  # noqa: ANN401
    if isinstance(booster, FormerTrees):
        nodes = {name: getattr(booster, name) for name in FormerTrees.NODES}
        return {**nodes, "scalars": np.array([booster.baseline, *bounds])}
    from skops.io import dumps

    return {
        "booster": np.frombuffer(dumps(booster), dtype=np.uint8),
        "bounds": np.array(bounds),
    }


def _read_booster(stored: Array) -> Any:  # noqa: ANN401 - a fitted booster
    """A fitted booster; of types beyond those that skops knows only its trees are let in.

    Raises:
        ArtefactError: If it cannot be read, such as by another scikit-learn.
    """
    from skops.io import loads

    try:
        return loads(stored.tobytes(), trusted=[TREE])
    except Exception as error:  # whatever a damaged file makes skops raise
        raise ArtefactError(
            f"cannot read stored trees ({type(error).__name__}) with scikit-learn "
            f"{sklearn.__version__}; fit the probe again"
        ) from None


def _squared_distances(one: Floats, other: Floats) -> Floats:
    lengths = np.sum(one**2, axis=1)[:, None] + np.sum(other**2, axis=1)
    squares: Floats = np.maximum(lengths - 2 * one @ other.T, 0)
    return squares
