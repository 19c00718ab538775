"""Linear maps from the embeddings of one survey to those of another."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ssl_photoz.core.errors import DataError, ShapeError
from ssl_photoz.core.types import Array, Doubles, Floats


@dataclass(frozen=True)
class LinearMap:
    """``(vector - before) @ matrix + after``.

    Attributes:
        before: Shape (D,).
        matrix: Shape (D, D).
        after: Shape (D,).
    """

    before: Doubles
    matrix: Doubles
    after: Doubles

    def __call__(self, vectors: Array) -> Floats:
        """Map vectors, shape (N, D)."""
        mapped = (np.asarray(vectors, np.float64) - self.before) @ self.matrix + self.after
        return mapped.astype(np.float32)


def fit_shift(target: Array, reference: Array) -> LinearMap:
    """Bring the mean of the target, (N, D), to that of the reference, (M, D)."""
    one, other = _checked(target, reference)
    return LinearMap(one.mean(0), np.eye(one.shape[1]), other.mean(0))


def fit_coral(target: Array, reference: Array, *, ridge: float = 0.01) -> LinearMap:
    """Bring mean and covariance of the target to those of the reference [1].

    The target is whitened with its own covariance and coloured with the reference's. The paper
    moves the labelled survey to the unlabelled one; here it is the other way round, so that
    whatever was fitted to the reference can stay.

    Args:
        target: Vectors, shape (N, D).
        reference: Vectors, shape (M, D).
        ridge: Added to both covariances, times the mean variance of the reference: directions in
            which neither survey varies stay as they are.

    Raises:
        ShapeError: If the shapes are not (N, D) and (M, D).
        DataError: If there are fewer than two vectors, or one is not finite.

    References:
        [1] Sun, Feng & Saenko 2016, AAAI, arXiv:1511.05547.
    """
    one, other = _checked(target, reference)
    covariances = [np.cov(some, rowvar=False).reshape(2 * some.shape[1:]) for some in (one, other)]
    floor = ridge * np.trace(covariances[1]) / one.shape[1] * np.eye(one.shape[1])
    whiten, colour = _power(covariances[0] + floor, -0.5), _power(covariances[1] + floor, 0.5)
    return LinearMap(one.mean(0), whiten @ colour, other.mean(0))


def fit_procrustes(target: Array, reference: Array) -> LinearMap:
    """Turn, mirror, scale and shift the target so that it falls on its pairs as well as it can [1].

    Args:
        target: Vectors, shape (N, D).
        reference: Those of the same galaxies in the same order, shape (N, D).

    Raises:
        ShapeError: If the shapes are not the same (N, D).
        DataError: If there are fewer than two vectors, or one is not finite.

    References:
        [1] Schönemann 1966, Psychometrika 31, 1.
    """
    one, other = _checked(target, reference)
    if one.shape != other.shape:
        raise ShapeError(f"{one.shape} and {other.shape} are no pairs of vectors")
    first, second = one - one.mean(0), other - other.mean(0)
    left, stretches, right = np.linalg.svd(first.T @ second)
    scale = stretches.sum() / np.sum(first**2)
    return LinearMap(one.mean(0), scale * left @ right, other.mean(0))


def _power(covariance: Doubles, exponent: float) -> Doubles:
    """Return a power of a symmetric matrix; directions without variance are left out."""
    values, vectors = np.linalg.eigh(covariance)
    kept = values > values.max() * len(values) * np.finfo(np.float64).eps
    powers = np.zeros_like(values)
    powers[kept] = values[kept] ** exponent
    return np.asarray((vectors * powers) @ vectors.T)


def _checked(target: Array, reference: Array) -> tuple[Doubles, Doubles]:
    one, other = np.asarray(target, np.float64), np.asarray(reference, np.float64)
    if one.ndim != 2 or one.shape[1:] != other.shape[1:]:
        raise ShapeError(f"vectors are {one.shape} and {other.shape}, expected (N, D) and (M, D)")
    if min(len(one), len(other)) < 2:
        raise DataError(f"{len(one)} and {len(other)} vectors to align, expected two or more")
    if not (np.isfinite(one).all() and np.isfinite(other).all()):
        raise DataError("vectors to align hold NaN or infinity; embed again")
    return one, other
