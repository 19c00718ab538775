"""The program that trains a network on redshifts end to end."""

from __future__ import annotations

from dataclasses import replace
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
from ssl_photoz.training.supervised.settings import (
    ENCODERS,
    HeadConfig,
    ModelConfig,
    SupervisedConfig,
)

if TYPE_CHECKING:
    from ssl_photoz.cutouts.reader import Cutouts
    from ssl_photoz.encoders.encoder import Encoder
    from ssl_photoz.training.supervised.artefact import TrainedNetwork

PATHS = ("data", "out", "mask", "start", "versus")


@needs("pretrain")
def supervise(
    data: PathLike | Cutouts,
    out: PathLike,
    *,
    mask: PathLike | None = None,
    start: PathLike | Encoder | None = None,
    label: str | None = None,
    versus: tuple[Path | str, ...] = (),
    ensemble: int = 1,
    model: ModelConfig = ModelConfig(),
    head: HeadConfig = HeadConfig(),
    training: SupervisedConfig = SupervisedConfig(),
    augmentations: AugmentationConfig = AugmentationConfig(),
    split: SplitConfig = SplitConfig(),
) -> TrainedNetwork:
    """Train a network on redshifts end to end.

        ssl-photoz supervise data=cutouts.h5 out=runs/supervised
        ssl-photoz supervise data=cutouts.h5 out=runs/tuned start=runs/mine/encoder
        ssl-photoz supervise data=cutouts.h5 out=runs/classifier head.kind=nearby

    Validation chooses the epoch; the test split is scored once. The same ``labels`` and ``seed``
    give it the training galaxies of a probe. Interrupted, the same command goes on.

    With ``head.kind=nearby`` it is a classifier of nearby galaxies, as in xSAGA and LOW-Z:
    validation chooses the epoch by average precision, and test is scored at the sample's and at
    the sky's base rate, beside photometric cuts and a classifier on frozen embeddings.

    Under ``srun`` or ``torchrun`` all processes train one network: docs/slurm.md.

    Args:
        data: Cutouts: a file or folder of any format, or a dataset YAML.
        out: Folder to write.
        mask: Mask for these cutouts, whose rejected cutouts are not used.
        start: Encoder to fine-tune, whose build and sky split are kept; null: from scratch.
        label: Name of the network in tables and figures.
        versus: Other probe folders to compare with, galaxy by galaxy.
        ensemble: Number of networks, each of which leaves out a fold of the labels; their answers
            are averaged.
        model: The network.
        head: What the network is asked for.
        training: The training.
        augmentations: The augmentations.
        split: The sky split.

    Returns:
        The network; ``metrics`` holds its scores.

    Raises:
        ConfigError: If settings do not go together.
        DataError: If there are too few labelled galaxies.
        MismatchError: If the folder holds work made with other settings.
        ContaminatedError: If the encoder has learnt from redshifts that it would be scored on.
        TrainingError: If the loss or the score is not finite, or a process is lost.
        StoppedError: If a signal has asked for it; the same command goes on.
    """
    if ensemble < 1:
        raise ConfigError(f"ensemble is {ensemble}, expected >= 1")
    if start is not None and model.network not in ENCODERS:
        raise ConfigError(f"start is an encoder: it goes with network={'|'.join(ENCODERS)}")
    nearby = head.kind == "nearby"
    if nearby and versus:
        raise ConfigError("versus compares redshifts; leave it out with head.kind=nearby")
    from ssl_photoz.cutouts.mask import cutout_parents
    from ssl_photoz.photoz.experiment import require_comparable
    from ssl_photoz.training import ranks
    from ssl_photoz.training.supervised.artefact import load_network, whole_path

    baselines = tuple(map(Path, versus))
    out, mask = Path(out), None if mask is None else Path(mask)
    name = model.network if nearby else model.network.replace("resnet", "supervised")
    name = name if start is None else "fine_tuned"
    if label is None:
        label = f"z < {head.nearby.z_max:g}" if nearby else "trained end to end"
    require_comparable([name], baselines)
    kind, parents = "classifier" if nearby else "probe", cutout_parents(data, mask)
    if isinstance(start, str | Path):
        parents["encoder"] = artefact.sha256_of(Path(start))
    elif start is not None:
        parents["encoder"] = start.sha256
    if nearby and head.nearby.embeddings is not None:
        parents["embeddings"] = artefact.sha256_of(head.nearby.embeddings)
    parents |= {f"versus {number}": artefact.sha256_of(p) for number, p in enumerate(baselines)}
    config = {
        "data": whole_path(data),
        "out": out,
        "mask": mask,
        "start": start if isinstance(start, str | Path) else None,
        "label": label,
        "versus": baselines,
        "ensemble": ensemble,
        "model": model,
        "head": replace(head, nearby=replace(head.nearby, embeddings=None)),
        "training": training,
        "augmentations": augmentations,
        "split": split,
    }
    made: dict[str, Any] = {"config": config, "parents": parents}
    with ranks.joined():
        if ranks.on_rank_zero(lambda: artefact.begin(out, kind, ignore=PATHS, **made)):
            _make(data, out, start, head, name=name, kind=kind, **made)
        else:
            print(f"{out} is already made")
        return load_network(out)


def _make(
    data: PathLike | Cutouts,
    out: Path,
    start: PathLike | Encoder | None,
    head: HeadConfig,
    *,
    name: str,
    kind: str,
    config: dict[str, Any],
    parents: dict[str, str],
) -> None:
    from ssl_photoz.cutouts.batches import good_rows
    from ssl_photoz.cutouts.extinction import corrected, correction_note
    from ssl_photoz.cutouts.mask import masked_rows
    from ssl_photoz.cutouts.reader import Cutouts
    from ssl_photoz.cutouts.sample import typical_noise
    from ssl_photoz.cutouts.supervision import central_crops, labelled_rows, supervised_batches
    from ssl_photoz.encoders.artefact import load_encoder
    from ssl_photoz.nearby.baselines import (
        describe_comparison,
        nearby_score,
        require_baselines,
        save_classifier,
    )
    from ssl_photoz.photoz.end_to_end import (
        labelled_galaxies,
        save_network,
        seen_before,
        validation_score,
    )
    from ssl_photoz.photoz.experiment import require_comparable
    from ssl_photoz.photoz.figures import title_of
    from ssl_photoz.photoz.scores import table
    from ssl_photoz.training import ranks
    from ssl_photoz.training.supervised.fitting import fit_ensemble, make_task
    from ssl_photoz.training.supervised.heads import head_for

    training, nearby = config["training"], kind == "classifier"
    with Cutouts.open(data) as as_seen:
        encoder = None if start is None else load_encoder(start)
        wanted = (encoder.config if encoder else config["model"].encoder).extinction_corrected
        cutouts = corrected(as_seen, wanted=wanted)
        source = cutouts.source
        if note := correction_note(cutouts, wanted=wanted):
            print(note)
        card = encoder.card if encoder else artefact.Card()
        split = SplitConfig.of(card["split"]) if card.get("split") else config["split"]
        if encoder is not None:
            encoder.require(size_px=source.size_px, **source.kind)
        every = np.arange(len(cutouts))  # too few labels are refused before every cutout is read
        _, galaxies = labelled_galaxies(
            labelled_rows(cutouts, every, split), cutouts.column, training
        )
        require_comparable([name], config["versus"], galaxies["test"])
        if nearby:
            require_baselines(galaxies, head.nearby)
        columns = {cut: cutouts.column(cut) for cut in head.nearby.cuts}
        good = ranks.on_rank_zero(lambda: good_rows(cutouts, masked=masked_rows(config["mask"]))[0])
        rows = labelled_rows(cutouts, good, split)
        rows, galaxies = labelled_galaxies(rows, cutouts.column, training)
        seen = seen_before(card, galaxies)
        if nearby:
            score = nearby_score(galaxies, head.nearby)
        else:
            score = partial(validation_score, z=galaxies["val"].z)
        task = make_task(
            source,
            {k: partial(central_crops, cutouts, rows[k]) for k in ("val", "test")},
            score,
            model=config["model"],
            head=head_for(galaxies["train"].z, head),
            augmentations=config["augmentations"],
            noise=typical_noise(cutouts, good),
            pretrained=encoder,
        )
        fitted = fit_ensemble(
            task,
            lambda some: partial(supervised_batches, cutouts, some, split, seed=training.seed),
            rows["train"],
            members=config["ensemble"],
            config=training,
            folder=out,
        )
        columns = {cut: values[rows["test"]] for cut, values in columns.items()}
    facts: dict[str, Any] = {"label": config["label"], "calibrated": source.calibrated, **seen}
    facts["simulated"] = source.simulated or card.simulated
    same: dict[str, Any] = {"config": config, "parents": parents}

    def save() -> None:
        if nearby:
            given: dict[str, Any] = {"config": head.nearby, "facts": facts, "seed": training.seed}
            answers = fitted.raw["test"]
            metrics = save_classifier(out, name, answers, galaxies, columns.__getitem__, **given)
            made = {"network": fitted.plan, "training": fitted.training, "metrics": metrics}
            artefact.write_card(out, kind, **same, **made, **facts)
            print(describe_comparison(metrics))
        else:
            baselines = config["versus"]
            metrics = save_network(out, name, fitted, galaxies, versus=baselines, **same, **facts)
            print(title_of(metrics), table(metrics["probes"], full=True), sep="\n")
        for checkpoint in out.rglob("*.ckpt"):
            checkpoint.unlink()

    ranks.on_rank_zero(save)
    print(f"{name}: epoch {fitted.training['best_epoch']} was best -> {out}")


RENAMED = {
    "committee": "ensemble",
    "networks": "model",
    "nuisances": "augmentations",
    "augmentations.own": "augmentations.input_conditions",
    "augmentations.targets": "augmentations.target_conditions",
    "seed": "training.seed",
    "trunk_lr": "training.trunk_learning_rate",
}
