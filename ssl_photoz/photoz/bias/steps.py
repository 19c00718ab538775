"""Steps 1 to 3: what each changes in how a head is fitted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np

from ssl_photoz.core.types import Array, Doubles
from ssl_photoz.photoz.base import to_target
from ssl_photoz.photoz.bias.adjusting import LabelChange
from ssl_photoz.photoz.bias.bins import Bins, Point
from ssl_photoz.photoz.bias.cells import Cells, balance_weights, most_per_cell, nearly_balanced
from ssl_photoz.photoz.bias.channels import membership, rows_for
from ssl_photoz.photoz.bias.head import Head, Sample
from ssl_photoz.photoz.bias.labels import Labels
from ssl_photoz.photoz.labels import Labelled

Step = Literal["channels", "balanced", "extended", "calibrated"]
STEPS: tuple[Step, ...] = ("channels", "balanced", "extended", "calibrated")
FITTED: tuple[Step, ...] = STEPS[:3]
BEFORE = "uncorrected"
COLUMNS = 30


@dataclass(frozen=True)
class Recipe:
    """How heads are fitted.

    Attributes:
        bins: Of redshift, for the training galaxies.
        cells: Of magnitude and redshift, to balance in.
        channels: Of magnitude, K, in step 1.
        kept: Part of the training galaxies in the nearly balanced subset, in step 2.
        point: How an estimate is read off probabilities.
        seed: Of every random choice.
    """

    bins: Bins
    cells: Cells
    channels: int
    kept: float
    point: Point
    seed: int

    @classmethod
    def of(
        cls, train: Labelled, *, bins: int, channels: int, kept: float, point: Point, seed: int
    ) -> Self:
        """Lay out bins and cells over the training galaxies; see the attributes."""
        target = to_target(train.z)
        cells = Cells.over(
            _magnitude(train), target, rows=max(2, rows_for(channels)), columns=COLUMNS
        )
        return cls(Bins.over(target, bins), cells, channels, kept, point, seed)

    def fit(
        self, train: Labelled, val: Labelled, steps: Sequence[Step], *, before: bool = True
    ) -> dict[str, Head]:
        """Fit a head without any step, and one after each of the chosen steps 1 to 3.

        Args:
            train: To fit to.
            val: To stop by, and to measure on how labels must change.
            steps: Which, in any order; each goes on from the one before.
            before: Whether the head without any step is wanted, also where no step builds on it.

        Returns:
            Name (``uncorrected``, then those of the steps) to head.
        """
        heads: dict[str, Head] = {}
        for name, channels in ((BEFORE, 1), ("channels", self.channels)):
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
        """Return estimates of ln(1+z), shape (N,)."""
        return head.bins.point(head.probabilities(features), self.point)

    def _samples(self, train: Labelled, val: Labelled, *, channels: int) -> tuple[Sample, Sample]:
        """Return both sets with labels that lie in the bin of each redshift."""
        taught, asked = (
            Sample(some.features, self._labels(some, channels)) for some in (train, val)
        )
        return taught, asked

    def _labels(self, some: Labelled, channels: int) -> Labels:
        member = np.ones((len(some), 1))
        if channels > 1:
            member = membership(self.cells, _magnitude(some), channels)
        return Labels.plain(self.bins.place(to_target(some.z)), member)

    def _balanced(
        self, train: Labelled, val: Labelled, samples: tuple[Sample, Sample]
    ) -> tuple[Sample, Sample]:
        """Thin out the training galaxies where there are many; give validation such weights."""
        cell, other = (self.cells.of(_magnitude(s), to_target(s.z)) for s in (train, val))
        counts = self.cells.count(cell)
        most = most_per_cell(counts, self.kept)
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


def _magnitude(some: Labelled) -> Array:
    assert some.magnitude is not None
    return some.magnitude
