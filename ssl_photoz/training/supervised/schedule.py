"""How long to train with few labels or many; no torch here."""

from __future__ import annotations

import math
from typing import NamedTuple

FEWEST_PER_BATCH = 16
FEWEST_STEPS_PER_PASS = 8


class Schedule(NamedTuple):
    """Steps of a training.

    Attributes:
        batch_size: Galaxies per step.
        steps_per_epoch: Steps between two looks at the validation galaxies.
    """

    batch_size: int
    steps_per_epoch: int


def schedule(labels: int, *, epochs: int, batch_size: int, least_steps: int) -> Schedule:
    """Share out a training over its epochs.

    An epoch is at least one pass over the training galaxies; where they are so few that the
    epochs would not add up to ``least_steps``, it is several. Batches shrink with few labels,
    so that a pass stays about eight steps long, but not below 16 galaxies.

    Args:
        labels: Training galaxies.
        epochs: Looks at the validation galaxies.
        batch_size: Galaxies per step at most.
        least_steps: Steps in all, at least.
    """
    wanted = max(FEWEST_PER_BATCH, labels // FEWEST_STEPS_PER_PASS)
    batch = min(batch_size, wanted, labels)
    return Schedule(batch, max(labels // batch, -(-least_steps // epochs)))


def rate_factor(step: int, *, steps: int, warmup: float) -> float:
    """Return the share of the peak learning rate: a straight rise, then half a cosine to 0.

    Args:
        step: 0 to ``steps`` - 1.
        steps: Of the whole training.
        warmup: Share of it over which the rate rises.
    """
    rise = round(warmup * steps)
    if step < rise:
        return (step + 1) / rise
    return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise)))
