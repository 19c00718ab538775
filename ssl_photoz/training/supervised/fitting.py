"""From streams of labelled cutouts to a trained network and its predictions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from ssl_photoz.augment.views import Views
from ssl_photoz.core.types import Doubles
from ssl_photoz.training.supervised.build import make_network
from ssl_photoz.training.supervised.checkpoint import save_weights
from ssl_photoz.training.supervised.heads import Head, edges_of
from ssl_photoz.training.supervised.hearing import scores_by_modality
from ssl_photoz.training.supervised.network import Network
from ssl_photoz.training.supervised.predict import answer, predict
from ssl_photoz.training.supervised.schedule import schedule
from ssl_photoz.training.supervised.training import LabelledBatch, train


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


class Fitted(NamedTuple):
    """What a training ends with.

    Attributes:
        answers: Split to predicted ln(1+z), shape (N,).
        raw: Split to the averaged answers of the head, shape (N,) or (N, outputs).
        edges: Redshifts of the bins whose probabilities ``raw`` holds, shape (outputs + 1,); None
            for any other head.
        plan: What `build` builds the network from, ready for JSON.
        training: How it went.
    """

    answers: dict[str, Doubles]
    raw: dict[str, Doubles]
    edges: Doubles | None
    plan: dict[str, Any]
    training: dict[str, Any]


def fit_and_predict(
    batches_from: BatchesFrom,
    crops_of: Mapping[str, CropsOf],
    score: Callable[[Doubles], Mapping[str, float]],
    *,
    labels: int,
    folder: Path,
    network: Mapping[str, Any],
    head: Head,
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
    companion_of: Callable[[Network, int], nn.Module] | None = None,
) -> Fitted:
    """Train on one split, choose on another, predict; go on if interrupted.

    Args:
        batches_from: Of the training galaxies.
        crops_of: ``val``, which chooses the epoch, and any other split to predict.
        score: Scores predicted ln(1+z) of ``val``; its ``score`` decides, the lower the better.
        labels: How many training galaxies there are.
        folder: Where history, checkpoint and ``weights.safetensors`` go.
        network: Keywords of `make_network`.
        head: What is asked for.
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
        companion_of: Makes a further loss from the network and the number of steps; see `train`.

    Raises:
        MismatchError: If the cutouts are not what the network sees.
        TrainingError: If the loss is not finite.
    """
    made = make_network(head=head, seed=seed, **network)
    made.to("cuda" if torch.cuda.is_available() else "cpu")
    size_px = made.input_shape[-1]
    plan = schedule(labels, epochs=epochs, batch_size=batch_size, least_steps=least_steps)
    stop = epochs * plan.steps_per_epoch
    companion = companion_of(made, stop) if companion_of else None
    progress = train(
        made,
        Views(crop_px=size_px, **views),
        lambda start: batches_from(batch_size=plan.batch_size, start=start, stop=stop),
        lambda now: score(predict(now, crops_of["val"](size_px=size_px), head=head)),
        head=head,
        folder=folder,
        epochs=epochs,
        steps_per_epoch=plan.steps_per_epoch,
        patience=patience,
        learning_rate=learning_rate,
        trunk_lr=trunk_lr,
        weight_decay=weight_decay,
        seed=seed,
        companion=companion,
    )
    raw = {
        split: answer(made, crops(size_px=size_px), head=head, orientations=orientations)
        for split, crops in crops_of.items()
    }
    galaxies_seen = progress.epoch * plan.steps_per_epoch * plan.batch_size
    training = {
        "parameters": sum(p.numel() for p in made.parameters()),
        "best_epoch": progress.best_epoch,
        "epochs": progress.epoch,
        **plan._asdict(),
        "seconds": round(progress.seconds, 1),
        "images_per_second": round(galaxies_seen / max(progress.seconds, 1e-9), 1),
        "device": next(made.parameters()).device.type,
        "weights_sha256": save_weights(folder, made),
        **({name: float(told) for name, told in companion.named_buffers()} if companion else {}),
    }
    answers = {split: head.ln_one_plus_z(some) for split, some in raw.items()}
    if heard := scores_by_modality(made, crops_of["val"], score, head=head):
        training["modalities"] = heard
    return Fitted(answers, raw, edges_of(head), made.plan, training)
