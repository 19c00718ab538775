"""What MoCo is set to; no torch here, so that ``--help`` is quick."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class MocoSettings:
    """The contrastive loss, the pretext beside it, and the optimiser.

    Attributes:
        contrast_weight: Weight of the contrastive loss; 0 leaves the pretext alone.
        pretext_weight: Weight of the photometric pretext loss; 0 leaves it out.
        temperature: Of the contrastive softmax.
        queue_size: Negative keys kept; a multiple of the batch size.
        momentum: Of the key encoder at the start; it rises to 1 along a cosine.
        projection_dim: Length of the vectors that are compared.
        learning_rate: Peak, after a linear warm-up.
        weight_decay: Of AdamW.
        warmup: Share of the run over which the learning rate rises.
    """

    contrast_weight: float = 0.2
    pretext_weight: float = 1.0
    temperature: float = 0.2
    queue_size: int = 4096
    momentum: float = 0.99
    projection_dim: int = 128
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    warmup: float = 0.05

    def __post_init__(self) -> None:
        if self.contrast_weight < 0 or self.pretext_weight < 0:
            raise ValueError("contrast_weight and pretext_weight must not be negative")
        if self.contrast_weight == self.pretext_weight == 0:
            raise ValueError("contrast_weight and pretext_weight are both 0: nothing to learn")
        if not self.temperature > 0:
            raise ValueError(f"temperature is {self.temperature}, expected a positive number")
        if self.queue_size < 1 or self.projection_dim < 2:
            raise ValueError("queue_size must be at least 1, projection_dim at least 2")
        if not 0 <= self.momentum <= 1 or not 0 <= self.warmup < 1:
            raise ValueError("momentum must lie in [0, 1], warmup in [0, 1)")
        if not self.learning_rate > 0 or self.weight_decay < 0:
            raise ValueError("learning_rate must be positive, weight_decay not negative")
