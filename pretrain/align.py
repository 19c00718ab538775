"""The program that lets known redshifts order an encoder's features."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ssl_photoz.augment.settings import AugmentationConfig
from ssl_photoz.core import artefact
from ssl_photoz.core.errors import ConfigError, DataError
from ssl_photoz.core.extras import needs
from ssl_photoz.core.types import PathLike
from ssl_photoz.cutouts.split import SplitConfig
from ssl_photoz.training.settings import (
    LabelLossConfig,
    MachineConfig,
    MoCoConfig,
    TrainingConfig,
)

if TYPE_CHECKING:
    from ssl_photoz.core.types import Ints
    from ssl_photoz.encoders.encoder import Encoder
    from ssl_photoz.training.row_selection import RowSelection

RENAMED = {
    "nuisances": "augmentations",
    "augmentations.own": "augmentations.input_conditions",
    "augmentations.targets": "augmentations.target_conditions",
    "align": "label_loss",
    "label_loss.arm": "label_loss.loss",
}
IGNORE = ("data", "mask", "start", "training.checkpoint_steps", "machine")


@needs("pretrain")
def align(
    data: PathLike,
    start: PathLike | Encoder,
    out: PathLike,
    *,
    mask: PathLike | None = None,
    labels: int | None = None,
    training: TrainingConfig = TrainingConfig(epochs=5),
    label_loss: LabelLossConfig = LabelLossConfig(),
    moco: MoCoConfig = MoCoConfig(learning_rate=3e-4),
    augmentations: AugmentationConfig = AugmentationConfig(),
    machine: MachineConfig = MachineConfig(),
) -> Encoder:
    """Let the redshifts of training galaxies order an encoder's features.

        ssl-photoz align data=cutouts.h5 start=runs/encoder out=runs/aligned

    All galaxies keep the losses that the encoder was pretrained with; the labelled ones are seen
    more often. ``labels_seen`` of the card lists the galaxies whose redshift was used. The build
    and the sky split are those of ``start``.

    Args:
        data: Cutouts: a file or folder of any format, or a dataset YAML.
        start: Encoder to go on from.
        out: Folder for the encoder, its history and checkpoints.
        mask: Mask of these cutouts; rows that it rejects are not used.
        labels: Number of training galaxies to learn redshifts from, drawn as a probe draws them;
            by default all.
        training: Length, batches and checkpoints.
        label_loss: The loss that sees labels.
        moco: The losses beside it and the optimiser.
        augmentations: The augmentations.
        machine: Options that make it faster, and change rounding at most.

    Returns:
        The aligned encoder, in evaluation mode.

    Raises:
        ConfigError: If settings contradict each other.
        DataError: If there are too few cutouts or labels.
        MismatchError: If the folder holds other work, or ``start`` was made for other cutouts.
        TrainingError: If the loss diverges, the embedding collapses, or a process is lost.
    """
    if training.epochs < 1:
        raise ConfigError("epochs must be >= 1")
    if moco.queue_size % training.batch_size:
        raise ConfigError(f"moco.queue_size must be a multiple of batch_size {training.batch_size}")
    import copy

    from ssl_photoz.cutouts.mask import cutout_parents
    from ssl_photoz.encoders.artefact import load_encoder
    from ssl_photoz.training import ranks

    data, out, mask = Path(data), Path(out), None if mask is None else Path(mask)
    with ranks.joined():
        parents = cutout_parents(data, mask)
        encoder = copy.deepcopy(load_encoder(start))
        moco.require_measured(encoder.config)
        parents["encoder"] = encoder.sha256
        folder = start if isinstance(start, str | Path) else None
        config = {
            **{"data": data, "mask": mask, "start": folder},
            **{"labels": labels, "training": training, "label_loss": label_loss, "moco": moco},
            **{"augmentations": augmentations, "machine": machine},
        }
        made: dict[str, Any] = {"config": config, "parents": parents}
        if ranks.on_rank_zero(lambda: artefact.begin(out, "encoder", ignore=IGNORE, **made)):
            _make(data, out, mask, encoder, **made)
        else:
            print(f"{out} is already made")
        return load_encoder(out)


def _make(
    data: Path,
    out: Path,
    mask: Path | None,
    encoder: Encoder,
    *,
    config: dict[str, Any],
    parents: dict[str, str],
) -> None:
    from ssl_photoz.cutouts.extinction import corrected, correction_note
    from ssl_photoz.cutouts.reader import Cutouts
    from ssl_photoz.cutouts.stream import training_labels
    from ssl_photoz.encoders.artefact import save_encoder
    from ssl_photoz.photoz.labels import choose
    from ssl_photoz.training import ranks
    from ssl_photoz.training.checkpoints import forget_checkpoints
    from ssl_photoz.training.row_selection import RowSelection

    card, training = encoder.card, config["training"]
    split = SplitConfig.of(card.split)
    wanted = encoder.extinction_corrected
    with Cutouts.open(data) as seen:
        cutouts = corrected(seen, wanted=wanted)
        encoder.require(size_px=cutouts.source.size_px, **cutouts.source.kind)
        if note := correction_note(cutouts, wanted=wanted):
            print(note)
        every = training_labels(cutouts, np.arange(len(cutouts)), split)
        choose(len(every), config["labels"], seed=training.seed)  # refused before cutouts are read
        selection = RowSelection(cutouts, out, mask, resident=config["machine"].resident)
        labelled = training_labels(cutouts, selection.rows, split)
        labelled = labelled[choose(len(labelled), config["labels"], seed=training.seed)]
        print(f"{len(selection.rows)} cutouts to train on, {len(labelled)} of them with redshift")
        steps = _train(selection, encoder, labelled, split, out, config)
        learnt = cutouts.column("id")[labelled[: None if config["label_loss"].weight else 0]]
        facts: dict[str, Any] = {
            "simulated": cutouts.source.simulated or card.simulated,
            "split": card.split,
            "steps": steps,
            **selection.counts,
            "labels_seen": sorted({*card.labels_seen, *learnt.tolist()}, key=str),
            "started_from": parents["encoder"],
        }
        ranks.on_rank_zero(
            lambda: save_encoder(out, encoder, config=config, parents=parents, **facts)
        )
    ranks.on_rank_zero(lambda: forget_checkpoints(out, keep=0))
    print(f"encoder after {steps} more steps -> {out}")


def _train(
    selection: RowSelection,
    encoder: Encoder,
    labelled: Ints,
    split: SplitConfig,
    out: Path,
    config: dict[str, Any],
) -> int:
    import torch

    from ssl_photoz.cutouts.stream import LabelledStream, label_column, labelled_per_batch
    from ssl_photoz.training import ranks
    from ssl_photoz.training.label_losses import make_label_loss
    from ssl_photoz.training.pretraining import train_encoder

    training, label_loss = config["training"], config["label_loss"]
    batch_size, share = training.batch_size, label_loss.labelled_share
    cutouts, rows = selection.for_training, selection.rows
    per_epoch = len(rows) // (batch_size - labelled_per_batch(batch_size, share))
    if not per_epoch:
        raise DataError(f"{len(rows)} good cutouts do not fill one batch; lower batch_size")
    steps: int = training.epochs * per_epoch
    z = label_column(cutouts, labelled, split)[labelled]
    order: dict[str, Any] = {"split": split, "share": share, "batch_size": batch_size}
    order |= {"part": ranks.share(batch_size), "seed": training.seed, "stop": steps}
    train_encoder(
        encoder.train().to(memory_format=torch.channels_last),  # type: ignore[call-overload]
        selection,
        lambda start: LabelledStream(cutouts, rows, labelled, start=start, **order),
        folder=out,
        split=split,
        steps_per_epoch=per_epoch,
        compiled=config["machine"].compiled,
        label_loss=make_label_loss(
            torch.from_numpy(z), label_loss, width=encoder.learnt_dim, seed=training.seed
        ),
        **{name: config[name] for name in ("training", "moco", "augmentations")},
    )
    return steps
