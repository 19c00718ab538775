"""Labelled galaxies vote on those that look like them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ssl_photoz.core.errors import ConfigError
from ssl_photoz.core.types import Doubles, Floats
from ssl_photoz.dwarfs.heads import choose_settings
from ssl_photoz.similarity.index import exact_neighbours


@dataclass(frozen=True)
class VoteHead:
    """Scores galaxies by their nearest labelled ones, each weighted by 1/distance.

    Attributes:
        voters: Unit vectors of the labelled galaxies, shape (M, P).
        labels: Theirs: 1, 0, or NaN, which has no vote; shape (M, T).
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
            labels: Shape (M, T).
            val_units: Of the validation galaxies, shape (V, P).
            val_labels: Shape (V, T).
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
        """Return the weighted fraction of votes in favour of unit vectors (n, P), shape (n, T)."""
        distances, found = exact_neighbours(units, self.voters, max(self.k))
        votes = [
            weigh_votes(distances[:, :k], self.labels[found[:, :k], t : t + 1])
            for t, k in enumerate(self.k)
        ]
        return np.concatenate(votes, axis=1)


def weigh_votes(distances: Floats, labels: Floats) -> Doubles:
    """Return the fraction of votes in favour, each weighted by 1/distance, shape (n, T).

    Args:
        distances: To the voters, shape (n, K).
        labels: Of the voters, shape (n, K, T): 1, 0, or NaN, which has no vote.
    """
    weight = 1 / np.maximum(distances, 1e-6).astype(np.float64)[:, :, None]
    heard = weight * np.isfinite(labels)
    for_it = (weight * np.nan_to_num(labels)).sum(axis=1)
    return np.asarray(for_it / np.maximum(heard.sum(axis=1), 1e-12))
