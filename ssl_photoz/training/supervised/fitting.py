"""From streams of labelled cutouts to a trained network, or an ensemble, and its predictions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple, Protocol

import numpy as np
from torch import Tensor, nn

from ssl_photoz.augment.settings import AugmentationConfig
from ssl_photoz.augment.survey import SurveyConditions
from ssl_photoz.augment.views import Views
from ssl_photoz.core.types import Doubles, Floats, Ints
from ssl_photoz.cutouts.batches import Batch
from ssl_photoz.cutouts.schema import Source
from ssl_photoz.encoders.encoder import Encoder
from ssl_photoz.training import ranks
from ssl_photoz.training.supervised.artefact import save_weights
from ssl_photoz.training.supervised.build import make_network
from ssl_photoz.training.supervised.heads import Head, edges_of
from ssl_photoz.training.supervised.network import Network
from ssl_photoz.training.supervised.predict import answer, modality_ablation, predict
from ssl_photoz.training.supervised.settings import ModelConfig, SupervisedConfig
from ssl_photoz.training.supervised.training import schedule, train


class BatchesFrom(Protocol):
    """Source of the training batches number ``start`` to ``stop``."""

    def __call__(self, *, batch_size: int, start: int, stop: int, part: slice) -> Iterable[Batch]:
        """This part of batches of this size."""
        ...


class CropsOf(Protocol):
    """Source of the plain central crops of a split, a batch at a time, in its order."""

    def __call__(self, *, size_px: int) -> Iterable[Tensor]:
        """Crops of this side."""
        ...


@dataclass(frozen=True)
class Task:
    """What to train, and what to ask it afterwards.

    Attributes:
        network: Maker of the network from a seed; called once per member of an ensemble.
        head: What the network is asked for.
        views: Maker of augmented views, see `ssl_photoz.augment.views.Views`, from their side.
        crops: Crops of ``val``, whose score chooses the epoch, and of any other split to predict.
        score: Score of predicted ln(1+z) of ``val``; its ``score`` decides, the lower the better.
        companion: Maker of a further loss from the network and the number of steps; see `train`.
    """

    network: Callable[[int], Network]
    head: Head
    views: Callable[[int], Callable[..., Tensor]]
    crops: Mapping[str, CropsOf]
    score: Callable[[Doubles], Mapping[str, float]]
    companion: Callable[[Network, int], nn.Module] | None = None


def make_task(
    source: Source,
    crops: Mapping[str, CropsOf],
    score: Callable[[Doubles], Mapping[str, float]],
    *,
    model: ModelConfig,
    head: Head,
    augmentations: AugmentationConfig,
    noise: Floats,
    pretrained: Encoder | None = None,
    conditions: SurveyConditions | None = None,
    companion: Callable[[Network, int], nn.Module] | None = None,
) -> Task:
    """Put together what to train on cutouts, and what to ask it.

    Args:
        source: What the cutouts are.
        crops: Crops of ``val`` and of any other split to predict.
        score: Score of predicted ln(1+z) of ``val``.
        model: The network.
        head: What it is asked for.
        augmentations: The augmentations.
        noise: Typical noise per pixel of each band, shape (C,).
        pretrained: The encoder to fine-tune; each member of an ensemble gets a copy.
        conditions: Survey that PSF, noise and dust of the views are drawn from; by default DR9.
        companion: Maker of a further loss, see `Task`.
    """

    def network(seed: int) -> Network:
        return make_network(
            model,
            head,
            about=source.kind,
            size_px=source.size_px,
            noise=noise,
            seed=seed,
            pretrained=deepcopy(pretrained),
        )

    def views(crop_px: int) -> Views:
        return Views(
            source.bands,
            source.pixscale_arcsec,
            source.calibrated,
            crop_px,
            augmentations,
            conditions=conditions,
            extinction_corrected=source.extinction_corrected,
        )

    return Task(network, head, views, crops, score, companion)


class Fitted(NamedTuple):
    """What a training ends with.

    Attributes:
        answers: Split to predicted ln(1+z), shape (N,).
        raw: Split to the averaged answers of the head, shape (N,) or (N, outputs).
        edges: Redshifts of the edges of the bins whose probabilities ``raw`` holds, shape
            (outputs + 1,); None for a head without bins.
        plan: What `build` builds the network from, ready for JSON.
        training: How it went.
    """

    answers: dict[str, Doubles]
    raw: dict[str, Doubles]
    edges: Doubles | None
    plan: dict[str, Any]
    training: dict[str, Any]


def fit(
    task: Task, batches_from: BatchesFrom, *, labels: int, config: SupervisedConfig, folder: Path
) -> Fitted:
    """Train on one split, choose on another, predict; go on if interrupted.

    Args:
        task: What to train.
        batches_from: Batches of the training galaxies.
        labels: Number of training galaxies.
        config: The training.
        folder: Where history, checkpoints and ``weights.safetensors`` go.

    Raises:
        MismatchError: If the cutouts are not what the network sees.
        TrainingError: If the loss is not finite.
        StoppedError: If a signal has asked for it; a checkpoint has been written.
    """
    network, head = task.network(config.seed), task.head
    network.to(ranks.device())
    size_px = network.input_shape[-1]
    plan = schedule(labels, config)
    steps, part = config.epochs * plan.steps_per_epoch, ranks.share(plan.batch_size)
    companion = task.companion(network, steps) if task.companion else None
    progress = train(
        network,
        task.views(size_px),
        lambda start: batches_from(batch_size=plan.batch_size, start=start, stop=steps, part=part),
        lambda now: task.score(predict(now, task.crops["val"](size_px=size_px), head=head)),
        head=head,
        config=config,
        steps_per_epoch=plan.steps_per_epoch,
        folder=folder,
        companion=companion,
    )

    def ask() -> Fitted:
        raw = {
            split: answer(
                network, crops(size_px=size_px), head=head, orientations=config.orientations
            )
            for split, crops in task.crops.items()
        }
        galaxies_seen = progress.epoch * plan.steps_per_epoch * plan.batch_size
        training = {
            "parameters": sum(p.numel() for p in network.parameters()),
            "best_epoch": progress.best_epoch,
            "epochs": progress.epoch,
            **plan._asdict(),
            "seconds": round(progress.seconds, 1),
            "images_per_second": round(galaxies_seen / max(progress.seconds, 1e-9), 1),
            "device": next(network.parameters()).device.type,
            "weights_sha256": save_weights(folder, network),
            **(
                {name: float(told) for name, told in companion.named_buffers()} if companion else {}
            ),
        }
        answers = {split: head.ln_one_plus_z(some) for split, some in raw.items()}
        if ablation := modality_ablation(network, task.crops["val"], task.score, head=head):
            training["modalities"] = ablation
        return Fitted(answers, raw, edges_of(head), network.plan, training)

    return ranks.on_rank_zero(ask)


def fit_ensemble(
    task: Task,
    batches_of: Callable[[Ints], BatchesFrom],
    rows: Ints,
    *,
    members: int,
    config: SupervisedConfig,
    folder: Path,
) -> Fitted:
    """Train an ensemble, one network after another, and average their answers.

    Each member leaves out another fold of the training galaxies and has a seed of its own. All are
    asked the same, and choose their epochs on the same validation galaxies.

    Args:
        task: What to train.
        batches_of: Source of the batches of some training rows.
        rows: All training rows, shape (N,).
        members: Number of networks; a single one is trained on all galaxies.
        config: The training of each; its seed is that of folds and members.
        folder: Folder of the only member; several have ``member-0`` ... in it.

    Returns:
        The mean answers. ``training`` sums weights and seconds of all ``members``.
    """
    if members == 1:
        return fit(task, batches_of(rows), labels=len(rows), config=config, folder=folder)
    fold = np.random.default_rng(config.seed).permutation(len(rows)) % members
    fitted = [
        fit(
            task,
            batches_of(rows[fold != number]),
            labels=int(np.sum(fold != number)),
            config=replace(config, seed=config.seed * members + number),
            folder=folder / f"member-{number}",
        )
        for number in range(members)
    ]
    raw = {split: np.mean([one.raw[split] for one in fitted], axis=0) for split in fitted[0].raw}
    answers = {split: task.head.ln_one_plus_z(some) for split, some in raw.items()}
    return fitted[0]._replace(
        answers=answers, raw=raw, training=_together([one.training for one in fitted])
    )


def _together(trainings: Sequence[dict[str, Any]]) -> dict[str, Any]:
    total = {name: sum(one[name] for one in trainings) for name in ("parameters", "seconds")}
    best = int(median(one["best_epoch"] for one in trainings))
    return {**total, "best_epoch": best, "device": trainings[0]["device"], "members": trainings}
