"""From an encoder and cutouts to a trained encoder, for every program that trains one."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from torch import nn

from ssl_photoz.augment.settings import AugmentationConfig
from ssl_photoz.augment.views import Views
from ssl_photoz.core.errors import ConfigError
from ssl_photoz.core.memory import keep_freed_memory
from ssl_photoz.cutouts.apertures import ApertureFluxes
from ssl_photoz.cutouts.batches import Batch
from ssl_photoz.cutouts.device import pinned
from ssl_photoz.cutouts.sample import labelled_crops, measured_sample, target_statistics
from ssl_photoz.cutouts.split import SplitConfig
from ssl_photoz.encoders.encoder import Encoder
from ssl_photoz.training import ranks
from ssl_photoz.training.engine import Engine
from ssl_photoz.training.health import OnlineKNN
from ssl_photoz.training.moco import Likeness, MoCo
from ssl_photoz.training.row_selection import RowSelection
from ssl_photoz.training.settings import MoCoConfig, TrainingConfig


def train_encoder(
    encoder: Encoder,
    selection: RowSelection,
    stream_from: Callable[[int], Iterable[Batch]],
    *,
    folder: Path,
    split: SplitConfig,
    steps: int,
    steps_per_epoch: int,
    training: TrainingConfig,
    moco: MoCoConfig,
    augmentations: AugmentationConfig,
    compiled: bool = False,
    label_loss: nn.Module | None = None,
    label_weight: float = 0.0,
) -> None:
    """Train an encoder in place, from the last checkpoint in its folder if there is one.

    Args:
        encoder: The encoder.
        selection: The cutouts and rows that it is trained on.
        stream_from: Function that gives the batches from a step on.
        folder: Folder of checkpoints and history.
        split: The sky split; redshifts of its validation sky give the score that is logged.
        steps: Length of the run, steps.
        steps_per_epoch: Steps after which every galaxy has been seen once.
        training: Batches, checkpoints, precision, and the seed of heads and augmentations.
        moco: The losses and the optimiser.
        augmentations: The augmentations.
        compiled: Whether to compile the encoder; takes a minute or so at the start.
        label_loss: Loss of features and redshifts, see `MoCo`.
        label_weight: Weight of that loss.

    Raises:
        ConfigError: If the encoder drops modalities, or lacks what weighs the negatives.
        TrainingError: If the loss is not finite or diverges, the embedding collapses, or another
            process is lost.
        StoppedError: If a signal has asked for it; a checkpoint has been written.
    """
    moco.require_measured(encoder.config)
    keep_freed_memory()
    torch.backends.cudnn.benchmark = True  # shapes never change, so cuDNN may try what is fastest
    if encoder.description.get("modalities", {}).get("dropout"):
        raise ConfigError(
            "encoder.modalities.dropout draws from torch's own generators, which a resumed "
            "pretraining does not bring back: it is for supervise; set it to 0"
        )
    cutouts, rows = selection.cutouts, selection.rows
    source, crop_px = cutouts.source, encoder.input_shape[-1]
    measure, mean, std = None, None, None
    if moco.pretext_weight:
        measure = ApertureFluxes(size_px=source.size_px, **source.about)
        mean, std = target_statistics(measure, cutouts, rows)
    views = Views(crop_px=crop_px, config=augmentations, **source.kind)
    likeness = None
    if moco.negatives != "equal":
        assert encoder.measurements is not None
        sample = measured_sample(encoder.measurements, cutouts, rows)
        likeness = Likeness(encoder.measurements, encoder.measurements.standardised(sample))
    with torch.random.fork_rng():
        torch.manual_seed(training.seed + 1)
        module = MoCo(
            encoder,
            views,
            moco,
            measure=measure,
            target_mean=mean,
            target_std=std,
            total_steps=steps,
            seed=training.seed,
            likeness=likeness,
            label_loss=label_loss,
            label_weight=label_weight,
            scores=OnlineKNN(**labelled_crops(cutouts, rows, split, size_px=crop_px)),
        )
    if compiled:
        module.encoder.compile()
        module.key_encoder.compile()
    engine = Engine(
        module,
        folder=folder,
        steps=steps,
        steps_per_epoch=steps_per_epoch,
        precision=training.precision,
        checkpoint_steps=training.checkpoint_steps,
        before_saving=selection.write,
    )
    on_gpu = ranks.device().type == "cuda"
    engine.train((lambda start: pinned(stream_from(start))) if on_gpu else stream_from)
    selection.write()
