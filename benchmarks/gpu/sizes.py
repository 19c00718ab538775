"""How much each stage does, on a GPU and as a smoke test."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Sizes:
    """Sizes of the stages.

    Attributes:
        cutouts: SIMULATED cutouts of 128 px to train on and to embed.
        batch_size: Galaxies per step.
        seconds: Duration of each measurement of speed.
        crops_px: Crops that are measured, at most.
        vectors: Vectors among which neighbours are searched.
        labelled: Labelled galaxies of the probes.
        survey: Galaxies of the survey that is made on the spot, for each core.
        survey_px: Side of its cutouts.
        epochs: Most passes over it.
    """

    cutouts: int
    batch_size: int
    seconds: float
    crops_px: int
    vectors: int
    labelled: int
    survey: int
    survey_px: int
    epochs: int


FULL = Sizes(8192, 256, 4.0, 128, 1_000_000, 250_000, 4000, 80, 30)
SMOKE = Sizes(48, 8, 0.01, 64, 3000, 400, 160, 48, 2)
