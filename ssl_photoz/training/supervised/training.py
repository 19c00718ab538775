"""A network trained on redshifts to its validation optimum, as a task of the training engine."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR

from ssl_photoz.augment.draws import generator
from ssl_photoz.cutouts.batches import Batch
from ssl_photoz.training import ranks
from ssl_photoz.training.engine import Engine, Progress, TrainingTask
from ssl_photoz.training.supervised.heads import Head
from ssl_photoz.training.supervised.network import Network, forward_hook
from ssl_photoz.training.supervised.settings import SupervisedConfig

WARMUP = 0.1
AUGMENTATION, DROPOUT = 0, 1
CHECKPOINT_SECONDS = 10.0
FEWEST_PER_BATCH = 16
FEWEST_STEPS_PER_PASS = 8


class Schedule(NamedTuple):
    """Steps of a training.

    Attributes:
        batch_size: Galaxies per step, of all processes together.
        steps_per_epoch: Steps between two scores of the validation galaxies.
    """

    batch_size: int
    steps_per_epoch: int


def schedule(labels: int, config: SupervisedConfig) -> Schedule:
    """Share out a training over its epochs.

    An epoch is at least one pass over the training galaxies; where they are so few that the
    epochs would not add up to ``least_steps``, it is several. Batches shrink with few labels,
    so that a pass stays about eight steps long, but not below 16 galaxies, and are such that all
    processes have equal parts.

    Args:
        labels: Number of training galaxies.
        config: The training.
    """
    wanted = max(FEWEST_PER_BATCH, labels // FEWEST_STEPS_PER_PASS)
    batch = min(config.batch_size, wanted, labels)
    batch -= batch % ranks.world()
    return Schedule(batch, max(labels // batch, -(-config.least_steps // config.epochs)))


def rate_factor(step: int, *, steps: int, warmup: float) -> float:
    """Fraction of the peak learning rate: a straight rise, then half a cosine to 0.

    Args:
        step: Number of the step, 0 to ``steps`` - 1.
        steps: Length of the whole training.
        warmup: Fraction of it over which the rate rises.
    """
    rise = round(warmup * steps)
    if step < rise:
        return (step + 1) / rise
    return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise)))


class SupervisedTask(TrainingTask):
    """A network that learns redshifts, by AdamW, a tenth of warm-up and a cosine decay.

    Args:
        network: The network, on the device to train on.
        head: What the network is asked for, and with what loss.
        views: Maker of one augmented view of a batch, see `ssl_photoz.augment.views.Views`.
        score: Score after each epoch; its ``score`` decides, the lower the better.
        config: The training.
        steps: Length of the run.
        companion: A further loss, see `train`.
    """

    def __init__(
        self,
        network: Network,
        *,
        head: Head,
        views: Callable[..., Tensor],
        score: Callable[[Network], Mapping[str, float]],
        config: SupervisedConfig,
        steps: int,
        companion: nn.Module | None = None,
    ) -> None:
        super().__init__()
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.network, self.head, self.companion = network, head, companion
        self.views, self.score = views, score
        self.config, self.steps = config, steps

    @property
    def model(self) -> Network:
        """The network, without a companion."""
        return self.network

    def training_step(self, batch: Batch, step: int) -> dict[str, Tensor]:
        """Loss of one view of a batch; counted draws make it a function of (weights, step)."""
        device, counters = batch.flux.device, (self.config.seed, step, ranks.rank())
        # Dropout draws from torch's own generators.
        torch.manual_seed(generator(*counters, DROPOUT).initial_seed())
        view = self.views(
            batch.flux,
            ebv_mag=batch.ebv_mag,
            psf_fwhm_arcsec=batch.psf_fwhm_arcsec,
            noise=batch.noise,
            generator=generator(*counters, AUGMENTATION, device=device),
        )
        assert batch.z is not None
        z, view = batch.z.float(), view.contiguous(memory_format=torch.channels_last)
        with forward_hook(self.network.trunk) as features:
            loss = self.network.loss(view, z, self.head)
        if self.companion is not None:
            with torch.autocast(device.type, enabled=False):
                loss = loss + self.companion(features[0].float(), z.isfinite(), step=step)
        return {"loss": loss}

    def configure_optimizers(self) -> tuple[AdamW, LambdaLR]:
        """Make AdamW, whose learning rate of the trunk may differ, and its schedule."""
        config, trunk = self.config, list(self.network.trunk.parameters())
        inside = {id(parameter) for parameter in trunk}
        rest = [p for p in self.parameters() if id(p) not in inside]
        groups = [
            {"params": trunk, "lr": config.trunk_learning_rate * config.learning_rate},
            {"params": rest, "lr": config.learning_rate},
        ]
        optimizer = AdamW(groups, weight_decay=config.weight_decay, fused=True)
        return optimizer, LambdaLR(
            optimizer, lambda step: rate_factor(step, steps=self.steps, warmup=WARMUP)
        )

    def evaluate(self) -> Mapping[str, float]:
        """Score of the network on the validation galaxies."""
        return self.score(self.network)


def train(
    network: Network,
    views: Callable[..., Tensor],
    stream_from: Callable[[int], Iterable[Batch]],
    score: Callable[[Network], Mapping[str, float]],
    *,
    head: Head,
    config: SupervisedConfig,
    steps_per_epoch: int,
    folder: Path,
    companion: nn.Module | None = None,
) -> Progress:
    """Train a network, from the last checkpoint in its folder; leave it at its best epoch.

    Args:
        network: The network, on the device to train on; it ends up in evaluation mode.
        views: Maker of one augmented view of a batch, see `ssl_photoz.augment.views.Views`.
        stream_from: Source of the training batches from a step on.
        score: Score after each epoch; its ``score`` decides, the lower the better.
        head: What the network is asked for, and with what loss.
        config: The training.
        steps_per_epoch: Steps between two scores.
        folder: Where checkpoints and ``history.jsonl`` are kept. A checkpoint is written after an
            epoch if ten seconds have passed since the last one, and when a signal asks to stop.
        companion: A further loss, of the trunk's features of a batch (B, F) and of which of its
            galaxies have a redshift (B,), given the ``step``; its weights are trained along.

    Raises:
        TrainingError: If the loss or the score is not finite.
        ArtefactError: If there are checkpoints and none can be read.
        StoppedError: If a signal has asked for it; a checkpoint has been written.
    """
    steps = config.epochs * steps_per_epoch
    task = SupervisedTask(
        network,
        head=head,
        views=views,
        score=score,
        config=config,
        steps=steps,
        companion=companion,
    )
    engine = Engine(
        task,
        folder=folder,
        steps=steps,
        steps_per_epoch=steps_per_epoch,
        precision="bf16-mixed",
        checkpoint_steps=steps_per_epoch,
        checkpoint_seconds=CHECKPOINT_SECONDS,
        patience=config.patience,
    )
    progress = engine.train(stream_from)
    network.eval()
    return progress
