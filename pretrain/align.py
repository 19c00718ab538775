"""Let the redshifts of training galaxies order an encoder's features.

    ssl-photoz align configs/align.yaml data=cutouts.h5 start=runs/encoder out=runs/aligned

All galaxies keep the encoder's losses. Its card lists in ``labels_seen`` whose redshift it saw.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ssl_photoz.augment.settings import AugmentationConfig
from ssl_photoz.core import artefact
from ssl_photoz.core.errors import DataError
from ssl_photoz.cutouts.split import SplitConfig
from ssl_photoz.training.moco_settings import AlignConfig, MachineConfig, MoCoConfig

if TYPE_CHECKING:
    from ssl_photoz.core.types import Ints
    from ssl_photoz.encoders.encoder import Encoder
    from ssl_photoz.training.account import Account

IGNORE = ("data", "mask", "start", "out", "checkpoint_steps", "machine")
RUN = ("batch_size", "checkpoint_steps", "precision", "seed")


@dataclass(frozen=True)
class Settings:
    """Settings of align. The encoder's build and the sky split are those of its start.

    Attributes:
        data: Cutouts: a file or folder of any format, or a dataset YAML.
        start: Encoder artefact to go on from.
        out: Folder for the encoder, its history and checkpoints.
        mask: Mask that `clean` wrote for these cutouts; what it rejects is not used.
        labels: Learn from only this many training galaxies, drawn as a probe draws them; null: all.
        epochs: Times every galaxy is seen; the labelled ones are seen more often.
        batch_size: Galaxies per step, of all processes together.
        seed: Of the choice of labels, the heads, the order and every augmentation.
        checkpoint_steps: Steps between checkpoints.
        precision: Lightning's name for it.
        align: The loss that sees labels.
        moco: The losses beside it and the optimiser.
        nuisances: The augmentations.
        machine: What makes it faster, and changes rounding at most.
    """

    data: Path
    start: Path
    out: Path
    mask: Path | None = None
    labels: int | None = None
    epochs: int = 5
    batch_size: int = 256
    seed: int = 0
    checkpoint_steps: int = 100
    precision: str = "bf16-mixed"
    align: AlignConfig = field(default_factory=AlignConfig)
    moco: MoCoConfig = field(default_factory=lambda: MoCoConfig(learning_rate=3e-4))
    nuisances: AugmentationConfig = field(default_factory=AugmentationConfig)
    machine: MachineConfig = field(default_factory=MachineConfig)

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 2 or self.checkpoint_steps < 1:
            raise ValueError("epochs must be >= 1, batch_size >= 2, checkpoint_steps >= 1")
        if self.moco.queue_size % self.batch_size:
            raise ValueError(f"moco.queue_size must be a multiple of batch_size {self.batch_size}")


def main(settings: Settings) -> None:
    """Align, go on aligning, or say that it has been done; alone, or as one of several."""
    from ssl_photoz.cutouts.mask import cutout_parents
    from ssl_photoz.encoders.artefact import load_encoder
    from ssl_photoz.training import ranks

    with ranks.joined():
        parents = cutout_parents(settings.data, settings.mask)
        parents["encoder"] = artefact.sha256_of(settings.start)
        given: dict[str, Any] = {"config": settings, "parents": parents}
        begin = partial(artefact.begin, settings.out, "encoder", ignore=IGNORE, **given)
        if not ranks.first_does(begin):
            return print(f"{settings.out} is already made")
        encoder = load_encoder(settings.start)
        _make(settings, encoder, encoder.card, given)


def _make(settings: Settings, encoder: Encoder, card: artefact.Card, given: dict[str, Any]) -> None:
    from ssl_photoz.cutouts.reader import Cutouts
    from ssl_photoz.cutouts.stream import training_labels
    from ssl_photoz.encoders.artefact import save_encoder
    from ssl_photoz.photoz.labels import choose
    from ssl_photoz.training import ranks
    from ssl_photoz.training.account import Account
    from ssl_photoz.training.checkpoints import forget_checkpoints

    split = SplitConfig(**{**card["split"], "fractions": tuple(card["split"]["fractions"])})
    with Cutouts.open(settings.data) as cutouts:
        encoder.require(size_px=cutouts.source.size_px, **cutouts.source.about)
        account = Account(cutouts, settings.out, settings.mask, resident=settings.machine.resident)
        labelled = training_labels(cutouts, account.rows, split)
        labelled = labelled[choose(len(labelled), settings.labels, seed=settings.seed)]
        print(f"{len(account.rows)} cutouts to train on, {len(labelled)} of them with redshift")
        steps = _train(settings, account, encoder, labelled, split)
        learnt = cutouts.column("id")[labelled].tolist() if settings.align.weight else []
        seen = sorted({*card.get("labels_seen", ()), *learnt}, key=str)
        simulated = cutouts.source.simulated or bool(card.get("simulated"))
        facts = {"simulated": simulated, "split": card["split"], "steps": steps, **account.counts}
        facts |= {"labels_seen": seen, "started_from": given["parents"]["encoder"]}
        ranks.first_does(lambda: save_encoder(settings.out, encoder, **given, **facts))
    ranks.first_does(lambda: forget_checkpoints(settings.out, keep=0))
    print(f"encoder after {steps} more steps -> {settings.out}")


def _train(
    settings: Settings, account: Account, encoder: Encoder, labelled: Ints, split: SplitConfig
) -> int:
    import torch

    from ssl_photoz.cutouts.stream import LabelledStream, label_column, labelled_per_batch
    from ssl_photoz.training import ranks
    from ssl_photoz.training.order import make_order
    from ssl_photoz.training.pretraining import pretrain

    given, batch_size, seed = asdict(settings.align), settings.batch_size, settings.seed
    weight, share = given.pop("weight"), given.pop("labelled_share")
    cutouts, rows = account.for_training, account.rows
    per_epoch = len(rows) // (batch_size - labelled_per_batch(batch_size, share))
    if not per_epoch:
        raise DataError(f"{len(rows)} good cutouts do not fill one batch; lower batch_size")
    steps, z = settings.epochs * per_epoch, label_column(cutouts, labelled, split)[labelled]
    deck: dict[str, Any] = {"split": split, "share": share, "batch_size": batch_size}
    deck |= {"part": ranks.share(batch_size), "seed": seed, "stop": steps}
    pretrain(
        encoder.train().to(memory_format=torch.channels_last),  # type: ignore[call-overload]
        account,
        lambda start: LabelledStream(cutouts, rows, labelled, start=start, **deck),
        folder=settings.out,
        split=split,
        compiled=settings.machine.compiled,
        steps=steps,
        steps_per_epoch=per_epoch,
        **{name: getattr(settings, name) for name in RUN},
        moco=asdict(settings.moco),
        nuisances=settings.nuisances,
        order=make_order(torch.from_numpy(z), width=encoder.width, seed=seed, **given),
        order_weight=weight,
    )
    return steps
