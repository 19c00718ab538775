"""The four steps, one after another: how heads are fitted, and what they answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from tqdm import tqdm

from ssl_photoz.core.types import Array, Doubles
from ssl_photoz.photoz.base import to_target
from ssl_photoz.photoz.bias.cells import (
    Bins,
    CellCalibration,
    Cells,
    balance_weights,
    expected_distribution,
    membership,
    most_per_cell,
    nearly_balanced,
    resampling_weights,
    rows_for,
)
from ssl_photoz.photoz.bias.head import Head, LabelChange, Labels, Sample
from ssl_photoz.photoz.labels import ENOUGH_TO_CALIBRATE, FOLDS, Labelled
from ssl_photoz.photoz.settings import STEPS, CorrectionConfig, Expected, Step

FITTED: tuple[Step, ...] = STEPS[:3]
BEFORE = "uncorrected"
COLUMNS = 30


@dataclass(frozen=True)
class Recipe:
    """How heads are fitted.

    Attributes:
        bins: Bins of redshift, for the training galaxies.
        cells: Cells of magnitude and redshift, to balance in.
        config: The steps and their settings.
        seed: Seed of every random choice.
    """

    bins: Bins
    cells: Cells
    config: CorrectionConfig
    seed: int

    @classmethod
    def of(cls, train: Labelled, config: CorrectionConfig, *, seed: int) -> Self:
        """Lay out bins and cells over the training galaxies; see the attributes."""
        target = to_target(train.z)
        cells = Cells.over(
            magnitudes_of(train), target, rows=max(2, rows_for(config.channels)), columns=COLUMNS
        )
        return cls(Bins.over(target, config.bins), cells, config, seed)

    def fit(
        self, train: Labelled, val: Labelled, steps: Sequence[Step], *, before: bool = True
    ) -> dict[str, Head]:
        """Fit a head without any step, and one after each of the chosen steps 1 to 3.

        Args:
            train: Galaxies to fit to.
            val: Galaxies to stop by, and to measure on how labels must change.
            steps: Steps in any order; each goes on from the one before.
            before: Whether the head without any step is wanted, also where no step builds on it.

        Returns:
            Name (``uncorrected``, then those of the steps) to head.
        """
        heads: dict[str, Head] = {}
        for name, channels in ((BEFORE, 1), ("channels", self.config.channels)):
            if name in steps or (name == BEFORE and (before or "channels" not in steps)):
                samples = self._samples(train, val, channels=channels)
                last = heads[name] = Head.fit(*samples, bins=self.bins, seed=self.seed)
        if "balanced" in steps:
            samples = self._balanced(train, val, samples)
            width = np.zeros(last.channels)
            last = heads["balanced"] = last.refit(*samples, width=width, seed=self.seed)
        if "extended" in steps:
            heads["extended"] = self._extend(last, *samples)
        return heads

    def answer(self, head: Head, features: Array) -> Doubles:
        """Estimates of ln(1+z), shape (N,)."""
        return head.bins.point(head.probabilities(features), self.config.point)

    def _samples(self, train: Labelled, val: Labelled, *, channels: int) -> tuple[Sample, Sample]:
        """Both sets with labels that lie in the bin of each redshift."""
        taught, asked = (
            Sample(some.features, self._labels(some, channels)) for some in (train, val)
        )
        return taught, asked

    def _labels(self, some: Labelled, channels: int) -> Labels:
        member = np.ones((len(some), 1))
        if channels > 1:
            member = membership(self.cells, magnitudes_of(some), channels)
        return Labels.plain(self.bins.place(to_target(some.z)), member)

    def _balanced(
        self, train: Labelled, val: Labelled, samples: tuple[Sample, Sample]
    ) -> tuple[Sample, Sample]:
        """Thin out the training galaxies where there are many; give validation such weights."""
        cell, other = (self.cells.of(magnitudes_of(s), to_target(s.z)) for s in (train, val))
        counts = self.cells.count(cell)
        most = most_per_cell(counts, self.config.kept)
        rows = nearly_balanced(cell, most, seed=self.seed)
        taught, asked = samples
        weight = balance_weights(other, counts, most)
        labels = Labels(asked.labels.centre, asked.labels.member, weight / weight.mean())
        return (
            Sample(taught.features[rows], taught.labels.take(rows)),
            Sample(asked.features, labels),
        )

    def _extend(self, head: Head, train: Sample, val: Sample) -> Head:
        """Fit a new output layer of more bins to labels softened and moved, as measured on val."""
        phot = self.bins.place(self.answer(head, val.features))
        change = LabelChange.measure(phot, val.labels, train.labels, self.bins.count)
        wider = head.extended()
        offset = float(wider.bins.place(self.bins.at(np.zeros(1)))[0])
        taught, asked = (
            Sample(some.features, change.apply(some.labels, offset=offset)) for some in (train, val)
        )
        return wider.refit(taught, asked, width=change.width, seed=self.seed)


ROWS, ESTIMATES = 4, 12


def correct_features(
    train: Labelled, val: Labelled, target: Labelled, *, recipe: Recipe, train_calibrates: bool
) -> dict[str, dict[str, Doubles]]:
    """Fit, correct, answer.

    Args:
        train: Galaxies to fit to.
        val: Galaxies to choose by, and to calibrate on.
        target: Galaxies to answer for; their redshifts are not looked at.
        recipe: Which steps are taken, in any order, and how heads are fitted.
        train_calibrates: Whether training galaxies, estimated without themselves, calibrate too
            where validation galaxies are fewer than 5,000. Not if the encoder knows their labels.

    Returns:
        ``val`` and ``test`` (the target) to name (``uncorrected``, then one for each step, those
        before it included) to estimates of ln(1+z), shape (N,).
    """
    steps = recipe.config.steps
    heads = recipe.fit(train, val, steps)
    answers = {
        side: {name: recipe.answer(head, some.features) for name, head in heads.items()}
        for side, some in (("val", val), ("test", target))
    }
    if "calibrated" in steps:
        last = list(heads)[-1]
        held_out, phot = val, answers["val"][last]
        if train_calibrates and len(val) < ENOUGH_TO_CALIBRATE:
            phot = np.concatenate([phot, cross_fitted(train, val, recipe=recipe)])
            held_out = _joined(val, train)
        calibration = calibrate(
            phot,
            to_target(held_out.z),
            magnitudes_of(held_out),
            answers["test"][last],
            magnitudes_of(target),
            expected=recipe.config.expected,
        )
        for side, some in (("val", val), ("test", target)):
            answers[side]["calibrated"] = calibration.apply(
                answers[side][last], magnitudes_of(some)
            )
    return answers


def calibrate(
    phot: Array,
    spec: Array,
    magnitude: Array,
    target_phot: Array,
    target_magnitude: Array,
    *,
    expected: Expected,
) -> CellCalibration:
    """Measure step 4 on held-out galaxies, weighted to what is expected of the target.

    Args:
        phot: Estimates of ln(1+z) of galaxies they were not fitted to, shape (N,).
        spec: Their true ln(1+z).
        magnitude: Their magnitudes.
        target_phot: Estimates of the target's galaxies, shape (M,).
        target_magnitude: Their magnitudes.
        expected: See `calibration.expected_distribution`.
    """
    cells = Cells.over(magnitude, spec, rows=ROWS, columns=COLUMNS)
    wanted = expected_distribution(
        cells, spec, magnitude, target_phot, target_magnitude, how=expected
    )
    weight = resampling_weights(cells, spec, magnitude, wanted)
    return CellCalibration.fit(phot, spec, magnitude, weight, rows=ROWS, columns=ESTIMATES)


def cross_fitted(train: Labelled, val: Labelled, *, recipe: Recipe) -> Doubles:
    """Estimate each fifth of the training galaxies by heads fitted to the other four, (N,)."""
    fold = np.random.default_rng(recipe.seed).permutation(len(train)) % FOLDS
    answer = np.empty(len(train))
    fitted = [step for step in recipe.config.steps if step in FITTED]
    for number in tqdm(range(FOLDS), desc="folds", leave=False):
        out = fold == number
        heads = recipe.fit(train.take(~out), val, fitted, before=False)
        answer[out] = recipe.answer(list(heads.values())[-1], train.features[out])
    return answer


def magnitudes_of(some: Labelled) -> Array:
    """Magnitudes of galaxies that were read with one."""
    assert some.magnitude is not None
    return some.magnitude


def _joined(one: Labelled, other: Labelled) -> Labelled:
    fields: Mapping[str, Array] = {
        name: np.concatenate([getattr(one, name), getattr(other, name)])
        for name in ("features", "z", "id", "ra", "dec", "magnitude")
    }
    return Labelled(**fields)
