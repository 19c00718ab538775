"""From an encoder and cutouts to a trained encoder, for every program that trains one."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import torch

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
from ssl_photoz.training.label_losses import LabelLoss
from ssl_photoz.training.moco import Likeness, MoCo, PretextTargets
from ssl_photoz.training.row_selection import RowSelection
from ssl_photoz.training.settings import MoCoConfig, TrainingConfig


def train_encoder(
    encoder: Encoder,
    selection: RowSelection,
    stream_from: Callable[[int], Iterable[Batch]],
    *,
    folder: Path,
    split: SplitConfig,
    steps_per_epoch: int,
    training: TrainingConfig,
    moco: MoCoConfig,
    augmentations: AugmentationConfig,
    compiled: bool = False,
    label_loss: LabelLoss | None = None,
) -> None:
    """Train an encoder in place, from the last checkpoint in its folder if there is one.

    Args:
        encoder: The encoder.
        selection: The cutouts and rows that it is trained on.
        stream_from: Function that gives the batches from a step on.
        folder: Folder of checkpoints and history.
        split: The sky split; redshifts of its validation sky give the score that is logged.
        steps_per_epoch: Steps after which every galaxy has been seen once.
        training: Epochs, batches, checkpoints, precision, and the seed of heads and augmentations.
        moco: The losses and the optimiser.
        augmentations: The augmentations.
        compiled: Whether to compile the encoder; takes a minute or so at the start.
        label_loss: Loss of features and redshifts, see `MoCo`.

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
    steps = training.epochs * steps_per_epoch
    targets = None
    if moco.pretext_weight:
        measure = ApertureFluxes(size_px=source.size_px, **source.about)
        targets = PretextTargets(measure, *target_statistics(measure, cutouts, rows))
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
            total_steps=steps,
            seed=training.seed,
            targets=targets,
            likeness=likeness,
            label_loss=label_loss,
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
