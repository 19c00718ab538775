"""Train a network on the redshifts of one survey for the galaxies of another.

    ssl-photoz transfer configs/transfer.yaml data=south.h5 target=north.h5 out=runs/transfer

The target's redshifts are for the score alone (without any, it is the source's, as validation is);
``apply`` asks the network about the target. Killed and started again, it goes on.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ssl_photoz.augment.settings import AugmentationConfig
from ssl_photoz.core import artefact
from ssl_photoz.core.errors import ConfigError
from ssl_photoz.cutouts.split import SplitConfig
from ssl_photoz.encoders.settings import EncoderConfig
from ssl_photoz.training.supervised.settings import NetworkConfig

if TYPE_CHECKING:
    from ssl_photoz.cutouts.reader import Cutouts

NAME = "transferred"
FIXED: dict[str, Any] = {"trunk_lr": 1.0, "weight_decay": 0.01}
FIT = "epochs least_steps patience batch_size learning_rate orientations seed"


@dataclass(frozen=True)
class Settings:
    """Settings of transfer.

    Attributes:
        data: Cutout file with redshifts, the source.
        target: Cutout file of the other survey, with or without redshifts.
        out: Probe folder to write.
        methods: Any of reweight (source galaxies are drawn as often as their like are in the
            target), match (views take PSF, noise and dust from the target's columns), adversarial
            (a discriminator on pairs of like magnitude, gradient reversed). None: no adaptation.
        strength: Of the reversed gradient, at the end of the training.
        network: resnet (any encoder with a head), multimodal or small_cnn.
        labels: Use only this many training galaxies, drawn at random; validation keeps all.
        epochs: Looks at validation, at most; in each, every galaxy is seen about once.
        least_steps: With few labels an epoch is several passes, to make up so many steps.
        patience: Epochs without a better validation score after which to stop.
        batch_size: Labelled galaxies per step, at most; partners come on top.
        learning_rate: Peak of AdamW's.
        orientations: Predictions are averaged over 1, 2, 4 or 8 exact orientations.
        seed: Of the choice of labels, the weights, the order and every augmentation.
        label: What to call this in tables and figures.
        versus: Other folders of transfer to compare with, galaxy by galaxy.
        encoder: Of resnet; small_cnn takes its softening.
        nuisances: The augmentations; match sets those of PSF, noise and dust.
        split: The sky split, of both files.
    """

    data: Path
    target: Path
    out: Path
    methods: tuple[Literal["reweight", "match", "adversarial"], ...] = ()
    strength: float = 0.1
    network: Literal["resnet", "multimodal", "small_cnn"] = "resnet"
    labels: int | None = None
    epochs: int = 30
    least_steps: int = 2000
    patience: int = 15
    batch_size: int = 256
    learning_rate: float = 1e-3
    orientations: Literal[1, 2, 4, 8] = 8
    seed: int = 0
    label: str = "trained on another survey"
    versus: tuple[Path, ...] = ()
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    nuisances: AugmentationConfig = field(default_factory=AugmentationConfig)
    split: SplitConfig = field(default_factory=SplitConfig)

    def __post_init__(self) -> None:
        if min(self.epochs, self.patience) < 1 or self.batch_size < 2 or self.strength < 0:
            raise ConfigError("epochs and patience must be >= 1, batch_size >= 2, strength >= 0")


def main(settings: Settings) -> None:
    """Train, go on training, or say that it has been done; score on the target, save."""
    from ssl_photoz.cutouts.reader import Cutouts
    from ssl_photoz.photoz import end_to_end, figures, scores

    end_to_end.require_rivals(NAME, settings.versus)
    parents = {name: artefact.fingerprint(getattr(settings, name)) for name in ("data", "target")}
    parents |= {
        f"versus {number}": artefact.sha256_of(p) for number, p in enumerate(settings.versus)
    }
    same: dict[str, Any] = {"config": settings, "parents": parents}
    if not artefact.begin(settings.out, "probe", ignore="data target out versus".split(), **same):
        return print(f"{settings.out} is already made")
    with Cutouts.open(settings.data) as source, Cutouts.open(settings.target) as target:
        trained = _train(settings, source, target)
    metrics = end_to_end.save_network(settings.out, NAME, versus=settings.versus, **same, **trained)
    for checkpoint in settings.out.glob("*.ckpt"):
        checkpoint.unlink()
    print(figures.title_of(metrics), scores.table(metrics["probes"]), sep="\n")


def _train(settings: Settings, source: Cutouts, target: Cutouts) -> dict[str, Any]:
    from ssl_photoz.cutouts.batches import good_rows
    from ssl_photoz.cutouts.sample import typical_noise
    from ssl_photoz.cutouts.supervision import central_crops, labelled_rows
    from ssl_photoz.photoz.end_to_end import labelled_galaxies, validation_score, without_features
    from ssl_photoz.training.supervised.fitting import fit_and_predict
    from ssl_photoz.training.supervised.target import Target
    from ssl_photoz.training.transfer.adversary import make_adversary
    from ssl_photoz.training.transfer.fields import TwoFields, matched_views, target_rows
    from ssl_photoz.training.transfer.nz import compare_nz

    about, split, seed = source.source.about, settings.split, settings.seed
    rows = labelled_rows(source, good_rows(source)[0], split)
    rows, galaxies = labelled_galaxies(rows, source.column, labels=settings.labels, seed=seed)
    offered, known = target_rows(target, split)
    asked = {split: (source, rows[split]) for split in ("val", "test")}
    if len(known):
        asked["test"], galaxies["test"] = (target, known), without_features(known, target.column)
    fields = (source, rows["train"], target, offered)
    batches = TwoFields.for_methods(settings.methods, *fields, split=split, seed=seed)
    views: dict[str, Any] = {**about, "config": settings.nuisances}
    if "match" in settings.methods:
        views |= matched_views(*fields, settings.nuisances)
    adversary = partial(make_adversary, strength=settings.strength, seed=seed)
    network: dict[str, Any] = {"kind": settings.network, "about": about}
    network |= {"size_px": source.source.size_px, "noise": typical_noise(source, rows["train"])}
    network |= {"encoder": settings.encoder, "settings": asdict(NetworkConfig())}
    fitted = fit_and_predict(
        batches,
        {split: partial(central_crops, *some) for split, some in asked.items()},
        lambda answer: validation_score(answer, galaxies["val"].z),
        labels=len(rows["train"]),
        head=Target.of(galaxies["train"].z),
        folder=settings.out,
        network=network,
        views=views,
        **FIXED,
        companion_of=adversary if "adversarial" in settings.methods else None,
        **{name: getattr(settings, name) for name in FIT.split()},
    )
    nz = compare_nz(np.expm1(fitted.answers["test"]), galaxies["test"].z)
    fitted.training.update({**nz, "effective_labels": batches.effective_labels})
    label = settings.label + ("" if len(known) else ", SCORED ON THE SOURCE")
    simulated = source.source.simulated or target.source.simulated
    facts = {"label": label, "simulated": simulated, "calibrated": source.source.calibrated}
    return {"galaxies": galaxies, **fitted._asdict(), **facts}
