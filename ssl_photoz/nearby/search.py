"""Give galaxies a calibrated probability of being dwarfs, by several methods."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from tqdm import tqdm

from ssl_photoz.core.errors import DataError
from ssl_photoz.core.types import Bools, Doubles, Floats, Ints
from ssl_photoz.embeddings.store import Embeddings
from ssl_photoz.nearby.heads import Head
from ssl_photoz.nearby.purity import probability_at_base_rate
from ssl_photoz.nearby.settings import SKY
from ssl_photoz.similarity.catalogue import Catalogue
from ssl_photoz.similarity.index import Index
from ssl_photoz.similarity.index_faiss import products_in_one_thread
from ssl_photoz.similarity.reduction import BATCH, take_batches

FEWEST_FOR_STEPS = 50
FEWEST_FOR_SIGMOID = 10


class Calibration(Protocol):
    """A rising function from score to probability."""

    @property
    def method(self) -> str:
        """``isotonic`` or ``platt``."""
        ...

    def apply(self, score: Doubles) -> Doubles:
        """Probabilities of the same shape; NaN stays NaN."""
        ...


@dataclass(frozen=True)
class Isotonic:
    """The rising function that fits best, by pool-adjacent-violators, linear between its knots.

    Attributes:
        score: Knots, increasing, shape (m,).
        probability: Values at the knots, shape (m,).
        least: No probability is below this, nor above 1 less this.
    """

    score: Doubles
    probability: Doubles
    least: float
    method: str = "isotonic"

    def apply(self, score: Doubles) -> Doubles:
        """See `Calibration.apply`."""
        between = np.interp(score, self.score, self.probability)
        return np.asarray(np.clip(between, self.least, 1 - self.least))


@dataclass(frozen=True)
class Platt:
    """A sigmoid of the score.

    Attributes:
        slope: Slope per unit of score, not negative.
        intercept: Log odds at score 0.

    References:
        Platt 1999, in Advances in Large Margin Classifiers, 61.
    """

    slope: float
    intercept: float
    method: str = "platt"

    def apply(self, score: Doubles) -> Doubles:
        """See `Calibration.apply`."""
        log_odds = np.clip(self.slope * score + self.intercept, -30, 30)
        return np.asarray(1 / (1 + np.exp(-log_odds)))


def calibrate(truth: Bools, score: Doubles) -> Calibration | None:
    """Fit probabilities to scores, as freely as the number of known galaxies allows.

    Isotonic from 50 galaxies of each kind on; a sigmoid from 10 of each; below that None, for a
    probability would be made up: rank by the score instead.

    Args:
        truth: Whether each galaxy is wanted, shape (n,).
        score: Higher means more likely, shape (n,).
    """
    fewest = int(min(truth.sum(), (~truth).sum()))
    if fewest >= FEWEST_FOR_STEPS:
        from sklearn.isotonic import IsotonicRegression

        steps = IsotonicRegression(out_of_bounds="clip").fit(score, truth.astype(np.float64))
        knots = np.asarray(steps.X_thresholds_, np.float64)
        # The rule of succession: n galaxies never seen to fail do not prove certainty.
        return Isotonic(knots, np.asarray(steps.y_thresholds_, np.float64), 1 / (len(truth) + 2))
    return _sigmoid(truth, score) if fewest >= FEWEST_FOR_SIGMOID else None


def _sigmoid(truth: Bools, score: Doubles) -> Platt:
    from sklearn.linear_model import LogisticRegression

    centre, spread = float(score.mean()), float(score.std()) or 1.0
    fit = LogisticRegression(C=1.0).fit((score[:, None] - centre) / spread, truth)
    slope, at_centre = float(fit.coef_[0, 0]) / spread, float(fit.intercept_[0])
    if slope <= 0:  # the score points the wrong way: it says nothing
        rate = float(truth.mean())
        return Platt(0.0, float(np.log(rate / (1 - rate))))
    return Platt(slope, at_centre - slope * centre)


class HasUnits(Protocol):
    """What gives the unit vectors that votes compare, such as `Index`."""

    def vectors(self, rows: Ints) -> Floats:
        """Unit vectors of some rows, increasing, shape (n, P)."""
        ...


METHODS = VOTE, LOGISTIC, KERNEL, PERCEPTRON, ONE_CLASS = (
    *("vote", "logistic", "kernel", "mlp", "one_class"),
)

Scores = dict[str, Doubles]


@dataclass(frozen=True)
class DwarfSearch:
    """Fitted methods; see `fitting.fit_dwarf_search`.

    Attributes:
        names: Names of the T questions asked; lists are ranked by the first.
        heads: Fitted classifier of each method.
        calibrations: Calibrations of each method, one per question; None where too few are known.
        precision: Average precision of each method on the validation galaxies, first question;
            None where they cannot tell.
        sample_rate: Fraction of wanted galaxies among those; None where they cannot tell.
        threshold: Score of the ranking method that 90 % of the wanted validation galaxies reach;
            of the train galaxies where validation has none.
    """

    names: tuple[str, ...]
    heads: Mapping[str, Head]
    calibrations: Mapping[str, list[Calibration | None]]
    precision: Mapping[str, float | None]
    sample_rate: float | None
    threshold: float

    @property
    def ranked_by(self) -> str:
        """The method of highest precision on validation; the first where that cannot tell."""
        return best_of(self.precision)

    @property
    def quickest(self) -> str:
        """The best method that needs no search among labelled galaxies, if there is one."""
        return best_of({m: p for m, p in self.precision.items() if m != VOTE} or self.precision)

    def score(
        self,
        embeddings: Embeddings,
        index: HasUnits,
        rows: Ints,
        *,
        voted: int | None = None,
        in_full: Bools | None = None,
    ) -> Scores:
        """Score some galaxies by every method, each (n, T).

        Args:
            embeddings: The store.
            index: Index of the same galaxies, whose unit vectors votes compare.
            rows: Catalogue rows, increasing, shape (n,).
            voted: Take votes, which cost most, on this many galaxies only, those that come first
                by `quickest`; the others get NaN. On all if None, or if there is no other method.
            in_full: Take votes on these as well, shape (n,).
        """
        scores = self._score_quickly(embeddings, rows)
        if VOTE not in self.heads:
            return scores
        asked = np.zeros(len(rows), bool) if in_full is None else in_full.copy()
        if not scores or voted is None:
            asked[:] = True
        else:
            asked[np.argsort(-scores[self.quickest][:, 0], kind="stable")[:voted]] = True
        places = np.flatnonzero(asked)
        votes = np.full((len(rows), len(self.names)), np.nan)
        for start in tqdm(range(0, len(places), BATCH), desc="voting", unit="batch"):
            some = places[start : start + BATCH]
            votes[some] = self.heads[VOTE].score(index.vectors(rows[some]))
        return {**scores, VOTE: votes}

    def order(self, scores: Scores) -> Ints:
        """Places in the order of the list, best first: by `ranked_by`, then `quickest`.

        If votes rank, galaxies without any follow those with.
        """
        first = np.nan_to_num(scores[self.ranked_by][:, 0], nan=-np.inf)
        return np.lexsort((-scores[self.quickest][:, 0], -first))

    def probabilities(self, scores: Scores, *, base_rate: float = SKY) -> dict[str, Doubles]:
        """Columns of probabilities, each (n,); NaN where a method is not calibrated.

        Returns:
            For each question ``p_NAME``, by `ranked_by` (by `quickest` where that has no answer),
            and ``p_NAME_METHOD`` for every method. For the first question ``p_NAME_sky`` as well:
            ``p_NAME`` where a fraction ``base_rate`` is wanted, see `base_rate`.
        """
        columns: dict[str, Doubles] = {}
        for t, name in enumerate(self.names):
            each = {
                method: _apply(self.calibrations[method][t], scores[method][:, t])
                for method in self.heads
            }
            ranked = each[self.ranked_by]
            columns[f"p_{name}"] = np.where(np.isnan(ranked), each[self.quickest], ranked)
            columns |= {f"p_{name}_{method}": each[method] for method in self.heads}
        if self.sample_rate is not None:
            name = f"p_{self.names[0]}"
            columns[f"{name}_sky"] = probability_at_base_rate(
                columns[name], sample_rate=self.sample_rate, base_rate=base_rate
            )
        return columns

    def _score_quickly(self, embeddings: Embeddings, rows: Ints) -> Scores:
        quick = {method: head for method, head in self.heads.items() if method != VOTE}
        scores = {method: np.empty((len(rows), len(self.names))) for method in quick}
        start = 0
        with tqdm(total=len(rows), desc="scoring", unit="galaxy", disable=not quick) as progress:
            for batch in take_batches(embeddings, rows) if quick else ():
                for method, head in quick.items():
                    scores[method][start : start + len(batch)] = head.score(batch)
                start += len(batch)
                progress.update(len(batch))
        return scores


def best_of(precision: Mapping[str, float | None]) -> str:
    """Method of highest precision; the first of equals, None counting as 0."""
    return max(precision, key=lambda method: precision[method] or 0.0)


@products_in_one_thread()
def score_together(
    search: DwarfSearch,
    embeddings: Embeddings,
    index: Index,
    test: Ints,
    rows: Ints,
    *,
    voted: int,
) -> tuple[Scores, Scores]:
    """Score test galaxies, all by every method, and candidates, in one pass over the store.

    Args:
        search: The methods.
        embeddings: The store.
        index: Index of the same galaxies.
        test: Catalogue rows, increasing.
        rows: Catalogue rows of candidates, increasing.
        voted: Galaxies to take votes on besides; see `DwarfSearch.score`.
    """
    every = np.union1d(test, rows)
    scores = search.score(embeddings, index, every, voted=voted, in_full=np.isin(every, test))
    places = np.searchsorted(every, test), np.searchsorted(every, rows)
    tested, ranked = ({method: s[at] for method, s in scores.items()} for at in places)
    return tested, ranked


def candidate_rows(catalogue: Catalogue, *, hidden: Bools | None = None) -> tuple[Ints, str]:
    """Rows to rank and what they are: unlabelled galaxies, or else the test split.

    Args:
        catalogue: All galaxies.
        hidden: Mask of those that are no candidates, shape (N,).

    Raises:
        DataError: If there are none.
    """
    shown = np.ones(len(catalogue), bool) if hidden is None else ~hidden
    unlabelled = np.flatnonzero(~np.isfinite(catalogue.z) & shown)
    if len(unlabelled):
        return unlabelled, "unlabelled galaxies"
    test = np.flatnonzero(np.isfinite(catalogue.z) & (catalogue.split == "test") & shown)
    if not len(test):
        raise DataError(
            "nothing to rank: every galaxy has a redshift and none is in the test split"
        )
    return test, "test galaxies (every galaxy has a redshift)"


def _apply(calibration: Calibration | None, score: Doubles) -> Doubles:
    return np.full(len(score), np.nan) if calibration is None else calibration.apply(score)
