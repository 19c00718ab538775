"""Settings of a training; no torch here, so that ``--help`` is quick."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ssl_photoz.core.errors import ConfigError
from ssl_photoz.encoders.settings import EncoderConfig

OPTIMISERS = ("adamw", "sgd")
LABEL_LOSSES = ("rank_n_contrast", "regression", "metric_learning")


@dataclass(frozen=True)
class TrainingConfig:
    """Length, batches and bookkeeping of a training.

    Attributes:
        epochs: Passes over all galaxies.
        batch_size: Galaxies per step, of all processes together.
        seed: Seed of the weights, the order and every augmentation.
        checkpoint_steps: Steps between checkpoints.
        precision: Lightning's name of the arithmetic precision, such as bf16-mixed or 32-true.
    """

    epochs: int = 10
    batch_size: int = 256
    seed: int = 0
    checkpoint_steps: int = 100
    precision: str = "bf16-mixed"

    def __post_init__(self) -> None:
        if self.epochs < 0 or self.batch_size < 2 or self.checkpoint_steps < 1:
            raise ValueError("epochs must be >= 0, batch_size >= 2, checkpoint_steps >= 1")


@dataclass(frozen=True)
class ShuffleConfig:
    """Order in which a training reads its file.

    Attributes:
        block: Neighbouring rows read together: 1, or 64 to 1024 for files beyond memory.
        window: Rows that blocks are mixed within; three times as many are in memory.
    """

    block: int = 1
    window: int = 8192

    def __post_init__(self) -> None:
        if self.block < 1 or self.window < self.block:
            raise ValueError("shuffle.block must be >= 1, shuffle.window no less than it")


@dataclass(frozen=True)
class MoCoConfig:
    """The contrastive loss, the pretext beside it, and the optimiser.

    Attributes:
        contrast_weight: Weight of the contrastive loss; 0 leaves the pretext alone.
        contrast_fade: Share of its weight that contrast has lost, linearly, by the end of the run;
            1 leaves the last word to the pretext.
        pretext_weight: Weight of the photometric pretext loss; 0 leaves it out.
        temperature: Temperature of the contrastive softmax.
        queue_size: Negative keys kept; a multiple of the batch size.
        momentum: Momentum of the key encoder at the start.
        momentum_end: Momentum at the end of the run, reached along a cosine.
        projection_dim: Length of the vectors that are compared.
        negatives: Weights of the negatives: equal; alike, more for galaxies of like measurements
            (conditional contrast); or random, the same weights dealt to any, a control.
        likeness_width: Width of the Gaussian kernel of alike negatives, in standard deviations of
            the measurements' whitened principal components.
        effective_negatives: Number that the weights of alike or random negatives add up to.
        optimiser: adamw, or sgd with momentum 0.9 (MoCo's own).
        learning_rate: Peak learning rate, after a linear warm-up.
        weight_decay: Weight decay of the optimiser.
        warmup: Share of the run over which the learning rate rises.
    """

    contrast_weight: float = 1.0
    contrast_fade: float = 0.0
    pretext_weight: float = 0.0
    temperature: float = 0.2
    queue_size: int = 8192
    momentum: float = 0.99
    momentum_end: float = 1.0
    projection_dim: int = 128
    negatives: Literal["equal", "alike", "random"] = "equal"
    likeness_width: float = 0.7
    effective_negatives: int = 512
    optimiser: str = "adamw"
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
        if not self.likeness_width > 0 or self.effective_negatives < 1:
            raise ValueError("likeness_width must be positive, effective_negatives at least 1")
        if not 0 <= self.contrast_fade <= 1:
            raise ValueError(f"contrast_fade is {self.contrast_fade}, expected 0 to 1")
        if not 0 <= self.momentum <= self.momentum_end <= 1 or not 0 <= self.warmup < 1:
            raise ValueError("momentum and momentum_end must rise in [0, 1], warmup lie in [0, 1)")
        if self.optimiser not in OPTIMISERS:
            raise ValueError(
                f"optimiser is {self.optimiser!r}, expected one of {', '.join(OPTIMISERS)}"
            )
        if not self.learning_rate > 0 or self.weight_decay < 0:
            raise ValueError("learning_rate must be positive, weight_decay not negative")

    def require_measured(self, encoder: EncoderConfig) -> None:
        """Refuse an encoder that measures nothing where measurements weigh the negatives.

        Raises:
            ConfigError: If it is one.
        """
        if self.negatives != "equal" and not encoder.measurements.windows:
            raise ConfigError(
                f"moco.negatives is {self.negatives}, but the encoder measures nothing; set "
                f"encoder.measurements.windows, or negatives=equal"
            )


@dataclass(frozen=True)
class MachineConfig:
    """Options that make a run faster on some machines; they change rounding at most.

    Attributes:
        compiled: Whether to compile the encoder with torch.compile; needs a C++ compiler, and a
            minute.
        resident: Whether to hold the cutouts in the GPU's memory, in half precision; null: if they
            fill no more than half of what is free.
    """

    compiled: bool = False
    resident: bool | None = None


@dataclass(frozen=True)
class LabelLossConfig:
    """The loss by which known redshifts order the embedding.

    Attributes:
        loss: rank_n_contrast (features as far apart as redshifts), regression (a head that
            predicts redshift), or metric_learning (bins of redshift attract or repel).
        weight: Weight of this loss, beside those of MoCo. 0 sees no label: a control that takes the
            same steps on the same galaxies.
        labelled_share: Share of every batch that is drawn from the labelled galaxies; the rest is
            drawn from all.
        temperature: Temperature of rank_n_contrast (by default 0.2 of the rms distance of two
            galaxies) and metric_learning (by default 0.1).
        hidden: Width of the regression head's hidden layer; 0: a linear head.
        bins: Number of equally filled redshift bins of metric_learning.
    """

    loss: str = "rank_n_contrast"
    weight: float = 1.0
    labelled_share: float = 0.5
    temperature: float | None = None
    hidden: int = 256
    bins: int = 20

    def __post_init__(self) -> None:
        if self.loss not in LABEL_LOSSES:
            raise ValueError(f"loss is {self.loss!r}, expected one of {', '.join(LABEL_LOSSES)}")
        if not self.weight >= 0:
            raise ValueError(f"weight is {self.weight}, expected a number that is not negative")
        if not 0 < self.labelled_share < 1:
            raise ValueError(f"labelled_share is {self.labelled_share}, expected between 0 and 1")
        if self.temperature is not None and not self.temperature > 0:
            raise ValueError(f"temperature is {self.temperature}, expected a positive number")
        if self.hidden < 0 or self.bins < 2:
            raise ValueError("hidden must not be negative, bins at least 2")
