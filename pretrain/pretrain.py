"""The program that trains an encoder without labels."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ssl_photoz.augment.settings import AugmentationConfig
from ssl_photoz.core import artefact
from ssl_photoz.core.errors import ConfigError, DataError
from ssl_photoz.core.extras import needs
from ssl_photoz.core.types import PathLike
from ssl_photoz.cutouts.split import SplitConfig
from ssl_photoz.encoders.settings import EncoderConfig
from ssl_photoz.training.settings import MachineConfig, MoCoConfig, ShuffleConfig, TrainingConfig

if TYPE_CHECKING:
    from ssl_photoz.encoders.encoder import Encoder
    from ssl_photoz.training.row_selection import RowSelection

RENAMED = {
    "seed": "training.seed",  # as short as before, though split has a seed too
    "nuisances": "augmentations",
    "augmentations.own": "augmentations.input_conditions",
    "augmentations.targets": "augmentations.target_conditions",
    "shuffle_block": "shuffle.block",
    "shuffle_window": "shuffle.window",
}
IGNORE = ("data", "mask", "start", "training.checkpoint_steps", "machine")


@needs("pretrain")
def pretrain(
    data: PathLike,
    out: PathLike,
    *,
    start: PathLike | Encoder | None = None,
    mask: PathLike | None = None,
    training: TrainingConfig = TrainingConfig(),
    encoder: EncoderConfig = EncoderConfig(),
    moco: MoCoConfig = MoCoConfig(),
    augmentations: AugmentationConfig = AugmentationConfig(),
    split: SplitConfig = SplitConfig(),
    shuffle: ShuffleConfig = ShuffleConfig(),
    machine: MachineConfig = MachineConfig(),
) -> Encoder:
    """Train an encoder without labels.

        ssl-photoz pretrain data=cutouts.h5 out=runs/encoder epochs=50

    Momentum contrast with a photometric pretext beside it; redshifts only score. The same command
    again goes on after an interruption. Under ``srun`` or ``torchrun`` all processes train one
    encoder: docs/slurm.md.

    Args:
        data: Cutouts: a file or folder of any format, or a dataset YAML.
        out: Folder for the encoder, its history and checkpoints.
        start: Encoder to go on from; its build and sky split are kept. By default a fresh one.
        mask: Mask of these cutouts; rows that it rejects are not used.
        training: Length, batches and checkpoints; 0 epochs write an encoder with random weights.
        encoder: Build of a fresh encoder.
        moco: The losses and the optimiser.
        augmentations: The augmentations.
        split: The sky split, kept with the encoder for every later step.
        shuffle: Order in which the file is read.
        machine: Options that make it faster, and change rounding at most.

    Returns:
        The trained encoder, in evaluation mode.

    Raises:
        ConfigError: If settings contradict each other, or those of ``start``.
        DataError: If the good cutouts do not fill one batch.
        MismatchError: If the folder holds other work, or ``start`` was made for other cutouts.
        TrainingError: If the loss diverges, the embedding collapses, or a process is lost.
    """
    if moco.queue_size % training.batch_size:
        raise ConfigError(f"moco.queue_size must be a multiple of batch_size {training.batch_size}")
    from ssl_photoz.cutouts.mask import cutout_parents
    from ssl_photoz.encoders.artefact import load_encoder
    from ssl_photoz.training import ranks

    data, out, mask = Path(data), Path(out), None if mask is None else Path(mask)
    with ranks.joined():
        parents = cutout_parents(data, mask)
        given = None if start is None else load_encoder(start)
        if given is not None:
            encoder, split = _of_start(given, encoder, split)
            parents["encoder"] = given.sha256
        moco.require_measured(encoder)
        _require_fit(data, given, encoder, training)
        folder = start if isinstance(start, str | Path) else None
        config = {
            **{"data": data, "mask": mask, "start": folder},
            **{"training": training, "encoder": encoder, "moco": moco, "split": split},
            **{"augmentations": augmentations, "shuffle": shuffle, "machine": machine},
        }
        made: dict[str, Any] = {"config": config, "parents": parents}
        if ranks.on_rank_zero(lambda: artefact.begin(out, "encoder", ignore=IGNORE, **made)):
            _make(data, out, mask, given, **made)
        else:
            print(f"{out} is already made")
        return load_encoder(out)


def _of_start(
    start: Encoder, encoder: EncoderConfig, split: SplitConfig
) -> tuple[EncoderConfig, SplitConfig]:
    """Build and split of the encoder to go on from.

    Raises:
        ConfigError: If others were asked for.
    """
    kept = replace(start.config, softening=encoder.softening)
    sky = SplitConfig.of(start.card.split) if start.card.split else split
    for name, asked, default, its in (
        ("encoder", encoder, EncoderConfig(softening=encoder.softening), kept),
        ("split", split, SplitConfig(), sky),
    ):
        if asked not in (default, its):
            raise ConfigError(f"{name} is that of start, {its}; leave {name} out, or start")
    return kept, sky


def _require_fit(
    data: Path, start: Encoder | None, build: EncoderConfig, training: TrainingConfig
) -> None:
    """Refuse cutouts that cannot be trained on, before they are read and anything is written.

    Raises:
        ConfigError: If they have no single pixel scale.
        DataError: If they do not fill one batch.
        MismatchError: If the encoder sees larger or other ones.
    """
    from ssl_photoz.cutouts.extinction import corrected
    from ssl_photoz.cutouts.reader import Cutouts
    from ssl_photoz.encoders.encoder import fresh_encoder

    with Cutouts.open(data) as cutouts:
        source = corrected(cutouts, wanted=build.extinction_corrected).source
    encoder = start
    if encoder is None:
        encoder = fresh_encoder(build, noise=[1.0] * len(source.bands), seed=0, **source.kind)
    encoder.require(size_px=source.size_px, **source.kind)
    if training.epochs and source.rows < training.batch_size:
        raise DataError(f"{source.rows} cutouts do not fill one batch; lower batch_size")


def _make(
    data: Path,
    out: Path,
    mask: Path | None,
    start: Encoder | None,
    *,
    config: dict[str, Any],
    parents: dict[str, str],
) -> None:
    from ssl_photoz.cutouts.extinction import corrected, correction_note
    from ssl_photoz.cutouts.reader import Cutouts
    from ssl_photoz.encoders.artefact import save_encoder
    from ssl_photoz.training import ranks
    from ssl_photoz.training.checkpoints import forget_checkpoints
    from ssl_photoz.training.row_selection import RowSelection

    training: TrainingConfig = config["training"]
    wanted: bool = config["encoder"].extinction_corrected
    with Cutouts.open(data) as seen:
        cutouts = corrected(seen, wanted=wanted)
        if note := correction_note(cutouts, wanted=wanted):
            print(note)
        selection = RowSelection(cutouts, out, mask, resident=config["machine"].resident)
        usable, rejected = len(selection.rows), selection.counts["rows_rejected"]
        print(f"{len(cutouts)} cutouts, {usable} to train on, {rejected} rejected")
        encoder = _encoder(start, config["encoder"], selection, seed=training.seed)
        steps = training.epochs * (usable // training.batch_size)
        if training.epochs and not steps:
            raise DataError(f"{usable} good cutouts do not fill one batch; lower batch_size")
        if steps:
            _train(selection, encoder, steps, out, config)
        facts: dict[str, Any] = {"split": asdict(config["split"]), **selection.counts}
        facts |= {"simulated": cutouts.source.simulated, "steps": steps}
        if start is not None:
            facts["simulated"] |= start.card.simulated
            facts["started_from"] = start.sha256
            if start.card.labels_seen:
                facts["labels_seen"] = start.card.labels_seen
        ranks.on_rank_zero(
            lambda: save_encoder(out, encoder, config=config, parents=parents, **facts)
        )
    ranks.on_rank_zero(lambda: forget_checkpoints(out, keep=0))
    if bad := selection.counts["rows_bad_in_training"]:
        print(f"{bad} cutouts turned out bad in training, see rejects.parquet")
    print(f"encoder after {steps} steps -> {out}")


def _encoder(
    start: Encoder | None, config: EncoderConfig, selection: RowSelection, *, seed: int
) -> Encoder:
    import copy

    import torch

    from ssl_photoz.cutouts.sample import measured_sample, typical_noise
    from ssl_photoz.encoders.encoder import fresh_encoder

    source = selection.cutouts.source
    if start is None:
        noise = typical_noise(selection.cutouts, selection.rows)
        encoder = fresh_encoder(config, noise=noise, seed=seed, **source.kind)
        if encoder.measurements is not None:
            sample = measured_sample(encoder.measurements, selection.cutouts, selection.rows)
            encoder.measurements.standardise_by(sample)
    else:
        encoder = copy.deepcopy(start).train()
        encoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    encoder.require(size_px=source.size_px, **source.kind)
    return encoder


def _train(
    selection: RowSelection, encoder: Encoder, steps: int, out: Path, config: dict[str, Any]
) -> None:
    from ssl_photoz.cutouts.stream import TrainingStream
    from ssl_photoz.training import ranks
    from ssl_photoz.training.pretraining import train_encoder

    training, shuffle = config["training"], config["shuffle"]
    order: dict[str, Any] = {"batch_size": training.batch_size, "seed": training.seed}
    order |= {"part": ranks.share(training.batch_size), "stop": steps}
    order |= {"block_rows": shuffle.block, "window_rows": shuffle.window}
    train_encoder(
        encoder,
        selection,
        lambda start: TrainingStream(selection.for_training, selection.rows, start=start, **order),
        folder=out,
        split=config["split"],
        steps_per_epoch=steps // training.epochs,
        compiled=config["machine"].compiled,
        **{name: config[name] for name in ("training", "moco", "augmentations")},
    )
