"""Train a network to tell nearby galaxies from all others, as xSAGA and LOW-Z do.

    ssl-photoz classify configs/classify.yaml data=cutouts.h5 out=runs/classifier

Validation chooses the epoch by average precision; test is scored once, at the sample's and at the
sky's base rate, beside photometric cuts and a head on frozen embeddings. Started again, it goes on.
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
from ssl_photoz.training.supervised.settings import NearbyConfig, NetworkConfig, NetworkName

if TYPE_CHECKING:
    from ssl_photoz.cutouts.reader import Cutouts

FIT = "epochs least_steps patience batch_size learning_rate weight_decay orientations seed"


@dataclass(frozen=True)
class Settings:
    """Settings of classify.

    Attributes:
        data: Cutouts: a file or folder of any format, or a dataset YAML.
        out: Folder to write.
        network: See supervise.
        nearby: What is nearby, and how the few are balanced with the many.
        labels: Use only this many training galaxies, drawn at random; validation keeps all.
        epochs: Looks at validation, at most.
        least_steps: With few labels an epoch is several passes, to make up so many steps.
        patience: Epochs without a better average precision on validation after which to stop.
        batch_size: Galaxies per step, at most.
        learning_rate: Peak of AdamW's.
        weight_decay: Of AdamW.
        orientations: Probabilities are averaged over 1, 2, 4 or 8 exact orientations.
        embeddings: Of the same cutouts and sky split, for a head on frozen embeddings beside it.
        cuts: Columns of r, g and maybe radius (arcsec), for photometric cuts beside it.
        base_rate: Fraction of nearby galaxies on the sky.
        seed: Of the choice of labels, the weights, the order and every augmentation.
        encoder: Of network=resnet; every network takes its softening.
        networks: What each other network has for itself.
        nuisances: The augmentations.
        split: The sky split.
    """

    data: Path
    out: Path
    network: NetworkName = "resnet"
    nearby: NearbyConfig = field(default_factory=NearbyConfig)
    labels: int | None = None
    epochs: int = 30
    least_steps: int = 2000
    patience: int = 15
    batch_size: int = 256
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    orientations: Literal[1, 2, 4, 8] = 8
    embeddings: Path | None = None
    cuts: tuple[str, ...] = ()
    base_rate: float = 0.01
    seed: int = 0
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    networks: NetworkConfig = field(default_factory=NetworkConfig)
    nuisances: AugmentationConfig = field(default_factory=AugmentationConfig)
    split: SplitConfig = field(default_factory=SplitConfig)

    def __post_init__(self) -> None:
        if len(self.cuts) not in (0, 2, 3) or not 0 < self.base_rate < 1:
            raise ConfigError("cuts names columns of r, g and maybe radius; base_rate is in (0, 1)")
        if self.batch_size < 2 or min(self.epochs, self.patience, self.learning_rate) <= 0:
            raise ConfigError("batch_size must be >= 2; epochs, patience, learning_rate > 0")


def main(settings: Settings) -> None:
    """Train, go on training, or say that it has been done; score, compare, save."""
    from ssl_photoz.cutouts.reader import Cutouts
    from ssl_photoz.dwarfs.rivals import describe_rivals

    parents = {"cutouts": artefact.fingerprint(settings.data)}
    if settings.embeddings is not None:
        parents["embeddings"] = artefact.sha256_of(settings.embeddings)
    same: dict[str, Any] = {"config": settings, "parents": parents}
    ignore = ("data", "out", "embeddings")
    if not artefact.begin(settings.out, "classifier", ignore=ignore, **same):
        return print(f"{settings.out} is already made")
    with Cutouts.open(settings.data) as cutouts:
        facts = _classify(settings, cutouts)
    artefact.write_card(settings.out, "classifier", **same, **facts)
    for checkpoint in settings.out.glob("*.ckpt"):
        checkpoint.unlink()
    print(describe_rivals(facts["metrics"]))
    print(f"{settings.network}: epoch {facts['training']['best_epoch']} -> {settings.out}")


def _classify(settings: Settings, cutouts: Cutouts) -> dict[str, Any]:
    from ssl_photoz.catalog.lowz_cuts import select_by_columns
    from ssl_photoz.catalog.tables import write_table
    from ssl_photoz.cutouts.batches import good_rows
    from ssl_photoz.cutouts.sample import typical_noise
    from ssl_photoz.cutouts.supervision import central_crops, labelled_rows, supervised_batches
    from ssl_photoz.dwarfs import rivals
    from ssl_photoz.photoz.end_to_end import labelled_galaxies, seen_before
    from ssl_photoz.training.supervised.committee import fit_committee

    source, split, seed = cutouts.source, settings.split, settings.seed
    good, _ = good_rows(cutouts)
    rows = labelled_rows(cutouts, good, split)
    rows, galaxies = labelled_galaxies(rows, cutouts.column, labels=settings.labels, seed=seed)
    z = {name: some.z for name, some in galaxies.items()}
    truth = rivals.tell_nearby(z, z_max=settings.nearby.z_max)
    network: dict[str, Any] = {"kind": settings.network, "about": source.about}
    network |= {"size_px": source.size_px, "noise": typical_noise(cutouts, good)}
    network |= {"encoder": settings.encoder, "settings": asdict(settings.networks)}
    fitted = fit_committee(
        lambda some: partial(supervised_batches, cutouts, some, split, seed=seed),
        rows["train"],
        z=galaxies["train"].z,
        members=1,
        crops_of={name: partial(central_crops, cutouts, rows[name]) for name in ("val", "test")},
        score=lambda answer: rivals.validation_precision(-answer, truth["val"]),
        folder=settings.out,
        network=network,
        head={"kind": "nearby", **asdict(settings.nearby)},
        views={**source.about, "config": settings.nuisances},
        trunk_lr=1.0,
        **{name: getattr(settings, name) for name in FIT.split()},
    )
    ways: dict[str, Any] = {settings.network: fitted.raw["test"]}
    if settings.embeddings is not None:
        seen_before(artefact.read_card(settings.embeddings, "embeddings"), galaxies)
        ids = {name: some.id for name, some in galaxies.items()}
        ways[rivals.FROZEN] = rivals.frozen_head(settings.embeddings, ids, truth)
    facts = {"label": f"z < {settings.nearby.z_max:g}", "simulated": source.simulated}
    cut = select_by_columns(settings.cuts, lambda name: cutouts.column(name)[rows["test"]])
    given: dict[str, Any] = {"facts": facts, "selected": cut, "base_rate": settings.base_rate}
    metrics = rivals.save_rivals(settings.out, truth["test"], ways, seed=seed, **given)
    test = galaxies["test"]
    table = {"id": test.id, "ra": test.ra, "dec": test.dec, "z_spec": test.z, **ways}
    write_table(settings.out / "scores.parquet", table, simulated=source.simulated)
    return {"network": fitted.plan, "training": fitted.training, "metrics": metrics, **facts}
