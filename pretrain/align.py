"""Let the redshifts of training galaxies order an encoder's features.

    ssl-photoz align configs/align.yaml data=cutouts.h5 start=runs/encoder out=runs/aligned

Goes on from an encoder: all galaxies keep its losses, the labelled ones of the training sky are
also arranged by redshift. Validation and test redshifts only ever score. The card lists, in
``labels_seen``, every galaxy whose redshift the encoder has seen; probes with the same ``labels``
and ``seed`` are fitted to the same galaxies. Killed and started again, it goes on.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ssl_photoz import runs
from ssl_photoz.augment.settings import NuisanceSettings
from ssl_photoz.contrast.settings import AlignSettings, MocoSettings
from ssl_photoz.cutouts.split import SplitSettings
from ssl_photoz.errors import DataError

if TYPE_CHECKING:
    from ssl_photoz.cutouts.reader import Cutouts
    from ssl_photoz.encoders.encoder import Encoder
    from ssl_photoz.types import Ints


@dataclass(frozen=True)
class Settings:
    """Settings of align. The encoder's build and the sky split are those of its start.

    Attributes:
        data: Cutout file (HDF5).
        start: Encoder artefact to go on from.
        out: Folder for the encoder, its history and checkpoints.
        labels: Learn from only this many training galaxies, drawn at random; null: from all.
        epochs: Times every galaxy is seen; the labelled ones are seen more often.
        batch_size: Galaxies per step.
        seed: Of the choice of labels, the heads, the order and every augmentation.
        checkpoint_steps: Steps between checkpoints.
        precision: Lightning's name for it.
        align: The loss that sees labels.
        moco: The losses beside it and the optimiser.
        nuisances: The augmentations.
    """

    data: Path
    start: Path
    out: Path
    labels: int | None = None
    epochs: int = 5
    batch_size: int = 256
    seed: int = 0
    checkpoint_steps: int = 100
    precision: str = "bf16-mixed"
    align: AlignSettings = field(default_factory=AlignSettings)
    moco: MocoSettings = field(default_factory=lambda: MocoSettings(learning_rate=3e-4))
    nuisances: NuisanceSettings = field(default_factory=NuisanceSettings)

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 2 or self.checkpoint_steps < 1:
            raise ValueError("epochs must be >= 1, batch_size >= 2, checkpoint_steps >= 1")
        if self.moco.queue_size % self.batch_size:
            raise ValueError(f"moco.queue_size must be a multiple of batch_size {self.batch_size}")


def main(settings: Settings) -> None:
    """Align, go on aligning, or say that it has been done."""
    from ssl_photoz.contrast.checkpoints import forget_checkpoints
    from ssl_photoz.cutouts.batches import good_rows
    from ssl_photoz.cutouts.reader import Cutouts
    from ssl_photoz.cutouts.stream import training_labels
    from ssl_photoz.encoders.artefact import load_encoder, save_encoder
    from ssl_photoz.redshift.labels import choose

    started_from = runs.sha256_of(settings.start)
    parents = {"cutouts": runs.fingerprint(settings.data), "encoder": started_from}
    ignore = ("data", "start", "out", "checkpoint_steps")
    encoder, card = load_encoder(settings.start)
    split = SplitSettings(**{**card["split"], "fractions": tuple(card["split"]["fractions"])})
    if not runs.begin(settings.out, "encoder", config=settings, parents=parents, ignore=ignore):
        return print(f"{settings.out} is already made")
    with Cutouts.open(settings.data) as cutouts:
        encoder.require(size_px=cutouts.source.size_px, **cutouts.source.about)
        rows, rejects = good_rows(cutouts)
        labelled = training_labels(cutouts, rows, split)
        labelled = labelled[choose(len(labelled), settings.labels, seed=settings.seed)]
        print(f"{len(rows)} cutouts to train on, {len(labelled)} of them with their redshift")
        steps = _train(settings, cutouts, encoder, rows, labelled, split)
        seen = set(card.get("labels_seen", ()))
        if settings.align.weight:
            seen.update(cutouts.column("id")[labelled].tolist())
        save_encoder(
            settings.out,
            encoder,
            config=settings,
            parents=parents,
            simulated=cutouts.source.simulated or bool(card.get("simulated")),
            split=asdict(split),
            steps=steps,
            rows_rejected=len(rejects),
            started_from=started_from,
            labels_seen=sorted(seen, key=str),
        )
    forget_checkpoints(settings.out, keep=0)
    print(f"encoder after {steps} more steps -> {settings.out}")


def _train(
    settings: Settings,
    cutouts: Cutouts,
    encoder: Encoder,
    rows: Ints,
    labelled: Ints,
    split: SplitSettings,
) -> int:
    import torch

    from ssl_photoz.contrast.order import make_order
    from ssl_photoz.contrast.pretraining import pretrain
    from ssl_photoz.cutouts.stream import LabelledStream, label_column, labelled_per_batch

    given, batch_size, seed = asdict(settings.align), settings.batch_size, settings.seed
    weight, share = given.pop("weight"), given.pop("labelled_share")
    per_epoch = len(rows) // (batch_size - labelled_per_batch(batch_size, share))
    if not per_epoch:
        raise DataError(f"{len(rows)} good cutouts do not fill one batch; lower batch_size")
    steps = settings.epochs * per_epoch
    z = torch.from_numpy(label_column(cutouts, labelled, split)[labelled])
    deck = {"split": split, "share": share, "batch_size": batch_size, "seed": seed, "stop": steps}
    pretrain(
        encoder.train().to(memory_format=torch.channels_last),  # type: ignore[call-overload]
        cutouts,
        rows,
        lambda start: LabelledStream(cutouts, rows, labelled, start=start, **deck),
        folder=settings.out,
        split=split,
        steps=steps,
        steps_per_epoch=per_epoch,
        batch_size=batch_size,
        checkpoint_steps=settings.checkpoint_steps,
        precision=settings.precision,
        seed=seed,
        moco=asdict(settings.moco),
        nuisances=asdict(settings.nuisances),
        order=make_order(z, width=encoder.width, seed=seed, **given),
        order_weight=weight,
    )
    return steps
