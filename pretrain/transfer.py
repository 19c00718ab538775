"""The program that trains a network on the redshifts of one survey for galaxies of another."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ssl_photoz.augment.settings import AugmentationConfig
from ssl_photoz.core import artefact
from ssl_photoz.core.errors import ConfigError
from ssl_photoz.core.extras import needs
from ssl_photoz.core.types import PathLike
from ssl_photoz.cutouts.split import SplitConfig
from ssl_photoz.training.supervised.settings import ModelConfig, SupervisedConfig
from ssl_photoz.training.transfer.settings import AdaptationConfig

if TYPE_CHECKING:
    from ssl_photoz.cutouts.reader import Cutouts
    from ssl_photoz.training.supervised.artefact import TrainedNetwork

NAME = "transferred"
PATHS = ("data", "target", "out", "versus")


@needs("pretrain")
def transfer(
    data: PathLike | Cutouts,
    target: PathLike | Cutouts,
    out: PathLike,
    *,
    label: str = "trained on another survey",
    versus: tuple[Path | str, ...] = (),
    adaptation: AdaptationConfig = AdaptationConfig(),
    model: ModelConfig = ModelConfig(),
    training: SupervisedConfig = SupervisedConfig(),
    augmentations: AugmentationConfig = AugmentationConfig(),
    split: SplitConfig = SplitConfig(),
) -> TrainedNetwork:
    """Train a network on the redshifts of one survey for galaxies of another.

        ssl-photoz transfer data=south.h5 target=north.h5 out=runs/transfer methods=[match]

    The target's redshifts are for the score alone; without any, test is the source's, as
    validation is. ``predict`` asks the network about the target. Interrupted, the same command
    goes on. Under ``srun`` or ``torchrun`` all processes train one network: docs/slurm.md.

    Args:
        data: Cutouts with redshifts, the source.
        target: Cutouts of the other survey, with or without redshifts.
        out: Folder to write.
        label: Name of the network in tables and figures.
        versus: Other folders of transfer to compare with, galaxy by galaxy.
        adaptation: The adaptation to the target.
        model: The network; capsules cannot be adapted.
        training: The training; batches count labelled galaxies, partners come on top.
        augmentations: The augmentations; match sets those of PSF, noise and dust.
        split: The sky split, of both files.

    Returns:
        The network; ``metrics`` holds its scores.

    Raises:
        ConfigError: If settings do not go together.
        DataError: If there are too few galaxies, or columns to match are not known.
        MismatchError: If the cutouts are of two kinds, or the folder holds work made with other
            settings.
        TrainingError: If the loss or the score is not finite, or a process is lost.
        StoppedError: If a signal has asked for it; the same command goes on.
    """
    if model.network == "capsules":
        raise ConfigError("network=capsules cannot be transferred: give resnet or small_cnn")
    from ssl_photoz.photoz.experiment import require_comparable
    from ssl_photoz.training import ranks
    from ssl_photoz.training.supervised.artefact import load_network, whole_path

    out, baselines = Path(out), tuple(map(Path, versus))
    require_comparable([NAME], baselines)
    given = {"data": whole_path(data), "target": whole_path(target)}
    parents = {name: artefact.fingerprint(one) for name, one in given.items()}
    parents |= {f"versus {number}": artefact.sha256_of(p) for number, p in enumerate(baselines)}
    config = {
        **given,
        "out": out,
        "label": label,
        "versus": baselines,
        "adaptation": adaptation,
        "model": model,
        "training": training,
        "augmentations": augmentations,
        "split": split,
    }
    made: dict[str, Any] = {"config": config, "parents": parents}
    with ranks.joined():
        if ranks.on_rank_zero(lambda: artefact.begin(out, "probe", ignore=PATHS, **made)):
            _make(data, target, out, **made)
        else:
            print(f"{out} is already made")
        return load_network(out)


def _make(
    data: PathLike | Cutouts,
    target: PathLike | Cutouts,
    out: Path,
    *,
    config: dict[str, Any],
    parents: dict[str, str],
) -> None:
    from ssl_photoz.cutouts.batches import good_rows
    from ssl_photoz.cutouts.extinction import corrected_alike
    from ssl_photoz.cutouts.reader import Cutouts
    from ssl_photoz.cutouts.sample import typical_noise
    from ssl_photoz.cutouts.supervision import central_crops, labelled_rows
    from ssl_photoz.photoz.end_to_end import (
        compare_nz,
        labelled_galaxies,
        save_network,
        validation_score,
        without_features,
    )
    from ssl_photoz.photoz.figures import title_of
    from ssl_photoz.photoz.scores import table
    from ssl_photoz.training import ranks
    from ssl_photoz.training.supervised.fitting import fit, make_task
    from ssl_photoz.training.supervised.heads import RegressionHead
    from ssl_photoz.training.transfer.adversary import make_adversary
    from ssl_photoz.training.transfer.fields import TwoFields, matched_views, target_rows

    adaptation, training, split = config["adaptation"], config["training"], config["split"]
    augmentations = config["augmentations"]
    with Cutouts.open(data) as seen_here, Cutouts.open(target) as seen_there:
        wanted = config["model"].encoder.extinction_corrected
        here, there = corrected_alike(seen_here, seen_there, wanted=wanted)
        every = np.arange(len(here))  # too few labels are refused before every cutout is read
        labelled_galaxies(labelled_rows(here, every, split), here.column, training)
        good = ranks.on_rank_zero(lambda: good_rows(here)[0])
        rows = labelled_rows(here, good, split)
        rows, galaxies = labelled_galaxies(rows, here.column, training)
        offered, known = ranks.on_rank_zero(lambda: target_rows(there, split))
        crops = {name: partial(central_crops, here, rows[name]) for name in ("val", "test")}
        if len(known):
            crops["test"] = partial(central_crops, there, known)
            galaxies["test"] = without_features(known, there.column)
        fields = (here, rows["train"], there, offered)
        batches = TwoFields.for_methods(
            adaptation.methods, *fields, split=split, seed=training.seed
        )
        conditions = None
        if "match" in adaptation.methods:
            augmentations, conditions = matched_views(*fields, augmentations)
        adversary = partial(make_adversary, config=adaptation, seed=training.seed)
        task = make_task(
            here.source,
            crops,
            partial(validation_score, z=galaxies["val"].z),
            model=config["model"],
            head=RegressionHead.of(galaxies["train"].z),
            augmentations=augmentations,
            noise=typical_noise(here, rows["train"]),
            conditions=conditions,
            companion=adversary if "adversarial" in adaptation.methods else None,
        )
        fitted = fit(task, batches, labels=len(rows["train"]), config=training, folder=out)
    nz = compare_nz(np.expm1(fitted.answers["test"]), galaxies["test"].z)
    fitted.training.update({**nz, "effective_labels": batches.effective_labels})
    facts: dict[str, Any] = {"calibrated": here.source.calibrated}
    facts["label"] = config["label"] + ("" if len(known) else ", SCORED ON THE SOURCE")
    facts["simulated"] = here.source.simulated or there.source.simulated
    same: dict[str, Any] = {"config": config, "parents": parents}

    def save() -> None:
        baselines = config["versus"]
        metrics = save_network(out, NAME, fitted, galaxies, versus=baselines, **same, **facts)
        for checkpoint in out.glob("*.ckpt"):
            checkpoint.unlink()
        print(title_of(metrics), table(metrics["probes"]), sep="\n")

    ranks.on_rank_zero(save)


RENAMED = {
    "nuisances": "augmentations",
    "augmentations.own": "augmentations.input_conditions",
    "augmentations.targets": "augmentations.target_conditions",
    "seed": "training.seed",
    "trunk_lr": "training.trunk_learning_rate",
}
