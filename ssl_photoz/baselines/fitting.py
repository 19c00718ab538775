"""From streams of labelled cutouts to a trained network and its predictions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from ssl_photoz.augment.views import Views
from ssl_photoz.baselines.build import make_network
from ssl_photoz.baselines.checkpoint import save_weights
from ssl_photoz.baselines.predict import predict
from ssl_photoz.baselines.schedule import schedule
from ssl_photoz.baselines.target import Target
from ssl_photoz.baselines.training import LabelledBatch, train
from ssl_photoz.types import Array, Doubles


class BatchesFrom(Protocol):
    """Gives the training batches number ``start`` to ``stop``."""

    def __call__(self, *, batch_size: int, start: int, stop: int) -> Iterable[LabelledBatch]:
        """Give batches of this size."""
        ...


class CropsOf(Protocol):
    """Gives the plain central crops of a split, a batch at a time, in its order."""

    def __call__(self, *, size_px: int) -> Iterable[Tensor]:
        """Give crops of this side."""
        ...


def fit_and_predict(
    batches_from: BatchesFrom,
    crops_of: Mapping[str, CropsOf],
    score: Callable[[Doubles], Mapping[str, float]],
    *,
    z: Array,
    folder: Path,
    network: Mapping[str, Any],
    views: Mapping[str, Any],
    epochs: int,
    least_steps: int,
    patience: int,
    batch_size: int,
    learning_rate: float,
    trunk_lr: float,
    weight_decay: float,
    orientations: int,
    seed: int,
) -> tuple[dict[str, Doubles], dict[str, Any]]:
    """Train on one split, choose on another, predict; go on if interrupted.

    Args:
        batches_from: Of the training galaxies.
        crops_of: ``val``, which chooses the epoch, and any other split to predict.
        score: Scores predicted ln(1+z) of ``val``; its ``score`` decides, the lower the better.
        z: Redshifts of the training galaxies, shape (N,).
        folder: Where history, checkpoint and ``weights.safetensors`` go.
        network: Keywords of `make_network`.
        views: Keywords of `Views` but for the crop.
        epochs: See `schedule`.
        least_steps: See `schedule`.
        patience: See `train`.
        batch_size: See `schedule`.
        learning_rate: See `train`.
        trunk_lr: See `train`.
        weight_decay: See `train`.
        orientations: How many exact orientations to average the predictions over; validation
            during training takes one.
        seed: Of weights, augmentation and dropout.

    Returns:
        Split to predicted ln(1+z), and how the training went.

    Raises:
        MismatchError: If the cutouts are not what the network sees.
        TrainingError: If the loss is not finite.
    """
    target = Target.of(z)
    made = make_network(target=target, seed=seed, **network)
    made.to("cuda" if torch.cuda.is_available() else "cpu")
    size_px = made.input_shape[-1]
    plan = schedule(len(z), epochs=epochs, batch_size=batch_size, least_steps=least_steps)
    stop = epochs * plan.steps_per_epoch
    progress = train(
        made,
        Views(crop_px=size_px, **views),
        lambda start: batches_from(batch_size=plan.batch_size, start=start, stop=stop),
        lambda now: score(predict(now, crops_of["val"](size_px=size_px), target=target)),
        target=target,
        folder=folder,
        epochs=epochs,
        steps_per_epoch=plan.steps_per_epoch,
        patience=patience,
        learning_rate=learning_rate,
        trunk_lr=trunk_lr,
        weight_decay=weight_decay,
        seed=seed,
    )
    answers = {
        split: predict(made, crops(size_px=size_px), target=target, orientations=orientations)
        for split, crops in crops_of.items()
    }
    galaxies_seen = progress.epoch * plan.steps_per_epoch * plan.batch_size
    return answers, {
        "parameters": sum(p.numel() for p in made.parameters()),
        "best_epoch": progress.best_epoch,
        "epochs": progress.epoch,
        **plan._asdict(),
        "seconds": round(progress.seconds, 1),
        "images_per_second": round(galaxies_seen / max(progress.seconds, 1e-9), 1),
        "device": next(made.parameters()).device.type,
        "weights_sha256": save_weights(folder, made),
    }
