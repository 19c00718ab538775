"""How a training goes: scores, the best of them, seconds."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from ssl_photoz.core.errors import TrainingError


@dataclass
class Progress:
    """How far a training has come.

    Attributes:
        epoch: Epochs done.
        best_epoch: The epoch whose weights are kept.
        best_score: Its score on the validation galaxies; the lower, the better.
        seconds: Wall time so far, validation included.
        history: What was logged, a row per epoch.
    """

    epoch: int = 0
    best_epoch: int = 0
    best_score: float = math.inf
    seconds: float = 0.0
    history: list[dict[str, float]] = field(default_factory=list)

    def note(self, said: Mapping[str, float], *, step: int, seconds: float) -> bool:
        """Log an epoch; return whether it is the best so far.

        Raises:
            TrainingError: If its loss or score is not finite.
        """
        if not (math.isfinite(said["loss"]) and math.isfinite(said["score"])):
            raise TrainingError(
                f"loss {said['loss']}, validation score {said['score']} in epoch {self.epoch + 1}; "
                f"the last checkpoint is kept: lower learning_rate, or look for bad cutouts"
            )
        self.epoch += 1
        self.seconds += seconds
        self.history.append(
            {"epoch": self.epoch, "step": step, **said, "seconds": round(self.seconds, 2)}
        )
        better = said["score"] < self.best_score
        if better:
            self.best_epoch, self.best_score = self.epoch, said["score"]
        return better
