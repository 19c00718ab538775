"""Train a network on redshifts end to end: the rival of a frozen embedding with a probe.

    ssl-photoz supervise configs/supervised.yaml data=cutouts.h5 out=runs/supervised

The same ``labels`` and ``seed`` give it a probe's galaxies. Killed and started again, it goes on.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ssl_photoz.augment.settings import AugmentationConfig
from ssl_photoz.core import artefact
from ssl_photoz.core.errors import ConfigError
from ssl_photoz.cutouts.split import SplitConfig
from ssl_photoz.encoders.settings import EncoderConfig
from ssl_photoz.training.supervised.settings import (
    ENCODERS,
    HeadConfig,
    NetworkConfig,
    NetworkName,
)

if TYPE_CHECKING:
    from ssl_photoz.cutouts.reader import Cutouts

FIT = "epochs least_steps patience batch_size learning_rate trunk_lr weight_decay orientations seed"


@dataclass(frozen=True)
class Settings:
    """Settings of supervise.

    Attributes:
        data: Cutouts: a file or folder of any format, or a dataset YAML.
        out: Probe folder to write.
        mask: Mask that `clean` wrote for these cutouts; what it rejects is not used.
        network: resnet (any encoder with a head), multimodal, small_cnn or capsules.
        head: What the network is asked for.
        start: Encoder artefact to fine-tune; its build and sky split are kept. Null: from scratch.
        labels: Use only this many training galaxies, drawn at random; validation keeps all.
        clip_sigma: Leave out redshifts further than this from the training mean, in its sigmas.
        without: Bands that the network is not to see; see the verb bands.
        epochs: Looks at validation, at most; in each, every galaxy is seen at least once.
        least_steps: With few labels an epoch is several passes, to make up so many steps.
        patience: Epochs without a better validation score after which to stop.
        batch_size: Galaxies per step, at most; fewer with few labels.
        learning_rate: Peak of AdamW's.
        trunk_lr: Multiple of it for the convolutions; below 1 spares a pretrained encoder.
        weight_decay: Of AdamW.
        orientations: Predictions are averaged over 1, 2, 4 or 8 exact orientations.
        committee: Average the answers of so many networks that each leave out a fold of the labels.
        seed: Of the choice of labels, the weights, the order and every augmentation.
        label: What to call this in tables and figures.
        versus: Other probe folders to compare with, galaxy by galaxy.
        encoder: Of resnet and multimodal from scratch; every network takes its softening.
        networks: What each other network has for itself.
        nuisances: The augmentations.
        split: The sky split.
    """

    data: Path
    out: Path
    mask: Path | None = None
    network: NetworkName = "resnet"
    head: HeadConfig = field(default_factory=HeadConfig)
    start: Path | None = None
    labels: int | None = None
    clip_sigma: float | None = None
    without: tuple[str, ...] = ()
    epochs: int = 30
    least_steps: int = 2000
    patience: int = 15
    batch_size: int = 256
    learning_rate: float = 1e-3
    trunk_lr: float = 1.0
    weight_decay: float = 0.01
    orientations: Literal[1, 2, 4, 8] = 8
    committee: int = 1
    seed: int = 0
    label: str = "trained end to end"
    versus: tuple[Path, ...] = ()
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    networks: NetworkConfig = field(default_factory=NetworkConfig)
    nuisances: AugmentationConfig = field(default_factory=AugmentationConfig)
    split: SplitConfig = field(default_factory=SplitConfig)

    def __post_init__(self) -> None:
        if min(self.epochs, self.patience, self.committee) < 1 or self.batch_size < 2:
            raise ConfigError("epochs, patience and committee must be >= 1, batch_size >= 2")
        if min(self.learning_rate, self.trunk_lr) <= 0 or self.weight_decay < 0:
            raise ConfigError("learning_rate and trunk_lr must be > 0, weight_decay >= 0")
        if self.start is not None and self.network not in ENCODERS:
            raise ConfigError(f"start is an encoder: it goes with network={'|'.join(ENCODERS)}")


def main(settings: Settings) -> None:
    """Train, validation choosing the epoch, or go on; score test once, compare, save."""
    from ssl_photoz.cutouts import mask, reader
    from ssl_photoz.photoz import end_to_end, figures, scores

    name = "fine_tuned" if settings.start else settings.network.replace("resnet", "supervised")
    end_to_end.require_rivals(name, settings.versus)
    parents = mask.cutout_parents(settings.data, settings.mask)
    parents |= {"encoder": artefact.sha256_of(settings.start)} if settings.start else {}
    parents |= {
        f"versus {number}": artefact.sha256_of(p) for number, p in enumerate(settings.versus)
    }
    same: dict[str, Any] = {"config": settings, "parents": parents}
    if not artefact.begin(
        settings.out, "probe", ignore="data mask out start versus".split(), **same
    ):
        return print(f"{settings.out} is already made")
    with reader.Cutouts.open(settings.data) as cutouts:
        trained = _train(settings, cutouts)
    metrics = end_to_end.save_network(settings.out, name, **same, **trained)
    for checkpoint in settings.out.rglob("*.ckpt"):
        checkpoint.unlink()
    print(figures.title_of(metrics), scores.table(metrics["probes"], full=True), sep="\n")
    print(f"{name}: epoch {metrics['training']['best_epoch']} was best -> {settings.out}")


def _train(settings: Settings, cutouts: Cutouts) -> dict[str, Any]:
    from ssl_photoz.cutouts import mask, sample
    from ssl_photoz.cutouts.batches import good_rows
    from ssl_photoz.cutouts.supervision import central_crops, labelled_rows, supervised_batches
    from ssl_photoz.encoders.artefact import load_encoder
    from ssl_photoz.photoz.end_to_end import labelled_galaxies, seen_before, validation_score
    from ssl_photoz.training.supervised.committee import fit_committee

    source, seed, said = cutouts.source, settings.seed, asdict(settings)
    pretrained = load_encoder(settings.start) if settings.start else None
    card = pretrained.card if pretrained else artefact.Card()
    split = SplitConfig.of(card["split"]) if "split" in card else settings.split
    good, _ = good_rows(cutouts, masked=mask.masked_rows(settings.mask))
    rows, how = labelled_rows(cutouts, good, split), ("labels", "clip_sigma", "seed")
    rows, galaxies = labelled_galaxies(rows, cutouts.column, **{name: said[name] for name in how})
    simulated = source.simulated or bool(card.get("simulated"))
    facts = {"calibrated": source.calibrated, "simulated": simulated, "label": settings.label}
    facts |= {"versus": settings.versus, **seen_before(card, galaxies)}
    network: dict[str, Any] = {"kind": settings.network, "about": source.about}
    network |= {"size_px": source.size_px, "noise": sample.typical_noise(cutouts, good)}
    network |= {"encoder": settings.encoder, "without": settings.without}
    fitted = fit_committee(
        lambda some: partial(supervised_batches, cutouts, some, split, seed=seed),
        rows["train"],
        z=galaxies["train"].z,
        members=settings.committee,
        crops_of={name: partial(central_crops, cutouts, rows[name]) for name in ("val", "test")},
        score=lambda answer: validation_score(answer, galaxies["val"].z),
        folder=settings.out,
        network={**network, "settings": said["networks"], "pretrained": pretrained},
        head=said["head"],
        views={**source.about, "config": settings.nuisances},
        **{name: said[name] for name in FIT.split()},
    )
    return {"galaxies": galaxies, **fitted._asdict(), **facts}
