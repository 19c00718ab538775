"""Classifiers on frozen embeddings, all on one footing: fitted on train, set on validation.

A head answers T questions at once with scores of shape (n, T). What it must choose for itself (a
penalty, a number of epochs or of voters) it chooses for each question by average precision on the
validation galaxies.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from ssl_photoz.core.errors import ConfigError
from ssl_photoz.core.types import Bools, Doubles, Floats
from ssl_photoz.nearby.purity import PurityCurve
from ssl_photoz.similarity.index import exact_neighbours

PENALTIES = (1e-3, 1e-2, 1e-1)
KERNEL_PENALTIES = (1.0, 10.0, 100.0)
LANDMARKS = 400
PERCEPTRON_PENALTY = 10.0
RIDGES = (0.01, 0.1, 1.0, 10.0, 100.0)


class Head(Protocol):
    """A fitted classifier."""

    @property
    def chosen(self) -> tuple[float, ...]:
        """The setting that was chosen on the validation galaxies, for each question."""
        ...

    def score(self, vectors: Floats) -> Doubles:
        """Scores of embeddings (n, D), or of unit vectors for votes, shape (n, T).

        Higher means more likely.
        """
        ...


@dataclass(frozen=True)
class LinearHead:
    """One direction in embedding space per question.

    Attributes:
        weights: Shape (D, T).
        bias: Shape (T,).
        chosen: The penalties, or ridges.
    """

    weights: Floats
    bias: Doubles
    chosen: tuple[float, ...]

    def score(self, vectors: Floats) -> Doubles:
        """See `Head.score`."""
        return np.asarray(vectors @ self.weights + self.bias, dtype=np.float64)


@dataclass(frozen=True)
class KernelHead:
    """One direction per question among the likenesses to landmark galaxies.

    Attributes:
        mean: Subtracted from the embeddings, shape (D,).
        scale: They are divided by this, shape (D,).
        expansion: scikit-learn's map to the landmarks' features.
        linear: Direction among those.
    """

    mean: Floats
    scale: Floats
    expansion: Any
    linear: LinearHead

    @property
    def chosen(self) -> tuple[float, ...]:
        """The penalties."""
        return self.linear.chosen

    def score(self, vectors: Floats) -> Doubles:
        """See `Head.score`."""
        features = self.expansion.transform((vectors - self.mean) / self.scale)
        return self.linear.score(features.astype(np.float32))


@dataclass(frozen=True)
class PerceptronHead:
    """One small network per question.

    Attributes:
        mean: Subtracted from the embeddings, shape (D,).
        scale: They are divided by this, shape (D,).
        networks: scikit-learn's, T of them.
        chosen: Epochs of each.
    """

    mean: Floats
    scale: Floats
    networks: tuple[Any, ...]
    chosen: tuple[float, ...]

    def score(self, vectors: Floats) -> Doubles:
        """See `Head.score`."""
        standard = (vectors - self.mean) / self.scale
        answers = [network.predict_proba(standard)[:, 1] for network in self.networks]
        return np.stack(answers, axis=1).astype(np.float64)


def fit_logistic(
    vectors: Floats, labels: Floats, *, val_vectors: Floats, val_labels: Floats
) -> LinearHead:
    """Fit a logistic regression with an L2 penalty per question.

    Args:
        vectors: Embeddings, shape (M, D).
        labels: 1, 0 or NaN, which is left out; both kinds for every question; shape (M, T).
        val_vectors: Embeddings to choose the penalty on, shape (V, D).
        val_labels: Their labels, shape (V, T).
    """
    mean, scale = _mean_and_scale(vectors)
    standard = (vectors - mean) / scale

    def head(penalty: float) -> LinearHead:
        fits = [_logistic(standard, answers, penalty) for answers in labels.T]
        weights = np.stack([fit.coef_[0] for fit in fits], axis=1) / scale[:, None]
        bias = np.array([fit.intercept_[0] for fit in fits]) - mean @ weights
        return LinearHead(weights.astype(np.float32), bias, (penalty,) * len(fits))

    return _best_of([head(penalty) for penalty in PENALTIES], val_vectors, val_labels)


def fit_kernel(
    vectors: Floats, labels: Floats, *, val_vectors: Floats, val_labels: Floats, seed: int = 0
) -> KernelHead:
    """Fit a logistic regression on Gaussian kernels of at most 400 landmarks, drawn at random [1].

    It bends where `fit_logistic` cannot. The kernels' width is the square root of D standard
    deviations.

    Args:
        vectors: Embeddings, shape (M, D).
        labels: 1, 0 or NaN, which is left out; both kinds for every question; shape (M, T).
        val_vectors: Embeddings to choose the penalty on, shape (V, D).
        val_labels: Their labels, shape (V, T).
        seed: Seed of the landmarks.

    References:
        [1] Williams & Seeger 2001, NIPS 13, 682 (Nystroem).
    """
    from sklearn.kernel_approximation import Nystroem

    mean, scale = _mean_and_scale(vectors)
    standard = (vectors - mean) / scale
    count = min(LANDMARKS, len(vectors))
    gamma = 0.5 / vectors.shape[1]
    expansion = Nystroem(gamma=gamma, n_components=count, random_state=seed).fit(standard)
    features = expansion.transform(standard).astype(np.float32)

    def head(penalty: float) -> LinearHead:
        fits = [_logistic(features, answers, penalty) for answers in labels.T]
        weights = np.stack([fit.coef_[0] for fit in fits], axis=1).astype(np.float32)
        bias = np.array([fit.intercept_[0] for fit in fits])
        return LinearHead(weights, bias, (penalty,) * len(fits))

    asked = (val_vectors - mean) / scale
    known = expansion.transform(asked) if len(asked) else np.zeros((0, count))
    heads = [head(penalty) for penalty in KERNEL_PENALTIES]
    best = _best_of(heads, known.astype(np.float32), val_labels)
    return KernelHead(mean, scale, expansion, best)


def fit_one_class(
    vectors: Floats,
    labels: Floats,
    *,
    background: Floats,
    val_vectors: Floats,
    val_labels: Floats,
) -> LinearHead:
    """Point from the centroid of all galaxies to that of the wanted ones; no negatives needed.

    The direction is a matched filter: the difference of the two centroids, divided by the
    covariance of all galaxies, to which a ridge is added because few are known [1].

    Args:
        vectors: Embeddings, shape (M, D).
        labels: 1 for the wanted ones, at least one per question; the rest is not looked at;
            shape (M, T).
        background: Embeddings of any galaxies, labelled or not, shape (B, D).
        val_vectors: Embeddings to choose the ridge on, shape (V, D).
        val_labels: Their labels, shape (V, T).

    References:
        [1] Friedman 1989, J. Am. Stat. Assoc. 84, 165.
    """
    mean, scale = _mean_and_scale(background)
    standard = (background - mean) / scale
    covariance = (standard.T @ standard).astype(np.float64) / len(standard)
    towards = np.stack(
        [((vectors[some] - mean) / scale).mean(axis=0) for some in (labels == 1).T], axis=1
    )
    heads = []
    for ridge in RIDGES:
        solved = np.linalg.solve(covariance + ridge * np.eye(len(mean)), towards)
        weights = solved / np.linalg.norm(solved, axis=0) / scale[:, None]
        bias, chosen = -mean @ weights, (ridge,) * towards.shape[1]
        heads.append(LinearHead(weights.astype(np.float32), bias, chosen))
    return _best_of(heads, val_vectors, val_labels)


def fit_perceptron(
    vectors: Floats,
    labels: Floats,
    *,
    val_vectors: Floats,
    val_labels: Floats,
    hidden: int = 64,
    epochs: int = 30,
    seed: int = 0,
) -> PerceptronHead:
    """Train a network of one hidden layer per question; keep its best epoch on validation.

    Args:
        vectors: Embeddings, shape (M, D).
        labels: 1, 0 or NaN, which is left out; both kinds for every question; shape (M, T).
        val_vectors: Embeddings to choose the epoch on, shape (V, D).
        val_labels: Their labels, shape (V, T).
        hidden: Width of the hidden layer.
        epochs: Epochs, at most.
        seed: Seed of weights and order.
    """
    from sklearn.neural_network import MLPClassifier

    mean, scale = _mean_and_scale(vectors)
    standard, asked = (vectors - mean) / scale, (val_vectors - mean) / scale
    kept = []
    for answers, truth in zip(labels.T, val_labels.T, strict=True):
        known = np.isfinite(answers)
        network = MLPClassifier(
            (hidden,), alpha=PERCEPTRON_PENALTY, batch_size=128, random_state=seed
        )
        best = (-1.0, 0, network)
        for epoch in range(1, epochs + 1):
            network.partial_fit(standard[known], answers[known] == 1, classes=[False, True])
            score = _set_on(network, asked, truth)
            if score is None or score > best[0]:
                best = (score or -1.0, epoch, copy.deepcopy(network))
        kept.append(best)
    _, chosen, networks = zip(*kept, strict=True)
    return PerceptronHead(mean, scale, networks, chosen)


def choose_settings(tried: Mapping[float, Doubles], labels: Floats) -> tuple[float, ...]:
    """For each question the setting of highest average precision.

    Args:
        tried: Scores of the validation galaxies with each setting, shape (V, T).
        labels: Their labels, shape (V, T).

    Returns:
        The least of the best; the middle one where the validation galaxies cannot tell, for want
        of wanted or of unwanted ones.
    """
    settings, chosen = sorted(tried), []
    for t, answers in enumerate(labels.T):
        found = [average_precision(answers, tried[setting][:, t]) for setting in settings]
        known = [precision for precision in found if precision is not None]
        best = int(np.argmax(known)) if known else len(settings) // 2
        chosen.append(settings[best])
    return tuple(chosen)


def known_answers(labels: Floats, score: Doubles) -> tuple[Bools, Doubles]:
    """Truth and score of the galaxies whose label is known, of shape (n,) both."""
    known = np.isfinite(labels)
    return labels[known] == 1, np.asarray(score, np.float64)[known]


def average_precision(labels: Floats, score: Doubles) -> float | None:
    """Average precision where labels are known; None if they are all of one kind."""
    truth, known = known_answers(labels, score)
    if not truth.any() or truth.all():
        return None
    return PurityCurve.measure(truth, known).average_precision()


def _best_of(heads: Sequence[LinearHead], val_vectors: Floats, val_labels: Floats) -> LinearHead:
    """Put together the directions that do best on validation, one per question."""
    by_setting = {head.chosen[0]: head for head in heads}
    tried = {setting: head.score(val_vectors) for setting, head in by_setting.items()}
    chosen = choose_settings(tried, val_labels)
    best = [by_setting[setting] for setting in chosen]
    weights = np.stack([head.weights[:, t] for t, head in enumerate(best)], axis=1)
    return LinearHead(weights, np.array([head.bias[t] for t, head in enumerate(best)]), chosen)


def _logistic(standard: Floats, answers: Floats, penalty: float) -> Any:  # noqa: ANN401 - sklearn
    from sklearn.linear_model import LogisticRegression

    known = np.isfinite(answers)
    return LogisticRegression(C=penalty, max_iter=500).fit(standard[known], answers[known] == 1)


def _mean_and_scale(vectors: Floats) -> tuple[Floats, Floats]:
    mean = vectors.mean(axis=0, dtype=np.float64)
    scale = vectors.std(axis=0, dtype=np.float64)
    scale[scale < 1e-12] = 1.0
    return mean.astype(np.float32), scale.astype(np.float32)


def _set_on(network: Any, asked: Floats, labels: Floats) -> float | None:  # noqa: ANN401 - sklearn
    if not len(asked):
        return None
    return average_precision(labels, network.predict_proba(asked)[:, 1])


@dataclass(frozen=True)
class VoteHead:
    """Scores galaxies by their nearest labelled ones, each weighted by 1/distance.

    Attributes:
        voters: Unit vectors of the labelled galaxies, shape (M, P).
        labels: Their labels: 1, 0, or NaN, which has no vote; shape (M, T).
        k: How many vote on each question.
    """

    voters: Floats
    labels: Floats
    k: tuple[int, ...]

    @property
    def chosen(self) -> tuple[float, ...]:
        """The numbers of voters."""
        return self.k

    @classmethod
    def fit(
        cls,
        units: Floats,
        labels: Floats,
        *,
        val_units: Floats,
        val_labels: Floats,
        ks: Sequence[int],
    ) -> VoteHead:
        """Choose the number of voters on the validation galaxies; see `choose_settings`.

        Args:
            units: Unit vectors of the labelled galaxies, shape (M, P).
            labels: Their labels, shape (M, T).
            val_units: Unit vectors of the validation galaxies, shape (V, P).
            val_labels: Their labels, shape (V, T).
            ks: Numbers of voters to try.

        Raises:
            ConfigError: If ks is empty or holds a number below 1.
        """
        if not ks or min(ks) < 1:
            raise ConfigError(f"ks is {list(ks)}, expected at least one number of neighbours >= 1")
        wanted = sorted({min(k, len(units)) for k in ks})
        tried = {float(k): np.zeros((0, labels.shape[1])) for k in wanted}
        if len(val_units):
            distances, found = exact_neighbours(val_units, units, wanted[-1])
            tried = {float(k): weigh_votes(distances[:, :k], labels[found[:, :k]]) for k in wanted}
        return cls(units, labels, tuple(int(k) for k in choose_settings(tried, val_labels)))

    def score(self, units: Floats) -> Doubles:
        """Weighted fraction of votes in favour of unit vectors (n, P), shape (n, T)."""
        distances, found = exact_neighbours(units, self.voters, max(self.k))
        votes = [
            weigh_votes(distances[:, :k], self.labels[found[:, :k], t : t + 1])
            for t, k in enumerate(self.k)
        ]
        return np.concatenate(votes, axis=1)


def weigh_votes(distances: Floats, labels: Floats) -> Doubles:
    """Fraction of votes in favour, each weighted by 1/distance, shape (n, T).

    Args:
        distances: Distances to the voters, shape (n, K).
        labels: Labels of the voters, shape (n, K, T): 1, 0, or NaN, which has no vote.
    """
    weight = 1 / np.maximum(distances, 1e-6).astype(np.float64)[:, :, None]
    heard = weight * np.isfinite(labels)
    for_it = (weight * np.nan_to_num(labels)).sum(axis=1)
    return np.asarray(for_it / np.maximum(heard.sum(axis=1), 1e-12))
