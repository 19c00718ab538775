"""Encoder x cutouts -> a trained encoder: what every program that trains one wires together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ssl_photoz.augment.settings import AugmentationConfig
from ssl_photoz.augment.views import Views
from ssl_photoz.core.errors import ConfigError
from ssl_photoz.core.memory import keep_freed_memory
from ssl_photoz.cutouts.apertures import ApertureFluxes
from ssl_photoz.cutouts.batches import Batch
from ssl_photoz.cutouts.device import pinned
from ssl_photoz.cutouts.sample import labelled_crops, target_statistics
from ssl_photoz.cutouts.split import SplitConfig
from ssl_photoz.encoders.encoder import Encoder
from ssl_photoz.training import ranks
from ssl_photoz.training.account import Account
from ssl_photoz.training.health import Health
from ssl_photoz.training.moco import MoCo
from ssl_photoz.training.moco_training import train


def pretrain(
    encoder: Encoder,
    account: Account,
    stream_from: Callable[[int], Iterable[Batch]],
    *,
    folder: Path,
    split: SplitConfig,
    steps: int,
    steps_per_epoch: int,
    batch_size: int,
    checkpoint_steps: int,
    precision: str,
    compiled: bool,
    seed: int,
    moco: Mapping[str, Any],
    nuisances: AugmentationConfig,
    order: nn.Module | None = None,
    order_weight: float = 0.0,
) -> None:
    """Train an encoder in place, from the last checkpoint in its folder if there is one.

    Args:
        encoder: The encoder.
        account: The cutouts and rows that it is trained on.
        stream_from: Gives the batches from a step on.
        folder: Where checkpoints and history are kept.
        split: The sky split; redshifts of its validation sky give the score that is logged.
        steps: Length of the run.
        steps_per_epoch: Steps after which every galaxy has been seen once.
        batch_size: Galaxies per step, of all processes together.
        checkpoint_steps: Steps between checkpoints.
        precision: Lightning's name for it.
        compiled: Whether to compile the encoder; takes a minute or so at the start.
        seed: Of the heads' weights and every augmentation.
        moco: Keywords of `MoCo`: losses and optimiser.
        nuisances: The augmentations.
        order: A loss of features and redshifts; see `MoCo`.
        order_weight: Its weight.

    Raises:
        ConfigError: If the encoder drops modalities.
        TrainingError: If the loss is not finite or diverges, the embedding collapses, or another
            process is lost.
        StoppedError: If a signal has asked for it; a checkpoint has been written.
    """
    keep_freed_memory()
    if encoder.description.get("modalities", {}).get("dropout"):
        raise ConfigError(
            "encoder.modalities.dropout draws from torch's own generators, which a resumed "
            "pretraining does not bring back: it is for supervise; set it to 0"
        )
    cutouts, rows = account.cutouts, account.rows
    source, crop_px = cutouts.source, encoder.input_shape[-1]
    measure = ApertureFluxes(size_px=source.size_px, **source.about)
    mean, std = target_statistics(measure, cutouts, rows)
    views = Views(crop_px=crop_px, config=nuisances, **source.about)
    health = Health(**labelled_crops(cutouts, rows, split, size_px=crop_px))
    with torch.random.fork_rng():
        torch.manual_seed(seed + 1)
        module = MoCo(
            encoder,
            views,
            measure=measure if moco["pretext_weight"] else None,
            target_mean=mean,
            target_std=std,
            total_steps=steps,
            seed=seed,
            **moco,
            order=order,
            order_weight=order_weight,
        )
    if compiled:
        module.encoder.compile()
        module.key_encoder.compile()
    on_gpu = ranks.device().type == "cuda"
    train(
        module,
        (lambda start: pinned(stream_from(start))) if on_gpu else stream_from,
        folder=folder,
        steps_per_epoch=steps_per_epoch,
        checkpoint_steps=checkpoint_steps,
        batch_size=batch_size,
        precision=precision,
        score=lambda trained: health(trained.encoder),
        before_saving=account.write,
    )
    account.write()
