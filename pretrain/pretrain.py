"""Train an encoder without labels.

    ssl-photoz pretrain configs/pretrain.yaml data=cutouts.h5 out=runs/encoder

Momentum contrast with a photometric pretext beside it; redshifts only score. Killed, it goes on
from its last checkpoint. Under ``srun``, all processes train one encoder: docs/slurm.md.
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
from ssl_photoz.encoders.settings import EncoderConfig
from ssl_photoz.training.moco_settings import MachineConfig, MoCoConfig

if TYPE_CHECKING:
    from ssl_photoz.encoders.encoder import Encoder
    from ssl_photoz.training.account import Account

IGNORE = ("data", "mask", "out", "checkpoint_steps", "machine")
RUN = ("batch_size", "checkpoint_steps", "precision", "seed")


@dataclass(frozen=True)
class Settings:
    """Settings of pretrain.

    Attributes:
        data: Cutouts: a file or folder of any format, or a dataset YAML.
        out: Folder for the encoder, its history and checkpoints.
        mask: Mask that `clean` wrote for these cutouts; what it rejects is not used.
        epochs: Times every galaxy is seen; 0 writes an encoder with random weights.
        batch_size: Galaxies per step, of all processes together.
        seed: Of the weights, the order and every augmentation.
        shuffle_block: Neighbouring rows read together: 1, or 64 to 1024 for files beyond memory.
        shuffle_window: Rows that blocks are mixed within; three times as many are in memory.
        checkpoint_steps: Steps between checkpoints.
        precision: Lightning's name for it.
        encoder: The encoder.
        moco: The losses and the optimiser.
        nuisances: The augmentations.
        split: The sky split, kept with the encoder for every later step.
        machine: What makes it faster, and changes rounding at most.
    """

    data: Path
    out: Path
    mask: Path | None = None
    epochs: int = 10
    batch_size: int = 256
    seed: int = 0
    shuffle_block: int = 1
    shuffle_window: int = 8192
    checkpoint_steps: int = 100
    precision: str = "bf16-mixed"
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    moco: MoCoConfig = field(default_factory=MoCoConfig)
    nuisances: AugmentationConfig = field(default_factory=AugmentationConfig)
    split: SplitConfig = field(default_factory=SplitConfig)
    machine: MachineConfig = field(default_factory=MachineConfig)

    def __post_init__(self) -> None:
        if self.epochs < 0 or self.batch_size < 2 or self.checkpoint_steps < 1:
            raise ValueError("epochs must be >= 0, batch_size >= 2, checkpoint_steps >= 1")
        if self.shuffle_block < 1 or self.shuffle_window < self.shuffle_block:
            raise ValueError("shuffle_block must be >= 1, shuffle_window no less than it")
        if self.moco.queue_size % self.batch_size:
            raise ValueError(f"moco.queue_size must be a multiple of batch_size {self.batch_size}")


def main(settings: Settings) -> None:
    """Pretrain, go on pretraining, or say that it has been done; alone, or as one of several."""
    from ssl_photoz.cutouts.mask import cutout_parents
    from ssl_photoz.training import ranks

    with ranks.joined():
        parents = cutout_parents(settings.data, settings.mask)
        given: dict[str, Any] = {"config": settings, "parents": parents}
        begin = partial(artefact.begin, settings.out, "encoder", ignore=IGNORE, **given)
        if not ranks.first_does(begin):
            return print(f"{settings.out} is already made")
        _make(settings, given)


def _make(settings: Settings, given: dict[str, Any]) -> None:
    from ssl_photoz.cutouts.reader import Cutouts
    from ssl_photoz.encoders.artefact import save_encoder
    from ssl_photoz.training import ranks
    from ssl_photoz.training.account import Account
    from ssl_photoz.training.checkpoints import forget_checkpoints

    with Cutouts.open(settings.data) as cutouts:
        account = Account(cutouts, settings.out, settings.mask, resident=settings.machine.resident)
        usable, rejected = len(account.rows), account.counts["rows_rejected"]
        print(f"{len(cutouts)} cutouts, {usable} to train on, {rejected} rejected")
        encoder = _new_encoder(settings, account)
        steps = settings.epochs * (usable // settings.batch_size)
        if settings.epochs and not steps:
            raise DataError(f"{usable} good cutouts do not fill one batch; lower batch_size")
        if steps:
            _train(settings, account, encoder, steps)
        facts: dict[str, Any] = {"split": asdict(settings.split), **account.counts}
        facts |= {"simulated": cutouts.source.simulated, "steps": steps}
        ranks.first_does(lambda: save_encoder(settings.out, encoder, **given, **facts))
    ranks.first_does(lambda: forget_checkpoints(settings.out, keep=0))
    if bad := account.counts["rows_bad_in_training"]:
        print(f"{bad} cutouts turned out bad in training, see rejects.parquet")
    print(f"encoder after {steps} steps -> {settings.out}")


def _new_encoder(settings: Settings, account: Account) -> Encoder:
    from ssl_photoz.cutouts.sample import typical_noise
    from ssl_photoz.encoders.encoder import fresh_encoder

    built, source = settings.encoder, account.cutouts.source
    noise = typical_noise(account.cutouts, account.rows)
    encoder = fresh_encoder(built, noise=noise, seed=settings.seed, **source.about)
    encoder.require(size_px=source.size_px, **source.about)
    return encoder


def _train(settings: Settings, account: Account, encoder: Encoder, steps: int) -> None:
    from ssl_photoz.cutouts.stream import TrainingStream
    from ssl_photoz.training import ranks
    from ssl_photoz.training.pretraining import pretrain

    deck: dict[str, Any] = {name: getattr(settings, name) for name in ("batch_size", "seed")}
    deck |= {"part": ranks.share(settings.batch_size), "stop": steps}
    deck |= {"block_rows": settings.shuffle_block, "window_rows": settings.shuffle_window}
    pretrain(
        encoder,
        account,
        lambda start: TrainingStream(account.for_training, account.rows, start=start, **deck),
        folder=settings.out,
        split=settings.split,
        compiled=settings.machine.compiled,
        steps=steps,
        steps_per_epoch=steps // settings.epochs,
        **{name: getattr(settings, name) for name in RUN},
        moco=asdict(settings.moco),
        nuisances=settings.nuisances,
    )
